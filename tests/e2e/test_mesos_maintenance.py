"""`coldchain up --engine mesos` when operators take agents away, under requests."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import MasterSettings
from coldchain.testing.stage import Stage

pytestmark = pytest.mark.long
PATIENT = MasterSettings(agent_ping_timeout_seconds=5.0)


@pytest.fixture
async def cluster(stage: Stage) -> AsyncIterator[MesosLab]:
    """A master and two agents; the stage is of them."""
    async with MesosLab() as lab:
        lab.folder.chmod(0o711)
        await lab.start_master(PATIENT)
        for _ in range(2):
            await lab.start_agent()
        await lab.registered(2)
        stage.up_options = [
            "--engine=mesos",
            f"--mesos-master={lab.master_address}",
            f"--mesos-executor={sys.executable} -m coldchain executor",
        ]
        yield lab
        await stage.down()


@pytest.fixture
async def answers(stage: Stage, cluster: MesosLab, shop: Callable[..., dict[str, Any]]) -> AsyncIterator[Counter[str]]:
    """What requests get, one after the other, while the test does what it does."""
    counted: Counter[str] = Counter()

    async def ask() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            while True:
                try:
                    url = f"http://127.0.0.1:{stage.gateway_port}/"
                    async with session.get(url, headers={"Host": "shop.localhost"}) as answer:
                        await answer.read()
                        counted[str(answer.status)] += 1
                except aiohttp.ClientError as error:
                    counted[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    await stage.start()
    await stage.create(shop(instances=2))
    asking = asyncio.create_task(ask())
    yield counted
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.1)


async def all_on(stage: Stage, agent: str) -> bool:
    tasks = await stage.tasks("/shop")
    return [task["host"] for task in tasks if task["state"] == "TASK_RUNNING"] == [agent, agent]


async def test_planned_maintenance_moves_everything_first_and_the_operator_reads_it(
    stage: Stage, cluster: MesosLab, answers: Counter[str]
) -> None:
    await cluster.operator.schedule_maintenance(["agent-1"], time.time() + 600.0, 60.0)

    async def accepted() -> bool:
        told = await cluster.operator.call("GET_MAINTENANCE_STATUS")
        machines = told["get_maintenance_status"]["status"].get("draining_machines", [])
        return [one["status"] for machine in machines for one in machine.get("statuses", ())] == ["ACCEPT"]

    await until(accepted)
    assert await all_on(stage, "agent-2")
    assert set(answers) == {"200"}


async def test_an_agent_is_emptied_then_drained_by_mesos_then_used_again(
    stage: Stage, cluster: MesosLab, answers: Counter[str]
) -> None:
    await stage.call("POST", "/v1/agents/agent-1/drain")
    await until(lambda: all_on(stage, "agent-2"))

    async def empty() -> bool:
        agents = (await stage.call("GET", "/v1/agents"))["agents"]
        return all(one["instances"] == 0 for one in agents if one["agent"] == "agent-1")

    await until(empty)
    agent_id = (await cluster.known("agent-1"))["agent_info"]["id"]["value"]
    await cluster.operator.drain(agent_id, grace_seconds=0.0)
    await cluster.operator.reactivate(agent_id)
    await stage.call("DELETE", "/v1/agents/agent-1/drain")
    await stage.call("POST", "/v1/agents/agent-2/drain")
    await until(lambda: all_on(stage, "agent-1"))
    assert set(answers) == {"200"}


async def test_what_mesos_drains_unannounced_is_replaced(
    stage: Stage, cluster: MesosLab, answers: Counter[str]
) -> None:
    agent_id = (await cluster.known("agent-1"))["agent_info"]["id"]["value"]
    await cluster.operator.drain(agent_id, grace_seconds=5.0)
    await until(lambda: all_on(stage, "agent-2"))
    agents = {one["agent"]: one for one in (await stage.call("GET", "/v1/agents"))["agents"]}
    assert agents["agent-1"]["draining"]["by"] == "engine"
    assert set(answers) == {"200"}  # the app ends its requests and the gateway asks another instance
