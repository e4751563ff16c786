"""FakeAgents: port Engine without machines: its agents are only offered and its tasks run nothing; to try the platform
out, and to measure it at sizes for which nobody has machines at hand.

Tasks live as `Life` says: they start late, get healthy late or never, end, ignore SIGTERM. What a real engine refuses
is refused, such as an address or port that is in use. All of it ends with the process.
"""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from coldchain.decisions.address import task_ports
from coldchain.model.app import App
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec, TaskState, TaskStatistics, TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize

SIGTERM_STATUS = 143
SIGKILL_STATUS = 137
AGENTS_MAX = 8192
DISK_MIB = 1048576.0
NETWORK = ipaddress.IPv4Network("10.210.0.0/16")
"""Of which networks by name give addresses."""


@dataclass(frozen=True, kw_only=True, slots=True)
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


USUAL = Life()


@dataclass(kw_only=True, slots=True)
class FakeTask:
    """A task in the fake. `sigterm_at`, `kill_at` in the clock's monotonic seconds."""

    spec: TaskSpec
    life: Life
    status: TaskStatus
    healthy: bool = False
    sigterm_at: float | None = None
    kill_at: float = 0.0
    work: list[asyncio.Task[None]] = field(default_factory=list)


class FakeAgents:
    """`life` says how a task lives."""

    def __init__(
        self,
        clock: Clock,
        *,
        target: str = "cluster",
        agents: Sequence[Offer],
        life: Callable[[TaskSpec], Life] = lambda spec: USUAL,
        image: Callable[[App], str] = lambda app: f"sha256:{app.container.docker.image if app.container else ''}",
    ) -> None:
        self.target = target
        self.life = life
        self.image = image
        self.held: dict[str, FakeTask] = {}
        self._of_instance: dict[str, FakeTask] = {}
        self._given = 0
        self._clock = clock
        self._agents = {offer.agent: offer for offer in agents}
        self._users: dict[tuple[str, str | int], str] = {}
        self._listeners: list[asyncio.Queue[TaskStatus | Unavailable]] = []

    # Port Engine

    async def offers(self) -> Sequence[Offer]:
        return tuple(self._agents.values())

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        if app.container is None:
            return None
        progress(f"image {app.container.docker.image} is present")
        return image or self.image(app)

    async def launch(self, spec: TaskSpec) -> None:
        if spec.task_id not in self.held:
            self._create(spec, self.life(spec))

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        task = self.held.get(task_id)
        if task is not None and not task.status.terminal:
            kill_at = self._clock.monotonic() + grace_seconds
            if task.sigterm_at is None:
                task.sigterm_at, task.kill_at = self._clock.monotonic(), kill_at
                self._begin(task, partial(self._stop, task, grace_seconds))
            elif kill_at < task.kill_at:
                task.kill_at = kill_at
                self._begin(task, partial(self._kill, task, grace_seconds))

    async def forget(self, task_id: str) -> None:
        task = self.held.get(task_id)
        if task is not None and task.status.terminal:
            self._drop(task_id)

    async def tasks(self) -> Sequence[TaskStatus]:
        return [task.status for task in self.held.values()]

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        listener: asyncio.Queue[TaskStatus | Unavailable] = asyncio.Queue()
        self._listeners.append(listener)
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
        if task_id not in self.held:
            raise NotFound(f"no output of task {task_id} is kept")
        lines = self.held[task_id].life.output.splitlines(keepends=True)
        if since is not None and self.held[task_id].status.at < since:
            lines = []  # it writes when it starts, and nothing later
        for line in lines if tail is None else lines[len(lines) - tail :]:
            yield line

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        task = self.held.get(task_id)
        if task is None or task.status.state not in ("running", "killing"):
            raise NotFound(f"task {task_id} does not run")
        return task.life.executes(command)

    async def network_namespace(self, task_id: str) -> str | None:
        self._check_runs(task_id)
        return None

    async def statistics(self, task_id: str) -> TaskStatistics:
        """It runs nothing, so it uses nothing."""
        self._check_runs(task_id)
        now = self._clock.now()
        return TaskStatistics(task_id=task_id, at=now, cpu_seconds=0.0, memory_bytes=0, processes=0)

    def healthy(self, instance_id: str) -> bool | None:
        """Whether the task of an instance runs and is healthy; None for one that is not here."""
        task = self._of_instance.get(instance_id)
        return None if task is None else task.healthy and task.status.state == "running"

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        self._check_runs(task_id)
        raise Rejected(f"task {task_id} runs nothing, so no program can be run beside it: its agent is a fake")

    async def close(self) -> None:
        works = [work for task in self.held.values() for work in task.work]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    def _check_runs(self, task_id: str) -> None:
        if task_id not in self.held or self.held[task_id].status.state != "running":
            raise NotFound(f"task {task_id} does not run")

    # Lives

    def _create(self, spec: TaskSpec, life: Life) -> None:
        if life.rejected:
            raise Rejected(life.rejected)
        if spec.agent not in self._agents:
            raise Rejected(f"agent {spec.agent} is not there")
        ports = task_ports(spec)
        for place in _places(spec):
            if place in self._users:
                kind = "port" if isinstance(place[1], int) else "address"
                raise Rejected(f"{kind} {place[1]} is in use by {self._users[place]}")
        status = TaskStatus(
            task_id=spec.task_id,
            instance_id=spec.instance_id,
            app_id=spec.app_id,
            target=spec.target,
            agent=spec.agent,
            state="staging",
            at=self._clock.now(),
            address=self._address(spec),
            ports=ports,
            host_ports=spec.host_ports,
        )
        task = self.held[spec.task_id] = FakeTask(spec=spec, life=life, status=status)
        self._of_instance[spec.instance_id] = task
        self._users.update(dict.fromkeys(_places(spec), spec.task_id))
        self._tell(status)
        self._begin(task, partial(self._live, task))

    def _address(self, spec: TaskSpec) -> str:
        """A network by name gives one itself, the next that it has; whoever has no network of his own has that of his
        agent."""
        if spec.app.network.by_name:
            self._given += 1
            return str(NETWORK[1 + self._given % (NETWORK.num_addresses - 2)])
        return spec.address or self._agents[spec.agent].hostname

    def _begin(self, task: FakeTask, work: Callable[[], Awaitable[None]]) -> None:
        task.work.append(asyncio.create_task(self._carry_out(task, work)))

    async def _carry_out(self, task: FakeTask, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            task.work = [one for one in task.work if one is not asyncio.current_task()]

    async def _live(self, task: FakeTask) -> None:
        life = task.life
        await self._clock.sleep(life.start_seconds)
        self._become(task, "running")
        if life.healthy:
            self._begin(task, partial(self._warm, task))
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
        self._release(task)
        tail = tuple(task.life.output.decode(errors="replace").splitlines()[-20:]) if state == "failed" else ()
        self._become(task, state, exit_status=exit_status, message=message, log_tail=tail)

    def _drop(self, task_id: str) -> None:
        task = self.held.pop(task_id)
        if self._of_instance.get(task.spec.instance_id) is task:
            del self._of_instance[task.spec.instance_id]
        self._release(task)
        for work in task.work:
            work.cancel()

    def _release(self, task: FakeTask) -> None:
        """Its address and ports, unless another has them by now."""
        for place in _places(task.spec):
            if self._users.get(place) == task.spec.task_id:
                del self._users[place]

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
            host_ports=known.host_ports,
            exit_status=exit_status,
            message=message,
            log_tail=log_tail,
        )
        self._tell(task.status)

    def _tell(self, status: TaskStatus) -> None:
        for listener in self._listeners:
            listener.put_nowait(status)


def _places(spec: TaskSpec) -> Iterator[tuple[str, str | int]]:
    """What of its agent only one task can have: its address and its host ports."""
    if spec.address is not None:
        yield spec.agent, spec.address
    for port in spec.host_ports:
        if port:
            yield spec.agent, port


def fake_offers(count: int, *, target: str, cpus: float, mem: float) -> list[Offer]:
    """Agents of one size, each with a subnet of what is set apart for measuring networks (RFC 2544): of 256 addresses,
    or as many as there are for each."""
    whole = ipaddress.ip_network("198.18.0.0/15")
    subnets = whole.subnets(new_prefix=max(24, whole.prefixlen + (count - 1).bit_length()))
    return [
        Offer(
            agent=f"fake-{number}",
            target=target,
            hostname=f"fake-{number}",
            cpus=cpus,
            mem=mem,
            disk=DISK_MIB,
            port_ranges=((31000, 32000),),
            subnet=str(subnet),
        )
        for number, subnet in zip(range(1, count + 1), subnets, strict=False)
    ]
