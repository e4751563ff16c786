"""Engine: where tasks run (local, mesos, vm)."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Protocol

from coldchain.model.app import App
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.session import Session, TerminalSize

Progress = Callable[[str], None]
"""Told in plain words how a long work goes on (`pulling layer 3 of 7`)."""


class Engine(Protocol):
    """Raises `Unavailable` when the engine does not answer: its tasks are then unknown, never gone."""

    target: str

    async def offers(self) -> Sequence[Offer]:
        """The whole capacity of each agent, not what our own tasks leave of it; the controller counts those itself."""
        ...

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        """Make the app's image present wherever a task may run; `image` is the resolved one or None to resolve it.

        Returns the resolved image (digest or id), None for an app without one. Raises `Rejected` with the reason.
        """
        ...

    async def launch(self, spec: TaskSpec) -> None:
        """Start the task unless it exists already. Outcomes come as updates. Raises `Rejected` if it cannot start."""
        ...

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        """SIGTERM now, SIGKILL after the grace; returns at once or later, the outcome comes as an update.
        Of an unknown task: nothing happens, and no update comes."""
        ...

    async def forget(self, task_id: str) -> None:
        """Remove what is left of a terminal task (container, sandbox). Of an unknown or a live one: nothing happens."""
        ...

    async def tasks(self) -> Sequence[TaskStatus]:
        """All tasks of this controller that the engine knows, terminal ones included until forgotten."""
        ...

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        """What changes from now on. May lose, repeat and reorder: `tasks` is the truth. Raises `Unavailable`. To be
        closed by who takes it (`aclosing`): it holds a connection."""
        ...

    def logs(self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None) -> AsyncIterator[bytes]:
        """Output of the task as it was written, standard output and error mixed. Raises `NotFound`.

        `tail`: only its last lines; `since`: only what was written from then on (seconds since the epoch), as far as
        the runner keeps times. Both together: the last lines of what is newer.
        """
        ...

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        """Run a command line by the shell beside the task: with its environment, user, files and limits.
        Raises `NotFound` unless the task runs, `Rejected` when it cannot be run there (no shell in the image)."""
        ...

    async def network_namespace(self, task_id: str) -> str | None:
        """Path of the network namespace in which the task talks, for who may enter it; None: the controller's own.
        Raises `NotFound` unless the task runs."""
        ...

    async def statistics(self, task_id: str) -> TaskStatistics:
        """What the task uses now, each task by itself. Raises `NotFound` unless it runs."""
        ...

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        """Run a program beside the task for a user, with its input and output open; `size`: with a terminal.
        Raises `NotFound` unless the task runs, `Rejected` when it cannot be run there. What does not exist may also
        end at once with exit status 126 or 127."""
        ...

    async def close(self) -> None: ...
