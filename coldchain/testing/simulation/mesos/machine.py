"""machine: one host of the cluster: its containers, which outlive everything else, its executors (the real ones) and
its sweeper (the real one)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coldchain.clients.mesos.executor import AgentRefused, AgentUnavailable
from coldchain.decisions.orphan import SWEEPER, Claim, refusal
from coldchain.engines.executor.environment import ExecutorEnvironment
from coldchain.engines.executor.executor import Executor, Listener
from coldchain.engines.executor.executor import Machine as OpenedMachine
from coldchain.engines.executor.sweeper import sweep_alone
from coldchain.model.app import App
from coldchain.model.errors import Unavailable
from coldchain.model.executor import ExecutorSettings
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.ports.engine import Progress
from coldchain.ports.runner import Runner
from coldchain.testing.simulation.mesos.agent import Agent
from coldchain.testing.simulation.mesos.amounts import Amount

if TYPE_CHECKING:
    from coldchain.testing.simulation.mesos.world import MesosWorld

Document = dict[str, Any]
RECOVERY_SECONDS = 12.0
"""How long executors wait for their agent. Mesos's own is 15 minutes: that would make lives long."""
ORPHAN_SECONDS = 60.0
START_SECONDS = 0.4
"""Of an executor, at most."""


class Machine:
    """`name`: its host name; `address`: where its containers and executors are reached. `cut_off`: no packet comes in
    or goes out. `killed_at`: tasks of which somebody answering for them has ordered the end."""

    def __init__(self, world: "MesosWorld", number: int, amount: Amount) -> None:
        self.world = world
        self.name = f"agent-{number + 1}"
        self.address = f"10.99.0.{number + 1}"
        self.amount = amount
        self.up = True
        self.cut_off = False
        self.claims: dict[str, Claim] = {}
        self.settings: ExecutorSettings | None = None
        self.executors: dict[str, ExecutorProcess] = {}
        self.sweeper: asyncio.Task[None] | None = None
        self.agent = Agent(self)
        self._lives = 0

    def live(self) -> list[str]:
        """The ids of the tasks that run here."""
        held = self.world.engine.held.values()
        return [one.spec.task_id for one in held if one.spec.agent == self.name and not one.status.terminal]

    # Executors

    def start_executor(self, executor_id: str, settings: Document) -> "ExecutorProcess":
        """As an agent does."""
        self._lives += 1
        process = ExecutorProcess(self, executor_id, f"{executor_id}:{self._lives}", settings)
        self.executors[process.life] = process
        return process

    def ended(self, process: "ExecutorProcess") -> None:
        """An executor is gone. Its guard becomes the sweeper when it was the last."""
        if self.executors.pop(process.life, None) is None:
            return
        self.world.servers.pop((self.address, process.port), None)
        if self.up:
            self.agent.executor_exited(process)
            self.guard()

    def guard(self) -> None:
        """Begin to sweep where nobody else does."""
        if not self.executors and self.settings is not None and (self.sweeper is None or self.sweeper.done()):
            claims = SimulatedClaims(self, None)
            runner = MachineRunner(self, None)
            self.sweeper = asyncio.create_task(sweep_alone(runner, claims, self.settings, self.world.clock))  # type: ignore[arg-type]

    # Faults

    def stop(self) -> None:
        """The power is gone."""
        self.up = False
        self.agent.kill()
        for process in tuple(self.executors.values()):
            process.kill()
        if self.sweeper is not None:
            self.sweeper.cancel()

    def start(self) -> None:
        self.up = True
        self.agent.start()


class Place(NamedTuple):
    """Implements Listener."""

    address: str
    port: int


class ExecutorProcess:
    """One life of an executor: `coldchain executor` on a machine."""

    def __init__(self, machine: Machine, executor_id: str, life: str, information: Document) -> None:
        self.machine = machine
        self.executor_id = executor_id
        self.life = life
        self.information = information
        self.living = True
        self.port = 40000 + machine.world.number()
        self.served: Runner | None = None
        self.executor: Executor | None = None
        self._work = asyncio.create_task(self._run(), name=f"executor {life}")

    def kill(self) -> None:
        """SIGKILL: nothing that it was doing goes on."""
        if self.living:
            self.living = False
            self._work.cancel()
            self.machine.ended(self)

    async def _run(self) -> None:
        machine = self.machine
        await asyncio.sleep(START_SECONDS * machine.world.draw("executor start").random())
        environment = ExecutorEnvironment(
            url="",
            address=machine.address,
            framework_id="",
            executor_id=self.executor_id,
            life=self.life,
            work_folder=Path("/"),
            checkpoint=True,
            recovery_seconds=RECOVERY_SECONDS,
            backoff_seconds_max=0.5,
        )
        client: Any = AgentClient(self)
        self.executor = Executor(client, environment, machine.world.clock, self._open)
        await self.executor.run()
        self.living = False
        machine.ended(self)

    @contextlib.asynccontextmanager
    async def _open(self, settings: ExecutorSettings) -> AsyncIterator[OpenedMachine]:
        runner: Any = MachineRunner(self.machine, self)
        claims: Any = SimulatedClaims(self.machine, self)
        yield OpenedMachine(runner=runner, claims=claims, listen=self._listen)

    async def _listen(self, served: Runner) -> Listener:
        self.served = served
        self.machine.world.servers[self.machine.address, self.port] = self
        return Place(self.machine.address, self.port)  # type: ignore[return-value]


