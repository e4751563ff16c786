"""amounts: what agents have and tasks take, counted by the simulation itself, in whole thousandths and single ports."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from coldchain.clients.mesos.events import Range, Ranges, Resource, Scalar

Document = dict[str, Any]


class Amount(NamedTuple):
    """`cpus` and `mem` in thousandths."""

    cpus: int = 0
    mem: int = 0
    ports: frozenset[int] = frozenset()

    def plus(self, other: "Amount") -> "Amount":
        return Amount(self.cpus + other.cpus, self.mem + other.mem, self.ports | other.ports)

    def minus(self, other: "Amount") -> "Amount":
        return Amount(self.cpus - other.cpus, self.mem - other.mem, self.ports - other.ports)

    def covers(self, other: "Amount") -> bool:
        return self.cpus >= other.cpus and self.mem >= other.mem and self.ports >= other.ports

    @property
    def empty(self) -> bool:
        """Too little to be offered."""
        return self.cpus < 10 and self.mem < 32_000


NOTHING = Amount()


def total(amounts: Iterable[Amount]) -> Amount:
    found = NOTHING
    for one in amounts:
        found = found.plus(one)
    return found


def amount_of(resources: Iterable[Document]) -> Amount:
    """Of a list of resources as a scheduler writes it."""
    found = NOTHING
    for one in resources:
        match one:
            case {"name": "cpus", "scalar": {"value": value}}:
                found = found.plus(Amount(cpus=round(value * 1000)))
            case {"name": "mem", "scalar": {"value": value}}:
                found = found.plus(Amount(mem=round(value * 1000)))
            case {"name": "ports", "ranges": {"range": ranges}}:
                ports = frozenset(port for each in ranges for port in range(each["begin"], each["end"] + 1))
                assert not found.ports & ports, "a port twice"
                found = found.plus(Amount(ports=ports))
    return found


def resources_of(amount: Amount) -> tuple[Resource, ...]:
    """As a master offers it."""
    ranges: list[Range] = []
    for port in sorted(amount.ports):
        if ranges and ranges[-1].end == port - 1:
            ranges[-1] = Range(begin=ranges[-1].begin, end=port)
        else:
            ranges.append(Range(begin=port, end=port))
    return (
        Resource(name="cpus", type="SCALAR", scalar=Scalar(value=amount.cpus / 1000)),
        Resource(name="mem", type="SCALAR", scalar=Scalar(value=amount.mem / 1000)),
        Resource(name="ports", type="RANGES", ranges=Ranges(range=tuple(ranges))),
    )
