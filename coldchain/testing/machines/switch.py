"""switch: what joins the machines of a lab: one bridge for each segment, in a network that is nobody else's."""

from coldchain.testing.machines.machine import call
from coldchain.testing.machines.plan import Cable, Place, Plan

_BRIDGE_FILTER = (
    "for one in iptables ip6tables arptables; do"
    ' file="/proc/sys/net/bridge/bridge-nf-call-$one"; [ ! -e "$file" ] || echo 0 >"$file"; done'
)
"""A switch looks at no rules."""


class Switch:
    """In the network of the keeper, whose number `keeper` is."""

    def __init__(self, keeper: int, plan: Plan) -> None:
        self.keeper = keeper
        self._plan = plan

    def build(self) -> None:
        for segment in self._plan.segments:
            self._ip("link", "add", segment, "type", "bridge", "forward_delay", "0")
            self._ip("link", "set", segment, "up")
        call([*self._door(), "sh", "-c", _BRIDGE_FILTER])

    def connect(self, place: Place, init: int) -> None:
        """All cables of a machine, with its addresses and its router."""
        for number, cable in enumerate(place.cables):
            port = f"{place.name}.{number}"
            self._ip("link", "add", port, "type", "veth", "peer", "name", cable.name, "netns", str(init))
            self._ip("link", "set", port, "master", cable.segment, "up")
            _furnish(("nsenter", f"--target={init}", "--net", "--"), cable)
        if place.router:
            call(["nsenter", f"--target={init}", "--net", "--", "ip", "route", "add", "default", "via", place.router])

    def disconnect(self, place: Place) -> None:
        """At once; with the machine's network its links would go some time later."""
        for number, _ in enumerate(place.cables):
            self._ip("link", "delete", f"{place.name}.{number}")

    def connect_console(self, name: str) -> None:
        """The user of the lab himself, whose other networks stay as they are. His link goes with the switch."""
        cable = self._plan.console
        call(["ip", "link", "add", name, "type", "veth", "peer", "name", "console", "netns", str(self.keeper)])
        self._ip("link", "set", "console", "master", cable.segment, "up")
        _furnish((), Cable(cable.segment, cable.address, name))
        router = self._router_of(cable.segment)
        for segment, network in self._plan.networks.items():
            if segment != cable.segment and router:
                call(["ip", "route", "add", str(network), "via", router])

    def _router_of(self, segment: str) -> str:
        """The address of the machine that has a cable in more than this segment."""
        for place in self._plan.places:
            if len(place.cables) > 1:
                for cable in place.cables:
                    if cable.segment == segment:
                        return cable.address.partition("/")[0]
        return ""

    def cut(self, place: Place, *, seen: bool) -> None:
        for number, _ in enumerate(place.cables):
            self._ip("link", "set", f"{place.name}.{number}", *(("down",) if seen else ("nomaster",)))

    def plug_in(self, place: Place) -> None:
        for number, cable in enumerate(place.cables):
            self._ip("link", "set", f"{place.name}.{number}", "master", cable.segment, "up")

    def _door(self) -> list[str]:
        return ["nsenter", f"--target={self.keeper}", "--net", "--"]

    def _ip(self, *words: str) -> None:
        call([*self._door(), "ip", *words])


def _furnish(door: tuple[str, ...], cable: Cable) -> None:
    call([*door, "ip", "address", "add", cable.address, "dev", cable.name])
    call([*door, "ip", "link", "set", cable.name, "up"])
