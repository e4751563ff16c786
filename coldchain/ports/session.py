"""Session: a command that runs beside a task, with its input and output open: what `coldchain exec` is made of."""

from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, Protocol

Stream = Literal["output", "error"]


class TerminalSize(NamedTuple):
    """In characters."""

    columns: int
    rows: int


class Session(Protocol):
    """Raises `Unavailable` when the runner is lost on the way."""

    def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """What it writes until it ends. With a terminal all of it is `output`. To be read once."""
        ...

    async def write(self, data: bytes) -> None:
        """To its standard input; nothing happens once it has ended."""
        ...

    async def end_input(self) -> None:
        """Its standard input ends here."""
        ...

    async def resize(self, size: TerminalSize) -> None:
        """The terminal has another size; nothing happens without one."""
        ...

    async def exit_status(self) -> int:
        """To be asked when the output has ended."""
        ...

    async def close(self) -> None:
        """Let go of it. A command with a terminal loses it; one without reads the end of its input."""
        ...
