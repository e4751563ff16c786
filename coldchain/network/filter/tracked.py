"""tracked: connections that the kernel follows are forgotten by netlink, each by what names it.

`conntrack -D` asks for all that stand before it deletes one, also where it is given many at once.
"""

import asyncio
import errno
import socket
from collections.abc import Sequence

from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket  # type: ignore[import-untyped]

from coldchain.model.errors import Unavailable
from coldchain.model.ruleset import Connection

NUMBERS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
"""Of the protocols whose ports name a connection whole."""


async def forget(connections: Sequence[Connection]) -> None:
    """Those of NUMBERS. No error for one that has ended. Raises Unavailable where the kernel refuses."""
    try:
        await asyncio.to_thread(_forget, connections)
    except (NetlinkError, OSError) as error:
        raise Unavailable(f"connections cannot be cut: {error}", todo="netd runs as root.") from error


def _forget(connections: Sequence[Connection]) -> None:
    for family, sign in ((socket.AF_INET, "."), (socket.AF_INET6, ":")):
        of_family = [one for one in connections if sign in one.source]
        if not of_family:
            continue
        with NFCTSocket(nfgen_family=family) as kernel:
            for one in of_family:
                _delete(kernel, family, one)


def _delete(kernel: NFCTSocket, family: socket.AddressFamily, one: Connection) -> None:
    named = NFCTAttrTuple(
        family=family,
        saddr=one.source,
        daddr=one.destination,
        proto=NUMBERS[one.protocol],
        sport=one.source_port,
        dport=one.destination_port,
    )
    try:
        kernel.entry("del", tuple_orig=named)
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
