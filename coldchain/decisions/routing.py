"""routing: with whom a node exchanges routes, what it announces and takes, and what goes through the tunnel."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from coldchain.decisions.node import on_link, problems, same_segment
from coldchain.model.node import Node, RoutePeer, Routing
from coldchain.model.pool import Block, Pool
from coldchain.model.route_plan import (
    RouteFamily,
    RouteFinding,
    RoutePlan,
    Session,
    SessionRole,
    Tunnel,
    TunnelNeighbor,
)

NAMES_SHOWN_MAX = 5
PASSWORD_CHARACTERS_MAX = 80


def route_plan(
    me: Node, nodes: Iterable[Node], blocks: Iterable[Block], pools: Iterable[Pool], routing: Routing
) -> RoutePlan:
    """What the daemon of `me` is to do. A node that does not fit is left out, and said so: what others wrote into the
    store must not keep this one from its routes."""
    others = sorted((one for one in nodes if one.name != me.name), key=lambda one: one.name)
    fit = [one for one in others if not problems(one)]
    known = list(pools)
    findings = [_unfit(one) for one in others if one not in fit]
    scope = [one for one in fit if routing.encapsulation == "cross-subnet" or same_segment(me, one)]
    far = [one for one in fit if not same_segment(me, one)]
    partners, missing = _partners(me, scope, routing)
    findings += missing
    parts = list(blocks)
    tunnelled = routing.encapsulation == "cross-subnet" and bool(far)
    families = [
        _family(me, partners, parts, known, routing, ipv6=ipv6, tunnelled=tunnelled)
        for ipv6 in (False, True)
        if not ipv6 or (me.address6 and any(_is_ipv6(one.cidr) for one in known))
    ]
    findings += _peer_findings(me, routing)
    if far and routing.encapsulation == "never" and not any(on_link(one.address, me.address) for one in routing.peers):
        findings.append(_no_way(me, far))
    return RoutePlan(
        router_id=_ip(me.address),
        interface=me.interface,
        autonomous_system=routing.autonomous_system,
        hold_seconds=routing.hold_seconds,
        bfd_interval_ms=routing.bfd_interval_ms if any(s.bfd for one in families for s in one.sessions) else None,
        families=tuple(families),
        tunnel=_tunnel(me, far, known) if tunnelled else None,
        findings=tuple(findings),
    )


def tunnel_mac(address: str) -> str:
    """Of the end of the tunnel of the node with this IPv4 address: made out of it, so that nobody has to be told."""
    return ":".join(["02", "cc", *(f"{byte:02x}" for byte in ipaddress.IPv4Address(_ip(address)).packed)])


def fallen_silent(before: Mapping[str, bool], now: Mapping[str, bool]) -> list[str]:
    """Of whom something was heard, and is no more; by address."""
    return sorted(address for address, heard in before.items() if heard and not now.get(address, False))


def password_problem(password: str) -> str:
    """Why a session cannot have it; empty: it can. The kernel takes 80 bytes (TCP MD5), BIRD no quotation mark."""
    if not 1 <= len(password) <= PASSWORD_CHARACTERS_MAX or not password.isascii() or not password.isprintable():
        return f"a password of a session has 1 to {PASSWORD_CHARACTERS_MAX} printable characters of ASCII"
    return "a password of a session has no quotation mark in it" if '"' in password else ""


def _partners(
    me: Node, scope: Sequence[Node], routing: Routing
) -> tuple[list[tuple[Node, SessionRole]], list[RouteFinding]]:
    """With which nodes it speaks. Everybody decides this for himself from the same nodes, so both ends agree."""
    if len(scope) + 1 <= routing.mesh_nodes_max:
        return [(one, "mesh") for one in scope], []
    if not (me.reflector or any(one.reflector for one in scope)):
        reason = f"{len(scope) + 1} nodes all talk to all, more than {routing.mesh_nodes_max}: none of them reflects"
        todo = "`coldchain node set NAME --reflector` for two or three of them, or raise --mesh-nodes-max."
        return [(one, "mesh") for one in scope], [RouteFinding(reason=reason, todo=todo)]
    if me.reflector:
        return [(one, "mesh" if one.reflector else "client") for one in scope], []
    return [(one, "mesh") for one in scope if one.reflector], []


def _family(
    me: Node,
    partners: Sequence[tuple[Node, SessionRole]],
    blocks: Sequence[Block],
    pools: Sequence[Pool],
    routing: Routing,
    *,
    ipv6: bool,
    tunnelled: bool,
) -> RouteFamily:
    own = me.address6 if ipv6 else me.address
    version = 6 if ipv6 else 4
    its_pools = {one.name: one.cidr for one in pools if _is_ipv6(one.cidr) == ipv6}
    parts = [one for one in blocks if one.pool in its_pools]
    sessions = []
    for node, role in partners:
        address = node.address6 if ipv6 else node.address
        if address:
            sessions.append(
                Session(
                    name=f"node{version}-{node.name}",
                    role=role,
                    address=_ip(address),
                    autonomous_system=routing.autonomous_system,
                    bfd=routing.bfd,
                )
            )
    external = [one for one in _peers(me, routing) if _is_ipv6(one.address) == ipv6 and on_link(one.address, own)]
    sessions += [
        Session(
            name=f"peer{version}-{one.name}",
            role="external",
            address=one.address,
            autonomous_system=one.autonomous_system,
            bfd=one.bfd,
            secret=one.secret,
        )
        for one in external
    ]
    borrowed = {
        f"{address}/{128 if ipv6 else 32}"
        for block in parts
        if block.node != me.name
        for address, holding in block.held.items()
        if holding.node == me.name
    }
    return RouteFamily(
        ipv6=ipv6,
        address=_ip(own),
        segment=str(ipaddress.ip_interface(own).network),
        pools=_ordered(its_pools.values()),
        blocks=_ordered(one.cidr for one in parts if one.node == me.name),
        borrowed=_ordered(borrowed),
        sessions=tuple(sessions),
        passes_on=any(role == "client" for _, role in partners) or any(one.nodes for one in external),
        tunnelled=tunnelled,
    )


def _peers(me: Node, routing: Routing) -> list[RoutePeer]:
    return sorted((one for one in routing.peers if not one.nodes or me.name in one.nodes), key=lambda one: one.name)


def _peer_findings(me: Node, routing: Routing) -> list[RouteFinding]:
    """Whoever is named for a router must have it on its link: routes by way of it would lead nowhere."""
    return [
        RouteFinding(
            reason=f"peer {one.name} ({one.address}) is not in the segment of node {me.name} ({me.address})",
            todo="Name nodes of its own segment, or none: then all of its segment talk to it.",
        )
        for one in _peers(me, routing)
        if one.nodes and not any(own and on_link(one.address, own) for own in (me.address, me.address6))
    ]


def _tunnel(me: Node, far: Sequence[Node], pools: Sequence[Pool]) -> Tunnel:
    return Tunnel(
        address=_ip(me.address),
        mac=tunnel_mac(me.address),
        interface=me.interface,
        neighbors=tuple(
            TunnelNeighbor(
                name=one.name,
                address=_ip(one.address),
                mac=tunnel_mac(one.address),
                address6=_ip(one.address6) if one.address6 and me.address6 else "",
            )
            for one in far
        ),
        pools=_ordered(one.cidr for one in pools if me.address6 or not _is_ipv6(one.cidr)),
    )


def _no_way(me: Node, far: Sequence[Node]) -> RouteFinding:
    shown = ", ".join(one.name for one in far[:NAMES_SHOWN_MAX]) + (" …" if len(far) > NAMES_SHOWN_MAX else "")
    segment = ipaddress.ip_interface(me.address).network
    return RouteFinding(
        reason=f"containers on {shown} cannot be reached from {me.name}: they are in another segment than {segment}, "
        "and no router of this one exchanges routes",
        todo="`coldchain routing peer add` names the router, or `coldchain routing set --encapsulation cross-subnet` "
        "sends it through a tunnel.",
    )


def _unfit(node: Node) -> RouteFinding:
    reasons = "; ".join(map(str, problems(node)))
    return RouteFinding(
        reason=f"node {node.name[:60]!r} is left out: {reasons}",
        todo="Remove it with `coldchain node remove`, and let it join with another name or address.",
    )


def _ip(text: str) -> str:
    return str(ipaddress.ip_interface(text).ip)


def _is_ipv6(text: str) -> bool:
    return ":" in text


def _ordered(cidrs: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(one) for one in sorted(map(ipaddress.ip_network, set(cidrs)), key=lambda one: (one.version, one)))
