"""Settings of the process runner."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """What a task may bring onto this machine before it starts."""

    file_folders: tuple[Path, ...] = ()
    """Folders below which `file:` addresses may point. None by default: the runner reads as root."""

    download_bytes_max: int = 2 * 1024**3
    """Size of one fetched file."""

    unpacked_bytes_max: int = 8 * 1024**3
    """Size of all that comes out of one archive: an end to a bomb, room for a Java runtime with its application."""

    unpacked_entries_max: int = 200_000
    """Files, folders and links in one archive."""

    seconds_max: float = 240.0
    """For all that one task fetches, unpacking included; below the controller's limit for a launch (300 s)."""

    redirects_max: int = 5
    """As many as a release server behind a content network needs."""


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """How processes are run on this machine."""

    host_address: str = "127.0.0.1"
    """Where probes and gateways reach the tasks."""

    user: str | None = "nobody"
    """Who runs apps that name no `user`. None: whoever runs Coldchain. Only root can become somebody else."""

    root_allowed: bool = False
    """Whether an app may run as root: it could then read and change everything on the machine, Coldchain included."""

    cgroup_parent: str = "coldchain"
    """A path below the root of each cgroup hierarchy, within which each task gets a cgroup of its own."""

    pids_max: int = 4096
    """Processes and threads of one task, where cgroups can limit them."""

    log_file_mib: float = 10.0
    """Size in MiB at which a new file of output is begun."""

    log_files: int = 3
    """Files of output kept per task."""

    log_tail_lines: int = 20
    """Lines of output kept with the status of a failed task."""

    foreign_grace_seconds: float = 10.0
    """SIGTERM to SIGKILL when somebody other than Coldchain asks a shim to end (the machine going down)."""

    starts_at_once: int = 8
    """Tasks started at the same time."""

    fetch: FetchSettings = field(default_factory=FetchSettings)
    """Limits of `fetch`."""
