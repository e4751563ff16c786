"""LocalEngine: this machine as the whole cluster."""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from coldchain.model.app import App
from coldchain.model.errors import NotFound, Problem, Rejected, Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.engine import Progress
from coldchain.ports.runner import Runner
from coldchain.ports.session import Session, TerminalSize

MEMORY_INFORMATION = Path("/proc/meminfo")
MIB = 1024 * 1024

Subnet = Callable[[], Awaitable[str | None]]
"""Tells the subnet from which addresses of containers are chosen; None where the network gives them."""


@dataclass(frozen=True, kw_only=True)
class LocalEngineSettings:
    """What of this machine is offered."""

    cpu_factor: float = 1.0
    """Offered cpus for each core: above 1 to pack more tasks than cores, because cpus are shares and not limits."""

    memory_reserve_mib: float = 512.0
    """Memory kept for the machine itself, Docker, the gateway and the controller."""

    disk_path: Path = Path("/var/lib")
    """On the file system whose size is offered: where containers are kept."""

    disk_reserve_mib: float = 1024.0
    """Disk kept back: a full disk stops everything."""

    port_first: int = 31000
    port_last: int = 32000
    """Host ports to give away, both ends included; Mesos's default range."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    region: str | None = None
    zone: str | None = None
    """As in `Offer`."""


class LocalEngine:
    """One agent: this machine. `runners` by what they run: `docker` for apps with a container, `process` for those
    without; either may be missing."""

    def __init__(
        self,
        agent: str,
        runners: Mapping[str, Runner],
        settings: LocalEngineSettings,
        *,
        subnet: Subnet | None = None,
        target: str = "cluster",
    ) -> None:
        self.target = target
        self._agent = agent
        self._runners = dict(runners)
        self._settings = settings
        self._subnet = subnet

    async def offers(self) -> Sequence[Offer]:
        settings = self._settings
        subnet = await self._subnet() if self._subnet is not None else None
        try:
            memory = await asyncio.to_thread(MEMORY_INFORMATION.read_text)
            disk = await asyncio.to_thread(shutil.disk_usage, settings.disk_path)
        except OSError as error:  # such as no file descriptor left
            raise Unavailable(f"cannot see what this machine offers: {error}") from error
        return (
            Offer(
                agent=self._agent,
                target=self.target,
                hostname=self._agent,
                cpus=len(os.sched_getaffinity(0)) * settings.cpu_factor,
                mem=max(0.0, memory_total_mib(memory) - settings.memory_reserve_mib),
                disk=max(0.0, disk.total // MIB - settings.disk_reserve_mib),
                port_ranges=((settings.port_first, settings.port_last),),
                subnet=subnet,
                attributes=dict(settings.attributes),
                region=settings.region,
                zone=settings.zone,
            ),
        )

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        return await self._runner(app).prepare(app, image, progress)

    async def launch(self, spec: TaskSpec) -> None:
        await self._runner(spec.app).launch(spec)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        await asyncio.gather(*(runner.kill(task_id, grace_seconds) for runner in self._runners.values()))

    async def forget(self, task_id: str) -> None:
        await asyncio.gather(*(runner.forget(task_id) for runner in self._runners.values()))

    async def tasks(self) -> Sequence[TaskStatus]:
        listings = await asyncio.gather(*(runner.tasks() for runner in self._runners.values()))
        return [status for listing in listings for status in listing]

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        """Of all runners; Unavailable as soon as one of them raises it, because its tasks are then unknown."""
        return merged([runner.updates() for runner in self._runners.values()])

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        for runner in self._runners.values():
            with suppress(NotFound):
                async for piece in runner.logs(task_id, follow=follow, tail=tail, since=since):
                    yield piece
                return
        raise NotFound(f"no output of task {task_id} is kept", todo="See the app's last failure")

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        for runner in self._runners.values():
            with suppress(NotFound):
                return await runner.execute(task_id, command, timeout_seconds)
        raise NotFound(f"task {task_id} does not run")

    async def network_namespace(self, task_id: str) -> str | None:
        for runner in self._runners.values():
            with suppress(NotFound):
                return await runner.network_namespace(task_id)
        raise NotFound(f"task {task_id} does not run")

    async def statistics(self, task_id: str) -> TaskStatistics:
        for runner in self._runners.values():
            with suppress(NotFound):
                return await runner.statistics(task_id)
        raise NotFound(f"task {task_id} does not run")

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        for runner in self._runners.values():
            with suppress(NotFound):
                return await runner.open_session(task_id, command, size)
        raise NotFound(f"task {task_id} does not run", todo="`coldchain status APP` shows what does")

    async def close(self) -> None:
        await asyncio.gather(*(runner.close() for runner in self._runners.values()))

    def _runner(self, app: App) -> Runner:
        kind = "docker" if app.container is not None else "process"
        if kind not in self._runners:
            todo = "Give `container.docker.image`" if kind == "process" else "Give the app another target"
            raise Rejected(f"target {self.target} cannot run {app.id}: it has no {kind} runner", todo=todo)
        return self._runners[kind]


def not_offered(app: App) -> Sequence[Problem]:
    """What an app asks for that this engine never has."""
    if app.gpus:
        return [Problem(path="/gpus", reason="this machine offers none to its tasks: leave it out")]
    return []


def memory_total_mib(text: str) -> float:
    """MemTotal of /proc/meminfo, in MiB."""
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) / 1024
    raise ValueError("/proc/meminfo names no MemTotal")


async def merged(streams: Sequence[AsyncGenerator[TaskStatus, None]]) -> AsyncGenerator[TaskStatus, None]:
    """Whatever comes first, until the first stream fails, by its error."""
    queue: asyncio.Queue[TaskStatus | Exception] = asyncio.Queue(maxsize=1)

    async def pour(stream: AsyncGenerator[TaskStatus, None]) -> None:
        try:
            async with aclosing(stream):
                async for status in stream:
                    await queue.put(status)
        except Exception as error:
            await queue.put(error)

    pouring = [asyncio.create_task(pour(stream)) for stream in streams]
    try:
        while True:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        for task in pouring:
            task.cancel()
        await asyncio.gather(*pouring, return_exceptions=True)
