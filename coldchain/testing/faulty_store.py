"""A store with the faults that a real one has: silent for a while, or a write committed of which the reply is lost."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

from coldchain.model.errors import Unavailable
from coldchain.ports.store import Change, Changed, Entry, Guard, Lease, Listing, LostUpdate, Store

Fault = Literal["unavailable", "lost reply", "lost update"]


class FaultyStore:
    """Implements ports.store.Store on another one. `fault(number, changes)` is asked before each write, which are
    numbered from 1, what befalls it: `unavailable` does nothing of it, `lost reply` all; `lost update` fails it as if
    somebody else had written. `silent` True: nothing is answered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fault: Callable[[int, Sequence[Change]], Fault | None] = lambda number, changes: None
        self.silent = False
        self.writes = 0

    async def get(self, key: str) -> Entry | None:
        self.answer()
        return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        self.answer()
        return await self._store.list(prefix)

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        self.answer()
        self.writes += 1
        fault = self.fault(self.writes, changes)
        if fault == "unavailable":
            raise Unavailable("the store does not answer")
        if fault == "lost update":
            raise LostUpdate("somebody else wrote the key")
        revision = await self._store.write(changes, guards)
        if fault == "lost reply":
            raise Unavailable("the store's reply was lost")
        return revision

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        return self._store.watch(prefix, after)

    async def lease(self, seconds: float) -> Lease:
        self.answer()
        return FaultyLease(self, await self._store.lease(seconds))

    async def close(self) -> None:
        await self._store.close()

    def answer(self) -> None:
        if self.silent:
            raise Unavailable("the store does not answer")


class FaultyLease:
    """Implements ports.store.Lease: as silent as its store."""

    def __init__(self, store: FaultyStore, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self.id = lease.id
        self.seconds = lease.seconds

    async def keep_alive(self) -> float:
        self._store.answer()
        return await self._lease.keep_alive()

    async def revoke(self) -> None:
        self._store.answer()
        await self._lease.revoke()
