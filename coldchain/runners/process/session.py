"""ProcessSession: port Session on a program that runs beside a process task."""

import asyncio
import contextlib
import os
import subprocess
import sys
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from coldchain.model.errors import Unavailable
from coldchain.ports.session import Session, Stream, TerminalSize
from coldchain.runners.process import shim

PIECE_BYTES = 65536


async def open_process_session(folder: Path, command: Sequence[str], size: TerminalSize | None) -> Session:
    """Beside the task of this folder. Raises Unavailable when the machine can start nothing more."""
    argv = [sys.executable, "-I", "-S", shim.__file__, "enter", str(folder), *command]
    try:
        if size is None:
            pipe = subprocess.PIPE
            return _PipeSession(await _start(argv, pipe, pipe, pipe))
        ours, theirs = os.openpty()
        try:
            termios.tcsetwinsize(theirs, (size.rows, size.columns))
            process = await _start(argv, theirs, theirs, theirs)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return _TerminalSession(process, ours)
    except OSError as error:
        raise Unavailable(f"cannot start a program: {error}") from error


async def _start(argv: Sequence[str], standard_input: int, output: int, errors: int) -> Process:
    return await asyncio.create_subprocess_exec(
        *argv, stdin=standard_input, stdout=output, stderr=errors, env={}, start_new_session=True
    )


async def _exit_status(process: Process) -> int:
    code = await process.wait()
    return code if code >= 0 else 128 - code


class _PipeSession:
    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        self._process = process
        self._input = process.stdin

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        queue: asyncio.Queue[tuple[Stream, bytes]] = asyncio.Queue(maxsize=1)

        async def pour(name: Stream, stream: asyncio.StreamReader | None) -> None:
            assert stream is not None
            while piece := await stream.read(PIECE_BYTES):
                await queue.put((name, piece))
            await queue.put((name, b""))

        outputs = (("output", self._process.stdout), ("error", self._process.stderr))
        pouring = [asyncio.create_task(pour(name, stream)) for name, stream in outputs]  # type: ignore[arg-type]
        try:
            open_streams = len(pouring)
            while open_streams:
                name, piece = await queue.get()
                if piece:
                    yield name, piece
                else:
                    open_streams -= 1
        finally:
            for task in pouring:
                task.cancel()
            await asyncio.gather(*pouring, return_exceptions=True)

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._input.write(data)
            await self._input.drain()

    async def end_input(self) -> None:
        self._input.close()

    async def resize(self, size: TerminalSize) -> None:
        """It has none."""

    async def exit_status(self) -> int:
        return await _exit_status(self._process)

    async def close(self) -> None:
        self._input.close()


class _TerminalSession:
    """`terminal` is the near end of it."""

    def __init__(self, process: Process, terminal: int) -> None:
        os.set_blocking(terminal, False)
        self._process = process
        self._terminal = terminal

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                piece = os.read(self._terminal, PIECE_BYTES)
            except BlockingIOError:
                await _ready(self._terminal, loop.add_reader, loop.remove_reader)
                continue
            except OSError:  # nobody has the far end any more
                return
            if not piece:
                return
            yield "output", piece

    async def write(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data and self._terminal >= 0:
            try:
                data = data[os.write(self._terminal, data) :]
            except BlockingIOError:
                await _ready(self._terminal, loop.add_writer, loop.remove_writer)
            except OSError:
                return

    async def end_input(self) -> None:
        """A terminal's input ends by its own character, as everywhere."""
        await self.write(b"\x04")

    async def resize(self, size: TerminalSize) -> None:
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetwinsize(self._terminal, (size.rows, size.columns))

    async def exit_status(self) -> int:
        return await _exit_status(self._process)

    async def close(self) -> None:
        if self._terminal >= 0:
            os.close(self._terminal)  # the kernel tells the program by SIGHUP
            self._terminal = -1


async def _ready(file: int, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
    event = asyncio.Event()
    add(file, event.set)
    try:
        await event.wait()
    finally:
        remove(file)
