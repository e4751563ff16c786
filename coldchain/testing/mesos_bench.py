"""A bench for launches on Mesos: engine mesos and a bare scheduler, which do the same on the same agents in turns.

Both speak through the same client, accept at once what they hold, with one call for each agent, and launch the same
tasks with the same executor, which only says that they run. Each subscribes for its turn and leaves afterwards, so that
every offer is the other one's then; its executors stay, as its framework has not ended.
"""

import asyncio
import gc
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from coldchain.clients.mesos.scheduler import SchedulerClient
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.documents import keys
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.engines.mesos.infos import framework_info
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.executor import ExecutorSettings
from coldchain.model.instance import Instance
from coldchain.model.task import TaskSpec
from coldchain.ports.store import Store
from coldchain.runners.remote import RemoteRunner
from coldchain.testing.fake_prober import FakeProber
from coldchain.testing.mesos.surroundings import SAYING

FindMaster = Callable[[], Awaitable[str]]
CPUS, MEM = 0.01, 4.0
EXECUTOR_CPUS, EXECUTOR_MEM = 0.1, 64.0
REFUSE_SECONDS = 0.01
ROLE = "*"
PATIENCE_SECONDS = 60.0
APP = App(
    id="/bench/app",
    cmd="exec sleep 1000000",
    cpus=CPUS,
    mem=MEM,
    env={"PORT": "8080", "LOG_LEVEL": "info"},
    labels={"team": "bench"},
    task_kill_grace_period_seconds=1.0,
    drain_seconds=0.0,
)
COMMAND = (sys.executable, "-ISE", str(SAYING))


class Told:
    """What was told, each once, and when."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self._more = asyncio.Event()
        self._wanted = 0

    def add(self, name: str) -> None:
        self.at.setdefault(name, time.perf_counter())
        if len(self.at) >= self._wanted:
            self._more.set()

    async def reach(self, number: int) -> None:
        """Once there are so many."""
        self._wanted = number
        self._more.clear()
        if len(self.at) < number:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._more.wait()


class CountingClient(SchedulerClient):
    """Notes when the latest call of each type went out, and what was answered of two of them."""

    def __init__(self, find_master: FindMaster) -> None:
        super().__init__(find_master)
        self.began: dict[str, float] = {}
        self.acknowledged = Told()
        self.suppressed = Told()

    async def call(self, kind: str, **content: Any) -> None:
        self.began[kind] = time.perf_counter()
        await super().call(kind, **content)
        if kind == "ACKNOWLEDGE":
            self.acknowledged.add(content["acknowledge"]["uuid"])
        elif kind == "SUPPRESS":
            self.suppressed.add(str(len(self.suppressed.at)))


class Side(Protocol):
    """One of the two. `executors`: changed, the next launch needs a new one."""

    name: str
    executors: int
    client: CountingClient

    async def begin(self, agents: int) -> None:
        """Its turn: subscribed, and every agent's offer is there."""
        ...

    async def launch(self, tasks: Sequence[tuple[str, str]]) -> list[float]:
        """Tasks by id and agent; returns when each of them was told to run."""
        ...

    async def clear(self) -> None:
        """All tasks have ended, and nothing is known of them."""
        ...

    async def end(self) -> None: ...


