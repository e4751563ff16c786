"""node: what is wrong with a node or with the settings of routes, and which nodes are on one link."""

import ipaddress
import re
from collections.abc import Iterable

from coldchain.model.errors import Problem
from coldchain.model.node import Node, RoutePeer, Routing

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,54}")
"""With what stands before it a name of BIRD's has 64 characters at most."""
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}")
AUTONOMOUS_SYSTEM_MAX = 4294967294
HOLD_SECONDS_MIN = 3
HOLD_SECONDS_MAX = 3600
BFD_INTERVAL_MS_MIN = 10
BFD_INTERVAL_MS_MAX = 10000

_NAME_REASON = "must be 1 to 55 letters, digits and `.-`, the first a letter or a digit"


def on_link(address: str, segment: str) -> bool:
    """Whether an address (its length does not matter) is in the segment of another, which has one."""
    there, here = ipaddress.ip_interface(address), ipaddress.ip_interface(segment)
    return there.version == here.version and there.ip in here.network


def same_segment(one: Node, other: Node) -> bool:
    """Whether each reaches the other without a router."""
    return on_link(one.address, other.address) and on_link(other.address, one.address)


def problems(node: Node) -> list[Problem]:
    """All that is wrong with it, whatever others there are."""
    found = []
    if not NAME.fullmatch(node.name):
        found.append(Problem(path="/name", reason=_NAME_REASON))
    found += _segment_problems("/address", node.address, 4, "10.10.3.5/24")
    if node.address6:
        found += _segment_problems("/address6", node.address6, 6, "fd00:3::5/64")
    if node.interface and not INTERFACE.fullmatch(node.interface):
        found.append(Problem(path="/interface", reason="must be the name of a network interface, such as eth0"))
    return found


def problems_beside(node: Node, others: Iterable[Node]) -> list[Problem]:
    """What is wrong with it because of the nodes there are; one of its own name is itself."""
    found = []
    for other in others:
        if other.name == node.name:
            continue
        for path, own, its in (("/address", node.address, other.address), ("/address6", node.address6, other.address6)):
            if own and its and _address(own) == _address(its):
                found.append(Problem(path=path, reason=f"node {other.name} has this address"))
    return found


def routing_problems(routing: Routing) -> list[Problem]:
    """All that is wrong with the settings of routes."""
    found = [
        *_range_problems("/autonomousSystem", routing.autonomous_system, 1, AUTONOMOUS_SYSTEM_MAX),
        *_range_problems("/meshNodesMax", routing.mesh_nodes_max, 2, 1000),
        *_range_problems("/holdSeconds", routing.hold_seconds, HOLD_SECONDS_MIN, HOLD_SECONDS_MAX),
        *_range_problems("/bfdIntervalMs", routing.bfd_interval_ms, BFD_INTERVAL_MS_MIN, BFD_INTERVAL_MS_MAX),
    ]
    for position, peer in enumerate(routing.peers):
        found += _peer_problems(f"/peers/{position}", peer, routing.peers[:position])
    return found


def _peer_problems(path: str, peer: RoutePeer, before: tuple[RoutePeer, ...]) -> list[Problem]:
    found = []
    if not NAME.fullmatch(peer.name):
        found.append(Problem(path=f"{path}/name", reason=_NAME_REASON))
    elif any(one.name == peer.name for one in before):
        found.append(Problem(path=f"{path}/name", reason=f"there is another peer {peer.name!r}"))
    if _address(peer.address) is None or "/" in peer.address:
        found.append(Problem(path=f"{path}/address", reason="must be an address without a length, such as 10.10.3.1"))
    elif any(_address(one.address) == _address(peer.address) for one in before):
        found.append(Problem(path=f"{path}/address", reason="another peer has this address"))
    found += _range_problems(f"{path}/autonomousSystem", peer.autonomous_system, 1, AUTONOMOUS_SYSTEM_MAX)
    for place, name in enumerate(peer.nodes):
        if not NAME.fullmatch(name):
            found.append(Problem(path=f"{path}/nodes/{place}", reason=_NAME_REASON))
    return found


def _range_problems(path: str, value: int, least: int, most: int) -> list[Problem]:
    return [] if least <= value <= most else [Problem(path=path, reason=f"must be {least} to {most}")]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_interface(text).ip
    except ValueError:
        return None


def _segment_problems(path: str, text: str, version: int, example: str) -> list[Problem]:
    reason = f"{text!r} is no IPv{version} address with the length of its segment, such as {example}"
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        return [Problem(path=path, reason=reason)]
    if found.version != version or "/" not in text or "%" in text or found.network.num_addresses == 1:
        return [Problem(path=path, reason=reason)]
    unfit = found.ip.is_loopback or found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_link_local
    if unfit or found.network.prefixlen == 0:
        return [Problem(path=path, reason=f"{text} is no address by which other machines reach this one")]
    return []
