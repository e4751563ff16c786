"""`unreachableStrategy` through engine mesos: real agents that are cut off, and come back. All wait real time-outs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from coldchain.engines.mesos import MesosEngine
from coldchain.model.app import UnreachableStrategy
from coldchain.model.errors import Unavailable
from coldchain.model.task import TaskSpec
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.mesos.settings import MasterSettings
from coldchain.testing.mesos_engine_lab import Cluster

pytestmark = pytest.mark.long
QUICK = MasterSettings(agent_ping_timeout_seconds=1.0, agent_pings_missed_max=3)
INACTIVE_SECONDS = 5.0
ORPHAN = "orphan of its agent"


@pytest.fixture
async def cluster(docker_daemon: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(str(docker_daemon))
    try:
        await cluster.start(master=QUICK)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[MesosEngine]:
    engine = await cluster.engine()
    yield engine
    await engine.close()


def spec_with(strategy: UnreachableStrategy | str) -> TaskSpec:
    spec = make_spec("serves")
    return msgspec.structs.replace(spec, app=msgspec.structs.replace(spec.app, unreachable_strategy=strategy))


async def states(engine: MesosEngine) -> dict[str, str]:
    with contextlib.suppress(Unavailable):
        return {
            one.task_id: f"orphan of its {one.orphaned}" if one.orphaned else one.state for one in await engine.tasks()
        }
    return {}


async def until_state(engine: MesosEngine, spec: TaskSpec, state: str) -> float:
    """When it is in this state."""
    async with asyncio.timeout(30):
        while (await states(engine)).get(spec.task_id) != state:
            await asyncio.sleep(0.05)
    return asyncio.get_running_loop().time()


async def test_each_app_says_when_what_is_out_of_reach_is_given_up(cluster: Cluster, engine: MesosEngine) -> None:
    at_once = spec_with(UnreachableStrategy())
    patient = spec_with(
        UnreachableStrategy(inactive_after_seconds=INACTIVE_SECONDS, expunge_after_seconds=2 * INACTIVE_SECONDS)
    )
    never = spec_with("disabled")
    for spec in (at_once, patient, never):
        await engine.launch(spec)
    (agent,) = cluster.lab.agents
    agent.freeze(whole=True)
    first = await until_state(engine, at_once, ORPHAN)
    assert await states(engine) == {at_once.task_id: ORPHAN, patient.task_id: "running", never.task_id: "running"}
    second = await until_state(engine, patient, ORPHAN)
    assert INACTIVE_SECONDS - 1.0 <= second - first <= INACTIVE_SECONDS + 3.0
    # Past its expungeAfterSeconds too it is known still, so that it can be ended when its agent is back.
    await asyncio.sleep(INACTIVE_SECONDS + 1.0)
    assert await states(engine) == {at_once.task_id: ORPHAN, patient.task_id: ORPHAN, never.task_id: "running"}
    agent.thaw(whole=True)
    for spec in (at_once, patient, never):
        await until_state(engine, spec, "running")
        assert (await engine.execute(spec.task_id, "echo fine", 5.0)).output == "fine\n"
    await engine.kill(at_once.task_id, 0.0)
    await until_state(engine, at_once, "killed")
