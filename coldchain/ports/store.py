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
    None: whatever it has. `lease`: the id of the lease with which the key ends; None: it stays, also if it had one."""

    key: str
    value: bytes | None
    expected: int | None = None
    lease: str | None = None


class Guard(Noun, frozen=True, kw_only=True):
    """The revision that a key must have (0: absent) for a write that leaves this key alone."""

    key: str
    revision: int


class Changed(Noun, frozen=True, kw_only=True):
    """A change seen by a watcher. `value` None: deleted."""

    key: str
    value: bytes | None
    revision: int


class LostUpdate(Conflict):
    """Compare-and-swap failed: somebody else wrote the key. Nothing of the write was done."""


class Compacted(Conflict):
    """The changes after the asked revision are no longer known; list again and watch from there."""


class LeaseExpired(Conflict):
    """The lease has ended, and with it the keys that were attached to it. Only a new lease helps."""


class Lease(Protocol):
    """Ends when nobody keeps it alive; its keys are deleted then in one revision, and watchers see it. It never ends
    before the seconds granted are over, counted from when the question was asked; it may end somewhat later."""

    @property
    def id(self) -> str: ...

    @property
    def seconds(self) -> float:
        """What was granted; a store may grant more than was asked for."""
        ...

    async def keep_alive(self) -> float:
        """Begins anew. Returns the seconds granted. Raises LeaseExpired, Unavailable (it may or may not go on)."""
        ...

    async def revoke(self) -> None:
        """Ends it now. No error if it has ended already. Raises Unavailable; then it ends by itself at the latest."""
        ...


class Store(Protocol):
    """Linearizable. Raises `Unavailable` when it does not answer (the write may or may not have happened)."""

    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str) -> Listing: ...

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        """All or nothing, durable when it returns. Returns the revision that all of them have; where there was nothing
        to change, one that the store has. Raises LostUpdate, and LeaseExpired for a lease that has ended."""
        ...

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        """Every change below `prefix` with a revision above `after`, in order, for ever. Raises Compacted, Unavailable:
        whoever goes on watching does so after the last revision that he was told wholly, or lists again."""
        ...

    async def lease(self, seconds: float) -> Lease:
        """A new one, of at least so many seconds. In a store that only one process can open, it ends with this."""
        ...

    async def close(self) -> None: ...
