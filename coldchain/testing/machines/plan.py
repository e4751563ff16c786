"""plan: which machines a lab has, and how they are joined."""

import ipaddress
from dataclasses import dataclass

OUTSIDE = "192.0.2.1"
"""An address of the router that is neither in a pool nor a machine of the lab: the rest of the world."""


@dataclass(frozen=True)
class Cable:
    """From a machine's link `name` into a segment of the switch; `address` has a length."""

    segment: str
    address: str
    name: str = "eth0"


@dataclass(frozen=True)
class Place:
    """One machine of a plan. `router`: where it sends what is not on its segment; empty: nowhere."""

    name: str
    cables: tuple[Cable, ...]
    docker: bool = False
    router: str = ""

    @property
    def address(self) -> str:
        """Of its first cable, without a length."""
        return self.cables[0].address.partition("/")[0]


@dataclass(frozen=True)
class Plan:
    """`console`: the address by which the user of the lab is in the first segment."""

    places: tuple[Place, ...]
    console: Cable

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cable.segment for place in self.places for cable in place.cables))

    @property
    def networks(self) -> dict[str, ipaddress.IPv4Network]:
        """Of each segment."""
        cables = [cable for place in self.places for cable in place.cables]
        return {cable.segment: ipaddress.IPv4Interface(cable.address).network for cable in cables}

    @property
    def hosts(self) -> str:
        """What /etc/hosts says on every machine."""
        lines = ["127.0.0.1 localhost", *(f"{place.address} {place.name}" for place in self.places)]
        return "\n".join(lines) + "\n"


FLAT = Plan(
    (
        Place("machine-1", (Cable("segment-1", "10.10.7.11/24"),), docker=True),
        Place("machine-2", (Cable("segment-1", "10.10.7.12/24"),), docker=True),
        Place("vm", (Cable("segment-1", "10.10.7.13/24"),)),
    ),
    Cable("segment-1", "10.10.7.254/24", "console"),
)
"""All on one segment: each is the other's next hop. Its addresses are not those of the other plan, so that both may be
used at once; of two labs of the same plan the console leads to the first only."""

SEGMENTED = Plan(
    (
        Place("machine-1", (Cable("segment-1", "10.10.3.11/24"),), docker=True, router="10.10.3.1"),
        Place("machine-2", (Cable("segment-2", "10.10.50.12/24"),), docker=True, router="10.10.50.1"),
        Place("vm", (Cable("segment-2", "10.10.50.13/24"),), router="10.10.50.1"),
        Place("router", (Cable("segment-1", "10.10.3.1/24"), Cable("segment-2", "10.10.50.1/24", "eth1"))),
    ),
    Cable("segment-1", "10.10.3.254/24", "console"),
)
"""Two segments, and between them a router that knows no address of a container."""
