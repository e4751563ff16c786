"""What is kept of a task on disk, and who its shim is. Everything here blocks: it is called in threads.

    ROOT/TASK/task.json    what is run and for whom; written first, whole (the folder is renamed into place)
    ROOT/TASK/shim.json    the shim's identity; its presence says that the task was begun
    ROOT/TASK/stop.json    Coldchain asked for the end, with the grace
    ROOT/TASK/end.json     how it ended; nothing is left of it then
    ROOT/TASK/output.N     what it wrote, the highest number being the newest
    ROOT/TASK/work         where it runs; the only folder that is its own

A folder whose name begins with a dot is being made or removed.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from coldchain.runners.marked import kill_all, marked

MADE, REMOVED = ".new-", ".old-"
BOOT = Path("/proc/sys/kernel/random/boot_id")

Document = dict[str, Any]


def folder_name(task_id: str) -> str:
    """The task's id, made safe; never begins with a dot."""
    name = quote(task_id, safe="")
    return name if not name.startswith(".") else "%2E" + name[1:]


@dataclass(frozen=True)
class TaskFolder:
    """One task's folder. Documents are None where there is no such file."""

    path: Path

    @property
    def work(self) -> Path:
        return self.path / "work"

    def read(self, name: str) -> Document | None:
        """A document of the folder: `task`, `shim`, `stop` or `end`."""
        try:
            document: Document = json.loads((self.path / f"{name}.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return document

    def write(self, name: str, document: Document) -> None:
        """Whole or not at all. Of several writers one comes last."""
        fresh = self.path / f".{name}.{secrets.token_hex(4)}"
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(json.dumps(document).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / f"{name}.json")

    @contextlib.contextmanager
    def claimed(self) -> Iterator[bool]:
        """True while no shim can begin the task, because we hold its lock; False when a shim has it."""
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(lock)

    def remove(self) -> None:
        """Out of sight first, so that a removal cut short is not taken for a task."""
        gone = self.path.with_name(REMOVED + self.path.name.lstrip("."))
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(gone, ignore_errors=True)
            self.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def open_shim(shim: Document) -> int | None:
    """A descriptor of the living shim, by which it is signalled and waited for; None when it is gone.

    A number alone would be anybody's: it counts with the time when its process started, and with the machine's boot.
    """
    if shim["boot"] != boot_id():
        return None
    try:
        descriptor = os.pidfd_open(shim["pid"])
    except ProcessLookupError:
        return None
    if start_ticks(shim["pid"]) != shim["started"]:
        os.close(descriptor)
        return None
    return descriptor


def boot_id() -> str:
    return BOOT.read_text().strip()


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None when there is none, or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def kill_left_behind(task: Document) -> None:
    """End whatever runs of a task whose shim is gone: known by its cgroup, and by the folder in its environment."""
    mark = f"MESOS_SANDBOX={task['work']}"
    kill_all(lambda: [*_of_cgroups(task["cgroups"]), *marked(mark)])
    for directory in task["cgroups"]:
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _of_cgroups(directories: list[str]) -> Iterator[int]:
    for directory in directories:
        with contextlib.suppress(OSError):
            yield from (int(word) for word in Path(directory, "cgroup.procs").read_text().split() if word != "0")
