"""coverage: what really struck: each kind of fault against each transition of an instance that it struck before."""

from collections import Counter
from collections.abc import Iterable

from coldchain.decisions.instance import TRANSITIONS

GONE = "gone"
"""After `stopped`: the record is taken away."""

COLUMNS: tuple[tuple[str, str], ...] = (
    *((before, after) for before, following in TRANSITIONS.items() for after in sorted(following)),
    ("stopped", GONE),
)

Cell = tuple[str, str, str]


class Coverage:
    """`cells`: (kind, phase before, phase after) → transitions that happened after a strike while the instance was in
    the phase before. `strikes`: by kind. Both add up over schedules."""

    def __init__(self) -> None:
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
        """An instance made a transition."""
        for kind in self._pending.pop(instance_id, ()):
            self.cells[kind, before, after] += 1

    def add(self, other: "Coverage") -> None:
        """Take in the coverage of one schedule."""
        self.strikes.update(other.strikes)
        self.cells.update(other.cells)
        self.schedules.update(dict.fromkeys(other.strikes, 1))
