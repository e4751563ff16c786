"""engines: where the tasks of a platform run: this machine, fake agents, or both."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from coldchain.clients.docker import DockerClient
from coldchain.engines.fake import FakeAgents, fake_offers
from coldchain.engines.local import LocalEngine, merged
from coldchain.engines.mesos import MesosEngine
from coldchain.main.mesos import check_no_framework, open_mesos
from coldchain.main.settings import PlatformSettings
from coldchain.model.app import App
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Engine, Progress
from coldchain.ports.runner import Runner
from coldchain.ports.session import Session, TerminalSize
from coldchain.ports.store import Store
from coldchain.runners.docker.runner import DockerRunner
from coldchain.runners.process import ProcessRunner

CLUSTER = "cluster"
"""The target of apps that name none."""
MESOS = "mesos"
"""That of a cluster of Mesos beside this machine."""
FAKE = "fake"
"""That of fake agents beside this machine."""


class Targets:
    """Implements ports.engine.Engine by several, each a target of its own. They answer together or not at all."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.target = engines[0].target
        self._engines: Mapping[str, Engine] = {one.target: one for one in engines}

    async def offers(self) -> Sequence[Offer]:
        return [offer for one in self._engines.values() for offer in await one.offers()]

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        return await self._of(app.target).prepare(app, image, progress)

    async def launch(self, spec: TaskSpec) -> None:
        await self._of(spec.target).launch(spec)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        await asyncio.gather(*(one.kill(task_id, grace_seconds) for one in self._engines.values()))

    async def forget(self, task_id: str) -> None:
        await asyncio.gather(*(one.forget(task_id) for one in self._engines.values()))

    async def tasks(self) -> Sequence[TaskStatus]:
        listings = await asyncio.gather(*(one.tasks() for one in self._engines.values()))
        return [status for listing in listings for status in listing]

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        return merged([one.updates() for one in self._engines.values()])

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        for one in self._engines.values():
            with contextlib.suppress(NotFound):
                async for piece in one.logs(task_id, follow=follow, tail=tail, since=since):
                    yield piece
                return
        raise NotFound(f"no output of task {task_id} is kept", todo="See the app's last failure")

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        for one in self._engines.values():
            with contextlib.suppress(NotFound):
                return await one.execute(task_id, command, timeout_seconds)
        raise _not_running(task_id)

    async def network_namespace(self, task_id: str) -> str | None:
        for one in self._engines.values():
            with contextlib.suppress(NotFound):
                return await one.network_namespace(task_id)
        raise _not_running(task_id)

    async def statistics(self, task_id: str) -> TaskStatistics:
        for one in self._engines.values():
            with contextlib.suppress(NotFound):
                return await one.statistics(task_id)
        raise _not_running(task_id)

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        for one in self._engines.values():
            with contextlib.suppress(NotFound):
                return await one.open_session(task_id, command, size)
        raise _not_running(task_id)

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self._engines.values()))

    def _of(self, target: str) -> Engine:
        if target not in self._engines:
            raise Rejected(f"there is no target {target}", todo=f"There are: {', '.join(self._engines)}.")
        return self._engines[target]


def _not_running(task_id: str) -> NotFound:
    return NotFound(f"task {task_id} does not run", todo="`coldchain status APP` shows what does")


class Engines(NamedTuple):
    """Where tasks run: all of it as one engine; `fake`: the part that runs nothing, and `mesos`: the part on other
    machines, if there is one."""

    engine: Engine
    fake: FakeAgents | None
    mesos: MesosEngine | None


@contextlib.asynccontextmanager
async def open_engines(
    settings: PlatformSettings, controller_id: str, clock: Clock, store: Store, cipher: Cipher
) -> AsyncIterator[Engines]:
    """Raises Rejected where no Docker Engine answers though this machine is to run tasks, and where tasks run on a
    cluster that is not among the engines."""
    if settings.mesos is None:
        await check_no_framework(store)
    engines: list[Engine] = []
    fake = mesos = None
    async with contextlib.AsyncExitStack() as closing:
        if settings.local:
            local = _local(settings, controller_id)
            closing.push_async_callback(local.close)
            await _check_docker(local, settings)
            engines.append(local)
        if settings.mesos is not None:
            target = MESOS if engines else CLUSTER
            executor = settings.executor_settings(controller_id)
            opening = open_mesos(settings.mesos, executor, store, cipher, clock, target)
            mesos = await closing.enter_async_context(opening)
            engines.append(mesos)
        if settings.fake_agents:
            target = FAKE if engines else CLUSTER
            offers = fake_offers(settings.fake_agents, target=target, cpus=settings.fake_cpus, mem=settings.fake_mem)
            fake = FakeAgents(clock, target=target, agents=offers)
            closing.push_async_callback(fake.close)
            engines.append(fake)
        yield Engines(engines[0] if len(engines) == 1 else Targets(engines), fake, mesos)


def _local(settings: PlatformSettings, controller_id: str) -> LocalEngine:
    docker = DockerRunner(
        DockerClient(settings.docker_socket), controller_id, settings.agent, settings.docker_settings()
    )
    process = ProcessRunner(settings.data / "tasks" / controller_id, settings.process_settings())
    runners: dict[str, Runner] = {"docker": docker, "process": process}
    return LocalEngine(settings.agent, runners, settings.engine_settings(), subnet=docker.subnet)


async def _check_docker(engine: LocalEngine, settings: PlatformSettings) -> None:
    try:
        await engine.tasks()
    except Unavailable as error:
        raise Rejected(
            f"no Docker Engine answers on {settings.docker_socket}: {error.message}",
            todo="Install docker.io and start it (`systemctl start docker`), or name its socket with --docker-socket.",
        ) from error
