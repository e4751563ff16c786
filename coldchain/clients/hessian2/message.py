"""What a decoder knows of one message, and the limits it has."""

from collections.abc import Callable

import msgspec

from coldchain.clients.hessian2.values import HessianError


class Limits(msgspec.Struct, frozen=True):
    """What one message may have at most. Its lengths are limited by its bytes anyway."""

    depth: int = 256
    """Lists, maps and objects in one another; Python's own limit is about twice that."""
    elements: int = 1_000_000
    """Items, entries, fields, and what holds them: a byte may become some two hundred in memory."""
    classes: int = 1_000


class Message:
    """Its bytes; the references, classes and types so far; and how much more it may have."""

    __slots__ = ("classes", "data", "depth", "limits", "references", "room", "types")

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.room = limits.elements
        self.depth = 0
        self.references: list[object] = []
        self.classes: list[tuple[str, list[str]]] = []
        self.types: list[str] = []

    def enter(self, position: int, count: int) -> None:
        """Something with so many values, or with as many as come if it is 0, begins."""
        self.depth += 1
        if self.depth > self.limits.depth:
            raise HessianError(position, f"nothing nested in more than {self.limits.depth} others", "one more")
        left = len(self.data) - position
        if not 0 <= count <= left:
            raise HessianError(position, f"{count} values", f"{left} bytes")
        self.room -= count + 1
        if self.room < 0:
            raise self._too_many(position)

    def take(self, position: int, count: int) -> None:
        """So many values have come, or will."""
        self.room -= count
        if self.room < 0:
            raise self._too_many(position)

    def _too_many(self, position: int) -> HessianError:
        return HessianError(position, f"at most {self.limits.elements} values", "more")


Reader = Callable[[Message, int], tuple[object, int]]
"""Takes the position of a value's first byte; returns the value and the position after it."""
