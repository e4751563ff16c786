"""Store: the state of the platform, one key per object."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from coldchain.model.base import Noun
from coldchain.model.errors import Conflict

ABSENT = 0
"""As `Change.expected`: the key must not exist."""


class Entry(Noun, frozen=True, kw_only=True):
    """A stored object. `revision` is the store's revision at which the key was last written (1 or more)."""

    key: str
    value: bytes
    revision: int


class Listing(Noun, frozen=True, kw_only=True):
    """Entries in the order of their keys, as of one revision of the store."""

    entries: tuple[Entry, ...]
    revision: int


class Change(Noun, frozen=True, kw_only=True):
    """Write `value`, or delete the key where it is None. `expected`: the revision the key must have (0: absent);
    None: whatever it has."""

    key: str
    value: bytes | None
    expected: int | None = None


class Changed(Noun, frozen=True, kw_only=True):
    """A change seen by a watcher. `value` None: deleted."""

    key: str
    value: bytes | None
    revision: int


class LostUpdate(Conflict):
    """Compare-and-swap failed: somebody else wrote the key. Nothing of the write was done."""


class Compacted(Conflict):
    """The changes after the asked revision are no longer known; list again and watch from there."""


class Store(Protocol):
    """Linearizable. Raises `Unavailable` when it does not answer (the write may or may not have happened)."""

    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str) -> Listing: ...

    async def write(self, changes: Sequence[Change]) -> int:
        """All or nothing, durable when it returns. Returns the revision that all of them have. Raises LostUpdate."""
        ...

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        """Every change below `prefix` with a revision above `after`, in order, for ever. Raises Compacted."""
        ...

    async def close(self) -> None: ...
