"""audit: what callers changed, on record in the store, the last ones of it."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import msgspec

from coldchain.control.state import State
from coldchain.documents import keys, stored
from coldchain.documents.audit import CHANGE_BYTES_MAX, ENTRY_BYTES_MAX, AuditChange, AuditEntry, app_change
from coldchain.documents.keys import Record
from coldchain.model.app import App
from coldchain.model.caller import Token
from coldchain.model.deployment import Deployment
from coldchain.model.group import GroupDeployment
from coldchain.model.secret import Secret
from coldchain.model.version import AppRecord, Version
from coldchain.ports.store import ABSENT, Change, Store

ENTRIES_KEPT = 5000
REFUSALS_MAX, REFUSALS_SECONDS = 60, 3600.0
"""So many of what was refused are put on record in so long: who knocks at the door does not push out what was done."""


class Changes:
    """What was written while one request was answered."""

    def __init__(self) -> None:
        self.deployments: list[str] = []
        self.made: list[AuditChange] = []
        self._bytes_left = ENTRY_BYTES_MAX

    def add_app(self, name: str, before: App | None, after: App | None) -> None:
        """An app's definition was changed; differences that do not fit any more are counted alone."""
        change, size = app_change(name, before, after, min(CHANGE_BYTES_MAX, self._bytes_left))
        self._bytes_left -= size
        self.made.append(change)


_CURRENT: ContextVar[Changes | None] = ContextVar("audit", default=None)
"""Of the request that this task answers. Writes happen in the task that asks for them: so each is its own request's."""


class AuditLog:
    """One key for each entry; when one is added the oldest goes. Entries are not kept in memory."""

    def __init__(self, store: Store, state: State) -> None:
        self._store = store
        self._state = state
        self._lock = asyncio.Lock()
        self._next = 1
        self._refusals: deque[float] = deque(maxlen=REFUSALS_MAX)

    async def start(self) -> None:
        """Find out where the record ends. Then, and not before, writes are seen."""
        listing = await self._store.list(keys.AUDIT)
        if listing.entries:
            self._next = int(listing.entries[-1].key.removeprefix(keys.AUDIT)) + 1
        self._state.on_commit(self._committed)

    @contextmanager
    def watched(self) -> Iterator[Changes]:
        """What this task writes meanwhile."""
        changes = Changes()
        before = _CURRENT.set(changes)
        try:
            yield changes
        finally:
            _CURRENT.reset(before)

    def refusal_fits(self, now: float) -> bool:
        """Whether one more refusal may go on record at this moment, by a clock that never jumps; then it counts."""
        if len(self._refusals) == REFUSALS_MAX and now - self._refusals[0] < REFUSALS_SECONDS:
            return False
        self._refusals.append(now)
        return True

    async def add(self, entry: AuditEntry) -> None:
        """Record it under the next number; on disk when it returns. Raises Unavailable, LostUpdate."""
        async with self._lock:
            numbered = msgspec.structs.replace(entry, id=self._next)
            changes = [Change(key=_key(self._next), value=stored.encode(numbered), expected=ABSENT)]
            if self._next > ENTRIES_KEPT:
                changes.append(Change(key=_key(self._next - ENTRIES_KEPT), value=None))
            self._next += 1
            await self._store.write(changes)

    async def entries(self) -> list[AuditEntry]:
        """All, the latest first."""
        listing = await self._store.list(keys.AUDIT)
        return [stored.decode(one.value, AuditEntry) for one in reversed(listing.entries)]

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        current = _CURRENT.get()
        if current is None:
            return
        versions = {(one.app.id, one.id): one for pair in pairs for one in pair if isinstance(one, Version)}

        def app_of(record: Record | None) -> App | None:
            if not isinstance(record, AppRecord):
                return None
            key = (record.app_id, record.version_id)
            found = versions.get(key) or self._state.versions.get(key[0], {}).get(key[1])
            return found.app if found is not None else None

        for before, after in pairs:
            if isinstance(after, Deployment | GroupDeployment) and before is None:
                if isinstance(after, GroupDeployment) or after.part_of is None:
                    current.deployments.append(after.id)
            elif isinstance(before or after, AppRecord):
                current.add_app((before or after).app_id, app_of(before), app_of(after))  # type: ignore[union-attr]
            elif isinstance(before or after, Secret | Token):
                current.made.append(_named(before, after))


def _named(before: Record | None, after: Record | None) -> AuditChange:
    """What is only told to have changed."""
    one = after or before
    assert isinstance(one, Secret | Token)
    kind: Literal["secret", "token"] = "secret" if isinstance(one, Secret) else "token"
    change: Literal["added", "changed", "removed"] = "changed" if before and after else "added" if after else "removed"
    return AuditChange(kind=kind, name=one.name, change=change)


def _key(number: int) -> str:
    return f"{keys.AUDIT}{number:016d}"
