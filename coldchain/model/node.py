"""node: a machine in the container network, and how routes reach it."""

from typing import Literal

from coldchain.model.base import Noun

Encapsulation = Literal["never", "cross-subnet"]


class Node(Noun, frozen=True, kw_only=True):
    """A machine that has the routes of the container network. `address` is the one that others reach it by, with the
    length of its segment (`10.10.3.5/24`): nodes of one segment are on one link. `containers` False: it runs none of
    ours and has no blocks. `reflector`: it passes routes on in a network too large for a full mesh."""

    name: str
    address: str
    address6: str = ""
    interface: str = ""
    containers: bool = True
    reflector: bool = False


class RoutePeer(Noun, frozen=True, kw_only=True):
    """A router of the data centre that nodes exchange routes with by BGP. `nodes`: which, empty for all of its segment.
    `secret`: the name of the secret with the password of the session (TCP MD5), empty for none."""

    name: str
    address: str
    autonomous_system: int
    nodes: tuple[str, ...] = ()
    secret: str = ""
    bfd: bool = False


class Routing(Noun, frozen=True, kw_only=True):
    """How routes are spread, for all nodes. Up to `mesh_nodes_max` nodes all talk to all; beyond that all talk to the
    reflectors. BFD notices a dead link after `bfd_interval_ms` * 3."""

    autonomous_system: int = 64512
    mesh_nodes_max: int = 50
    hold_seconds: int = 9
    bfd: bool = True
    bfd_interval_ms: int = 100
    encapsulation: Encapsulation = "never"
    peers: tuple[RoutePeer, ...] = ()
