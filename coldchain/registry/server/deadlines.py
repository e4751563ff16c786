"""deadlines: moments at which something ends unless a sign of life moves them away. Signs of life are many and ends are
few, so a moment that moves away costs nothing until the old one comes."""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """One moment for each name."""

    def __init__(self) -> None:
        self._at: dict[T, float] = {}
        self._queue: list[tuple[float, T]] = []
        self._queued: dict[T, float] = {}

    def set(self, name: T, at: float) -> bool:
        """Returns whether it is now sooner than it was, or new."""
        known = self._at.get(name)
        self._at[name] = at
        if at < self._queued.get(name, float("inf")):
            self._queued[name] = at
            heapq.heappush(self._queue, (at, name))
        return known is None or at < known

    def drop(self, name: T) -> None:
        """Nothing happens if it has none."""
        self._at.pop(name, None)

    def __contains__(self, name: T) -> bool:
        return name in self._at

    def next(self) -> float | None:
        """The soonest moment."""
        while self._queue:
            queued, name = self._queue[0]
            at = self._at.get(name)
            if at == queued == self._queued.get(name):
                return at
            heapq.heappop(self._queue)
            if queued == self._queued.get(name):  # it moved away, or was dropped, since it was put here
                del self._queued[name]
                if at is not None:
                    self.set(name, at)
        return None

    def take(self, now: float) -> list[T]:
        """The names whose moment has come, the soonest first; they have none any more."""
        due = []
        while (at := self.next()) is not None and at <= now:
            _, name = heapq.heappop(self._queue)
            del self._queued[name]
            del self._at[name]
            due.append(name)
        return due
