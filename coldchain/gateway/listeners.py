"""listeners: whether an address can be listened on, and who holds it otherwise (read from /proc)."""

import errno
import os
import socket
from pathlib import Path

from coldchain.model.errors import Rejected

_LISTENING = "0A"


def check_free(address: str) -> None:
    """Raises `Rejected` naming the address, and the process that holds it where that can be found."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
            probe.listen(1)
        except OSError as error:
            raise _refusal(address, int(port), error) from error


def _refusal(address: str, port: int, error: OSError) -> Rejected:
    if error.errno == errno.EADDRINUSE:
        holder = _holder(port)
        return Rejected(
            f"the gateway cannot listen on {address}: {holder or 'another process'} holds it",
            todo="Stop that process, or give the gateway another address",
        )
    if error.errno == errno.EACCES:
        return Rejected(
            f"the gateway may not listen on {address}", todo="Run as root, or take a port from 1024 upwards"
        )
    return Rejected(
        f"the gateway cannot listen on {address}: {error.strerror}", todo="Give it an address of this machine"
    )


def _holder(port: int) -> str | None:
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                if _socket_inode(descriptor) in inodes:
                    name = (process / "comm").read_text().strip()
                    return f"{name} (process {process.name})"
        except OSError:
            continue  # it ended meanwhile, or is not ours to look into
    return None


def _socket_inode(descriptor: Path) -> str | None:
    try:
        target = os.readlink(descriptor)
    except OSError:
        return None
    return target[8:-1] if target.startswith("socket:[") else None


def _listening_inodes(port: int) -> frozenset[str]:
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return frozenset(inodes)