class AgentClient:
    """In the place of clients.mesos.executor.ExecutorClient."""

    def __init__(self, process: ExecutorProcess) -> None:
        self._process = process
        self._agent = process.machine.agent

    async def close(self) -> None:
        self._agent.hang_up(self._process)

    async def subscribe(self, updates: Sequence[Document], tasks: Sequence[Document]) -> AsyncGenerator[Document, None]:
        await asyncio.sleep(0.002)
        self._check()
        events = self._agent.subscribed(self._process, updates, tasks)
        if events is None:
            raise AgentRefused(403, "no such executor")
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            self._agent.hang_up(self._process, events)
        raise AgentUnavailable("the agent ended the subscription")

    async def update(self, status: Document) -> None:
        await asyncio.sleep(0.001)
        self._check()
        self._agent.updated(self._process, status)

    async def message(self, data: str) -> None:
        await asyncio.sleep(0.001)
        self._check()
        self._agent.said(self._process, data)

    def _check(self) -> None:
        if not self._process.living or not self._agent.up:
            raise AgentUnavailable("the agent does not answer")


class SimulatedClaims:
    """In the place of engines.executor.claims.Claims: the files of a machine. `process` None: of a sweeper."""

    def __init__(self, machine: Machine, process: ExecutorProcess | None) -> None:
        self._machine = machine
        self._process = process

    def live_as(self, name: str) -> None: ...

    def sweep_alone(self) -> bool:
        return True  # there is one of them, by `guard`

    def living(self) -> frozenset[str]:
        return frozenset(name for name, one in self._machine.executors.items() if one.living and one.executor)

    def take(self, task_id: str, holder: str) -> str:
        why = self._dead() or refusal(self._machine.claims.get(task_id), holder, self.living())
        if not why:
            self._machine.claims[task_id] = Claim(holder=holder)
        return why

    def release(self, task_id: str, holder: str) -> None:
        claim = self._machine.claims.get(task_id)
        if not self._dead() and claim is not None and claim.holder == holder:
            del self._machine.claims[task_id]

    def all(self) -> dict[str, Claim]:
        return dict(self._machine.claims)

    def clear(self, present: set[str]) -> None:
        living = self.living()
        for name, claim in tuple(self._machine.claims.items()):
            if name not in present and claim.holder not in living:
                self.release(name, claim.holder)

    def keep_settings(self, settings: ExecutorSettings) -> None:
        self._machine.settings = settings

    def _dead(self) -> str:
        return "it is dead" if self._process is not None and not self._process.living else ""


class MachineRunner:
    """The runner of one machine, in the hands of an executor, or with `process` None of a sweeper."""

    def __init__(self, machine: Machine, process: ExecutorProcess | None) -> None:
        self._machine = machine
        self._process = process
        self._world = machine.world

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        await self._reach()
        return await self._world.engine.prepare(app, image, progress)

    async def launch(self, spec: TaskSpec) -> None:
        await self._reach()
        self._world.engine.launched(self._machine.name, spec)
        await self._world.engine.launch(spec)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        await self._reach()
        self._world.engine.stopped(task_id, SWEEPER if self._swept(task_id) else "executor")
        await self._world.engine.kill(task_id, grace_seconds)

    async def forget(self, task_id: str) -> None:
        await self._reach()
        await self._world.engine.forget(task_id)

    async def tasks(self) -> Sequence[TaskStatus]:
        await self._reach()
        held = self._world.engine.held.values()
        return [one.status for one in held if one.spec.agent == self._machine.name]

    async def updates(self) -> AsyncGenerator[TaskStatus, None]:
        async with contextlib.aclosing(self._world.engine.updates()) as updates:
            async for status in updates:
                if status.agent == self._machine.name:
                    yield status

    async def _reach(self) -> None:
        await asyncio.sleep(0.002)
        if not self._machine.up or (self._process is not None and not self._process.living):
            raise Unavailable("who asks is dead")

    def _swept(self, task_id: str) -> bool:
        claim = self._machine.claims.get(task_id)
        return claim is not None and claim.holder == SWEEPER


class Reached:
    """What a scheduler reaches of an executor by HTTP: in the place of runners.remote.RemoteRunner."""

    def __init__(self, world: "MesosWorld", url: str, dead: Callable[[], Awaitable[None]]) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._world = world
        self._place = host, int(port)
        self._dead = dead

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        return await (await self._served()).prepare(app, image, progress)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        await (await self._served()).kill(task_id, grace_seconds)

    async def forget(self, task_id: str) -> None:
        await (await self._served()).forget(task_id)

    async def close(self) -> None:
        """Nothing is held."""

    async def _served(self) -> Runner:
        await self._dead()
        await asyncio.sleep(0.002)
        process = self._world.servers.get(self._place)
        if process is None or process.served is None or process.machine.cut_off:
            raise Unavailable("the executor does not answer")
        return process.served
