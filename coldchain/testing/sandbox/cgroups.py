"""Sweeping of cgroups: they belong to no namespace, so what a Docker daemon made there stays unless removed."""

import contextlib
import os
import signal
import time
from pathlib import Path

from coldchain.testing.sandbox import kernel

_PATIENCE_SECONDS = 5.0


def hierarchies() -> list[Path]:
    """The mount points of all cgroup hierarchies, of version 1 and 2."""
    return [Path(point) for point, kind in kernel.mounts() if kind in ("cgroup", "cgroup2")]


def make(hierarchy: Path, parent: str) -> None:
    """A cgroup in which others can be made. In a cpuset nothing runs until it was told where, level by level."""
    above = hierarchy
    for name in parent.strip("/").split("/"):
        below = above / name
        below.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (above / setting).exists() and (below / setting).exists():
                (below / setting).write_text((above / setting).read_text())
        above = below


def directories(parent: str) -> list[Path]:
    """Every directory of `parent` (such as /coldchain-1a2b) in every hierarchy, the deepest first."""
    found = []
    for hierarchy in hierarchies():
        for path, _, _ in os.walk(hierarchy / parent.lstrip("/"), topdown=False):
            found.append(Path(path))
    return found


def kill(parent: str) -> None:
    """SIGKILL to every process in `parent` that the caller can see."""
    for directory in directories(parent):
        with contextlib.suppress(OSError):
            for number in (directory / "cgroup.procs").read_text().split():
                if number != "0":  # 0: a process of a PID namespace that we do not see into
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(number), signal.SIGKILL)


def remove(parent: str) -> list[Path]:
    """Kill what is left in `parent` and remove it everywhere. Returns the directories that would not go."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        kill(parent)
        for directory in directories(parent):
            with contextlib.suppress(OSError):
                directory.rmdir()
        left = directories(parent)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)  # a cgroup stays busy until the kernel has buried its last process; nothing tells when
