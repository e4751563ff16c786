"""content: all that is registered, in memory and in the store, always the store first.

Transitions are written, heartbeats are not: what a TTL check says again changes nothing but its deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from coldchain.decisions import catalog as rules
from coldchain.decisions import key_value
from coldchain.decisions.key_value import Keys, Operation
from coldchain.documents import keys as names
from coldchain.documents import stored
from coldchain.model.catalog import (
    CatalogCheck,
    CatalogNode,
    CatalogRecord,
    CatalogService,
    CatalogSession,
    CheckStatus,
    KeyValue,
)
from coldchain.model.errors import NotFound, Unavailable
from coldchain.ports.clock import Clock
from coldchain.ports.store import ABSENT, Change, LostUpdate, Store
from coldchain.registry.server.records import Records

KINDS: dict[str, type[CatalogRecord]] = {
    "service": CatalogService,
    "check": CatalogCheck,
    "key": KeyValue,
    "session": CatalogSession,
}
TOMBSTONES_MAX = 10_000
"""Deleted keys of which the index is remembered; past that all questions about keys get a new one."""

C = TypeVar("C", CatalogService, CatalogCheck)


class Content(Records):
    """Reads are from memory. Writes raise Unavailable when the store does not answer; then nothing changed here, and
    before the next write everything is read again."""

    def __init__(self, store: Store, clock: Clock, node: CatalogNode) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._stale = True
        self._delayed_until: dict[str, float] = {}
        self.node = node

    @property
    def in_doubt(self) -> bool:
        """True while nobody knows whether a write happened."""
        return self._stale

    async def load(self) -> None:
        """Read everything from the store; to be called before anything else."""
        listing = await self._store.list(names.CATALOG)
        if listing.revision == 0:
            await self._store.write([Change(key=names.CATALOG_BEGUN, value=b"", expected=ABSENT)])
            listing = await self._store.list(names.CATALOG)
        found: dict[str, CatalogRecord] = {}
        for entry in listing.entries:
            kind = KINDS[entry.key.split("/")[1]]
            found[entry.key] = _indexed(stored.decode(entry.value, kind), entry.revision)
        before = {names.catalog_key_of(one): one for one in self.everything()}
        for key in before | found:
            if before.get(key) != found.get(key):
                self._replace(before.get(key), found.get(key))
        self._tombstones.clear()
        self.indices.restart(listing.revision)
        self._stale = False

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        async with self._lock:
            if self._stale:
                await self.load()
            yield

    # Services and checks

    async def register(self, service: CatalogService, checks: Sequence[CatalogCheck], *, replace: bool) -> None:
        """Take in a service with its checks. What is known of checks that were there stays; with `replace` those go
        that are not named."""
        async with self._writing():
            known = self.services.get(service.id)
            others = self.checks_of.get(service.id, {}) if known else {}
            wanted = {check.id: check for check in checks}
            gone = [one for one in others.values() if one.id not in wanted and one.kind != "maintenance"]
            await self._commit(
                [_over(service, known), *(self._renewed(check) for check in checks)], gone if replace else ()
            )
            for check in checks:
                self._tell(self.checks[check.id], self.checks[check.id])

    async def register_check(self, check: CatalogCheck) -> None:
        """Take in a check. Raises NotFound for one of a service that is not there."""
        async with self._writing():
            if check.service_id and check.service_id not in self.services:
                raise NotFound(f'ServiceID "{check.service_id}" does not exist')
            await self._commit([self._renewed(check)])
            self._tell(self.checks[check.id], self.checks[check.id])

    def _renewed(self, check: CatalogCheck) -> CatalogCheck:
        known = self.checks.get(check.id)
        return _over(rules.renewed(check, known), known)

    async def deregister(self, service_id: str) -> None:
        """Raises NotFound."""
        async with self._writing():
            service = self.services.get(service_id)
            if service is None:
                raise NotFound(
                    f'Unknown service ID "{service_id}"',
                    todo="Ensure that the service ID is passed, not the service name",
                )
            await self._commit((), [service, *self.checks_of.get(service_id, {}).values()])

    async def deregister_check(self, check_id: str) -> None:
        """Raises NotFound."""
        async with self._writing():
            await self._commit((), [self.check(check_id)])

    async def maintain(self, service_id: str | None, reason: str | None) -> None:
        """Take a service (None: the node) out of service for a reason, or with None back in. The first reason stays.
        Raises NotFound."""
        async with self._writing():
            service = self.services.get(service_id) if service_id is not None else None
            if service_id is not None and service is None:
                raise NotFound(f'No service registered with ID "{service_id}"')
            check = rules.maintenance(service, reason or "")
            known = self.checks.get(check.id)
            if reason is not None and known is None:
                await self._commit([check])
            elif reason is None and known is not None:
                await self._commit((), [known])

    async def observe(self, check: CatalogCheck) -> None:
        """What a check is found to be now. Only a change of status is written."""
        known = self.checks.get(check.id)
        if known is None:
            return
        if known.status == check.status:
            self._keep_check(msgspec.structs.replace(known, output=check.output))
            return
        async with self._writing():
            current = self.checks.get(check.id)
            if current is not None:
                await self._commit([msgspec.structs.replace(current, status=check.status, output=check.output)])

    async def report(self, check_id: str, status: CheckStatus, output: str) -> None:
        """A heartbeat. Raises NotFound unless it is a TTL check."""
        check = self.check(check_id)
        if check.kind != "ttl":
            raise NotFound(f'CheckID "{check_id}" does not have associated TTL')
        await self.observe(msgspec.structs.replace(check, status=status, output=output))
        self._tell(self.checks.get(check_id), self.checks.get(check_id))

    # Keys and sessions

    async def operate(self, decide: Callable[[Mapping[str, KeyValue], set[str]], Keys | None]) -> bool:
        """Change keys as `decide` says, given the keys and those that nobody may lock yet; None changes nothing.
        Returns whether it was done."""
        async with self._writing():
            changes = decide(self.keys, self._delayed())
            if changes is None:
                return False
            put = [one for one in changes.values() if one is not None]
            await self._commit(put, [self.keys[key] for key, one in changes.items() if one is None])
            return True

    async def carry_out(self, operation: Operation) -> bool:
        """One change. Returns whether it was done."""
        return await self.operate(lambda found, delayed: key_value.carry_out(operation, found, delayed))

    def _delayed(self) -> set[str]:
        now = self._clock.monotonic()
        self._delayed_until = {key: until for key, until in self._delayed_until.items() if until > now}
        return set(self._delayed_until)

    async def open_session(self, session: CatalogSession) -> None:
        """Raises NotFound when a check that it names is not there, or critical."""
        async with self._writing():
            missing = rules.missing_checks(session, self.checks)
            if missing:
                raise NotFound(f"Missing check '{missing[0]}' registration")
            critical = [one.id for one in self.checks.values() if one.status == "critical"]
            if rules.ended_sessions([session], critical, ()):
                raise NotFound(f"Check of session '{session.name}' is in critical state")
            await self._commit([session])

    async def end_session(self, session_id: str) -> None:
        """Its keys are let go. One that is not there is no error."""
        async with self._writing():
            if session_id in self.sessions:
                await self._commit((), [self.sessions[session_id]])

    def renew_session(self, session_id: str) -> CatalogSession:
        """Begin its TTL anew. Raises NotFound."""
        session = self.sessions.get(session_id)
        if session is None:
            raise NotFound(f"Session id '{session_id}' not found")
        self._tell(session, session)
        return session

    # Writing

    async def _commit(self, put: Iterable[CatalogRecord], remove: Iterable[CatalogRecord] = ()) -> None:
        """Write all or nothing, with what follows for sessions and their keys."""
        wanted = {names.catalog_key_of(one): one for one in put}
        gone = {names.catalog_key_of(one): one for one in remove}
        self._let_go(wanted, gone)
        before = {key: self._known(one) for key, one in (wanted | gone).items()}
        now = self._clock.now()
        wanted = {key: rules.dated(one, before[key], now) for key, one in wanted.items()}
        changes = [
            Change(
                key=key,
                value=stored.encode(msgspec.structs.replace(wanted[key], modify_index=0)) if key in wanted else None,
                expected=known.modify_index if (known := before[key]) else ABSENT,
            )
            for key in wanted | gone
            if key in gone or wanted[key] != before[key]
        ]
        if not changes:
            return
        try:
            revision = await self._store.write(changes)
        except (LostUpdate, Unavailable, asyncio.CancelledError):
            self._stale = True
            raise
        topics: set[str] = set()
        for change in changes:
            after = _indexed(wanted[change.key], revision) if change.key in wanted else None
            for one in (before[change.key], after):
                topics |= self._topics(one) if one is not None else set()
            self._replace(before[change.key], after)
        self._bury(gone, revision)
        self.indices.changed(topics, revision)
        for topic in topics:
            if topic.startswith("service/") and topic.removeprefix("service/") not in self.named:
                self.indices.forget(topic)

    def _let_go(self, wanted: dict[str, CatalogRecord], gone: dict[str, CatalogRecord]) -> None:
        """Add the sessions that end with these changes, and their keys."""
        for key in gone.keys() & wanted.keys():
            del gone[key]
        critical = [one.id for one in wanted.values() if isinstance(one, CatalogCheck) and one.status == "critical"]
        missing = [one.id for one in gone.values() if isinstance(one, CatalogCheck)]
        for name in rules.ended_sessions(self.sessions.values(), critical, missing) if critical or missing else ():
            gone[names.catalog_key_of(self.sessions[name])] = self.sessions[name]
        for session in [one for one in gone.values() if isinstance(one, CatalogSession)]:
            for key, released in key_value.released(session, self.keys).items():
                if released is None:
                    gone[names.catalog_key_of(self.keys[key])] = self.keys[key]
                else:
                    wanted[names.catalog_key_of(released)] = released
                self._delayed_until[key] = self._clock.monotonic() + session.lock_delay_seconds

    def _bury(self, gone: Mapping[str, CatalogRecord], revision: int) -> None:
        keys_gone = [one.key for one in gone.values() if isinstance(one, KeyValue)]
        if len(self._tombstones) + len(keys_gone) > TOMBSTONES_MAX:
            self._tombstones.clear()
            self.indices.start = revision
        self._tombstones.update(dict.fromkeys(keys_gone, revision))


def _over(wanted: C, known: C | None) -> C:
    """The wanted record in the place of the known one."""
    if known is None:
        return wanted
    return msgspec.structs.replace(wanted, create_index=known.create_index, modify_index=known.modify_index)


def _indexed(record: CatalogRecord, revision: int) -> CatalogRecord:
    """As written at this revision of the store; that of its making stands in it from the second writing on."""
    return msgspec.structs.replace(record, create_index=record.create_index or revision, modify_index=revision)
