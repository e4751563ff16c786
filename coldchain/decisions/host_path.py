"""host path: which files and folders of a machine no container may see. Decided on the text alone: what symbolic links
make of a path only its machine can know, and the runner looks before it mounts."""

from collections.abc import Iterable

SENSITIVE = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/run",
    "/var/spool/cron",
)
"""Who writes there is root of the machine, and who reads there knows its secrets; so do those above and below."""

SOCKETS = frozenset(
    {"docker.sock", "containerd.sock", "crio.sock", "cri-dockerd.sock", "dockershim.sock", "podman.sock"}
)
"""Whoever speaks to one of these starts what he likes, as root; wherever it lies."""


def normal(path: str) -> str:
    """An absolute path without `.`, `..`, and doubled or trailing slashes."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def is_within(path: str, folder: str) -> bool:
    """True for the folder itself and all below it; both normal. `/etcetera` is not within `/etc`."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_socket(path: str) -> bool:
    """True where a container engine is spoken to."""
    return normal(path).rpartition("/")[2] in SOCKETS


def sensitive_part(path: str, protected: Iterable[str]) -> str | None:
    """What of the machine's own a mount of `path` would lay open: a folder above or below it, or itself."""
    plain = normal(path)
    for folder in (*SENSITIVE, *map(normal, protected)):
        if is_within(plain, folder) or is_within(folder, plain):
            return folder
    return None
