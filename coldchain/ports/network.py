"""Network: what netd has of its machine: links of containers, routing daemon, packet filter, and its own disk."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

from coldchain.model.attachment import BEGINNING_CHARACTERS
from coldchain.model.base import Noun
from coldchain.model.ruleset import Connection, Ruleset

GATEWAY = "169.254.1.1"
GATEWAY6 = "fe80::1"
"""What every container sends to. Each machine's end of each link has it, so it is never routed."""

HOST_PREFIX = "cn"
PEER_PREFIX = "ct"


class Link(Noun, frozen=True, kw_only=True):
    """The link of one attachment. `host` is the name of the machine's end, `peer` of the container's, before Docker
    moves it into the container. Addresses without a length; `mac` of the container's end; `source`: the node's."""

    host: str
    peer: str
    address: str
    mac: str
    mtu: int
    source: str
    address6: str = ""


def host_name(attachment: str) -> str:
    """Of the machine's end; names of links have 15 characters at most."""
    return HOST_PREFIX + attachment[:BEGINNING_CHARACTERS]


def peer_name(attachment: str) -> str:
    """Of the container's end before Docker moves it there."""
    return PEER_PREFIX + attachment[:BEGINNING_CHARACTERS]


class Links(Protocol):
    """Links of containers in the kernel of this machine. Raises Unavailable where the kernel refuses."""

    async def add(self, link: Link) -> None:
        """A pair with its route and neighbour. One of the same name is replaced."""
        ...

    async def remove(self, host: str) -> None:
        """The pair goes, with its route. No error if it has gone."""
        ...

    async def present(self) -> Sequence[str]:
        """The machine's ends of all links of ours."""
        ...

    async def mtu(self, interface: str) -> int: ...


class RoutingDaemon(Protocol):
    """BIRD. It goes on, with its routes, when netd ends."""

    async def apply(self, configuration: str) -> None:
        """Checked first; the daemon is started where it does not run. Raises Rejected with what it says of the text."""
        ...

    async def resume(self) -> None:
        """Started by the last configuration, if it does not run and there is one."""
        ...

    async def sessions(self) -> Mapping[str, str]:
        """State of each session by its name in the configuration (`Established`, `Active`...). Raises Unavailable where
        the daemon does not run."""
        ...

    async def heard(self) -> Mapping[str, bool]:
        """Whether BFD hears something of each whom it listens to, by address. Raises Unavailable."""
        ...

    async def withdraw(self, session: str) -> None:
        """The routes of this session go at once; it is begun anew. Raises Unavailable, NotFound."""
        ...

    async def ended(self) -> None:
        """Returns once the daemon does not run, at once if it does not now."""
        ...

    async def stop(self) -> None:
        """Its routes go as well, and its configuration is forgotten."""
        ...


class Reach(Protocol):
    """Whether machines are there."""

    async def answers(self, address: str) -> bool:
        """Within a moment, in whatever way."""
        ...


class PacketFilter(Protocol):
    """nftables. Raises Unavailable where it cannot be spoken to."""

    async def apply(self, ruleset: Ruleset, before: Ruleset | None) -> None:
        """One transaction: all of it or nothing. `before`: what it has by now, so that only what is new need be said;
        None: nobody knows. Raises Rejected with what nft says of it."""
        ...

    async def drops(self) -> Mapping[str, int]:
        """Packets by the name of the counter; nothing before the first ruleset."""
        ...

    async def let_docker_forward(self) -> None:
        """What goes from or to our links is not dropped by Docker's own rules, which it makes anew when it starts."""
        ...

    def chain_changes(self) -> AsyncIterator[None]:
        """Whenever somebody, this one too, has made a chain or taken a table away: Docker that starts, or who cleans
        up. Where nothing is said of it nothing need be so."""
        ...

    async def connections(self) -> Sequence[Connection]:
        """All that stand."""
        ...

    async def cut(self, connections: Iterable[Connection]) -> None:
        """They have to begin anew, and are asked about then. No error for one that has ended."""
        ...


class Journal(Protocol):
    """What netd must not forget when it or its machine ends, by name. A write is on the disk when it returns."""

    async def read(self) -> Mapping[str, bytes]: ...

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """All of them or none; None deletes."""
        ...
