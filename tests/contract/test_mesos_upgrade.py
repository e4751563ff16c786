"""Engine mesos on a real master and real agents when its executors change, or cannot come back: nothing is restarted,
and the controller hears of no end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from coldchain.documents import keys, stored
from coldchain.engines.mesos import MesosEngine
from coldchain.model.errors import Unavailable
from coldchain.model.executor import ExecutorSettings
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.mesos.servers import Agent
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings
from coldchain.testing.mesos_engine_lab import AGENT, Cluster

QUICK = MasterSettings(agent_ping_timeout_seconds=1.0, agent_pings_missed_max=3)
FULL = AgentSettings(
    resources="cpus:0.3;mem:200;disk:10000;ports:[8080-9090]",
    executor_reregistration_timeout_seconds=5.0,
    executor_shutdown_grace_seconds=2.0,
)
"""An executor and a task, and no executor more."""


class Bench:
    """A cluster, and engines of it, one after the other."""

    def __init__(self, cluster: Cluster, agents: list[Agent]) -> None:
        self.cluster = cluster
        self.agents = agents
        self.told: list[TaskStatus] = []
        self.engine: MesosEngine
        self._following: asyncio.Task[None] | None = None

    async def next_engine(self, version: str = "1") -> MesosEngine:
        """As after a change of the controller."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            await self.engine.close()
        self.cluster.executor = msgspec.structs.replace(self.cluster.executor, version=version)
        self.engine = await self.cluster.engine()
        self._following = asyncio.create_task(self._follow())
        return self.engine

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                async for status in self.engine.updates():
                    self.told.append(status)
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            await self.engine.close()

    def processes(self, words: bytes) -> set[int]:
        """Those of all agents with this command line."""
        return {pid for agent in self.agents for pid in agent.processes if command_of(pid) == words}

    async def executors(self) -> dict[str, str]:
        """Who answers for each task, by the task's id."""
        found = {}
        for entry in (await self.cluster.store.list(keys.mesos_tasks("cluster"))).entries:
            task = stored.decode(entry.value, MesosTask)
            known = task.adopting_since is None and task.executor_gone_at is None and task.port
            found[task.task_id] = task.executor_id if known else ""
        return found


def command_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
    return b""


@pytest.fixture
async def bench(docker_daemon: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """With so many agents of these settings."""
    number, agent = getattr(request, "param", (2, AGENT))
    cluster = Cluster(str(docker_daemon))
    try:
        bench = Bench(cluster, await cluster.start(number, master=QUICK, agent=agent))
        yield bench
        await bench.close()
    finally:
        cluster.close()


async def launched(bench: Bench, number: int) -> list[TaskSpec]:
    """Tasks, one after the other on the agents in turn; until all run and it is known who answers for each."""
    specs = []
    for each in range(number):
        name = bench.agents[each % len(bench.agents)].hostname
        spec = make_spec("serves", task_id=f"shop.{each}._app.1", instance_id=f"shop.{each}", agent=name)
        app = msgspec.structs.replace(spec.app, cpus=0.1, mem=32.0)
        specs.append(msgspec.structs.replace(spec, app=app))
        await bench.engine.launch(specs[-1])
    async with asyncio.timeout(30):
        while len(bench.processes(b"sleep 1000")) < number or not all((await bench.executors()).values()):
            await asyncio.sleep(0.05)
    return specs


def break_executor(bench: Bench) -> ExecutorSettings:
    """From now on executors find no folder to work in, and end; what they were before."""
    good = bench.cluster.executor
    bench.cluster.executor = msgspec.structs.replace(good, controller_id="c" * 300)
    return good


@pytest.mark.parametrize("bench", [(2, AGENT), (1, FULL)], ids=["room", "full"], indirect=True)
async def test_another_version_takes_over_what_runs_and_nothing_is_restarted(bench: Bench) -> None:
    await bench.next_engine()
    specs = await launched(bench, 2 * len(bench.agents) if len(bench.agents) > 1 else 1)
    before, old = bench.processes(b"sleep 1000"), await bench.executors()
    assert len(set(old.values())) == 1
    engine = await bench.next_engine("2")
    async with asyncio.timeout(50):
        while True:
            now = await bench.executors()
            if all(now.values()) and not {*now.values()} & {*old.values()}:
                break
            await asyncio.sleep(0.1)
    assert len(set(now.values())) == 1
    assert bench.processes(b"sleep 1000") == before
    assert {(one.state, one.orphaned) for one in bench.told} <= {("running", ""), ("staging", ""), ("starting", "")}
    assert {(await engine.execute(spec.task_id, "echo fine", 5.0)).output for spec in specs} == {"fine\n"}
    assert await bench.cluster.lab.operator.twice_counted() == []
    for spec in specs:
        await engine.kill(spec.task_id, 0.0)
    async with asyncio.timeout(30):
        while bench.processes(b"sleep 1000"):
            await asyncio.sleep(0.05)


@pytest.mark.long
async def test_a_version_that_does_not_start_takes_nothing_over(bench: Bench) -> None:
    await bench.next_engine()
    (spec, _) = await launched(bench, 2)
    before, old = bench.processes(b"sleep 1000"), await bench.executors()
    good = break_executor(bench)
    engine = await bench.next_engine("2")
    await asyncio.sleep(15.0)  # time for scouts on both agents, and for more than them
    assert await bench.executors() == old
    assert bench.processes(b"sleep 1000") == before
    assert (await engine.execute(spec.task_id, "echo fine", 5.0)).output == "fine\n"
    bench.cluster.executor = good
    await bench.next_engine("3")
    async with asyncio.timeout(50):
        while not all((now := await bench.executors()).values()) or {*now.values()} & {*old.values()}:
            await asyncio.sleep(0.1)
    assert bench.processes(b"sleep 1000") == before


@pytest.mark.long
@pytest.mark.parametrize("bench", [(1, AGENT)], indirect=True)
async def test_what_nobody_can_take_over_is_an_orphan_and_not_ended(bench: Bench) -> None:
    bench.cluster.executor = msgspec.structs.replace(bench.cluster.executor, orphan_seconds=300.0)
    await bench.next_engine()
    (spec,) = await launched(bench, 1)
    (process,) = bench.processes(b"sleep 1000")
    break_executor(bench)
    await bench.next_engine("1")
    for pid in bench.agents[0].processes:
        if command_of(pid).endswith(b"-m coldchain executor"):
            os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while not any(one.orphaned == "executor" for one in bench.told):
            await asyncio.sleep(0.1)
    assert not any(one.terminal for one in bench.told)
    (status,) = await bench.engine.tasks()
    assert (status.task_id, status.state, status.orphaned) == (spec.task_id, "running", "executor")
    assert command_of(process) == b"sleep 1000"
