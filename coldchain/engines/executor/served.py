"""Served: the runner as the scheduler sees it: tasks come from the agent and from nowhere else."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from coldchain.decisions.executor import ExecutorState, Happening, KillAsked
from coldchain.engines.executor.claims import Claims, in_thread
from coldchain.model.app import App
from coldchain.model.errors import Forbidden
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.engine import Progress
from coldchain.ports.runner import Runner
from coldchain.ports.session import Session, TerminalSize


class Decider(Protocol):
    """What of the executor is needed here."""

    @property
    def state(self) -> ExecutorState: ...

    @property
    def life(self) -> str: ...

    def happen(self, happening: Happening) -> None: ...


class Served:
    """Implements ports.runner.Runner."""

    def __init__(self, runner: Runner, claims: Claims, decider: Decider) -> None:
        self._runner = runner
        self._claims = claims
        self._decider = decider

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        return await self._runner.prepare(app, image, progress)

    async def launch(self, spec: TaskSpec) -> None:
        raise Forbidden("tasks of this machine come from its agent", todo="Launch it through Mesos.")

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        """Port text; also for what nobody answers for. What is ended so is known as killed."""
        held = self._decider.state.of_runner(task_id)
        if held is not None:
            self._decider.happen(KillAsked(task_id=held.task_id, grace_seconds=grace_seconds))
        else:
            await self._runner.kill(task_id, grace_seconds)

    async def forget(self, task_id: str) -> None:
        await self._runner.forget(task_id)
        if self._decider.state.of_runner(task_id) is None:
            await in_thread(self._claims.release, task_id, self._decider.life)

    async def tasks(self) -> Sequence[TaskStatus]:
        return await self._runner.tasks()

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        return self._runner.updates()

    def logs(self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None) -> AsyncIterator[bytes]:
        return self._runner.logs(task_id, follow=follow, tail=tail, since=since)

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        return await self._runner.execute(task_id, command, timeout_seconds)

    async def network_namespace(self, task_id: str) -> str | None:
        return await self._runner.network_namespace(task_id)

    async def statistics(self, task_id: str) -> TaskStatistics:
        return await self._runner.statistics(task_id)

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        return await self._runner.open_session(task_id, command, size)

    async def close(self) -> None:
        """The runner is closed by who opened it."""
