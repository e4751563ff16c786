"""route plan: what the routing daemon of one node is to do, decided from all nodes, blocks and settings."""

from typing import Literal

from coldchain.model.base import Noun

SessionRole = Literal["mesh", "client", "external"]


class Session(Noun, frozen=True, kw_only=True):
    """Routes exchanged with one other by BGP. `role`: `mesh` another node, `client` one that we pass the routes of
    others on to as its reflector, `external` a router of the data centre. `name` is unique in the plan. `secret`: the
    name of the one with its password."""

    name: str
    role: SessionRole
    address: str
    autonomous_system: int
    bfd: bool = False
    secret: str = ""


class RouteFamily(Noun, frozen=True, kw_only=True):
    """IPv4 or IPv6, of which a node may have both. `segment`: what is on link. Routes are taken and given inside of
    `pools` only. `blocks` are announced whole, `borrowed` are single addresses. `passes_on`: also what came from
    outside goes on to other nodes, and to `external` sessions what came from other nodes. `tunnelled`: what is not on
    link goes through the tunnel."""

    ipv6: bool = False
    address: str
    segment: str
    pools: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    borrowed: tuple[str, ...] = ()
    sessions: tuple[Session, ...] = ()
    passes_on: bool = False
    tunnelled: bool = False


class TunnelNeighbor(Noun, frozen=True, kw_only=True):
    """A node of another segment: its addresses, and those of its end of the tunnel."""

    name: str
    address: str
    mac: str
    address6: str = ""


class Tunnel(Noun, frozen=True, kw_only=True):
    """VXLAN to the nodes of other segments. What comes from `pools` reaches also these nodes themselves by it: a router
    between the segments may drop what comes from addresses that it knows no way to."""

    address: str
    mac: str
    interface: str
    neighbors: tuple[TunnelNeighbor, ...] = ()
    pools: tuple[str, ...] = ()


class RouteFinding(Noun, frozen=True, kw_only=True):
    """Something that keeps routes from being as they should, and what to do."""

    reason: str
    todo: str = ""


class RoutePlan(Noun, frozen=True, kw_only=True):
    """`router_id`: by what BGP knows this node. `interface` of the node's address, empty: any."""

    router_id: str
    interface: str
    autonomous_system: int
    hold_seconds: int
    bfd_interval_ms: int | None
    families: tuple[RouteFamily, ...] = ()
    tunnel: Tunnel | None = None
    findings: tuple[RouteFinding, ...] = ()
