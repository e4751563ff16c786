"""The calls of the kernel that Python 3.11 has no function for."""

import ctypes
import os
import signal

NEW_MOUNTS = 0x00020000
NEW_HOST_NAME = 0x04000000
NEW_IPC = 0x08000000
NEW_PROCESSES = 0x20000000
NEW_NETWORK = 0x40000000

_MOUNT_RECURSIVE_PRIVATE = 0x4000 | 0x40000
_UNMOUNT_LAZILY = 2
_SET_DEATH_SIGNAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Give the caller (with NEW_PROCESSES: its next child) namespaces of its own. Raises OSError."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def enter_namespace(descriptor: int, flag: int) -> None:
    """Join the namespace of an open /proc/PID/ns file (with NEW_PROCESSES: the next children do). Raises OSError."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(flag)), "setns")


def mount(kind: str, target: str, options: str = "") -> None:
    """Mount a file system that needs no device (tmpfs, proc, overlay) on `target`. Raises OSError."""
    result = _libc.mount(kind.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(0), options.encode())
    _check(result, f"mount {kind} on {target}")


def make_mounts_private() -> None:
    """From now on no mount or unmount goes from or to other mount namespaces. Raises OSError."""
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(_MOUNT_RECURSIVE_PRIVATE), None), "make / private")


def unmount_lazily(target: str) -> None:
    """Take a mount away at once, whoever uses it. Raises OSError."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(_UNMOUNT_LAZILY)), f"unmount {target}")


def die_with_parent() -> None:
    """Ask the kernel to SIGKILL the caller when its parent ends. Raises OSError."""
    _check(_libc.prctl(_SET_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")


def mounts() -> list[tuple[str, str]]:
    """(mount point, file system type) of every mount the caller sees, in the order they were made."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            point = before.split()[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
            found.append((point, after.split()[0]))
    return found
