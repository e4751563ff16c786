"""The shapes of what is asked and answered about nodes and routes. Nouns for the document alone, as in `answers`."""

from typing import Annotated

from msgspec import Meta

from coldchain.decisions.node import (
    AUTONOMOUS_SYSTEM_MAX,
    BFD_INTERVAL_MS_MAX,
    BFD_INTERVAL_MS_MIN,
    HOLD_SECONDS_MAX,
    HOLD_SECONDS_MIN,
    MESH_NODES_MAX,
    MESH_NODES_MIN,
    NAME,
)
from coldchain.documents.openapi.answers import Count
from coldchain.model.base import Noun
from coldchain.model.node import Encapsulation

System = Annotated[int, Meta(ge=1, le=AUTONOMOUS_SYSTEM_MAX)]
MeshSize = Annotated[int, Meta(ge=MESH_NODES_MIN, le=MESH_NODES_MAX)]
Hold = Annotated[int, Meta(ge=HOLD_SECONDS_MIN, le=HOLD_SECONDS_MAX)]
Interval = Annotated[int, Meta(ge=BFD_INTERVAL_MS_MIN, le=BFD_INTERVAL_MS_MAX)]
NodeName = Annotated[str, Meta(pattern=f"^{NAME.pattern}$")]


class NodeAnswer(Noun, frozen=True, kw_only=True):
    """A machine of the container network. `containers`: whether it runs any; `attachments`: how many are in it."""

    name: str
    address: str
    address6: str
    interface: str
    containers: bool
    reflector: bool
    attachments: Count


class NodeList(Noun, frozen=True, kw_only=True):
    """All nodes."""

    nodes: tuple[NodeAnswer, ...]


class ChangeNode(Noun, frozen=True, kw_only=True):
    """What a node is to be from now on; null: as it is."""

    address: str | None = None
    address6: str | None = None
    reflector: bool | None = None


class RoutePeerAnswer(Noun, frozen=True, kw_only=True):
    """A router of the data centre. `nodes` empty: all of its segment speak with it."""

    name: str
    address: str
    autonomous_system: System
    nodes: tuple[str, ...]
    secret: str
    bfd: bool


class RoutingAnswer(Noun, frozen=True, kw_only=True):
    """How routes are spread."""

    autonomous_system: System
    mesh_nodes_max: MeshSize
    hold_seconds: Hold
    bfd: bool
    bfd_interval_ms: Interval
    encapsulation: Encapsulation
    peers: tuple[RoutePeerAnswer, ...]


class ChangeRouting(Noun, frozen=True, kw_only=True):
    """How routes are spread from now on; null: as it is."""

    autonomous_system: System | None = None
    mesh_nodes_max: MeshSize | None = None
    hold_seconds: Hold | None = None
    bfd: bool | None = None
    bfd_interval_ms: Interval | None = None
    encapsulation: Encapsulation | None = None


class PutRoutePeer(Noun, frozen=True, kw_only=True):
    """A router of the data centre. `nodes`: which speak with it, none: all of its segment. `secret`: the name of the
    one with the password of the session."""

    address: str
    autonomous_system: System
    nodes: tuple[NodeName, ...] | None = None
    secret: str | None = None
    bfd: bool | None = None
