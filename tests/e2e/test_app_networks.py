"""An app in a network by name, on this machine: its addresses are those of the network, wherever one looks."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.clients.docker import DockerClient
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.stage import Stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "02-network"
SUBNET = "10.194.7.0/24"


@pytest.fixture
async def docker(docker_daemon: Path) -> AsyncIterator[DockerClient]:
    client = DockerClient(docker_daemon)
    yield client
    await client.close()


@pytest.fixture
async def network(docker: DockerClient, stage: Stage) -> AsyncIterator[str]:
    """The name of a network that somebody may make; it is gone afterwards, once the platform is down."""
    name = f"shops-{uuid.uuid4().hex[:8]}"
    yield name
    await stage.down()
    for row in await docker.networks():
        if row["Name"] == name:
            await docker._call("DELETE", f"/networks/{name}")


async def make(docker: DockerClient, network: str) -> None:
    await docker.create_network({"Name": network, "Driver": "bridge", "IPAM": {"Config": [{"Subnet": SUBNET}]}})


def in_network(network: str, **fields: object) -> dict[str, Any]:
    """The example's definition, in that network; fields given replace its own."""
    app: dict[str, Any] = json.loads((EXAMPLE / "web.json").read_text())
    [joined] = app["networks"]
    return app | {"networks": [joined | {"name": network}]} | fields


async def addresses(stage: Stage) -> set[str]:
    """Of the app's tasks, each once."""
    found = [one["ipAddress"] for task in (await marathon_tasks(stage)) for one in task["ipAddresses"]]
    assert len(set(found)) == len(found)
    return set(found)


async def marathon_tasks(stage: Stage) -> list[dict[str, Any]]:
    """As Marathon's clients see them."""
    return list((await stage.call("GET", "/v2/apps/shop/tasks"))["tasks"])


async def registered(stage: Stage) -> set[tuple[str, int]]:
    url = f"http://127.0.0.1:{stage.registry_port}/v1/health/service/shop?passing"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return {(one["Service"]["Address"], one["Service"]["Port"]) for one in await answer.json()}


async def test_releases_and_a_restart_of_the_controller_cost_no_request(
    stage: Stage, docker: DockerClient, network: str
) -> None:
    await make(docker, network)
    await stage.start()
    created = await stage.create(in_network(network))
    assert created["networks"] == [{"mode": "container", "name": network, "labels": {"zone": "front"}}]
    before = await addresses(stage)
    assert len(before) == 3
    assert all(ip_address(one) in ip_network(SUBNET) for one in before)
    assert await registered(stage) == {(one, 8080) for one in before}
    plan = LoadPlan(
        address="127.0.0.1",
        port=stage.gateway_port,
        targets=(Target(host="shop.localhost"),),
        rate=100.0,
        slow_share=0.02,
        slow_seconds=0.5,
    )
    async with Generator(plan) as load:
        image = {"docker": {"image": "coldchain/shop:v2"}}
        changed = in_network(network)
        await stage.deploy("PUT", "/v2/apps/shop", changed | {"container": changed["container"] | image})
        after = await addresses(stage)
        stage.kill()
        await stage.start()
        await asyncio.sleep(0.5)  # so that whoever asks meets what the new controller makes of it
        assert await addresses(stage) == after
        await stage.deploy("PUT", "/v2/apps/shop", {"instances": 4})
    report = load.report()
    assert (report.failures, report.total.failed) == ((), 0)
    assert set(report.total.by_version) == {"v1", "v2"}
    scaled = await addresses(stage)
    assert after < scaled
    assert await registered(stage) == {(one, 8080) for one in scaled}


async def test_a_network_that_is_missing_is_waited_for_and_said(
    stage: Stage, docker: DockerClient, network: str
) -> None:
    await stage.start()
    await stage.call("POST", "/v2/apps", in_network(network, instances=1, maxLaunchDelaySeconds=2))
    reason = f"has no network {network}"
    async with asyncio.timeout(30):
        while True:
            told = await stage.call("GET", "/v1/apps/shop/status")
            if told["lastFailure"] is not None:
                break
            await asyncio.sleep(0.05)
    assert reason in told["lastFailure"]["message"]
    assert f"docker network create {network}" in told["lastFailure"]["message"]
    assert told["deployment"]["state"] == "running"
    assert reason in told["deployment"]["explain"]
    await make(docker, network)
    await stage.deployment(told["deployment"]["id"])
    assert len(await addresses(stage)) == 1


async def test_a_container_that_is_at_another_address_is_replaced(
    stage: Stage, docker: DockerClient, network: str
) -> None:
    """Where it was, somebody else may be: nobody is sent there any more."""
    await make(docker, network)
    await stage.start()
    app = in_network(network, instances=2)
    app["healthChecks"][0]["maxConsecutiveFailures"] = 0  # else its probes might be quicker, and it leaves for those
    await stage.create(app)
    before = {task["id"]: task["ipAddresses"][0]["ipAddress"] for task in await marathon_tasks(stage)}
    victim = min(before, key=lambda task: ip_address(before[task]))
    [row] = await docker.containers([f"coldchain.task={victim}"])
    await docker._call("POST", f"/networks/{network}/disconnect", body={"Container": row["Id"]})
    elsewhere = {"IPAMConfig": {"IPv4Address": "10.194.7.200"}}
    await docker._call(
        "POST", f"/networks/{network}/connect", body={"Container": row["Id"], "EndpointConfig": elsewhere}
    )
    async with asyncio.timeout(60):
        while True:
            tasks = await stage.tasks("/shop")
            serving = {task["id"] for task in tasks if task["phase"] == "serving"}
            if len(serving) == 2 and victim not in serving:
                break
            await asyncio.sleep(0.05)
    rows = await docker.containers(["coldchain.app=/shop"])
    there = {
        row["Labels"]["coldchain.task"]: row["NetworkSettings"]["Networks"][network]["IPAddress"]
        for row in rows
        if row["Labels"]["coldchain.task"] in serving
    }
    shown = {task["id"]: task["ipAddresses"][0]["ipAddress"] for task in tasks if task["id"] in serving}
    assert shown == there
    failure = (await stage.call("GET", "/v1/apps/shop/status"))["lastFailure"]
    assert failure["taskId"] == victim
    assert f"at 10.194.7.200 now, and was at {before[victim]}" in failure["message"]
