"""The store of a platform whose controllers are on several machines: etcd.

A key of the store is one of etcd below `/PREFIX/`, so that several platforms can share a cluster. A revision is the
cluster's, which others raise too. What etcd takes in one transaction is limited by its own settings; a write that is
too large is refused as a whole.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from coldchain.clients.etcd import (
    NOT_FOUND,
    Delete,
    EtcdClient,
    EtcdCompacted,
    EtcdRefused,
    EtcdUnavailable,
    KeyValue,
    Outcome,
    Put,
)
from coldchain.clients.etcd_watch import SILENCE_SECONDS, watch
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.ports.store import ABSENT, Change, Changed, Compacted, Entry, Guard, Lease, Listing
from coldchain.store.log import closed
from coldchain.store.rules import check_distinct, conditions, lease_expired, lost_update

TOO_MANY = "too many operations in txn request"
TOO_LARGE = ("request is too large", "larger than max")
FULL = "database space exceeded"
OPERATIONS_ADVISED = 50_000
REQUEST_BYTES_ADVISED = 64 * 1024 * 1024
OPERATIONS_NEEDED, OPERATION_BYTES = 10_000, 900
"""The largest write there may be: every instance of the largest app, each as long as they are. A group with very many
apps may need more."""
KEEP_ALIVE_SHARE = 1 / 3
"""How much of a lease one attempt to keep it alive may take, so that there is time for another."""


class EtcdStore:
    """A `Store` below `/PREFIX/` of a cluster. `silence_seconds`: how long a watch may hear nothing before it looks
    whether it is still connected."""

    def __init__(self, client: EtcdClient, prefix: str, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._client = client
        self._prefix = f"/{prefix}/".encode()
        self._silence_seconds = silence_seconds
        self._writes: set[asyncio.Task[Outcome]] = set()
        self._closed = False

    async def get(self, key: str) -> Entry | None:
        self._check_open()
        try:
            found = await self._client.get(self._name(key))
        except (EtcdUnavailable, EtcdRefused) as error:
            raise self.error(error) from error
        return self._entry(found) if found else None

    async def list(self, prefix: str) -> Listing:
        self._check_open()
        try:
            found, revision = await self._client.below(self._name(prefix))
        except (EtcdUnavailable, EtcdRefused) as error:
            raise self.error(error) from error
        return Listing(entries=tuple(self._entry(one) for one in found), revision=revision)

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        self._check_open()
        check_distinct(changes)
        held = list(conditions(changes, guards))
        if not changes and not held:
            return await self._revision()
        transaction = self._client.transaction(
            [(self._name(one.key), one.revision) for one in held], [self._operation(one) for one in changes]
        )
        writing = asyncio.ensure_future(transaction)
        self._writes.add(writing)
        writing.add_done_callback(self._writes.discard)
        try:
            outcome = await writing
        except (EtcdUnavailable, EtcdRefused) as error:
            raise self._not_written(error, changes, len(held)) from error
        if not outcome.succeeded:
            raise _lost_update(held, outcome)
        return outcome.revision

    async def _revision(self) -> int:
        try:
            return await self._client.revision(self._prefix)
        except (EtcdUnavailable, EtcdRefused) as error:
            raise self.error(error) from error

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        self._check_open()
        events = watch(self._client, self._name(prefix), after, silence_seconds=self._silence_seconds)
        async with aclosing(events):
            try:
                async for event in events:
                    yield Changed(key=self._key(event.key), value=event.value, revision=event.revision)
            except EtcdCompacted as error:
                raise Compacted(
                    f"the changes after revision {after} are not known here ({error})",
                    todo="list again and watch from there",
                ) from error
            except (EtcdUnavailable, EtcdRefused) as error:
                raise self.error(error) from error

    async def lease(self, seconds: float) -> Lease:
        self._check_open()
        try:
            lease_id, granted = await self._client.grant_lease(math.ceil(seconds))
        except (EtcdUnavailable, EtcdRefused) as error:
            raise self.error(error) from error
        return EtcdLease(self, self._client, lease_id, granted)

    async def check_limits(self) -> None:
        """Raises Rejected where etcd would one day refuse a write that must be."""
        try:
            await self._client.try_limits(self._prefix, OPERATIONS_NEEDED, OPERATION_BYTES)
        except EtcdUnavailable as error:
            raise self.error(error) from error
        except EtcdRefused as error:
            raise self._refused(error, OPERATIONS_NEEDED, OPERATIONS_NEEDED * OPERATION_BYTES) from error

    async def leased(self) -> Sequence[str]:
        """The keys that somebody keeps alive at this moment: who has some uses the store."""
        try:
            found, _ = await self._client.below(self._prefix)
        except (EtcdUnavailable, EtcdRefused) as error:
            raise self.error(error) from error
        return [self._key(one.key) for one in found if one.lease]

    async def close(self) -> None:
        """Finishes what is being written; leases end by themselves. Closing twice is closing once."""
        self._closed = True
        if self._writes:
            await asyncio.wait(self._writes)
        await self._client.close()

    def error(self, error: EtcdUnavailable | EtcdRefused) -> ColdchainError:
        """What the client says, in the words of the port."""
        if self._closed:
            return closed()
        if isinstance(error, EtcdUnavailable):
            return Unavailable(
                f"etcd does not answer: {error}",
                todo="Look at its members and at the network; nothing has to be restarted here",
            )
        if FULL in error.message:
            return Unavailable(
                f"etcd has no room left, nothing was written ({error})",
                todo="Compact and defragment it, or raise its --quota-backend-bytes, and disarm the alarm; nothing has "
                "to be restarted here",
            )
        return Rejected(
            f"etcd refused: {error}",
            todo=f"Does its user exist, and may he read and write the keys below {self._prefix.decode()}?",
        )

    def _not_written(self, error: EtcdUnavailable | EtcdRefused, changes: Sequence[Change], held: int) -> Exception:
        if isinstance(error, EtcdUnavailable):
            wrapped = self.error(error)
            if error.heard:
                wrapped.message += "; whether this was written is not known"
            return wrapped
        if error.code == NOT_FOUND:
            leases = sorted({change.lease for change in changes if change.lease is not None})
            return lease_expired(" or ".join(leases))
        size_bytes = sum(len(change.key.encode()) + len(change.value or b"") for change in changes)
        return self._refused(error, max(held, len(changes)), size_bytes)

    def _refused(self, error: EtcdRefused, operations: int, size_bytes: int) -> ColdchainError:
        limits = f"--max-txn-ops={OPERATIONS_ADVISED} --max-request-bytes={REQUEST_BYTES_ADVISED}"
        todo = f"Start its members with {limits}."
        if TOO_MANY in error.message:
            return Rejected(f"etcd does not take {operations} changes in one write; nothing was written", todo=todo)
        if any(words in error.message for words in TOO_LARGE):
            return Rejected(f"etcd does not take {size_bytes} bytes in one write; nothing was written", todo=todo)
        return self.error(error)

    def _name(self, key: str) -> bytes:
        return self._prefix + key.encode()

    def _key(self, name: bytes) -> str:
        return name[len(self._prefix) :].decode()

    def _entry(self, found: KeyValue) -> Entry:
        return Entry(key=self._key(found.key), value=found.value, revision=found.revision)

    def _operation(self, change: Change) -> Put | Delete:
        if change.value is None:
            return Delete(self._name(change.key))
        return Put(self._name(change.key), change.value, int(change.lease or 0))

    def _check_open(self) -> None:
        if self._closed:
            raise closed()


class EtcdLease:
    """Implements ports.store.Lease. Whole seconds; a cluster has a least number of them."""

    def __init__(self, store: EtcdStore, client: EtcdClient, lease_id: int, seconds: float) -> None:
        self._store = store
        self._client = client
        self._lease_id = lease_id
        self.id = str(lease_id)
        self.seconds = float(seconds)

    async def keep_alive(self) -> float:
        timeout_seconds = min(self._client.timeout_seconds, self.seconds * KEEP_ALIVE_SHARE)
        try:
            granted = await self._client.keep_lease_alive(self._lease_id, timeout_seconds)
        except (EtcdUnavailable, EtcdRefused) as error:
            raise self._store.error(error) from error
        if granted <= 0:
            raise lease_expired(self.id)
        return float(granted)

    async def revoke(self) -> None:
        try:
            await self._client.revoke_lease(self._lease_id)
        except (EtcdUnavailable, EtcdRefused) as error:
            raise self._store.error(error) from error


def _lost_update(held: Sequence[Guard], outcome: Outcome) -> Exception:
    """The transaction read in one moment what it compared."""
    for condition, keys in zip(held, outcome.found, strict=True):
        found = keys[0].revision if keys else ABSENT
        if found != condition.revision:
            return lost_update(condition, found)
    raise AssertionError(f"etcd refused {held} and found {outcome}")
