"""constraint: Marathon's operators: on which agents the instances of an app may stand, and who of them leaves first.

A constraint compares a field of the agent, as text: `hostname` (or `@hostname`), `@region`, `@zone`, else an attribute.
An agent without the field is excluded by every operator but UNLIKE. Compared with each other are only instances of one
configuration: those of an older version are about to leave, and would block the rollout that replaces them.
"""

import heapq
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Literal, get_args

from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer

Operator = Literal["UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
HOSTNAME = ("hostname", "@hostname")
SCALAR = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class Constraint(Noun, frozen=True, kw_only=True):
    """One constraint of a checked definition. `value` "": none was given."""

    field: str
    operator: Operator
    value: str = ""

    @property
    def number(self) -> int:
        """The value of MAX_PER and GROUP_BY; 0: none was given."""
        return int(self.value or 0)


@lru_cache(maxsize=4096)
def parsed(text: tuple[str, ...]) -> Constraint:
    """The constraint that an element of a checked definition's `constraints` says."""
    operator = next(one for one in OPERATORS if one == text[1])
    return Constraint(field=text[0], operator=operator, value=text[2] if len(text) > 2 else "")


def scalar_text(value: str) -> str:
    """A number as Marathon compares it, to three decimals and without zeros at the end; any other text as it is."""
    if not SCALAR.fullmatch(value):
        return value
    rounded = f"{float(value):.3f}"
    return rounded.rstrip("0").rstrip(".")


def field_value(offer: Offer, field: str) -> str | None:
    """What the agent says of a field; None when it has none of that name."""
    if field in HOSTNAME:
        return offer.hostname
    if field == "@region":
        return offer.region
    if field == "@zone":
        return offer.zone
    return offer.attributes.get(field)


def values_of(app: App, offer: Offer) -> dict[str, str]:
    """What the agent says of the fields that the app's constraints name, those that it has."""
    found = {text[0]: field_value(offer, text[0]) for text in app.constraints}
    return {field: value for field, value in found.items() if value is not None}


class Neighbours:
    """The instances of one configuration that are or will be on agents, counted by the values of their agents."""

    def __init__(self, app: App, instances: Iterable[Instance]) -> None:
        self._wanted = app.instances
        self._constraints = tuple(parsed(text) for text in app.constraints)
        self._counts: dict[str, Counter[str]] = {one.field: Counter() for one in self._constraints}
        self._first: dict[str, str] = {}
        for one in sorted(instances, key=lambda one: (one.created_at, one.id)) if self._constraints else ():
            self.add(one.constraint_values)

    def add(self, values: Mapping[str, str]) -> None:
        """One more of them, on an agent with these values."""
        for field, counts in self._counts.items():
            if field in values:
                counts[values[field]] += 1
                self._first.setdefault(field, values[field])

    def excluded_by(self, values: Mapping[str, str]) -> list[str]:
        """The constraints that keep one more of them from an agent with these values, as their writer knows them."""
        return [
            " ".join(filter(None, (one.field, one.operator, one.value)))
            for one in self._constraints
            if not self._allows(one, values.get(one.field))
        ]

    def crowd(self, values: Mapping[str, str]) -> tuple[int, ...]:
        """How many of them are in the agent's group, for each GROUP_BY: agents with fewer are to be preferred."""
        grouped = (one.field for one in self._constraints if one.operator == "GROUP_BY")
        return tuple(self._counts[field][values.get(field, "")] for field in grouped)

    def _allows(self, constraint: Constraint, value: str | None) -> bool:
        if value is None:
            return constraint.operator == "UNLIKE"
        count = self._counts[constraint.field][value]
        match constraint.operator:
            case "UNIQUE":
                return count == 0
            case "CLUSTER":
                return value == (constraint.value or self._first.get(constraint.field, value))
            case "IS":
                return value == scalar_text(constraint.value)
            case "LIKE":
                return _matches(constraint.value, value)
            case "UNLIKE":
                return not _matches(constraint.value, value)
            case "MAX_PER":
                return count < constraint.number
        return not constraint.number or self._shared_out(constraint, count)

    def _shared_out(self, constraint: Constraint, count: int) -> bool:
        """GROUP_BY with a number: that many groups, each with its share of the wanted instances, and so many of them
        with one more as do not divide."""
        counts = self._counts[constraint.field]
        share, rest = divmod(self._wanted, constraint.number)
        if not count:
            return sum(size > 0 for size in counts.values()) < constraint.number
        used = sum(max(0, size - share) for size in counts.values())
        return count < share or (count == share and used < rest)


@lru_cache(maxsize=65536)
def _matches(expression: str, value: str) -> bool:
    return re.fullmatch(expression, value, re.ASCII) is not None


def first_to_leave(constraints: Iterable[tuple[str, ...]], instances: Sequence[Instance], count: int) -> list[Instance]:
    """Who of the instances, which come in the order in which they would leave otherwise, leaves for the constraints'
    sake: those `in_the_way`, then those whose leaving keeps the groups of GROUP_BY even or makes them more so. At most
    `count`; fewer where the constraints do not care."""
    known = [parsed(text) for text in constraints]
    chosen = in_the_way(known, instances, count)
    gone = {one.id for one in chosen}
    left = [one for one in instances if one.id not in gone]
    groupings = [_Grouping(one.field, left) for one in known if one.operator == "GROUP_BY"]
    waiting = dict(enumerate(left))
    while groupings and len(chosen) < count:
        uneven = sorted(groupings, key=lambda grouping: grouping.difference(), reverse=True)
        tried = chain(*(grouping.fullest() for grouping in uneven), waiting)
        found = next((rank for rank in tried if all(one.stays_even_without(rank) for one in groupings)), None)
        if found is None:
            break
        chosen.append(waiting.pop(found))
        for grouping in groupings:
            grouping.remove(found)
    return chosen


def in_the_way(constraints: Iterable[Constraint], instances: Sequence[Instance], count: int) -> list[Instance]:
    """Who stands beside others against CLUSTER, UNIQUE or MAX_PER, as after a replaced instance got well again, or
    somebody answers for it again. Of so many `count` leave, and these first."""
    known = list(constraints)
    elsewhere: set[str] = set()
    for constraint in known:
        if constraint.operator == "CLUSTER":
            kept = constraint.value or _largest_group(constraint.field, instances, len(instances) - count)
            values = ((one.id, one.constraint_values.get(constraint.field, kept)) for one in instances)
            elsewhere.update(name for name, value in values if value != kept)
    found = [one for one in instances if one.id in elsewhere]
    return [*found, *_too_many(known, [one for one in instances if one.id not in elsewhere])][:count]


def _largest_group(field: str, instances: Iterable[Instance], stay: int) -> str:
    """Where those stand who may stay together: in the group with the most of them, as far as so many are wanted, then
    in the one of which more serve, and then where the oldest stands."""
    groups: dict[str, list[Instance]] = {}
    for one in sorted(instances, key=lambda one: (one.created_at, one.id)):
        if field in one.constraint_values:
            groups.setdefault(one.constraint_values[field], []).append(one)

    def size(value: str) -> tuple[int, int]:
        return min(stay, len(groups[value])), sum(one.in_rotation for one in groups[value])

    return max(groups, key=size, default="")


def _too_many(constraints: Iterable[Constraint], instances: Collection[Instance]) -> list[Instance]:
    """Who stands beside more of them than UNIQUE and MAX_PER allow."""
    limits: dict[str, int] = {}
    for constraint in constraints:
        if constraint.operator in ("UNIQUE", "MAX_PER"):
            most = constraint.number or 1
            limits[constraint.field] = min(most, limits.get(constraint.field, most))
    found: list[Instance] = []
    counts = Counter(place for one in instances for place in one.constraint_values.items())
    for one in instances:
        places = [place for place in one.constraint_values.items() if place[0] in limits]
        if any(counts[place] > limits[place[0]] for place in places):
            counts.subtract(places)
            found.append(one)
    return found


class _Grouping:
    """Instances by the value of a field, each known by its rank in the order of leaving."""

    def __init__(self, field: str, instances: Iterable[Instance]) -> None:
        self._group_of: dict[int, str | None] = {}
        self._groups: dict[str | None, dict[int, None]] = {}
        for rank, one in enumerate(instances):
            value = self._group_of[rank] = one.constraint_values.get(field)
            self._groups.setdefault(value, {})[rank] = None
        self._before = self.difference()

    def difference(self, without: int | None = None) -> int:
        """Between the largest and the smallest group. One that became empty is still a group."""
        group = self._group_of.get(without) if without is not None else None
        sizes = [len(ranks) - (without is not None and value == group) for value, ranks in self._groups.items()]
        return max(sizes, default=0) - min(sizes, default=0)

    def stays_even_without(self, rank: int) -> bool:
        after = self.difference(rank)
        return after <= 1 or after < self._before

    def fullest(self) -> Iterable[int]:
        """Those in the largest groups; nobody where all are of one size."""
        if not self.difference():
            return ()
        most = max(len(ranks) for ranks in self._groups.values())
        return heapq.merge(*(ranks for ranks in self._groups.values() if len(ranks) == most))

    def remove(self, rank: int) -> None:
        del self._groups[self._group_of[rank]][rank]
