"""The definition of a group as its writers know it: Marathon's, apps and groups inside each other."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from coldchain.decisions.group import GroupUpdate
from coldchain.documents.application import decode_app, resolved
from coldchain.documents.findings import PROBLEMS_MAX, closest, pointer, shown
from coldchain.documents.rules import is_id
from coldchain.model.app import App
from coldchain.model.errors import InvalidDocument, Problem
from coldchain.model.group import ROOT

FIELDS = ("id", "apps", "groups", "dependencies", "version", "scaleBy")
FACTOR_MAX = 10_000
_LATER = {"pods": "Coldchain has no pods yet", "enforceRole": "Coldchain has no roles of Mesos yet"}

Path = tuple[str | int, ...]


class GroupRequest(NamedTuple):
    """What a document asks for: one of `update`, `version` (to go back to) and `scale_by`. `places`: where each app and
    group stands in it, by id."""

    group_id: str
    update: GroupUpdate | None
    version: str | None
    scale_by: float | None
    places: Mapping[str, Path]


def decode_group(document: object, base: str = ROOT) -> GroupRequest:
    """Reads a parsed document; ids in it are seen from `base`. Raises InvalidDocument with everything that is wrong."""
    reader = _Reader()
    request = reader.request(document, base)
    if reader.problems:
        raise InvalidDocument(reader.problems)
    assert request is not None, "nothing was read and nothing is wrong"
    return request


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._places: dict[str, Path] = {}

    def _wrong(self, path: Path, reason: str, suggestion: str | None = None, below: str = "") -> None:
        """`below`: the rest of the place, as a JSON pointer."""
        if len(self.problems) == PROBLEMS_MAX:
            self.problems.append(Problem(path="", reason=f"only the first {PROBLEMS_MAX} problems are listed"))
        elif len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(path=pointer(path) + below, reason=reason, suggestion=suggestion))

    def request(self, document: object, base: str) -> GroupRequest | None:
        if not isinstance(document, dict):
            self._wrong((), "must be an object")
            return None
        given = {name: member for name, member in document.items() if member is not None}
        group_id = self._id(given, base, ())
        alone = [name for name in ("version", "scaleBy") if name in given]
        if not alone:
            update = self._group(given, group_id, ())
            return GroupRequest(group_id, update, None, None, self._places)
        for name in sorted(given.keys() - {"id", alone[0]}):
            self._wrong((name,), f"{alone[0]} stands alone: it says all that is to become of the group")
        version, factor = given.get("version"), given.get("scaleBy")
        if version is not None and not isinstance(version, str):
            self._wrong(("version",), "must be text, one of the group's versions")
        number = isinstance(factor, int | float) and not isinstance(factor, bool) and 0 <= factor <= FACTOR_MAX
        if factor is not None and not number:
            self._wrong(("scaleBy",), f"must be a number from 0 to {FACTOR_MAX}")
        return GroupRequest(group_id, None, version, factor if number else None, self._places)

    def _id(self, given: Mapping[str, Any], base: str, path: Path) -> str:
        """The absolute id; `base` where there is none that could be read."""
        name = given.get("id", base)
        if not isinstance(name, str):
            self._wrong((*path, "id"), "must be text")
            return base
        absolute = resolved(name, base)
        if absolute != ROOT and not is_id(absolute):
            self._wrong((*path, "id"), f"{shown(name)} is no id of a group")
            return base
        return absolute

    def _group(self, given: Mapping[str, Any], group_id: str, path: Path) -> GroupUpdate:
        self._once(group_id, path)
        for name in given:
            if name not in FIELDS or (path and name in ("version", "scaleBy")):
                reason = _LATER.get(str(name), "is not a field of a group")
                if given[name] or str(name) not in _LATER:
                    self._wrong((*path, str(name)), reason, closest(str(name), FIELDS))
        apps = self._array(given, "apps", path)
        groups = self._array(given, "groups", path)
        dependencies = self._array(given, "dependencies", path)
        return GroupUpdate(
            id=group_id,
            apps=None if apps is None else self._apps(apps, group_id, (*path, "apps")),
            groups=None if groups is None else self._groups(groups, group_id, (*path, "groups")),
            dependencies=None
            if dependencies is None
            else self._dependencies(dependencies, group_id, (*path, "dependencies")),
        )

    def _array(self, given: Mapping[str, Any], name: str, path: Path) -> list[Any] | None:
        found = given.get(name)
        if found is None or isinstance(found, list | tuple):
            return None if found is None else list(found)
        self._wrong((*path, name), "must be an array")
        return None

    def _groups(self, given: list[Any], group_id: str, path: Path) -> tuple[GroupUpdate, ...]:
        found = []
        for position, one in enumerate(given):
            where = (*path, position)
            if not isinstance(one, dict):
                self._wrong(where, "must be an object")
                continue
            members = {name: member for name, member in one.items() if member is not None}
            if "id" not in members:
                self._wrong((*where, "id"), "is missing")
                continue
            name = self._id(members, group_id, where)
            if self._inside(name, group_id, where):
                found.append(self._group(members, name, where))
        return tuple(found)

    def _apps(self, given: list[Any], group_id: str, path: Path) -> tuple[App, ...]:
        found = []
        for position, one in enumerate(given):
            where = (*path, position)
            app = self.app(self._seen_from(one, group_id), where)
            if app is not None and self._inside(app.id, group_id, where):
                self._once(app.id, where)
                found.append(app)
        return tuple(found)

    def app(self, document: object, where: Path) -> App | None:
        """One app of the document, with what is wrong with it at its place."""
        try:
            return decode_app(document)
        except InvalidDocument as error:
            for problem in error.problems:
                self._wrong(where, problem.reason, problem.suggestion, below=problem.path)
            return None

    @staticmethod
    def _seen_from(one: Any, group_id: str) -> Any:
        """The definition with its id, and the ids it depends on, as they are seen from the group, as Marathon does."""
        if not isinstance(one, dict):
            return one
        seen = dict(one)
        if isinstance(one.get("id"), str) and one["id"].strip("/"):
            seen["id"] = resolved(one["id"], group_id)
        if isinstance(one.get("dependencies"), list):
            names = one["dependencies"]
            seen["dependencies"] = [resolved(name, group_id) if isinstance(name, str) else name for name in names]
        return seen

    def _inside(self, name: str, group_id: str, path: Path) -> bool:
        """Right inside, and not in a group of its own that is not written down."""
        prefix = "/" if group_id == ROOT else f"{group_id}/"
        if name.startswith(prefix) and name != ROOT and "/" not in name[len(prefix) :]:
            return True
        self._wrong((*path, "id"), f"{name} is not right inside {group_id}: write its id without slashes")
        return False

    def _dependencies(self, given: list[Any], group_id: str, path: Path) -> tuple[str, ...]:
        found = []
        for position, one in enumerate(given):
            name = resolved(one, group_id) if isinstance(one, str) else ""
            if not is_id(name):
                self._wrong((*path, position), f"{shown(one)} is no id of an app or a group")
            found.append(name)
        return tuple(dict.fromkeys(found))

    def _once(self, name: str, path: Path) -> None:
        first = self._places.setdefault(name, path)
        if first != path:
            self._wrong((*path, "id"), f"{name} is defined at {pointer(first) or '/'} already")


def decode_apps(document: object) -> dict[str, tuple[int, dict[str, Any]]]:
    """The members of an array of definitions, by the app's id, with their positions. Raises InvalidDocument."""
    if not isinstance(document, list):
        raise InvalidDocument([Problem(path="", reason="must be an array of app definitions")])
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    problems = []
    for position, one in enumerate(document):
        if not isinstance(one, dict) or not isinstance(one.get("id"), str):
            reason = "is missing" if isinstance(one, dict) else "must be an object"
            problems.append(Problem(path=f"/{position}/id" if isinstance(one, dict) else f"/{position}", reason=reason))
            continue
        app_id = resolved(one["id"], ROOT)
        if app_id in found:
            reason = f"{app_id} is defined at /{found[app_id][0]} already"
            problems.append(Problem(path=f"/{position}/id", reason=reason))
        found[app_id] = (position, one)
    if problems:
        raise InvalidDocument(problems[:PROBLEMS_MAX])
    return found
