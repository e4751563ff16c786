"""records: what is registered, as tables in memory, with the indices that questions need."""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import TypeVar

from coldchain.model.catalog import (
    NODE_ALIVE,
    CatalogCheck,
    CatalogRecord,
    CatalogService,
    CatalogSession,
    KeyValue,
)
from coldchain.model.errors import NotFound
from coldchain.registry.server import indices
from coldchain.registry.server.indices import Indices

Watcher = Callable[[CatalogRecord | None, CatalogRecord | None], None]
"""Told of each record before and after a change; None: was not, or is not any more. Of a heartbeat: twice the same."""

T = TypeVar("T")


class Records:
    """`named`: services by name and id. `checks_of`: checks by service id and id, the node's own under the empty id."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self._key_order: list[str] = []
        self._tombstones: dict[str, int] = {}
        self.indices = Indices()
        self.services: dict[str, CatalogService] = {}
        self.named: dict[str, dict[str, CatalogService]] = {}
        self.checks: dict[str, CatalogCheck] = {}
        self.checks_of: dict[str, dict[str, CatalogCheck]] = {}
        self.keys: dict[str, KeyValue] = {}
        self.sessions: dict[str, CatalogSession] = {}

    def on_change(self, watcher: Watcher) -> None:
        """From now on tell `watcher` of every change, also of what a load finds."""
        self._watchers.append(watcher)

    def check(self, check_id: str) -> CatalogCheck:
        """Raises NotFound."""
        if check_id not in self.checks:
            raise NotFound(
                f'Unknown check ID "{check_id}"', todo="Ensure that the check ID is passed, not the check name"
            )
        return self.checks[check_id]

    def node_checks(self) -> list[CatalogCheck]:
        """Those of the node itself, with the one that says that it is there."""
        alive = CatalogCheck(
            id=NODE_ALIVE,
            name="Serf Health Status",
            kind="ttl",
            status="passing",
            output="Agent alive and reachable",
            create_index=1,
            modify_index=1,
        )
        return [alive, *sorted_by_id(self.checks_of.get("", {}))]

    def checks_for(self, service: CatalogService) -> list[CatalogCheck]:
        """All checks that decide on a service: the node's and its own."""
        return [*self.node_checks(), *sorted_by_id(self.checks_of.get(service.id, {}))]

    def keys_below(self, prefix: str) -> list[str]:
        """The keys that begin so, in order."""
        found = []
        for place in range(bisect_left(self._key_order, prefix), len(self._key_order)):
            if not self._key_order[place].startswith(prefix):
                break
            found.append(self._key_order[place])
        return found

    def keys_index(self, prefix: str) -> int:
        """The index of the keys that begin so; where there never were any, that of all keys."""
        found = [self.keys[key].modify_index for key in self.keys_below(prefix)]
        found += [index for key, index in self._tombstones.items() if key.startswith(prefix)]
        return max(*found, self.indices.start) if found else self.indices.of(indices.KEYS)

    def everything(self) -> list[CatalogRecord]:
        """All records, of all kinds."""
        return [*self.services.values(), *self.checks.values(), *self.keys.values(), *self.sessions.values()]

    def _known(self, record: CatalogRecord) -> CatalogRecord | None:
        match record:
            case CatalogService():
                return self.services.get(record.id)
            case CatalogCheck():
                return self.checks.get(record.id)
            case KeyValue():
                return self.keys.get(record.key)
            case CatalogSession():
                return self.sessions.get(record.id)

    def _replace(self, before: CatalogRecord | None, after: CatalogRecord | None) -> None:
        if before is not None:
            self._drop(before)
        match after:
            case CatalogService():
                self.services[after.id] = after
                self.named.setdefault(after.name, {})[after.id] = after
            case CatalogCheck():
                self._keep_check(after)
            case KeyValue():
                self.keys[after.key] = after
                insort(self._key_order, after.key)
            case CatalogSession():
                self.sessions[after.id] = after
        self._tell(before, after)

    def _keep_check(self, check: CatalogCheck) -> None:
        self.checks[check.id] = check
        self.checks_of.setdefault(check.service_id, {})[check.id] = check

    def _drop(self, record: CatalogRecord) -> None:
        match record:
            case CatalogService():
                del self.services[record.id]
                _pop(self.named, record.name, record.id)
            case CatalogCheck():
                del self.checks[record.id]
                _pop(self.checks_of, record.service_id, record.id)
            case KeyValue():
                del self.keys[record.key]
                del self._key_order[bisect_left(self._key_order, record.key)]
            case CatalogSession():
                del self.sessions[record.id]

    def _tell(self, before: CatalogRecord | None, after: CatalogRecord | None) -> None:
        for watcher in self._watchers:
            watcher(before, after)

    def _topics(self, record: CatalogRecord) -> set[str]:
        match record:
            case CatalogService():
                return {indices.SERVICES, indices.CHECKS, indices.service(record.name)}
            case CatalogCheck():
                if not record.service_id:
                    return {indices.NODE, indices.CHECKS}
                service = self.services.get(record.service_id)
                return {indices.CHECKS} | ({indices.service(service.name)} if service else set())
            case KeyValue():
                return {indices.KEYS}
            case CatalogSession():
                return {indices.SESSIONS}


def _pop(table: dict[str, dict[str, T]], outer: str, inner: str) -> None:
    del table[outer][inner]
    if not table[outer]:
        del table[outer]


def sorted_by_id(table: dict[str, T]) -> list[T]:
    """As Consul lists them."""
    return [table[name] for name in sorted(table)]
