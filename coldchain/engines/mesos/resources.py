"""resources: Mesos's lists of resources as amounts, and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coldchain.clients.mesos.events import Resource
from coldchain.model.base import Noun

Document = dict[str, Any]
PortRanges = tuple[tuple[int, int], ...]
ALL = "*"
DIGITS = 3
"""Mesos counts scalars to three decimals."""


class Amounts(Noun, frozen=True, kw_only=True):
    """cpus in shares of a core, mem and disk in MiB; ports as inclusive ranges, in their order and apart."""

    cpus: float = 0.0
    mem: float = 0.0
    disk: float = 0.0
    gpus: float = 0.0
    ports: PortRanges = ()

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(
            cpus=round(self.cpus + other.cpus, DIGITS),
            mem=round(self.mem + other.mem, DIGITS),
            disk=round(self.disk + other.disk, DIGITS),
            gpus=round(self.gpus + other.gpus, DIGITS),
            ports=joined((*self.ports, *other.ports)),
        )

    def minus(self, other: "Amounts") -> "Amounts":
        """What is left; below nothing is nothing."""
        return Amounts(
            cpus=max(0.0, round(self.cpus - other.cpus, DIGITS)),
            mem=max(0.0, round(self.mem - other.mem, DIGITS)),
            disk=max(0.0, round(self.disk - other.disk, DIGITS)),
            gpus=max(0.0, round(self.gpus - other.gpus, DIGITS)),
            ports=without(self.ports, other.ports),
        )

    def covers(self, other: "Amounts") -> bool:
        return (
            self.cpus >= round(other.cpus, DIGITS)
            and self.mem >= round(other.mem, DIGITS)
            and self.disk >= round(other.disk, DIGITS)
            and self.gpus >= round(other.gpus, DIGITS)
            and not without(other.ports, self.ports)
        )


NOTHING = Amounts()


class Pool(Noun, frozen=True, kw_only=True):
    """What is free for one reservation. `reservations`: Mesos's own words for it, which go back unchanged."""

    amounts: Amounts
    reservations: tuple[Document, ...] = ()


def pools_of(resources: Iterable[Resource]) -> dict[str, Pool]:
    """By the role they are reserved for, without what can be taken away again, is shared, or is a volume of its own."""
    found: dict[str, Pool] = {}
    for one in resources:
        if one.revocable is not None or one.shared is not None or one.disk is not None or one.provider_id is not None:
            continue
        role = str(one.reservations[-1].get("role", ALL)) if one.reservations else one.role or ALL
        pool = found.get(role) or Pool(amounts=NOTHING, reservations=one.reservations)
        found[role] = Pool(amounts=pool.amounts.plus(_amounts(one)), reservations=pool.reservations)
    return found


def summed(pools: Iterable[Mapping[str, Pool]]) -> dict[str, Pool]:
    """Several offers of one agent as one."""
    found: dict[str, Pool] = {}
    for some in pools:
        for role, pool in some.items():
            known = found.get(role)
            amounts = pool.amounts if known is None else known.amounts.plus(pool.amounts)
            found[role] = Pool(amounts=amounts, reservations=pool.reservations)
    return found


def documents(amounts: Amounts, role: str, reservations: Sequence[Document]) -> list[Document]:
    """As Mesos has them in a task. `role`: of the framework, that the offer was for."""
    common: Document = {"allocation_info": {"role": role}}  # their word
    if reservations:
        common["reservations"] = list(reservations)
    scalars = {"cpus": amounts.cpus, "mem": amounts.mem, "disk": amounts.disk, "gpus": amounts.gpus}
    found = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}, **common}
        for name, value in scalars.items()
        if value
    ]
    if amounts.ports:
        ranges = [{"begin": begin, "end": end} for begin, end in amounts.ports]
        found.append({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}, **common})
    return found


def joined(ranges: Iterable[tuple[int, int]]) -> PortRanges:
    """In order, those that touch as one."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return tuple(found)


def without(ranges: PortRanges, taken: Iterable[tuple[int, int]]) -> PortRanges:
    """What is left of ranges."""
    left = list(ranges)
    for first, last in taken:
        cut: list[tuple[int, int]] = []
        for begin, end in left:
            if last < begin or first > end:
                cut.append((begin, end))
                continue
            if begin < first:
                cut.append((begin, first - 1))
            if end > last:
                cut.append((last + 1, end))
        left = cut
    return tuple(left)


def single(ports: Iterable[int]) -> PortRanges:
    """Of ports; 0 stands for none."""
    return joined((port, port) for port in ports if port)


def _amounts(one: Resource) -> Amounts:
    value = one.scalar.value if one.scalar is not None else 0.0
    match one.name:
        case "cpus":
            return Amounts(cpus=value)
        case "mem":
            return Amounts(mem=value)
        case "disk":
            return Amounts(disk=value)
        case "gpus":
            return Amounts(gpus=value)
        case "ports" if one.ranges is not None:
            return Amounts(ports=joined((each.begin, each.end) for each in one.ranges.range))
        case _:
            return NOTHING
