"""Processes known by a variable of their environment: what a process starts inherits it, wherever it goes."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

PATIENCE_SECONDS = 5.0
LOOK_SECONDS = 0.02


def marked(mark: str) -> list[int]:
    """Process numbers of all that have the variable (`NAME=value`) and that we may look at."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours to look at
                if mark.encode() in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(int(name))
    return found


def kill_all(find: Callable[[], Iterable[int]]) -> None:
    """SIGKILL for what `find` finds until it finds nothing, or for a few seconds. Blocks."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := list(find())) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)  # the kernel tells nobody but their parent when they are gone
