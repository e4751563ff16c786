"""The store in memory: for tests, simulations and a trial without a disk."""

import asyncio
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Sequence

from coldchain.ports.store import ABSENT, Change, Changed, Entry, Guard, Lease, Listing
from coldchain.store.leases import Leases
from coldchain.store.log import KEPT_CHANGES, ChangeLog, closed
from coldchain.store.rules import check_distinct, conditions, lost_update


class MemoryStore:
    """A `Store` that forgets everything when it goes. `kept_changes`: how far a watcher may fall behind."""

    def __init__(self, kept_changes: int = KEPT_CHANGES) -> None:
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._log = ChangeLog(kept_changes=kept_changes)
        self._leases = Leases(self._end_lease)
        self._leased: dict[str, str] = {}
        self._closed = False

    async def get(self, key: str) -> Entry | None:
        self._check_open()
        return self._entries.get(key)

    async def list(self, prefix: str) -> Listing:
        self._check_open()
        entries = []
        for position in range(bisect_left(self._keys, prefix), len(self._keys)):
            key = self._keys[position]
            if not key.startswith(prefix):
                break
            entries.append(self._entries[key])
        return Listing(entries=tuple(entries), revision=self._log.revision)

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        self._check_open()
        check_distinct(changes)
        for condition in conditions(changes, guards):
            entry = self._entries.get(condition.key)
            found = entry.revision if entry else ABSENT
            if found != condition.revision:
                raise lost_update(condition, found)
        self._leases.check(changes)
        return self._carry_out(changes)

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        return self._log.watch(prefix, after)

    async def lease(self, seconds: float) -> Lease:
        self._check_open()
        return self._leases.grant(seconds)

    async def close(self) -> None:
        self._closed = True
        self._leases.close()
        self._log.close()

    def _carry_out(self, changes: Sequence[Change]) -> int:
        if not changes:
            return self._log.revision
        revision = self._log.revision + 1
        changed = [
            Changed(key=change.key, value=change.value, revision=revision)
            for change in changes
            if self._apply(change, revision)
        ]
        self._log.publish(revision, changed)
        return revision

    def _end_lease(self, lease_id: str) -> asyncio.Future[int]:
        keys = sorted(key for key, attached in self._leased.items() if attached == lease_id)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ended.set_result(self._carry_out([Change(key=key, value=None) for key in keys]))
        return ended

    def _apply(self, change: Change, revision: int) -> bool:
        """Returns whether there was anything to change: deleting what is absent is nothing to tell a watcher."""
        self._leased.pop(change.key, None)
        if change.value is None:
            if self._entries.pop(change.key, None) is None:
                return False
            del self._keys[bisect_left(self._keys, change.key)]
            return True
        if change.key not in self._entries:
            insort(self._keys, change.key)
        if change.lease is not None:
            self._leased[change.key] = change.lease
        self._entries[change.key] = Entry(key=change.key, value=change.value, revision=revision)
        return True

    def _check_open(self) -> None:
        if self._closed:
            raise closed()
