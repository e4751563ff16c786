"""FakeEngine: port Engine without a machine, for tests and simulations; time comes from a Clock.

Its tasks live as the test says (`Life`): they start late, get healthy late or never, crash, ignore SIGTERM. It can stop
answering, carry a request out and lose the reply, lose updates, and lose a whole agent. It counts what it created and
deleted, and it refuses what a real engine refuses: an address or port that is in use.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from coldchain.model.app import App
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec, TaskState, TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize
from coldchain.runners.docker.specification import task_ports
from coldchain.testing.fake_session import FakeSession

SIGTERM_STATUS = 143
SIGKILL_STATUS = 137

ONE_AGENT = Offer(
    agent="agent-1",
    target="cluster",
    hostname="agent-1",
    cpus=64.0,
    mem=65536.0,
    disk=1048576.0,
    port_ranges=((31000, 32000),),
    subnet="10.201.0.0/16",
)


@dataclass(frozen=True, kw_only=True)
class Life:
    """What becomes of a task once it is launched."""

    rejected: str = ""
    """Not empty: the launch is refused for this reason."""
    start_seconds: float = 0.1
    """From the launch to running."""
    warm_seconds: float = 0.0
    """From running to healthy."""
    healthy: bool = True
    """False: never healthy."""
    ends_after_seconds: float | None = None
    """From running to its own end; None: never."""
    exit_status: int = 1
    """Of its own end; 0 is finished, all else failed."""
    stop_seconds: float = 0.05
    """From SIGTERM to its end."""
    ignores_sigterm: bool = False
    output: bytes = b""
    """Written when it starts."""
    executes: Callable[[str], Execution] = lambda command: Execution(exit_status=0)
    """How a command beside it ends."""


@dataclass(kw_only=True)
class FakeTask:
    """A task in the fake. `sigterm_at`, `kill_at` in the clock's monotonic seconds."""

    spec: TaskSpec
    life: Life
    status: TaskStatus
    healthy: bool = False
    sigterm_at: float | None = None
    kill_at: float = 0.0
    work: list[asyncio.Task[None]] = field(default_factory=list)


