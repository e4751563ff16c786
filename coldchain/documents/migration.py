"""An app as Marathon answers it becomes a definition of Coldchain's, with everything said that does not carry over.

`decode_app` is the judge of what a definition can say. What it has no field for is left out where an app runs as well
without, and said; anything else that is wrong rejects the app, which is then written as it was, with the reasons.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from msgspec import NODEFAULT, structs

from coldchain.documents.application import EXPLAINED, decode_app, encode_app, usual_deadline_seconds
from coldchain.documents.migration_advice import advice
from coldchain.documents.migration_fields import CARRIED, SAFE, STATE, UNSAFE, matching
from coldchain.documents.migration_forms import in_our_forms
from coldchain.documents.migration_note import Note
from coldchain.documents.text import DEPTH_MAX
from coldchain.model.app import App, Network
from coldchain.model.base import Noun
from coldchain.model.errors import InvalidDocument, Problem

NO_FIELD = "is not a field of this object"
"""What `decode_app` says of a field that nobody knows."""
UNKNOWN_TODO = "Find out what it does; leave it out if the app runs as well without."
ALWAYS_TOLD = ("id", "instances", "cpus", "mem")
"""Fields that a reader looks for first: they stand in a definition even where they are the default."""


class Migrated(Noun, frozen=True, kw_only=True):
    """What became of an app. `document`: its definition; with `problems` what Marathon said, for a person to mend."""

    app_id: str
    document: Any
    notes: tuple[Note, ...] = ()
    problems: tuple[Note, ...] = ()


def migrated_app(document: object, dependencies: Mapping[str, Collection[str]] | None = None) -> Migrated:
    """`document`: an app as Marathon answers it, as plain objects. `dependencies`: by the id of a group what it waits
    for, where it waits for something."""
    app_id = str(document.get("id")) if isinstance(document, dict) else ""
    if not isinstance(document, dict) or _too_deep(document):
        problem = Note(path="", kind="rejected", reason="is no app definition", todo="Look at what Marathon answers.")
        return Migrated(app_id=app_id, document=None, problems=(problem,))
    notes: list[Note] = []
    given = {name: member for name, member in _without_null(document).items() if name not in STATE}
    given = in_our_forms(given, notes)
    _with_group_dependencies(given, app_id, dependencies or {}, notes)
    app, problems = _decoded(given, notes)
    notes += [
        Note(path=f"/{field}", kind="advice", reason=f"{_short(given[field])}: {one.reason}", todo=one.todo)
        for field, one in CARRIED.items()
        if app is not None and given.get(field) and given[field] != ["*"]
    ]
    if app is None:
        return Migrated(app_id=app_id, document=given, notes=tuple(notes), problems=problems)
    return Migrated(app_id=app.id, document=sparse_definition(app), notes=(*notes, *advice(app)))


def sparse_definition(app: App) -> dict[str, Any]:
    """The definition with what it must say and no defaults: as a person would write it."""
    whole = encode_app(app)
    said: dict[str, Any] = {name: _told_all(whole[name]) for name in ALWAYS_TOLD}
    for name, member in _told(app).items():
        if name in whole and name not in said:
            said[name] = member
    if whole["env"]:
        said["env"] = whole["env"]  # those that are secrets with the others
    if app.network.mode == "host" and app.container is None:
        said["portDefinitions"] = _told_all(app.port_definitions)
    if app.deadline_seconds == usual_deadline_seconds(app):
        said.pop("deadlineSeconds", None)
    return said if decode_app(said) == app else whole


def _told(noun: Noun) -> dict[str, Any]:
    """The fields that are not their default; of a network always the mode, which says what it is."""
    told = {}
    for field in structs.fields(type(noun)):
        value = getattr(noun, field.name)
        default = field.default_factory() if field.default_factory is not NODEFAULT else field.default
        kept = isinstance(noun, Network) and field.name == "mode"
        if kept or (value != default and value is not None):
            told[field.encode_name] = _told_all(value)
    return told


def _told_all(value: Any) -> Any:
    if isinstance(value, Noun):
        return _told(value)
    if isinstance(value, list | tuple):
        return [_told_all(member) for member in value]
    if isinstance(value, Mapping):
        return {name: _told_all(member) for name, member in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _decoded(given: dict[str, Any], notes: list[Note]) -> tuple[App | None, tuple[Note, ...]]:
    """The app, after what can be left out was taken from `given`; or why there is none."""
    while True:
        try:
            return decode_app(given), ()
        except InvalidDocument as error:
            problems = error.problems
        kept = [problem for problem in problems if not _left_out(given, problem, notes)]
        if len(kept) == len(problems):
            return None, tuple(_rejection(problem) for problem in kept)


def _left_out(given: dict[str, Any], problem: Problem, notes: list[Note]) -> bool:
    """Takes a field from the definition if it may go; what says nothing goes without a word."""
    if problem.reason != NO_FIELD and problem.reason not in EXPLAINED.values():
        return False
    path = _parts(problem.path)
    holder: Any = given
    for part in path[:-1]:
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    if path[-1] not in holder:
        return False
    value = holder[path[-1]]
    if value in ([], {}):
        del holder[path[-1]]
        return True
    loss = matching(SAFE, path)
    if loss is None:
        return False
    reason = f"{_short(value)} does not carry over: {loss.reason}"
    notes.append(Note(path=problem.path, kind="left out", reason=reason, todo=loss.todo))
    del holder[path[-1]]
    return True


def _rejection(problem: Problem) -> Note:
    unknown = problem.reason == NO_FIELD
    todo = matching(UNSAFE, _parts(problem.path)) or (UNKNOWN_TODO if unknown else "Mend it by hand.")
    meant = f" (did you mean {problem.suggestion!r}?)" if problem.suggestion else ""
    reason = f"{problem.reason}{meant}"
    return Note(path=problem.path, kind="rejected", reason=reason, todo=todo)


def _with_group_dependencies(
    given: dict[str, Any], app_id: str, dependencies: Mapping[str, Collection[str]], notes: list[Note]
) -> None:
    """What a group waits for, each of its apps waits for."""
    known = given.get("dependencies", [])
    if not isinstance(known, list):
        return
    for group, waited in sorted(dependencies.items()):
        if waited and (app_id + "/").startswith(group.rstrip("/") + "/"):
            known = [*known, *(one for one in sorted(waited) if one not in known)]
            reason = f"the group {group} waits for {', '.join(sorted(waited))}: said by each of its apps"
            todo = "Deploy what is named there first."
            notes.append(Note(path="/dependencies", kind="changed", reason=reason, todo=todo))
    if known:
        given["dependencies"] = known


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _without_null(value: Any) -> Any:
    """Marathon answers null where nothing is set."""
    if isinstance(value, dict):
        return {name: _without_null(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_null(member) for member in value]
    return value


def _too_deep(value: object, depth: int = 0) -> bool:
    if depth > DEPTH_MAX:
        return True
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_too_deep(member, depth + 1) for member in members)
