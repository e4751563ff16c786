"""systemd: what it is told of a process that it started."""

import os
import socket

from coldchain.model.errors import Unavailable


def tell_systemd(words: str) -> None:
    """`READY=1` or `STOPPING=1`; nobody, where it did not start us. Raises Unavailable."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as plain:
        try:
            plain.connect("\0" + name[1:] if name.startswith("@") else name)
            plain.sendall(words.encode())
        except OSError as error:
            raise Unavailable(f"systemd does not listen at {name}: {error.strerror}") from error
