"""FakeSession: port Session with a few programs of its own: echo, cat, sh -c "exit N", busybox stty size."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from coldchain.ports.session import Stream, TerminalSize

NOT_FOUND_STATUS = 127


class FakeSession:
    """`cat` ends with its input, all others at once."""

    def __init__(self, command: Sequence[str], size: TerminalSize | None) -> None:
        self._command = list(command)
        self._size = size
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._status = 0
        self.closed = False

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        end = b"\n" if self._size is None else b"\r\n"
        match self._command:
            case ["echo", *words]:
                yield "output", " ".join(words).encode() + end
            case ["cat"]:
                while (data := await self._input.get()) is not None:
                    yield "output", data
            case ["sh", "-c", script] if script.startswith("exit "):
                self._status = int(script.removeprefix("exit "))
            case ["busybox", "stty", "size"] if self._size is not None:
                yield "output", f"{self._size.rows} {self._size.columns}".encode() + end
            case [program, *_]:
                self._status = NOT_FOUND_STATUS
                yield "error", f"{program}: not found".encode() + end

    async def write(self, data: bytes) -> None:
        self._input.put_nowait(data)

    async def end_input(self) -> None:
        self._input.put_nowait(None)

    async def resize(self, size: TerminalSize) -> None:
        self._size = size

    async def exit_status(self) -> int:
        return self._status

    async def close(self) -> None:
        self.closed = True
        self._input.put_nowait(None)
