"""ledger: the records as they were written, kept by the simulation itself."""

from collections.abc import Sequence
from typing import Any

from coldchain.control.state import KINDS, app_id_of
from coldchain.documents import stored
from coldchain.documents.keys import Record
from coldchain.model.agent import AgentDrain
from coldchain.model.deployment import Deployment
from coldchain.model.group import GroupDeployment, GroupVersion
from coldchain.model.instance import Instance
from coldchain.model.version import AppRecord, Version
from coldchain.ports.store import Change

Pair = tuple[Record | None, Record | None]


class Ledger:
    """All records by key, and those of each kind that the checkers ask for."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.apps: dict[str, AppRecord] = {}
        self.versions: dict[str, dict[str, Version]] = {}
        self.instances: dict[str, Instance] = {}
        self.deployments: dict[str, Deployment] = {}
        self.group_versions: dict[str, GroupVersion] = {}
        self.group_deployments: dict[str, GroupDeployment] = {}
        self.drains: dict[str, AgentDrain] = {}

    def take(self, changes: Sequence[Change]) -> list[Pair]:
        """Take in a write; what it changed, as (before, after)."""
        pairs: list[Pair] = []
        for change in changes:
            kind = KINDS.get(change.key.partition("/")[0])
            if kind is None:
                continue
            before = self.records.pop(change.key, None)
            after = None if change.value is None else stored.decode(change.value, kind)
            if after is not None:
                self.records[change.key] = after
            self._index(before, after)
            pairs.append((before, after))
        return pairs

    def _index(self, before: Record | None, after: Record | None) -> None:
        match after or before:
            case AppRecord() as record:
                _set(self.apps, record.app_id, after)
            case Version() as record:
                _set(self.versions.setdefault(record.app.id, {}), record.id, after)
            case Instance() as record:
                _set(self.instances, record.id, after)
            case Deployment() as record:
                _set(self.deployments, record.id, after)
            case GroupVersion() as record:
                _set(self.group_versions, f"{record.group_id} {record.id}", after)
            case GroupDeployment() as record:
                _set(self.group_deployments, record.id, after)
            case AgentDrain() as record:
                _set(self.drains, record.agent, after)

    def wanted(self, app_id: str) -> Version | None:
        """The version aimed at; None for a deleted app."""
        record = self.apps.get(app_id)
        return self.versions.get(app_id, {}).get(record.version_id) if record else None

    def needed(self) -> set[tuple[str, str]]:
        """(app, version) of all that versions of groups name, and of their configurations: they stay when the app is
        deleted."""
        named = {pair for one in self.group_versions.values() for pair in one.apps.items()}
        return named | {(app_id, self.versions[app_id][name].config_id) for app_id, name in named}

    def instances_of(self, app_id: str) -> list[Instance]:
        """Those of one app."""
        return [one for one in self.instances.values() if one.app_id == app_id]

    def app_id_of(self, pair: Pair) -> str | None:
        """The app that a change is about."""
        record = pair[1] or pair[0]
        return app_id_of(record) if record is not None else None


def _set(table: dict[str, Any], key: str, value: object) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
