"""What a process task uses now: from its cgroups where they tell it, else added up over its processes. Blocks."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from coldchain.model.task import TaskStatistics
from coldchain.runners.marked import marked
from coldchain.runners.process.folder import Document

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MICROSECONDS = 1e6


def measure(task: Document, at: float) -> TaskStatistics:
    """`task`: as in `task.json`. What ends while we look counts nothing."""
    folders = [Path(one) for one in task["cgroups"]]
    pids = _members(folders) or set(marked(f"MESOS_SANDBOX={task['work']}"))
    seconds, memory = _of_processes(pids)
    return TaskStatistics(
        task_id=task["task_id"],
        at=at,
        cpu_seconds=_first(map(_cpu_seconds, folders), seconds),
        memory_bytes=int(_first(map(_memory_bytes, folders), memory)),
        processes=len(pids),
    )


def _members(folders: Iterable[Path]) -> set[int]:
    for folder in folders:
        with contextlib.suppress(OSError):
            return {int(word) for word in (folder / "cgroup.procs").read_text().split()}
    return set()


def _first(found: Iterable[float | None], otherwise: float) -> float:
    return next((one for one in found if one is not None), otherwise)


def _cpu_seconds(folder: Path) -> float | None:
    """Version 2 alone counts it beside the shares."""
    with contextlib.suppress(OSError):
        return fields((folder / "cpu.stat").read_text()).get("usage_usec", 0) / MICROSECONDS or None
    return None


def _memory_bytes(folder: Path) -> float | None:
    """Without the part of the file cache that goes first when memory is short."""
    for usage, cache in (("memory.current", "inactive_file"), ("memory.usage_in_bytes", "total_inactive_file")):
        with contextlib.suppress(OSError):
            used = int((folder / usage).read_text())
            return max(0, used - fields((folder / "memory.stat").read_text()).get(cache, 0))
    return None


def fields(text: str) -> dict[str, int]:
    """Of a file of names and numbers."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def _of_processes(pids: Iterable[int]) -> tuple[float, int]:
    """Seconds of cpu, those of children that have ended included, and bytes of memory."""
    ticks = pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, words[11:15]))
            pages += int(words[21])
    return ticks / CLOCK_TICKS, pages * PAGE_BYTES
