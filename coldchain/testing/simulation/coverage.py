"""coverage: what really struck: each kind of fault against each transition of an instance that it struck before."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from coldchain.decisions.instance import TRANSITIONS
from coldchain.testing.simulation.faults import FAULTS, Fault

TRAVEL = "time travel"
GONE = "gone"
"""After `stopped`: the record is taken away."""

COLUMNS: tuple[tuple[str, str], ...] = (
    *((before, after) for before, following in TRANSITIONS.items() for after in sorted(following)),
    ("stopped", GONE),
)

Cell = tuple[str, str, str]

SHARE = 0.05
"""Each kind of fault must strike in at least so many of the schedules."""

IMPOSSIBLE: dict[str, tuple[frozenset[tuple[str, str]], str]] = {
    "reboot": (
        frozenset(
            (before, after)
            for before in ("starting", "entering", "serving", "draining", "closing")
            for after in TRANSITIONS[before]
            if after != "stopped"
        ),
        "its task is gone, and the next controller sees that first",
    ),
}
"""kind → transitions that cannot follow when it struck in the phase before, and why."""


class Coverage:
    """`cells`: (kind, phase before, phase after) → transitions that happened after a strike while the instance was in
    the phase before. `strikes`: by kind. Both add up over schedules. `unjudged`: transitions that may be missed."""

    def __init__(
        self, faults: Mapping[str, Fault] = FAULTS, unjudged: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self.faults = faults
        self.unjudged = unjudged
        self.strikes: Counter[str] = Counter()
        self.schedules: Counter[str] = Counter()
        self.cells: Counter[Cell] = Counter()
        self._pending: dict[str, set[str]] = {}

    def struck(self, kind: str, instance_ids: Iterable[str]) -> None:
        """A fault struck these instances."""
        self.strikes[kind] += 1
        for name in instance_ids:
            self._pending.setdefault(name, set()).add(kind)

    def moved(self, instance_id: str, before: str, after: str) -> None:
        """An instance made a transition. After the store was put back to older data only that is counted: what the
        lost records ordered strikes instances that the older ones know in other phases."""
        kinds = self._pending.pop(instance_id, set())
        for kind in kinds & {TRAVEL} if self.strikes[TRAVEL] else kinds:
            self.cells[kind, before, after] += 1

    def add(self, other: "Coverage") -> None:
        """Take in the coverage of one schedule."""
        self.strikes.update(other.strikes)
        self.cells.update(other.cells)
        self.schedules.update(dict.fromkeys(other.strikes, 1))

    def dump(self) -> str:
        """All counts as text, for another process."""
        cells = [[*cell, count] for cell, count in sorted(self.cells.items())]
        return json.dumps({"strikes": self.strikes, "schedules": self.schedules, "cells": cells})

    def take(self, text: str) -> None:
        """Add what another process dumped."""
        found = json.loads(text)
        self.strikes.update(found["strikes"])
        self.schedules.update(found["schedules"])
        for kind, before, after, count in found["cells"]:
            self.cells[kind, before, after] += count

    def table(self, number: int) -> str:
        """The counts of so many schedules as a table: one line for each kind, one column for each transition; a dash
        where it cannot occur."""
        rows = [("fault", "in", [before for before, _ in COLUMNS]), ("", "schedules", [after for _, after in COLUMNS])]
        for kind in self.faults:
            counts = [
                "-" if impossible(self.faults[kind], kind, before, after) else str(self.cells[kind, before, after])
                for before, after in COLUMNS
            ]
            rows.append((kind, f"{100 * self.schedules[kind] / max(1, number):.1f} %", counts))
        return "\n".join(
            f"{name:<24}{share:>9} " + "".join(f"{count:>10}" for count in counts) for name, share, counts in rows
        )

    def missing(self, number: int) -> list[str]:
        """What should have been struck by so many schedules and was not."""
        found = []
        for kind in self.faults:
            if self.schedules[kind] < SHARE * number:
                found.append(f"{kind}: struck in {self.schedules[kind]} of {number} schedules")
            found += [
                f"{kind}: never before {before} → {after}"
                for before, after in COLUMNS
                if (before, after) not in self.unjudged
                if not self.cells[kind, before, after] and not impossible(self.faults[kind], kind, before, after)
            ]
            found += [
                f"{kind}: before {before} → {after} {self.cells[kind, before, after]} times, but {why}"
                for before, after in COLUMNS
                if self.cells[kind, before, after] and (why := impossible(self.faults[kind], kind, before, after))
            ]
        return found


def impossible(fault: Fault, kind: str, before: str, after: str) -> str:
    """Why a fault cannot strike an instance between these phases; empty where it can."""
    if before not in fault.phases:
        return f"it strikes nobody who is {before}"
    cells, reason = IMPOSSIBLE.get(kind, (frozenset(), ""))
    return reason if (before, after) in cells else ""
