"""told: the kernel tells of changes of its packet filter, whoever makes them.

Of those by Docker's `iptables` too where it writes nft's tables, as it does since years; of what is in the tables of
before nft nobody tells.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator

from coldchain.model.errors import Unavailable

_NETFILTER = 12
_GROUP = 1 << (7 - 1)
"""Of netlink: changes of nft's tables."""
_NFTABLES = 10
_TABLE_GONE, _CHAIN_MADE = 2, 3
_BYTES = 65536


async def chain_changes() -> AsyncIterator[None]:
    """Once for all that came since the last one was taken. Raises Unavailable."""
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETFILTER) as kernel:
            kernel.bind((0, _GROUP))
            while True:
                if concerns(await _received(loop, kernel)) | _drained(kernel):
                    yield
    except OSError as error:
        raise Unavailable(f"the kernel does not tell of its packet filter: {error.strerror}") from error


async def _received(loop: asyncio.AbstractEventLoop, kernel: socket.socket) -> bytes | None:
    """None: there was too much of it."""
    try:
        return await loop.sock_recv(kernel, _BYTES)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return None


def _drained(kernel: socket.socket) -> bool:
    found = False
    while True:
        try:
            found |= concerns(kernel.recv(_BYTES))
        except BlockingIOError:
            return found
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            found = True


def concerns(datagram: bytes | None) -> bool:
    """Whether a chain was made or a table is gone: what one container more or less changes are rules and elements."""
    if datagram is None:
        return True
    at = 0
    while at + 16 <= len(datagram):
        length, kind = struct.unpack_from("=IH", datagram, at)
        if kind >> 8 == _NFTABLES and kind & 0xFF in (_TABLE_GONE, _CHAIN_MADE):
            return True
        at += max((length + 3) & ~3, 16)
    return False