class FakeEngine:
    """`life` says how a task lives. Set `available` to False and it answers nothing and breaks the updates.

    `loses_reply(operation)` is asked after each operation that changes something (`prepare`, `launch`, `kill`,
    `forget`): True, and the caller gets Unavailable for what was done. `loses_update(status)`: True, and nobody hears.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        target: str = "cluster",
        agents: Sequence[Offer] = (ONE_AGENT,),
        life: Callable[[TaskSpec], Life] = lambda spec: Life(),
        image: Callable[[App], str] = lambda app: f"sha256:{app.container.docker.image if app.container else ''}",
    ) -> None:
        self.target = target
        self.life = life
        self.image = image
        self.loses_reply: Callable[[str], bool] = lambda operation: False
        self.loses_update: Callable[[TaskStatus], bool] = lambda status: False
        self.created: Counter[str] = Counter()
        self.deleted: Counter[str] = Counter()
        self.prepared: Counter[str] = Counter()
        self.held: dict[str, FakeTask] = {}
        self._clock = clock
        self._agents = {offer.agent: offer for offer in agents}
        self._available = True
        self._listeners: list[asyncio.Queue[TaskStatus | Unavailable]] = []

    # Hands of the test

    @property
    def available(self) -> bool:
        return self._available

    @available.setter
    def available(self, answer: bool) -> None:
        self._available = answer
        if not answer:
            self.break_updates()

    def break_updates(self) -> None:
        """Every stream of updates ends by Unavailable; the engine itself answers on."""
        for listener in self._listeners:
            listener.put_nowait(self._silence())

    def crash(self, task_id: str, exit_status: int = SIGKILL_STATUS) -> None:
        """The task ends now, by itself or by someone else's hand."""
        self._end(self.held[task_id], "failed", exit_status, f"exit status {exit_status}")

    def vanish(self, task_id: str) -> None:
        """The task and all that is left of it are gone, and nobody is told (a reboot, a `docker rm -f`)."""
        self._drop(task_id)

    def lose_agent(self, agent: str) -> None:
        """The agent is gone with all its tasks, which are reported lost."""
        del self._agents[agent]
        for task in tuple(self.held.values()):
            if task.spec.agent == agent:
                self._end(task, "lost", None, f"agent {agent} is lost")

    def add_agent(self, offer: Offer) -> None:
        self._agents[offer.agent] = offer

    def task_at(self, address: str, port: int) -> FakeTask | None:
        """The running task that listens there: what a prober or a gateway would reach."""
        for task in self.held.values():
            status = task.status
            if status.state in ("running", "killing") and status.address == address and port in status.ports:
                return task
        return None

    # Port Engine

    async def offers(self) -> Sequence[Offer]:
        self._answer()
        return tuple(self._agents.values())

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        self._answer()
        if app.container is None:
            return None
        self.prepared[app.id] += 1
        progress(f"image {app.container.docker.image} is present")
        self._reply("prepare")
        return image or self.image(app)

    async def launch(self, spec: TaskSpec) -> None:
        self._answer()
        if spec.task_id not in self.held:
            self._create(spec, self.life(spec))
        self._reply("launch")

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        self._answer()
        task = self.held.get(task_id)
        if task is not None and not task.status.terminal:
            kill_at = self._clock.monotonic() + grace_seconds
            if task.sigterm_at is None:
                task.sigterm_at, task.kill_at = self._clock.monotonic(), kill_at
                task.work.append(asyncio.create_task(self._stop(task, grace_seconds)))
            elif kill_at < task.kill_at:
                task.kill_at = kill_at
                task.work.append(asyncio.create_task(self._kill(task, grace_seconds)))
        self._reply("kill")

    async def forget(self, task_id: str) -> None:
        self._answer()
        task = self.held.get(task_id)
        if task is not None and task.status.terminal:
            self._drop(task_id)
        self._reply("forget")

    async def tasks(self) -> Sequence[TaskStatus]:
        self._answer()
        return [task.status for task in self.held.values()]

    def updates(self) -> AsyncIterator[TaskStatus]:
        listener: asyncio.Queue[TaskStatus | Unavailable] = asyncio.Queue()
        self._listeners.append(listener)
        if not self._available:
            listener.put_nowait(self._silence())
        return self._updates(listener)

    async def _updates(self, listener: asyncio.Queue[TaskStatus | Unavailable]) -> AsyncGenerator[TaskStatus, None]:
        try:
            while True:
                item = await listener.get()
                if isinstance(item, Unavailable):
                    raise item
                yield item
        finally:
            self._listeners.remove(listener)

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        self._answer()
        if task_id not in self.held:
            raise NotFound(f"no output of task {task_id} is kept")
        lines = self.held[task_id].life.output.splitlines(keepends=True)
        if since is not None and self.held[task_id].status.at < since:
            lines = []  # it writes when it starts, and nothing later
        for line in lines if tail is None else lines[len(lines) - tail :]:
            yield line

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        self._answer()
        task = self.held.get(task_id)
        if task is None or task.status.state not in ("running", "killing"):
            raise NotFound(f"task {task_id} does not run")
        return task.life.executes(command)

    async def network_namespace(self, task_id: str) -> str | None:
        self._answer()
        if task_id not in self.held or self.held[task_id].status.state != "running":
            raise NotFound(f"task {task_id} does not run")
        return None

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        self._answer()
        if task_id not in self.held or self.held[task_id].status.state != "running":
            raise NotFound(f"task {task_id} does not run")
        return FakeSession(command, size)

    async def close(self) -> None:
        works = [work for task in self.held.values() for work in task.work]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    # Lives

    def _create(self, spec: TaskSpec, life: Life) -> None:
        if life.rejected:
            raise Rejected(life.rejected)
        if spec.agent not in self._agents:
            raise Rejected(f"agent {spec.agent} is not there")
        ports = task_ports(spec)
        for other in self.held.values():
            if other.status.terminal or other.spec.agent != spec.agent:
                continue
            if spec.address is not None and spec.address == other.spec.address:
                raise Rejected(f"address {spec.address} is in use by {other.spec.task_id}")
            if taken := ({*spec.host_ports} & {*other.spec.host_ports}) - {0}:
                raise Rejected(f"port {min(taken)} is in use by {other.spec.task_id}")
        status = TaskStatus(
            task_id=spec.task_id,
            instance_id=spec.instance_id,
            app_id=spec.app_id,
            target=spec.target,
            agent=spec.agent,
            state="staging",
            at=self._clock.now(),
            address=spec.address or self._agents[spec.agent].hostname,
            ports=ports,
        )
        task = self.held[spec.task_id] = FakeTask(spec=spec, life=life, status=status)
        self.created[spec.app_id] += 1
        self._tell(status)
        task.work.append(asyncio.create_task(self._live(task)))

    async def _live(self, task: FakeTask) -> None:
        life = task.life
        await self._clock.sleep(life.start_seconds)
        self._become(task, "running")
        if life.healthy:
            task.work.append(asyncio.create_task(self._warm(task)))
        if life.ends_after_seconds is not None:
            await self._clock.sleep(life.ends_after_seconds)
            state: TaskState = "finished" if life.exit_status == 0 else "failed"
            self._end(task, state, life.exit_status, f"exit status {life.exit_status}")

    async def _warm(self, task: FakeTask) -> None:
        await self._clock.sleep(task.life.warm_seconds)
        task.healthy = True

    async def _stop(self, task: FakeTask, grace_seconds: float) -> None:
        if task.life.ignores_sigterm or task.life.stop_seconds > grace_seconds:
            await self._kill(task, grace_seconds)
        else:
            await self._clock.sleep(task.life.stop_seconds)
            self._end(task, "killed", SIGTERM_STATUS, f"exit status {SIGTERM_STATUS} (SIGTERM)")

    async def _kill(self, task: FakeTask, grace_seconds: float) -> None:
        await self._clock.sleep(grace_seconds)
        self._end(task, "killed", SIGKILL_STATUS, f"exit status {SIGKILL_STATUS} (SIGKILL)")

    def _end(self, task: FakeTask, state: TaskState, exit_status: int | None, message: str) -> None:
        if task.status.terminal:
            return
        task.healthy = False
        for work in task.work:
            if work is not asyncio.current_task():
                work.cancel()
        tail = tuple(task.life.output.decode(errors="replace").splitlines()[-20:]) if state == "failed" else ()
        self._become(task, state, exit_status=exit_status, message=message, log_tail=tail)

    def _drop(self, task_id: str) -> None:
        task = self.held.pop(task_id)
        for work in task.work:
            work.cancel()
        self.deleted[task.spec.app_id] += 1

    def _become(
        self,
        task: FakeTask,
        state: TaskState,
        *,
        exit_status: int | None = None,
        message: str = "",
        log_tail: tuple[str, ...] = (),
    ) -> None:
        known = task.status
        task.status = TaskStatus(
            task_id=known.task_id,
            instance_id=known.instance_id,
            app_id=known.app_id,
            target=known.target,
            agent=known.agent,
            state=state,
            at=self._clock.now(),
            address=known.address,
            ports=known.ports,
            exit_status=exit_status,
            message=message,
            log_tail=log_tail,
        )
        self._tell(task.status)

    # Answers

    def _tell(self, status: TaskStatus) -> None:
        if self._available and not self.loses_update(status):
            for listener in self._listeners:
                listener.put_nowait(status)

    def _answer(self) -> None:
        if not self._available:
            raise self._silence()

    def _reply(self, operation: str) -> None:
        if self.loses_reply(operation):
            raise Unavailable(f"engine {self.target}: the reply to {operation} was lost")

    def _silence(self) -> Unavailable:
        return Unavailable(f"engine {self.target} does not answer")
