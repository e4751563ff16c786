"""state: the controller's records, in memory and in the store, always the store first.

One writer: whoever reads in order to write holds `lock` from the first read to the end of `commit`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from coldchain.documents import keys, stored
from coldchain.documents.keys import Record
from coldchain.model.agent import AgentDrain
from coldchain.model.app import App
from coldchain.model.backoff import Backoff
from coldchain.model.caller import Token
from coldchain.model.certificate import KeptCertificate
from coldchain.model.consumer import KeptConsumer
from coldchain.model.deployment import Deployment
from coldchain.model.errors import Unavailable
from coldchain.model.gateway import KnownGateway
from coldchain.model.group import Group, GroupDeployment, GroupVersion
from coldchain.model.instance import Instance
from coldchain.model.key_set import KeptKeySet
from coldchain.model.registration import ExternalService
from coldchain.model.secret import Secret
from coldchain.model.task import TaskFailure
from coldchain.model.version import AppRecord, Version
from coldchain.ports.store import ABSENT, Change, Changed, LostUpdate, Store

KINDS: dict[str, type[Record]] = {
    "app": AppRecord,
    "version": Version,
    "deployment": Deployment,
    "group": Group,
    "group-version": GroupVersion,
    "group-deployment": GroupDeployment,
    "instance": Instance,
    "failure": TaskFailure,
    "backoff": Backoff,
    "gateway": KnownGateway,
    "external": ExternalService,
    "secret": Secret,
    "token": Token,
    "agent-drain": AgentDrain,
    "certificate": KeptCertificate,
    "consumer": KeptConsumer,
    "key-set": KeptKeySet,
}

Committed = Callable[[Sequence[tuple[Record | None, Record | None]]], None]
"""Told of each commit, as pairs (before, after); None: was not, or is not any more."""


class State:
    """All records, with the indices that the loops need."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._revisions: dict[str, int] = {}
        self._records: dict[str, Record] = {}
        self._watchers: list[Committed] = []
        self._stale = True
        self.revision = 0
        self.lock = asyncio.Lock()
        self._clear()

    def _clear(self) -> None:
        self._records.clear()
        self._revisions.clear()
        self.apps: dict[str, AppRecord] = {}
        self.versions: dict[str, dict[str, Version]] = {}
        self.deployments: dict[str, Deployment] = {}
        self.running: dict[str, Deployment] = {}
        self.groups: dict[str, Group] = {}
        self.group_versions: dict[str, dict[str, GroupVersion]] = {}
        self.group_deployments: dict[str, GroupDeployment] = {}
        self.moved_by: dict[str, GroupDeployment] = {}
        self.named: Counter[tuple[str, str]] = Counter()
        self.instances: dict[str, Instance] = {}
        self.instances_of: dict[str, dict[str, Instance]] = {}
        self.instances_on: dict[str, dict[str, Instance]] = {}
        self.failures: dict[str, TaskFailure] = {}
        self.backoffs: dict[str, Backoff] = {}
        self.gateways: dict[str, KnownGateway] = {}
        self.externals: dict[str, ExternalService] = {}
        self.secrets: dict[str, Secret] = {}
        self.tokens: dict[str, Token] = {}
        self.drains: dict[str, AgentDrain] = {}
        self.certificates: dict[str, KeptCertificate] = {}
        self.consumers: dict[str, KeptConsumer] = {}
        self.key_sets: dict[str, KeptKeySet] = {}

    def on_commit(self, watcher: Committed) -> None:
        """From now on tell `watcher` of every commit."""
        self._watchers.append(watcher)

    async def load(self) -> None:
        """Read everything from the store. To be called before anything else, and again when a write was in doubt: the
        watchers are told of what it had changed after all, as of any commit."""
        listing = await self._store.list("")
        before = dict(self._records)
        self._clear()
        for entry in listing.entries:
            kind = KINDS.get(entry.key.partition("/")[0])
            if kind is not None:
                self._keep(entry.key, stored.decode(entry.value, kind), entry.revision)
        self._stale = False
        self.revision = listing.revision
        keys_changed = [key for key in before | self._records if before.get(key) != self._records.get(key)]
        self._tell([(before.get(key), self._records.get(key)) for key in keys_changed])

    def follow(self, changed: Changed) -> None:
        """Take over what somebody else wrote. The changes of one write come together: whoever reads sees all of them or
        none."""
        self.revision = changed.revision
        kind = KINDS.get(changed.key.partition("/")[0])
        before = self._records.get(changed.key)
        if kind is None or (before is None and changed.value is None):
            return
        if changed.value is None:
            self._drop(changed.key)
        else:
            self._keep(changed.key, stored.decode(changed.value, kind), changed.revision)
        self._tell([(before, self._records.get(changed.key))])

    @property
    def in_doubt(self) -> bool:
        """True while nobody knows whether a write happened."""
        return self._stale

    async def fresh(self) -> None:
        """Read again if a write was in doubt."""
        if self._stale:
            await self.load()

    def _tell(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        for watcher in self._watchers if pairs else ():
            watcher(pairs)

    async def commit(self, put: Iterable[Record] = (), remove: Iterable[Record] = ()) -> None:
        """Write all or nothing, each record only if it is still as it was read; then tell the watchers.

        Raises LostUpdate or Unavailable; then nothing changed here and `fresh` reads again.
        """
        wanted = {keys.key_of(one): one for one in put}
        gone = {key: None for key in map(keys.key_of, remove) if key in self._records and key not in wanted}
        changes = [
            Change(
                key=key,
                value=None if record is None else stored.encode(record),
                expected=self._revisions.get(key, ABSENT),
            )
            for key, record in (wanted | gone).items()
            if record is None or self._records.get(key) != record
        ]
        if not changes:
            return
        try:
            revision = await self._store.write(changes)
        except (LostUpdate, Unavailable, asyncio.CancelledError):
            self._stale = True
            raise
        pairs: list[tuple[Record | None, Record | None]] = []
        for change in changes:
            before, after = self._records.get(change.key), wanted.get(change.key)
            if after is None:
                self._drop(change.key)
            else:
                self._keep(change.key, after, revision)
            pairs.append((before, after))
        self._tell(pairs)

    def _keep(self, key: str, record: Record, revision: int) -> None:
        self._records[key] = record
        self._revisions[key] = revision
        match record:
            case AppRecord():
                self.apps[record.app_id] = record
            case Version():
                self.versions.setdefault(record.app.id, {})[record.id] = record
            case Deployment():
                self.deployments[record.id] = record
                if record.running:
                    self.running[record.app_id] = record
                elif self.running.get(record.app_id, record).id == record.id:
                    self.running.pop(record.app_id, None)
            case Group():
                self.groups[record.id] = record
            case GroupVersion():
                self.group_versions.setdefault(record.group_id, {})[record.id] = record
                self.named.update(record.apps.items())
            case GroupDeployment():
                self.group_deployments[record.id] = record
                self._moved(record)
            case Instance():
                self.instances[record.id] = record
                self.instances_of.setdefault(record.app_id, {})[record.id] = record
                if record.agent is not None:  # it stays on the agent on which it was placed
                    self.instances_on.setdefault(record.agent, {})[record.id] = record
            case TaskFailure():
                self.failures[record.app_id] = record
            case Backoff():
                self.backoffs[record.app_id] = record
            case KnownGateway():
                self.gateways[record.name] = record
            case Secret():
                self.secrets[record.name] = record
            case Token():
                self.tokens[record.id] = record
            case ExternalService():
                self.externals[record.app_id] = record
            case AgentDrain():
                self.drains[record.agent] = record
            case KeptCertificate():
                self.certificates[record.name] = record
            case KeptConsumer():
                self.consumers[record.name] = record
            case KeptKeySet():
                self.key_sets[record.url] = record

    def _drop(self, key: str) -> None:
        record = self._records.pop(key)
        del self._revisions[key]
        match record:
            case AppRecord():
                del self.apps[record.app_id]
            case Version():
                del self.versions[record.app.id][record.id]
                if not self.versions[record.app.id]:
                    del self.versions[record.app.id]
            case Deployment():
                del self.deployments[record.id]
                if self.running.get(record.app_id) is record:
                    del self.running[record.app_id]
            case Group():
                del self.groups[record.id]
            case GroupVersion():
                del self.group_versions[record.group_id][record.id]
                if not self.group_versions[record.group_id]:
                    del self.group_versions[record.group_id]
                self.named -= Counter(record.apps.items())
            case GroupDeployment():
                del self.group_deployments[record.id]
                self._moved(record, gone=True)
            case Instance():
                del self.instances[record.id]
                del self.instances_of[record.app_id][record.id]
                if not self.instances_of[record.app_id]:
                    del self.instances_of[record.app_id]
                if record.agent is not None:
                    del self.instances_on[record.agent][record.id]
                    if not self.instances_on[record.agent]:
                        del self.instances_on[record.agent]
            case TaskFailure():
                del self.failures[record.app_id]
            case Backoff():
                del self.backoffs[record.app_id]
            case KnownGateway():
                del self.gateways[record.name]
            case Secret():
                del self.secrets[record.name]
            case Token():
                del self.tokens[record.id]
            case ExternalService():
                del self.externals[record.app_id]
            case AgentDrain():
                del self.drains[record.agent]
            case KeptCertificate():
                del self.certificates[record.name]
            case KeptConsumer():
                del self.consumers[record.name]
            case KeptKeySet():
                del self.key_sets[record.url]

    def _moved(self, group: GroupDeployment, *, gone: bool = False) -> None:
        for app_id in group.members:
            if group.has(app_id) and not gone:
                self.moved_by[app_id] = group
            elif app_id in self.moved_by and self.moved_by[app_id].id == group.id:
                del self.moved_by[app_id]

    def moves(self) -> list[Deployment | GroupDeployment]:
        """What runs, as it is shown: a group deployment instead of its members."""
        groups = [one for one in self.group_deployments.values() if one.running]
        whole = {one.id for one in groups}
        return [*groups, *(one for one in self.running.values() if one.part_of not in whole)]

    def move_of(self, app_id: str) -> Deployment | GroupDeployment | None:
        """The running deployment of an app, as it is shown."""
        return self.moved_by.get(app_id) or self.running.get(app_id)

    def group_of(self, name: str) -> GroupDeployment | None:
        """The running group deployment that is named by its id, by a member's, or by an app that it changes."""
        member = self.deployments.get(name)
        found = self.group_deployments.get(name) or self.moved_by.get(name)
        if member is not None and member.part_of is not None:
            found = self.group_deployments.get(member.part_of)
        return found if found is not None and found.running else None

    def left_over(self, app_id: str) -> bool:
        """True where a deleted app still has versions on record that no version of a group needs."""
        if app_id in self.apps:
            return False
        return not self.needed(app_id).issuperset(self.versions.get(app_id, ()))

    def needed(self, app_id: str) -> frozenset[str]:
        """The versions of an app that versions of groups name, and those of their configurations: instances are made
        from these."""
        named = (one for name, one in self.versions.get(app_id, {}).items() if (app_id, name) in self.named)
        return frozenset(name for one in named for name in (one.id, one.config_id))

    def wanted(self, app_id: str) -> Version | None:
        """The version aimed at; None for a deleted app."""
        record = self.apps.get(app_id)
        return self.versions[app_id][record.version_id] if record else None

    def wanted_apps(self) -> list[App]:
        """The definitions aimed at, of all apps."""
        return [self.versions[app_id][record.version_id].app for app_id, record in self.apps.items()]

    def apps_in_network(self, name: str) -> list[str]:
        """Ids of the apps that are wanted in a network, by its name."""
        return sorted(app.id for app in self.wanted_apps() if app.network.name == name)

    def version_of(self, app_id: str, version_id: str) -> Version | None:
        """An app's version, None where it is not on record (any more)."""
        return self.versions.get(app_id, {}).get(version_id)

    def app_of(self, instance: Instance) -> App:
        """The definition an instance was made from."""
        return self.versions[instance.app_id][instance.version_id].app


def app_id_of(record: Record) -> str | None:
    """The app that a record is about; None for those about none."""
    match record:
        case Version():
            return record.app.id
        case KnownGateway() | Secret() | KeptCertificate() | KeptConsumer() | KeptKeySet() | Token() | AgentDrain():
            return None
        case Group() | GroupVersion() | GroupDeployment():
            return None
        case _:
            return record.app_id
