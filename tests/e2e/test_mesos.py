"""`coldchain up --engine mesos`: the whole platform on a real cluster of Mesos, with our executor on its agents."""

import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings
from coldchain.testing.stage import Stage

PATIENT = MasterSettings(agent_ping_timeout_seconds=5.0)


@pytest.fixture
async def cluster(stage: Stage) -> AsyncIterator[MesosLab]:
    """ZooKeeper, a master, two agents; the stage is of it."""
    async with MesosLab(zookeeper=True) as lab:
        lab.folder.chmod(0o711)
        await lab.start_master(PATIENT)
        for rack in ("a", "b"):
            await lab.start_agent(AgentSettings(attributes={"rack": rack}))
        await lab.registered(2)
        stage.up_options = [
            "--engine=mesos",
            f"--mesos-master={lab.master_address}",
            f"--mesos-executor={sys.executable} -m coldchain executor",
        ]
        yield lab
        await stage.down()


async def served(stage: Stage) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{stage.gateway_port}/", headers={"Host": "shop.localhost"}) as answer,
    ):
        return f"{answer.status} {await answer.text()}"


def places(tasks: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {task["id"]: [task["host"], *task["endpoints"]] for task in tasks}


@pytest.mark.long
async def test_apps_run_on_agents_and_outlive_the_controller(
    stage: Stage, cluster: MesosLab, shop: Callable[..., dict[str, Any]]
) -> None:
    await stage.start()
    apart = [["rack", "UNIQUE"]]
    await stage.create(shop(instances=2, constraints=apart))
    before = await stage.tasks("/shop")
    assert {task["host"] for task in before} == {"agent-1", "agent-2"}
    assert (await served(stage)).startswith("200")
    assert await cluster.operator.twice_counted() == []
    known = {one["task_id"]["value"] for one in (await cluster.operator.tasks())["tasks"]}
    assert known == {task["id"] for task in before}
    stage.kill()
    assert (await served(stage)).startswith("200")
    await stage.start()
    assert places(await stage.tasks("/shop")) == places(before)
    assert (await served(stage)).startswith("200")
    image = {"docker": {"image": "coldchain/shop:v2"}}
    container = shop()["container"] | image
    await stage.deploy("PUT", "/v2/apps/shop", {"container": container})
    replaced = await stage.tasks("/shop")
    assert not {task["id"] for task in replaced} & {task["id"] for task in before}
    assert await cluster.operator.twice_counted() == []
    await stage.deploy("DELETE", "/v2/apps/shop")
    assert (await cluster.operator.tasks()).get("tasks", []) == []