class BareSide:
    """Accepts offers, acknowledges what comes, and does nothing else."""

    name = "bare"

    def __init__(self, find_master: FindMaster) -> None:
        self.executors = 0
        self.framework_id = ""
        self.client = CountingClient(find_master)
        self._offers: dict[str, dict[str, str]] = {}
        self._ended, self._running = Told(), Told()
        self._calls: set[asyncio.Task[None]] = set()

    async def begin(self, agents: int) -> None:
        self._reading = asyncio.create_task(self._read())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self._offers) < agents:
                await asyncio.sleep(0.01)

    async def _read(self) -> None:
        settings = MesosSettings(name="bare")
        async with aclosing(self.client.subscribe(framework_info(settings, self.framework_id))) as events:
            async for event in events:
                if event.subscribed is not None:
                    self.framework_id = event.subscribed.framework_id.value
                elif event.offers is not None:
                    for one in event.offers.offers:
                        self._offers.setdefault(one.hostname, {})[one.id.value] = one.agent_id.value
                elif event.rescind is not None:
                    for some in self._offers.values():
                        some.pop(event.rescind.offer_id.value, None)
                elif event.update is not None:
                    status = event.update.status
                    told = self._running if status.state == "TASK_RUNNING" else self._ended
                    told.add(status.task_id.value)
                    if status.uuid and status.agent_id is not None:
                        named = {"agent_id": {"value": status.agent_id.value}, "uuid": status.uuid}
                        named["task_id"] = {"value": status.task_id.value}
                        self._call("ACKNOWLEDGE", acknowledge=named)

    def _call(self, kind: str, **content: Any) -> None:
        call = asyncio.create_task(self.client.call(kind, **content))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def launch(self, tasks: Sequence[tuple[str, str]]) -> list[float]:
        by_agent: dict[str, list[str]] = {}
        for task_id, agent in tasks:
            by_agent.setdefault(agent, []).append(task_id)
        for agent, names in by_agent.items():
            offers = self._offers.pop(agent)  # what tasks gave back comes in pieces
            agent_id = next(iter(offers.values()))
            executor = self._executor()
            infos = [
                {
                    "name": name,
                    "task_id": {"value": name},
                    "agent_id": {"value": agent_id},
                    "executor": executor,
                    "resources": _resources(CPUS, MEM),
                }
                for name in names
            ]
            operation = {"type": "LAUNCH", "launch": {"task_infos": infos}}
            filters = {"refuse_seconds": REFUSE_SECONDS}
            self._call(
                "ACCEPT",
                accept={"offer_ids": [{"value": one} for one in offers], "operations": [operation], "filters": filters},
            )
        await self._running.reach(len(tasks))
        return [self._running.at[name] for name, _ in tasks]

    def _executor(self) -> dict[str, Any]:
        environment = {"variables": [{"name": "NUMBER", "value": str(self.executors)}]}
        command = {"shell": False, "value": COMMAND[0], "arguments": [*COMMAND], "environment": environment}
        return {
            "type": "CUSTOM",
            "executor_id": {"value": f"bare-{self.executors}"},
            "framework_id": {"value": self.framework_id},
            "command": command,
            "resources": _resources(EXECUTOR_CPUS, EXECUTOR_MEM),
        }

    async def clear(self) -> None:
        for name in self._running.at:
            self._call("KILL", kill={"task_id": {"value": name}})
        await self._ended.reach(len(self._running.at))
        await asyncio.gather(*self._calls)  # the acknowledgements too
        self._ended, self._running = Told(), Told()

    async def end(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._offers.clear()
        await self.client.close()


class EngineSide:
    """Engine mesos, as the controller uses it: a launch each, and all that it is told. `name`: of the store."""

    def __init__(self, name: str, find_master: FindMaster, store: Store) -> None:
        self.name = name
        self.executors = 0
        self.settings: dict[str, Any] = {}
        self._find_master = find_master
        self._store = store
        self._ended, self._running = Told(), Told()
        self.client = CountingClient(find_master)

    async def begin(self, agents: int) -> None:
        self.client = CountingClient(self._find_master)
        self.engine = MesosEngine(
            self.client,
            self._store,
            SystemClock(),
            MesosSettings(
                executor_command=COMMAND,
                executor_environment={"NUMBER": str(self.executors)},
                **self.settings,
            ),
            ExecutorSettings(controller_id="bench", version="1"),
            key=b"key of the bench",
            reach=RemoteRunner,
        )
        await self.engine.start()
        self._listening = asyncio.create_task(self._listen())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await self.engine.offers()) < agents:
                await asyncio.sleep(0.01)

    async def _listen(self) -> None:
        async with aclosing(self.engine.updates()) as updates:
            async for status in updates:
                if status.state == "running":
                    self._running.add(status.task_id)
                elif status.terminal:
                    self._ended.add(status.task_id)

    async def launch(self, tasks: Sequence[tuple[str, str]]) -> list[float]:
        await asyncio.gather(*(self.engine.launch(spec_of(*one)) for one in tasks))
        await self._running.reach(len(tasks))
        return [self._running.at[name] for name, _ in tasks]

    async def clear(self) -> None:
        before = len(self.client.acknowledged.at)
        names = [one.task_id for one in await self.engine.tasks()]
        await asyncio.gather(*(self.engine.kill(name, 1.0) for name in names))
        await self._ended.reach(len(names))
        await asyncio.gather(*(self.engine.forget(name) for name in names))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self._store.list(keys.mesos_tasks(self.engine.target))).entries:
                await asyncio.sleep(0.01)
        await self.client.acknowledged.reach(before + len(names))
        self._ended, self._running = Told(), Told()

    async def end(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self.engine.close()


class ControllerSide(EngineSide):
    """The whole controller above engine mesos: it is asked for an app, places its instances, launches them and keeps
    what it knows of them. They count as running once they serve."""

    async def begin(self, agents: int) -> None:
        await super().begin(agents)
        clock = SystemClock()
        controller = self._controller = Controller(self._store, self.engine, FakeProber(clock), clock)
        await controller.start()
        controller.state.on_commit(self._committed)
        self._controlling = asyncio.create_task(controller.run())

    def _committed(self, pairs: Sequence[tuple[object, object]]) -> None:
        for _, after in pairs:
            if isinstance(after, Instance) and after.phase == "serving":
                self._serving.add(after.id)

    async def launch(self, tasks: Sequence[tuple[str, str]]) -> list[float]:
        self._serving = Told()
        await self._controller.operations.create(msgspec.structs.replace(APP, instances=len(tasks)), "bench")
        await self._serving.reach(len(tasks))
        return list(self._serving.at.values())

    async def clear(self) -> None:
        await self._controller.operations.delete(APP.id, "bench", force=True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.engine.tasks() or (await self._store.list(keys.mesos_tasks(self.engine.target))).entries:
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        self._controlling.cancel()
        await asyncio.gather(self._controlling, return_exceptions=True)
        await super().end()


def spec_of(task_id: str, agent: str) -> TaskSpec:
    """As the controller makes them of an app."""
    instance_id = task_id.partition("._app.")[0]
    return TaskSpec(
        task_id=task_id,
        instance_id=instance_id,
        app_id=APP.id,
        version_id="2026-01-01T00:00:00.000Z",
        target="cluster",
        agent=agent,
        app=APP,
        image=None,
        address=None,
    )


def task_names(number: int, agents: Sequence[str]) -> list[tuple[str, str]]:
    """New tasks, spread over these agents."""
    run = uuid.uuid4().hex[:12]
    return [(f"bench_app.instance-{run}-{one}._app.1", agents[one % len(agents)]) for one in range(number)]


def _resources(cpus: float, mem: float) -> list[dict[str, Any]]:
    given = {"cpus": cpus, "mem": mem}
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": ROLE}}  # their word
        for name, value in given.items()
    ]


class Turn(Noun, frozen=True, kw_only=True):
    """What some launches took: seconds from the first order until the last is told to run; CPU seconds of who launches
    until all of that is acknowledged; and of each the seconds since the last ACCEPT went out."""

    seconds: float
    cpu_seconds: float
    since_accept: tuple[float, ...]


async def timed(side: Side, tasks: Sequence[tuple[str, str]]) -> Turn:
    """Some launches at once."""
    gc.collect()
    acknowledged = len(side.client.acknowledged.at)
    began, cpu = time.perf_counter(), time.process_time()
    times = await side.launch(tasks)
    await side.client.acknowledged.reach(acknowledged + len(tasks))
    used = time.process_time() - cpu
    accepted = side.client.began["ACCEPT"]
    return Turn(seconds=max(times) - began, cpu_seconds=used, since_accept=tuple(one - accepted for one in times))
