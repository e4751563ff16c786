"""links: the links of containers in the kernel of this machine, by netlink."""

import asyncio
import contextlib
import errno
import ipaddress
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from coldchain.model.attachment import BEGINNING_CHARACTERS
from coldchain.model.errors import Unavailable
from coldchain.ports.network import GATEWAY, GATEWAY6, HOST_PREFIX, Link
from coldchain.ports.tunnel import TUNNEL

HOST_MAC = "ee:ee:ee:ee:ee:ee"
"""Of every machine's end: nobody else is on the link, and a container that is checkpointed finds the same one."""

NAME_CHARACTERS = len(HOST_PREFIX) + BEGINNING_CHARACTERS
SCOPE_LINK = 253
SIZE_MAX = 65535
"""Of packets on a link of ours; loopback has one more."""
NEIGHBOUR_PERMANENT = 0x80
NO_DUPLICATE_DETECTION = 0x02
"""Of an IPv6 address: without it the address is of no use for the first second."""

SETTINGS = Path("/proc/sys/net")
T = TypeVar("T")


class NetlinkLinks:
    """Implements ports.network.Links. Needs root. Every call has a thread and a socket of its own: the kernel takes
    its time to take a link away, and nobody else shall wait for that."""

    async def add(self, link: Link) -> None:
        await _in_thread(f"link {link.host} cannot be made", lambda kernel: _add(kernel, link))

    async def remove(self, host: str) -> None:
        await _in_thread(f"link {host} cannot be taken away", lambda kernel: _remove(kernel, host))

    async def present(self) -> Sequence[str]:
        return await _in_thread("links cannot be listed", _present)

    async def mtu(self, interface: str) -> int:
        return await _in_thread(f"interface {interface} is not known", lambda kernel: _mtu(kernel, interface))


def pass_packets_on() -> None:
    """From one interface to another, which this machine then does for its containers. Docker, where it has to turn that
    on itself, forbids all of it but its own. Blocks. Raises Unavailable."""
    try:
        _turn_on(SETTINGS / "ipv4" / "ip_forward")
    except OSError as error:
        raise Unavailable(f"ip_forward cannot be set: {error.strerror}", todo="netd has to run as root") from error


def _turn_on(setting: Path) -> None:
    """Not where it is on: writing it has effects of its own."""
    if setting.read_text().strip() != "1":
        setting.write_text("1")


async def interface_of(address: str) -> str:
    """The name of the interface that has this address; empty where none has it. Raises Unavailable."""

    def find(kernel: IPRoute) -> str:
        wanted = ipaddress.ip_address(address)
        for found in kernel.get_addr():
            text = found.get("local") or found.get("address")
            if text and ipaddress.ip_address(text) == wanted:
                return str(_link(kernel, found["index"]).get("ifname"))
        return ""

    return await _in_thread("addresses of this machine cannot be listed", find)


async def _in_thread(what: str, call: Callable[[IPRoute], T]) -> T:
    def work() -> T:
        try:
            with IPRoute() as kernel:
                return call(kernel)
        except (NetlinkError, OSError) as error:
            raise Unavailable(f"{what}: {_reason(error)}") from error

    return await asyncio.to_thread(work)


def _add(kernel: IPRoute, link: Link) -> None:
    _remove(kernel, link.host)
    peer = {"ifname": link.peer, "mtu": link.mtu, "address": link.mac}
    kernel.link("add", ifname=link.host, kind="veth", address=HOST_MAC, mtu=link.mtu, peer=peer)
    try:
        _furnish(kernel, link)
    except BaseException:
        # Half a link is worse than none: it would pass for one that works.
        with contextlib.suppress(NetlinkError, OSError):
            _remove(kernel, link.host)
        raise


def _furnish(kernel: IPRoute, link: Link) -> None:
    _configure(link)
    index = _index(kernel, link.host)
    kernel.link("set", index=index, state="up")
    # Not proxy ARP: that answers late, and on a machine without a default route not at all.
    kernel.addr("add", index=index, address=GATEWAY, prefixlen=32, scope=SCOPE_LINK)
    # It takes the place of one to a link that a container left behind which has gone. The source is named, else the
    # machine would speak to its containers from the gateway's address.
    kernel.route("replace", dst=f"{link.address}/32", oif=index, scope=SCOPE_LINK, prefsrc=link.source)
    # The first probe of a container would wait a second for its answer to who has the address.
    kernel.neigh("replace", dst=link.address, lladdr=link.mac, ifindex=index, state=NEIGHBOUR_PERMANENT)
    if link.address6:
        kernel.addr("add", index=index, address=GATEWAY6, prefixlen=64, flags=NO_DUPLICATE_DETECTION)
        kernel.route("replace", dst=f"{link.address6}/128", oif=index)
        kernel.neigh("replace", dst=link.address6, lladdr=link.mac, ifindex=index, state=NEIGHBOUR_PERMANENT)


def _configure(link: Link) -> None:
    """What a container sends with somebody else's source address is dropped by its link (rp_filter)."""
    for family, name, value in _settings(link):
        folder = SETTINGS / family / "conf" / link.host
        if family == "ipv6" and not folder.exists():
            if link.address6:
                raise OSError(errno.EAFNOSUPPORT, "this kernel has no IPv6")
            continue
        (folder / name).write_text(value)
    if link.address6:
        _turn_on(SETTINGS / "ipv6" / "conf" / "all" / "forwarding")


def _settings(link: Link) -> Iterator[tuple[str, str, str]]:
    yield "ipv4", "forwarding", "1"
    yield "ipv4", "rp_filter", "1"
    yield "ipv4", "route_localnet", "0"
    yield "ipv6", "disable_ipv6", "0" if link.address6 else "1"
    if link.address6:
        yield "ipv6", "forwarding", "1"
        yield "ipv6", "accept_ra", "0"


def _remove(kernel: IPRoute, host: str) -> None:
    for index in kernel.link_lookup(ifname=host):
        try:
            kernel.link("del", index=index)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise


def _present(kernel: IPRoute) -> Sequence[str]:
    names = (str(one.get("ifname")) for one in kernel.get_links() if one.get(("linkinfo", "kind")) == "veth")
    return sorted(name for name in names if name.startswith(HOST_PREFIX) and len(name) == NAME_CHARACTERS)


def _mtu(kernel: IPRoute, interface: str) -> int:
    """Also what goes through the tunnel between segments fits then, without being told that it is too large."""
    leaving = [_index(kernel, interface), *kernel.link_lookup(ifname=TUNNEL)]
    return min(SIZE_MAX, *(int(_link(kernel, one).get("mtu")) for one in leaving))


def _link(kernel: IPRoute, index: int) -> Any:
    return kernel.get_links(index)[0]


def _index(kernel: IPRoute, interface: str) -> int:
    found = kernel.link_lookup(ifname=interface)
    if not found:
        raise OSError(errno.ENODEV, "no such interface")
    return int(found[0])


def _reason(error: NetlinkError | OSError) -> str:
    return str(error.args[1]) if isinstance(error, NetlinkError) else error.strerror or str(error)
