"""Engine mesos on real masters and agents when something fails: what runs runs on, and is known again."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from coldchain.clients.mesos.leader import LeadingMaster
from coldchain.clients.mesos.scheduler import SchedulerClient
from coldchain.clients.zookeeper import ZooKeeperUnavailable
from coldchain.clients.zookeeper_address import ZooKeeperAddress
from coldchain.control.clock import SystemClock
from coldchain.documents import keys, stored
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.model.errors import Unavailable
from coldchain.model.executor import ExecutorSettings
from coldchain.model.mesos import MesosFramework
from coldchain.model.task import TaskSpec
from coldchain.runners.remote import RemoteRunner
from coldchain.store.memory import MemoryStore
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.servers import Agent
from coldchain.testing.mesos.settings import MasterSettings
from coldchain.testing.mesos_engine_lab import Cluster

QUICK = MasterSettings(agent_ping_timeout_seconds=1.0, agent_pings_missed_max=3)


class Bench:
    """A cluster with one agent, and engines of it."""

    def __init__(self, cluster: Cluster, agent: Agent) -> None:
        self.cluster = cluster
        self.lab = cluster.lab
        self.agent = agent
        self.engines: list[MesosEngine] = []

    async def engine(self) -> MesosEngine:
        engine = await self.cluster.engine()
        self.engines.append(engine)
        return engine

    async def running(self, engine: MesosEngine) -> tuple[TaskSpec, int]:
        """A task, and its process."""
        spec = make_spec("serves")
        await engine.launch(spec)
        async with asyncio.timeout(30):
            while not (pids := [pid for pid in self.agent.processes if command_of(pid) == [b"sleep", b"1000"]]):
                await asyncio.sleep(0.02)
            while await state(engine, spec) != "running":  # which its executor tells after it has started
                await asyncio.sleep(0.02)
        (pid,) = pids
        return spec, pid


def command_of(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    return []


def executors(agent: Agent) -> list[int]:
    commands = {pid: command_of(pid) for pid in agent.processes}
    return [pid for pid, words in commands.items() if words[-2:] == [b"coldchain", b"executor"]]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Unavailable):
                if await condition():
                    return
            await asyncio.sleep(0.05)


async def state(engine: MesosEngine, spec: TaskSpec) -> str:
    return next((one.state for one in await engine.tasks() if one.task_id == spec.task_id), "")


async def framework_id(bench: Bench) -> str:
    entry = await bench.cluster.store.get(keys.mesos_framework("cluster"))
    assert entry is not None
    return stored.decode(entry.value, MesosFramework).id


async def fine(bench: Bench, engine: MesosEngine, spec: TaskSpec) -> bool:
    """It runs, whoever answers for it can be asked, and Mesos counts right."""
    with contextlib.suppress(Exception):
        executed = await engine.execute(spec.task_id, "echo fine", 5.0)
        counted = await bench.lab.operator.twice_counted()
        return executed.output == "fine\n" and await state(engine, spec) == "running" and not counted
    return False


@pytest.fixture
async def bench(docker_daemon: Path) -> AsyncIterator[Bench]:
    cluster = Cluster(str(docker_daemon))
    try:
        (agent,) = await cluster.start(master=QUICK)
        bench = Bench(cluster, agent)
        yield bench
        for engine in bench.engines:
            await engine.close()
    finally:
        cluster.close()


async def test_a_lost_executor_is_succeeded_and_nothing_is_restarted(bench: Bench) -> None:
    engine = await bench.engine()
    spec, pid = await bench.running(engine)
    updates = engine.updates()
    (executor,) = executors(bench.agent)
    os.kill(executor, signal.SIGKILL)

    async def succeeded() -> bool:
        return executors(bench.agent) not in ([], [executor]) and await fine(bench, engine, spec)

    await until(succeeded)
    assert command_of(pid) == [b"sleep", b"1000"]
    await engine.kill(spec.task_id, 0.0)
    told = []
    async for status in updates:
        told.append(status.state)
        if status.terminal:
            break
    await updates.aclose()
    assert told[-1] == "killed"
    assert "lost" not in told
    assert command_of(pid) == []


async def test_an_agent_that_restarts_keeps_what_runs(bench: Bench) -> None:
    engine = await bench.engine()
    spec, pid = await bench.running(engine)
    await bench.agent.restart()
    await until(lambda: fine(bench, engine, spec))
    other = make_spec("serves")
    await engine.launch(other)
    assert {one.state for one in await engine.tasks()} == {"running"}
    assert command_of(pid) == [b"sleep", b"1000"]


async def test_a_master_that_restarts_finds_out_what_runs(bench: Bench) -> None:
    engine = await bench.engine()
    spec, pid = await bench.running(engine)
    before = await framework_id(bench)
    await bench.lab.masters[0].kill()
    with pytest.raises(Unavailable):
        while True:
            await engine.tasks()
            await asyncio.sleep(0.02)
    bench.lab.masters[0].start()
    await until(lambda: fine(bench, engine, spec))
    assert await framework_id(bench) == before
    assert command_of(pid) == [b"sleep", b"1000"]


async def test_a_machine_that_was_cut_off_is_given_up_and_known_again(bench: Bench) -> None:
    engine = await bench.engine()
    spec, pid = await bench.running(engine)
    bench.agent.freeze(whole=True)

    async def given_up() -> bool:
        return [(one.state, one.orphaned) for one in await engine.tasks()] == [("running", "agent")]

    async def offers_nothing() -> bool:
        return all(not row.cpus for row in await engine.offers())

    await until(given_up)
    await until(offers_nothing)  # Mesos takes the offers back after it has told of the tasks
    bench.agent.thaw(whole=True)
    await until(lambda: fine(bench, engine, spec))
    assert command_of(pid) == [b"sleep", b"1000"]


async def test_the_next_controller_takes_over_and_the_one_before_stays_away(bench: Bench) -> None:
    first = await bench.engine()
    spec, pid = await bench.running(first)
    second = await bench.engine()
    await until(lambda: fine(bench, second, spec))
    with pytest.raises(Unavailable, match="failed over"):
        while True:
            await first.tasks()
            await asyncio.sleep(0.02)
    await second.kill(spec.task_id, 0.0)

    async def killed() -> bool:
        return await state(second, spec) == "killed"

    await until(killed)
    assert command_of(pid) == []


async def test_a_framework_that_was_torn_down_begins_anew_with_what_runs(bench: Bench) -> None:
    engine = await bench.engine()
    spec, pid = await bench.running(engine)
    before = await framework_id(bench)
    await bench.lab.operator.teardown(before)

    async def anew() -> bool:
        return await framework_id(bench) != before and await fine(bench, engine, spec)

    await until(anew)
    assert command_of(pid) == [b"sleep", b"1000"]


async def test_planned_maintenance_empties_an_agent(bench: Bench) -> None:
    engine = await bench.engine()
    await bench.running(engine)
    assert [row.draining for row in await engine.offers()] == [False]
    await bench.lab.operator.schedule_maintenance([bench.agent.hostname], SystemClock().now() + 600.0, 60.0)

    async def planned() -> bool:
        return [row.draining for row in await engine.offers()] == [True]

    await until(planned)


# Masters


def engine_of(client: SchedulerClient, settings: MesosSettings) -> MesosEngine:
    executor = ExecutorSettings(controller_id="c", version="1")
    return MesosEngine(client, MemoryStore(), SystemClock(), settings, executor, key=b"k", reach=RemoteRunner)


async def test_who_leads_is_followed_through_zookeeper() -> None:
    async with MesosLab(zookeeper=True) as lab:
        await lab.start_master()
        leading = LeadingMaster(ZooKeeperAddress.parse(lab.master_address), session_seconds=2.0)
        assert await leading.leader(patience_seconds=30.0) == lab.masters[0].address
        await lab.start_master()
        engine = engine_of(SchedulerClient(leading.leader), MesosSettings())
        await engine.start()
        await until(lambda: none_runs(engine))
        await lab.masters[0].kill()

        async def follows() -> bool:
            await engine.tasks()
            return await leading.leader() == lab.masters[1].address

        await until(follows)
        await engine.close()
        await leading.close()


async def test_a_zookeeper_that_is_silent_names_nobody(free_port: Callable[[], int]) -> None:
    leading = LeadingMaster(ZooKeeperAddress.parse(f"zk://127.0.0.1:{free_port()}/mesos"))
    with pytest.raises(ZooKeeperUnavailable, match="/mesos"):
        await leading.leader(patience_seconds=0.3)
    await leading.close()


@pytest.mark.parametrize(("secret", "words"), [("right", ""), ("wrong", "401|nauthorized")])
async def test_a_framework_shows_who_it_is(secret: str, words: str) -> None:
    async with MesosLab() as lab:
        await lab.start_master(MasterSettings(credentials={"shop": "right"}))

        async def find_master() -> str:
            return lab.master_address

        client = SchedulerClient(find_master, credential=("shop", secret))
        engine = engine_of(client, MesosSettings(principal="shop"))
        await lab.leader()
        await engine.start()
        if words:
            with pytest.raises(Unavailable, match=words):
                await engine.tasks()
        else:
            await until(lambda: none_runs(engine))
        await engine.close()


async def none_runs(engine: MesosEngine) -> bool:
    return await engine.tasks() == []
