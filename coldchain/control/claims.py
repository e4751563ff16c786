"""claims: what apps have that no other app can have: service ports, names of services, places of routes."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import TypeVar

from coldchain.control.state import State
from coldchain.decisions.rotation import services
from coldchain.decisions.route import places
from coldchain.documents.keys import Record
from coldchain.model.app import App
from coldchain.model.instance import Instance
from coldchain.model.version import AppRecord

Counted = TypeVar("Counted")
Name = tuple[str, str]
"""Of a version: the app's id, and its own."""


class Claims:
    """Follows the records: a version has what it claims while it is aimed at or has live instances. Looked at with each
    change of an app, when nobody would wait for all instances to be walked through."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._uses: Counter[Name] = Counter()
        self._apps: dict[Name, App] = {}
        self._service_ports: Counter[int] = Counter()
        self._claimants: dict[Hashable, Counter[str]] = {}
        state.on_commit(self._committed)

    @property
    def service_ports(self) -> Collection[int]:
        """Those of all apps, and of those that are leaving."""
        return self._service_ports.keys()

    def may_collide(self, app: App) -> bool:
        """False where nothing that the app is to have is, or was a moment ago, another's."""
        return any(self._claimants.get(claim, {app.id: 1}).keys() != {app.id} for claim in _claims(app))

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        for before, after in pairs:
            used, uses = _used_by(before), _used_by(after)
            if used != uses:
                # Those that come first: what stays is not taken away in between.
                self._begin(uses)
                self._end(used)

    def _begin(self, name: Name | None) -> None:
        version = self._state.version_of(*name) if name is not None else None
        if name is None or version is None:
            return
        self._uses[name] += 1
        if name not in self._apps:
            app = self._apps[name] = version.app
            self._service_ports.update(app.service_ports)
            for claim in _claims(app):
                self._claimants.setdefault(claim, Counter())[app.id] += 1

    def _end(self, name: Name | None) -> None:
        if name is None or name not in self._apps:
            return
        self._uses[name] -= 1
        if not self._uses[name]:
            del self._uses[name]
            app = self._apps.pop(name)
            _take(self._service_ports, app.service_ports)
            for claim in _claims(app):
                _take(self._claimants[claim], [app.id])
                if not self._claimants[claim]:
                    del self._claimants[claim]


def _take(counted: Counter[Counted], some: Iterable[Counted]) -> None:
    for one in some:
        counted[one] -= 1
        if not counted[one]:
            del counted[one]


def _used_by(record: Record | None) -> Name | None:
    match record:
        case AppRecord():
            return record.app_id, record.version_id
        case Instance() if record.live:
            return record.app_id, record.version_id
        case _:
            return None


def _claims(app: App) -> Iterable[Hashable]:
    """The names of its services, and the places of its routes."""
    yield from services(app)
    yield from {place for route in app.routes for place in places(route)}
