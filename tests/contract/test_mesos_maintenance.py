"""Engine mesos when operators take agents away: planned maintenance, and DRAIN_AGENT; on real masters and agents."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from coldchain.control.clock import SystemClock
from coldchain.engines.mesos import MesosEngine
from coldchain.engines.mesos.maintenance import MOVE_SECONDS
from coldchain.model.errors import Unavailable
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.mesos_engine_lab import Cluster


@pytest.fixture
async def cluster(docker_daemon: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(str(docker_daemon))
    try:
        await cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[MesosEngine]:
    engine = await cluster.engine()
    yield engine
    await engine.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Unavailable):
                if await condition():
                    return
            await asyncio.sleep(0.05)


async def draining(engine: MesosEngine) -> list[bool]:
    return [row.draining for row in await engine.offers()]


async def told(cluster: Cluster) -> list[str]:
    """What the operator reads of our answers, for each machine that is to be left."""
    answer = await cluster.lab.operator.call("GET_MAINTENANCE_STATUS")
    machines: list[dict[str, Any]] = answer["get_maintenance_status"]["status"].get("draining_machines", [])
    return [one["status"] for machine in machines for one in machine.get("statuses", ())]


async def test_an_operator_reads_that_an_agent_is_left_once_it_is(cluster: Cluster, engine: MesosEngine) -> None:
    spec = make_spec("serves")
    await engine.launch(spec)
    await cluster.lab.operator.schedule_maintenance(["agent-1"], SystemClock().now() + 600.0, 60.0)

    async def is_leaving() -> bool:
        return await draining(engine) == [True]

    await until(is_leaving)
    assert await told(cluster) in ([], ["UNKNOWN"])  # it is being left, and is not empty yet
    await engine.kill(spec.task_id, 0.0)

    async def accepted() -> bool:
        return await told(cluster) == ["ACCEPT"]

    await until(accepted)


@pytest.mark.long
async def test_an_operator_reads_that_an_agent_cannot_be_left(cluster: Cluster, engine: MesosEngine) -> None:
    spec = make_spec("serves")
    await engine.launch(spec)
    await cluster.lab.operator.schedule_maintenance(["agent-1"], SystemClock().now() + 600.0, 60.0)
    async with asyncio.timeout(MOVE_SECONDS + 30.0):
        while await told(cluster) != ["DECLINE"]:
            await asyncio.sleep(0.5)
    await engine.kill(spec.task_id, 0.0)

    async def accepted() -> bool:
        return await told(cluster) == ["ACCEPT"]

    await until(accepted)


async def test_a_plan_that_is_cancelled_is_forgotten(cluster: Cluster, engine: MesosEngine) -> None:
    await engine.launch(make_spec("serves"))
    await cluster.lab.operator.schedule_maintenance(["agent-1"], SystemClock().now() + 600.0, 60.0)

    async def is_leaving() -> bool:
        return await draining(engine) == [True]

    await until(is_leaving)
    await cluster.lab.operator.schedule_maintenance([], 0.0, 0.0)

    async def stays() -> bool:
        return await draining(engine) == [False]

    await until(stays)


async def test_an_agent_that_mesos_drains_is_known_as_such_until_it_is_reactivated(
    cluster: Cluster, engine: MesosEngine
) -> None:
    spec = make_spec("serves")
    await engine.launch(spec)
    updates = engine.updates()
    agent_id = await cluster.lab.agents[0].agent_id()
    await cluster.lab.operator.drain(agent_id, grace_seconds=5.0)
    status = await anext(updates)
    assert status.state in ("killing", "killed")
    assert await draining(engine) == [True]
    while not status.terminal:
        status = await anext(updates)
    assert status.state == "killed"
    await updates.aclose()

    async def is_drained() -> bool:
        (agent,) = await cluster.lab.operator.agents()
        return bool(agent["drain_info"]["state"] == "DRAINED")

    await until(is_drained)
    assert await draining(engine) == [True]
    await cluster.lab.operator.reactivate(agent_id)

    async def is_back() -> bool:
        return await draining(engine) == [False]

    await until(is_back)
    await engine.launch(make_spec("serves"))


async def test_an_executor_that_was_idle_when_its_agent_was_drained_is_no_obstacle_afterwards(
    cluster: Cluster, engine: MesosEngine
) -> None:
    spec = make_spec("serves")
    await engine.launch(spec)
    await engine.kill(spec.task_id, 0.0)

    async def ended() -> bool:
        return all(one.terminal for one in await engine.tasks())

    await until(ended)
    agent_id = await cluster.lab.agents[0].agent_id()
    await cluster.lab.operator.drain(agent_id, grace_seconds=5.0)  # of which nobody tells us anything
    await cluster.lab.operator.reactivate(agent_id)
    other = make_spec("serves")
    await engine.launch(other)  # the agent refuses the first try: for it the executor is still to leave
    states = {one.task_id: one.state for one in await engine.tasks()}
    assert states[other.task_id] == "running"
