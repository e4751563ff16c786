"""The store in memory: for tests, simulations and a trial without a disk."""

from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Sequence

from coldchain.ports.store import ABSENT, Change, Changed, Entry, Listing
from coldchain.store.log import KEPT_CHANGES, ChangeLog, closed
from coldchain.store.rules import check_distinct, lost_update


class MemoryStore:
    """A `Store` that forgets everything when it goes. `kept_changes`: how far a watcher may fall behind."""

    def __init__(self, kept_changes: int = KEPT_CHANGES) -> None:
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._log = ChangeLog(kept_changes=kept_changes)
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

    async def write(self, changes: Sequence[Change]) -> int:
        self._check_open()
        check_distinct(changes)
        if not changes:
            return self._log.revision
        for change in changes:
            entry = self._entries.get(change.key)
            found = entry.revision if entry else ABSENT
            if change.expected is not None and change.expected != found:
                raise lost_update(change, found)
        revision = self._log.revision + 1
        changed = [
            Changed(key=change.key, value=change.value, revision=revision)
            for change in changes
            if self._apply(change, revision)
        ]
        self._log.publish(revision, changed)
        return revision

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        return self._log.watch(prefix, after)

    async def close(self) -> None:
        self._closed = True
        self._log.close()

    def _apply(self, change: Change, revision: int) -> bool:
        """Returns whether there was anything to change: deleting what is absent is nothing to tell a watcher."""
        if change.value is None:
            if self._entries.pop(change.key, None) is None:
                return False
            del self._keys[bisect_left(self._keys, change.key)]
            return True
        if change.key not in self._entries:
            insort(self._keys, change.key)
        self._entries[change.key] = Entry(key=change.key, value=change.value, revision=revision)
        return True

    def _check_open(self) -> None:
        if self._closed:
            raise closed()
