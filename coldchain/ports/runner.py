"""Runner: how a task runs on its machine (docker, process, package)."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from coldchain.model.app import App
from coldchain.model.task import Execution, TaskSpec, TaskStatus
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize


class Runner(Protocol):
    """As Engine, for the one machine it stands on. Adopts what it started in an earlier life, and only that."""

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None: ...

    async def launch(self, spec: TaskSpec) -> None: ...

    async def kill(self, task_id: str, grace_seconds: float) -> None: ...

    async def forget(self, task_id: str) -> None: ...

    async def tasks(self) -> Sequence[TaskStatus]: ...

    def updates(self) -> AsyncGenerator[TaskStatus, None]: ...

    def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]: ...

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution: ...

    async def network_namespace(self, task_id: str) -> str | None: ...

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session: ...

    async def close(self) -> None: ...
