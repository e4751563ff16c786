"""What the process says goes to standard error if that takes it; if not, nothing fails and the gap is marked."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from coldchain.main.log import LossyStream


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Leaves room for so many bytes more."""
    write = os.write
    left = [1000]

    def attempt(descriptor: int, content: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, content[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", attempt)
    return lambda number: left.__setitem__(0, number)


def test_a_gap_is_marked_once(tmp_path: Path, room: Callable[[int], None]) -> None:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    stream = LossyStream(descriptor)
    print("one", file=stream, flush=True)
    room(2)
    print("two\nthree", file=stream, flush=True)
    room(1000)
    print("four", file=stream, flush=True)
    print("five", file=stream, flush=True)
    os.close(descriptor)
    gap = "coldchain: 2 lines of this log are lost: No space left on device"
    assert path.read_text().splitlines() == ["one", "tw", gap, "four", "five"]


def test_a_pipe_that_nobody_reads_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = LossyStream(writing)
    print("into the void", file=stream, flush=True)
    os.close(writing)
