"""node request: what the API is sent to change a node, the settings of routes, or a router that nodes speak with."""

from contextlib import suppress
from typing import TypeVar

from msgspec.structs import asdict, replace

from coldchain.documents.findings import Findings, TooMany
from coldchain.documents.shape import read
from coldchain.model.base import Noun
from coldchain.model.errors import InvalidDocument, Problem
from coldchain.model.node import Encapsulation, Node, RoutePeer, Routing

N = TypeVar("N", bound=Noun)


class NodeChange(Noun, frozen=True, kw_only=True):
    """What a node is to be from now on; null: as it is."""

    address: str | None = None
    address6: str | None = None
    reflector: bool | None = None

    def applied(self, node: Node) -> Node:
        return replace(node, **_given(self))


class RoutingChange(Noun, frozen=True, kw_only=True):
    """How routes are spread from now on; null: as it is."""

    autonomous_system: int | None = None
    mesh_nodes_max: int | None = None
    hold_seconds: int | None = None
    bfd: bool | None = None
    bfd_interval_ms: int | None = None
    encapsulation: Encapsulation | None = None

    def applied(self, routing: Routing) -> Routing:
        return replace(routing, **_given(self))


class PeerRequest(Noun, frozen=True, kw_only=True):
    """A router, whose name stands in the address."""

    address: str
    autonomous_system: int
    nodes: tuple[str, ...] = ()
    secret: str = ""
    bfd: bool = False

    def named(self, name: str) -> RoutePeer:
        return RoutePeer(name=name, **asdict(self))


def decode(kind: type[N], document: object) -> N:
    """Raises InvalidDocument with all of its form that is wrong."""
    findings, request = Findings(), None
    with suppress(TooMany):
        request = read(kind, document, findings, {})
    problems: list[Problem] = list(findings.problems(document))
    if request is None or problems:
        raise InvalidDocument(problems)
    return request


def _given(change: Noun) -> dict[str, object]:
    return {name: value for name, value in asdict(change).items() if value is not None}
