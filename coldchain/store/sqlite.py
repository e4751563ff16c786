"""The store of one machine: an SQLite file.

One thread owns the writing connection. It takes all writes that wait, carries each out in a savepoint of its own and
commits them together, so that a hundred writers share one flush to the disk. Another thread reads, from snapshots of
what is committed. Watchers hear of a write after it is durable. The changes are kept in memory only: no other process
may have the file open, so after a start there is no watcher who could know older ones.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from coldchain.model.errors import ColdchainError
from coldchain.ports.store import ABSENT, Change, Changed, Entry, Guard, Lease, Listing
from coldchain.store.file import FileLock, connect, full_or_broken
from coldchain.store.leases import Leases
from coldchain.store.log import KEPT_CHANGES, ChangeLog, closed
from coldchain.store.rules import check_distinct, conditions, lost_update

GROUP_WRITES_MAX = 1000
"""How many writes share a commit at most, so that the first of them does not wait for ever."""

Result = TypeVar("Result")


class _Write(NamedTuple):
    """`ended`: the lease whose keys are to be deleted, instead of changes."""

    changes: Sequence[Change]
    guards: Sequence[Guard]
    ended: str | None
    done: asyncio.Future[int]


class _Outcome(NamedTuple):
    """What became of a write: its revision and what watchers hear of it, or why nothing of it was done."""

    revision: int = 0
    changed: tuple[Changed, ...] = ()
    error: Exception | None = None


class SQLiteStore:
    """A `Store` in the file `path`, whose folder must exist.

    Opening raises `Rejected` when the file is damaged, not ours, of a newer schema, or open in another process.
    Writes raise `Unavailable` when the disk is full or fails: nothing of them was done, and they work again as soon as
    there is room. `kept_changes`: how far a watcher may fall behind.
    """

    def __init__(self, path: str | Path, kept_changes: int = KEPT_CHANGES) -> None:
        self.path = Path(path).resolve()
        self._lock = FileLock(self.path)
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock.release)
            self._writing = connect(self.path)
            undo.callback(self._writing.close)
            self._reading = connect(self.path)
            undo.callback(self._reading.close)
            self._end_all_leases()
            undo.pop_all()
        self._log = ChangeLog(self._revision, kept_changes)
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_groups, name="store-writer", daemon=True)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._leases = Leases(lambda lease_id: self._ask((), (), lease_id))
        self._closed = False
        self._writer.start()

    async def get(self, key: str) -> Entry | None:
        entry = await self._read(lambda: _get(self._reading, key))
        if entry:
            await self._log.reached(entry.revision)
        return entry

    async def list(self, prefix: str) -> Listing:
        listing = await self._read(lambda: _list(self._reading, prefix))
        # The reader may see a commit before its watchers are told; whoever watches from here must not be ahead of them.
        await self._log.reached(listing.revision)
        return listing

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        self._check_open()
        check_distinct(changes)
        if not changes and not guards:
            return self._log.revision
        self._leases.check(changes)
        return await self._ask(changes, guards, None)

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        return self._log.watch(prefix, after)

    async def lease(self, seconds: float) -> Lease:
        self._check_open()
        return self._leases.grant(seconds)

    async def close(self) -> None:
        """Finishes what waits, then closes the file. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        self._leases.close()
        self._writes.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._reader.shutdown)
        self._reading.close()
        self._writing.close()
        self._lock.release()
        self._log.close()

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    def _ask(self, changes: Sequence[Change], guards: Sequence[Guard], ended: str | None) -> asyncio.Future[int]:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._writes.put(_Write(changes, guards, ended, done))
        return done

    def _end_all_leases(self) -> None:
        """Whoever held one lived in a process that is gone."""
        try:
            self._revision = _revision(self._writing)
            self._writing.execute("BEGIN IMMEDIATE")
            if _end_leases(self._writing, None, self._revision + 1):
                self._revision += 1
                self._writing.execute("UPDATE meta SET revision = ?", (self._revision,))
            self._writing.execute("COMMIT")
        except sqlite3.Error as error:
            raise full_or_broken(self.path, error, opening=True) from error

    async def _read(self, question: Callable[[], Result]) -> Result:
        self._check_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, question)
        except sqlite3.Error as error:
            raise full_or_broken(self.path, error) from error

    # ---- on the writer thread

    def _write_groups(self) -> None:
        """Until told to stop: commit whatever waits as one group, then tell the event loop."""
        stopping = False
        while not stopping:
            waiting = [self._writes.get()]
            while len(waiting) < GROUP_WRITES_MAX and not self._writes.empty():
                waiting.append(self._writes.get())
            stopping = None in waiting
            group = [write for write in waiting if write is not None]
            if group:
                outcomes = self._commit(group)
                try:
                    group[0].done.get_loop().call_soon_threadsafe(self._finish, group, outcomes)
                except RuntimeError:
                    stopping = True  # The loop is closed: nobody waits for an answer any more.

    def _commit(self, group: Sequence[_Write]) -> Sequence[_Outcome]:
        before = self._revision
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            outcomes = [self._carry_out(write) for write in group]
            self._writing.execute("UPDATE meta SET revision = ?", (self._revision,))
            self._writing.execute("COMMIT")
            return outcomes
        except Exception as error:
            self._revision = before
            self._roll_back()
            why = full_or_broken(self.path, error) if isinstance(error, sqlite3.Error) else error
            return [_Outcome(error=why)] * len(group)

    def _carry_out(self, write: _Write) -> _Outcome:
        """One write, all or nothing. Raises only what spoils the whole group."""
        revision = self._revision + 1
        self._writing.execute("SAVEPOINT one")
        try:
            for condition in conditions(write.changes, write.guards):
                _check(self._writing, condition)
            changed = [
                Changed(key=change.key, value=change.value, revision=revision)
                for change in write.changes
                if _apply(self._writing, change, revision)
            ]
            if write.ended is not None:
                changed = _end_leases(self._writing, write.ended, revision)
        except (ColdchainError, sqlite3.DataError, OverflowError, UnicodeEncodeError) as error:
            self._writing.execute("ROLLBACK TO one")
            self._writing.execute("RELEASE one")
            return _Outcome(error=error)
        self._writing.execute("RELEASE one")
        if changed or write.changes:
            self._revision = revision
        return _Outcome(self._revision, tuple(changed))

    def _roll_back(self) -> None:
        """After a full disk SQLite has often rolled back by itself."""
        try:
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
        except sqlite3.Error:
            # The next BEGIN will fail and say why; until then nothing of this transaction is visible to anybody.
            return

    # ---- back on the event loop

    def _finish(self, group: Sequence[_Write], outcomes: Sequence[_Outcome]) -> None:
        for write, outcome in zip(group, outcomes, strict=True):
            if outcome.error is None and outcome.revision > self._log.revision:
                self._log.publish(outcome.revision, outcome.changed)
            if write.done.done():
                continue  # The caller was cancelled; the write is done all the same.
            if outcome.error is None:
                write.done.set_result(outcome.revision)
            else:
                write.done.set_exception(outcome.error)


