"""Networks by name on a real Docker Engine: what their drivers are told, and which address a task is reached at."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coldchain.model.app import Network
from coldchain.model.errors import Rejected
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.runners.docker import DockerRunner
from coldchain.runners.docker.membership import OURS
from coldchain.testing.application.image import ensure_image
from coldchain.testing.docker_bench import PATIENCE_SECONDS, Bench
from coldchain.testing.network_plugin import NetworkPlugin


@pytest.fixture
async def bench(docker_daemon: Path) -> AsyncIterator[Bench]:
    await ensure_image(str(docker_daemon))
    bench = Bench(docker_daemon)
    yield bench
    await bench.close()


@pytest.fixture
async def plugin() -> AsyncIterator[NetworkPlugin]:
    plugin = NetworkPlugin(OURS)
    await plugin.start()
    yield plugin
    await plugin.stop()


@pytest.fixture
async def name(bench: Bench, plugin: NetworkPlugin) -> AsyncIterator[str]:
    """Of a network that is gone afterwards, with the containers of the bench."""
    name = f"named-{uuid.uuid4().hex[:8]}"
    yield name
    for row in await bench.client.containers([f"coldchain.bench={bench.controller}"]):
        await bench.client.remove_container(row["Id"], force=True)
    await bench.client._call("DELETE", f"/networks/{name}")


async def make_network(bench: Bench, name: str, driver: str = "bridge", subnet: str = "10.197.7.0/24") -> None:
    await bench.client.create_network({"Name": name, "Driver": driver, "IPAM": {"Config": [{"Subnet": subnet}]}})


def in_network(bench: Bench, name: str, **labels: str) -> TaskSpec:
    return bench.spec(networks=(Network(name=name),), labels=labels)


async def running(runner: DockerRunner, spec: TaskSpec) -> TaskStatus:
    """As the runner tells it by its updates, from before the launch."""
    updates = runner.updates()
    await runner.launch(spec)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for status in updates:
            if status.task_id == spec.task_id and status.state == "running":
                return status
    raise AssertionError("the updates ended")


async def test_a_network_of_ours_is_told_app_task_and_labels(bench: Bench, name: str, plugin: NetworkPlugin) -> None:
    await make_network(bench, name, OURS)
    spec = in_network(bench, name, tier="web", other="a b", **{"no option": "x"})
    status = await running(bench.runner(), spec)
    [joined] = plugin.endpoints
    told = {key: value for key, value in joined["Options"].items() if key.startswith("coldchain.")}
    assert told == {
        "coldchain.app": "/app",
        "coldchain.task": spec.task_id,
        "coldchain.label.tier": "web",
        "coldchain.label.other": "a b",
    }
    assert joined["Interface"]["Address"] == f"{status.address}/24"
    assert [one.address for one in await bench.runner().tasks()] == [status.address]


async def test_a_network_of_another_driver_is_told_nothing(bench: Bench, name: str) -> None:
    await make_network(bench, name)
    spec = in_network(bench, name, tier="web")
    status = await running(bench.runner(), spec)
    assert status.address is not None
    assert status.address.startswith("10.197.7.")
    endpoint = (await bench.inspect(spec))["NetworkSettings"]["Networks"][name]
    assert endpoint["DriverOpts"] is None


async def test_what_the_driver_refuses_is_told_in_its_words_and_leaves_nothing(
    bench: Bench, name: str, plugin: NetworkPlugin
) -> None:
    await make_network(bench, name, OURS)
    plugin.refusal = "pool shops has no address left"
    runner = bench.runner()
    with pytest.raises(Rejected, match="pool shops has no address left"):
        await runner.launch(in_network(bench, name))
    assert await runner.tasks() == []


@pytest.mark.long
async def test_without_netd_it_is_said_who_is_missing(bench: Bench, name: str, plugin: NetworkPlugin) -> None:
    await make_network(bench, name, OURS)
    await plugin.stop()
    runner = bench.runner()
    with pytest.raises(Rejected, match="Start netd on that machine"):
        await runner.launch(in_network(bench, name))
    assert await runner.tasks() == []
    await plugin.start()
    assert (await running(runner, in_network(bench, name))).address is not None


async def test_another_network_that_somebody_adds_is_not_taken_for_its_own(bench: Bench, name: str) -> None:
    await make_network(bench, name)
    other = f"a-{name}"
    await make_network(bench, other, subnet="10.196.7.0/24")
    spec = in_network(bench, name)
    runner = bench.runner()
    status = await running(runner, spec)
    container = (await bench.inspect(spec))["Id"]
    try:
        await bench.client._call("POST", f"/networks/{other}/connect", body={"Container": container})
        [known] = await runner.tasks()
        assert known.address == status.address
    finally:
        await bench.client.remove_container(container, force=True)
        await bench.client._call("DELETE", f"/networks/{other}")
