"""The output of a task, from the numbered files that its shim writes."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

PIECE_BYTES = 65536
LOOK_SECONDS = 0.1
"""Between two looks for more: files tell nobody that they grew. Only while somebody follows."""
TAIL_BYTES_MAX = 1024 * 1024
"""Lines are counted in the last of the output only: the last line of a binary file may be all of it."""


class Cursor:
    """A place in the output, from which it is read on. `since`: only what was written then (seconds since the epoch)
    or later. Blocks."""

    def __init__(self, folder: Path, since: float | None = None) -> None:
        self._folder = folder
        self._number = 0
        self._offset = 0
        if since is not None:
            self._seek(since)

    def _seek(self, since: float) -> None:
        # The last file without a later time is passed over as a whole: what comes next is written after its end.
        for path in sorted(self._folder.glob("times.*"), key=lambda path: int(path.suffix[1:])):
            self._number = int(path.suffix[1:])
            for line in path.read_text().splitlines():
                at, _, offset = line.partition(" ")
                if offset and float(at) >= since:
                    self._offset = int(offset)
                    return
            with contextlib.suppress(FileNotFoundError):
                self._offset = (self._folder / f"output.{self._number:06d}").stat().st_size

    def read(self) -> bytes:
        """The next piece; empty when there is none now. What was deleted before it was read is left out."""
        while True:
            # Listed before reading: once a later file is there, nothing more is written to this one.
            numbers = sorted(int(path.suffix[1:]) for path in self._folder.glob("output.*"))
            following = next((number for number in numbers if number > self._number), None)
            try:
                with (self._folder / f"output.{self._number:06d}").open("rb") as file:
                    file.seek(self._offset)
                    piece = file.read(PIECE_BYTES)
            except FileNotFoundError:
                piece = b""
            self._offset += len(piece)
            if piece or following is None:
                return piece
            self._number, self._offset = following, 0


def tail(cursor: Cursor, lines: int) -> bytes:
    """The last lines; the cursor stands behind them. Blocks."""
    kept = b""
    while piece := cursor.read():
        kept = (kept + piece)[-TAIL_BYTES_MAX:]
    return b"".join(deque(kept.splitlines(keepends=True), maxlen=lines))


async def pieces(
    folder: Path, *, follow: bool, lines: int | None, since: float | None, ended: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """The output from the start, from a moment, or its last `lines`; with `follow` what comes later too, until it
    `ended()`."""
    cursor = await asyncio.to_thread(Cursor, folder, since)
    if lines is not None and (text := await asyncio.to_thread(tail, cursor, lines)):
        yield text
    while True:
        # Asked before reading: what is written between the two is read now, and after the end nothing is.
        last = not follow or await asyncio.to_thread(ended)
        while piece := await asyncio.to_thread(cursor.read):
            yield piece
        if last:
            return
        await asyncio.sleep(LOOK_SECONDS)
