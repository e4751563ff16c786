"""What the sandbox's init does: make the namespaces, furnish them for a Docker daemon, and reap orphans for ever."""

import contextlib
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from coldchain.testing.sandbox import kernel
from coldchain.testing.sandbox.identity import MARK, Identity

PRIVATE_DIRECTORIES = ("/run", "/dev/shm", "/var/lib/docker", "/var/lib/containerd", "/etc/docker")
"""Empty and in memory inside the sandbox, whatever the machine has there."""

LAYERED_DIRECTORY = "/opt"
"""What the machine has there is seen, what is written there stays in the sandbox: containerd makes folders there."""

_SET_INTERFACE_FLAGS = 0x8914
_INTERFACE_UP = 0x1


def become_init(identity: Identity, report: int, furnish: Callable[[Identity], None] | None = None) -> NoReturn:
    """Runs as PID 1 of the new PID namespace. Writes `ready` or the reason to `report`; ends only by SIGKILL."""
    try:
        kernel.die_with_parent()
        kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_NETWORK | kernel.NEW_IPC | kernel.NEW_HOST_NAME)
        (furnish or _furnish)(identity)
    except OSError as error:
        tell(report, f"{error.strerror}\n")
        os._exit(1)
    tell(report, "ready\n")
    os.close(report)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then buries orphans without us
    while True:
        signal.pause()


def tell(report: int, words: str) -> None:
    """Tell the launcher, if it still lives: that nobody listens must not keep anybody from taking all down."""
    with contextlib.suppress(BrokenPipeError):
        os.write(report, words.encode())


def _furnish(identity: Identity) -> None:
    kernel.make_mounts_private()
    _forget_other_dockers()
    kernel.mount("proc", "/proc")
    for directory in PRIVATE_DIRECTORIES:
        os.makedirs(directory, exist_ok=True)
        kernel.mount("tmpfs", directory, f"mode={'1777' if directory == '/dev/shm' else '755'}")
    os.mkdir("/run/lock", 0o755)
    _layer_over(LAYERED_DIRECTORY)
    MARK.write_text(identity.name)
    loopback_up()
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _forget_other_dockers() -> None:
    """Unmount what this mount namespace copied from elsewhere and would keep alive: containers' roots, namespaces."""
    for point, kind in reversed(kernel.mounts()):
        hidden = any(point == directory or point.startswith(f"{directory}/") for directory in PRIVATE_DIRECTORIES)
        if hidden or kind == "nsfs" or (kind == "overlay" and point.endswith("/merged")):
            with contextlib.suppress(OSError):
                kernel.unmount_lazily(point)


def _layer_over(directory: str) -> None:
    """A layer in memory that takes what is written. On a kernel that refuses it above a tmpfs all stays as it was."""
    upper, work = (f"/run/coldchain-layer/{name}" for name in ("upper", "work"))
    for one in (upper, work):
        os.makedirs(one)
    with contextlib.suppress(OSError):
        kernel.mount("overlay", directory, f"lowerdir={directory},upperdir={upper},workdir={work}")


def loopback_up() -> None:
    """Of the network namespace that the caller is in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        fcntl.ioctl(plain, _SET_INTERFACE_FLAGS, struct.pack("16sH22x", b"lo", _INTERFACE_UP))