def _revision(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT revision FROM meta").fetchone()[0])


def _get(connection: sqlite3.Connection, key: str) -> Entry | None:
    row = connection.execute("SELECT value, revision FROM entry WHERE key = ?", (key,)).fetchone()
    return Entry(key=key, value=row[0], revision=row[1]) if row else None


def _list(connection: sqlite3.Connection, prefix: str) -> Listing:
    connection.execute("BEGIN")
    try:
        revision = _revision(connection)
        entries = []
        for key, value, written in connection.execute(
            "SELECT key, value, revision FROM entry WHERE key >= ? ORDER BY key", (prefix,)
        ):
            if not key.startswith(prefix):
                break
            entries.append(Entry(key=key, value=value, revision=written))
    finally:
        connection.execute("COMMIT")
    return Listing(entries=tuple(entries), revision=revision)


def _check(connection: sqlite3.Connection, condition: Guard) -> None:
    """Raises LostUpdate."""
    row = connection.execute("SELECT revision FROM entry WHERE key = ?", (condition.key,)).fetchone()
    found = row[0] if row else ABSENT
    if found != condition.revision:
        raise lost_update(condition, found)


def _apply(connection: sqlite3.Connection, change: Change, revision: int) -> bool:
    """Returns whether there was anything to change."""
    if change.lease is not None and change.value is not None:
        connection.execute("INSERT OR REPLACE INTO leased VALUES (?, ?)", (change.key, change.lease))
    else:
        connection.execute("DELETE FROM leased WHERE key = ?", (change.key,))
    if change.value is None:
        return connection.execute("DELETE FROM entry WHERE key = ?", (change.key,)).rowcount > 0
    connection.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", (change.key, change.value, revision))
    return True


def _end_leases(connection: sqlite3.Connection, lease_id: str | None, revision: int) -> list[Changed]:
    """Deletes the keys that are attached to the lease; None: to any."""
    which = "SELECT key FROM leased WHERE ?1 IS NULL OR lease = ?1 ORDER BY key"
    keys = [key for (key,) in connection.execute(which, (lease_id,)).fetchall()]
    for key in keys:
        _apply(connection, Change(key=key, value=None), revision)
    return [Changed(key=key, value=None, revision=revision) for key in keys]
