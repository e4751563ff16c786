"""Processes known by a variable of their environment: what a process starts inherits it, wherever it goes."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

PATIENCE_SECONDS = 5.0
LOOK_SECONDS = 0.02
BEGIN_SECONDS_MAX = 1.0
"""For the kernel to start a program: longer only where its file does not come."""


def marked(mark: str) -> list[int]:
    """Process numbers of all that have the variable (`NAME=value`) and that we may look at."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours to look at
                if mark.encode() in environment(int(name)):
                    found.append(int(name))
    return found


def environment(pid: int) -> list[bytes]:
    """`NAME=value` of a process. While the kernel replaces its program it shows none: that is waited for, else what is
    there would be taken for gone. Raises OSError."""
    deadline = time.monotonic() + BEGIN_SECONDS_MAX
    while True:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        memory_bytes, end_of_environment = int(fields[20]), int(fields[48])
        text = Path(f"/proc/{pid}/environ").read_bytes()
        # None: a zombie or one of the kernel's own has no memory, and others may be given no variables.
        if text or not memory_bytes or end_of_environment or time.monotonic() > deadline:
            return text.split(b"\0")
        time.sleep(0.001)


def kill_all(find: Callable[[], Iterable[int]]) -> None:
    """SIGKILL for what `find` finds until it finds nothing, or for a few seconds. Blocks."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := list(find())) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)  # the kernel tells nobody but their parent when they are gone
