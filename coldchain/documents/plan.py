"""The groups of a deployment's plan, as Marathon's clients read them: what a deployment changes, before and after."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from coldchain.documents.answers import definition_answer, version_answer
from coldchain.model.version import Version

DEFINITIONS_BYTES_MAX = 256 * 1024
"""Of definitions in one of a plan's groups. Where they are larger there are only ids and versions: Marathon sends
every app that there is with each event, and clients choke on it."""
DEFINITIONS_MAX = 200
"""With more apps nobody tries how large they are."""


def groups_answer(
    apps: Sequence[tuple[str, str]], version_of: Callable[[str, str], Version | None], version: str
) -> dict[str, Any]:
    """The root group, with those groups alone that lead to the apps given, each by id and version. `version`: what the
    groups have where there is no app."""
    return _group("/", sorted(_definitions(apps, version_of), key=lambda one: str(one["id"])), version)


def _definitions(
    apps: Sequence[tuple[str, str]], version_of: Callable[[str, str], Version | None]
) -> Iterable[dict[str, Any]]:
    names = [{"id": app_id, "version": version} for app_id, version in apps]
    if len(apps) > DEFINITIONS_MAX:
        return names
    found = [(name, version_of(*app)) for name, app in zip(names, apps, strict=True)]
    whole = [definition_answer(one.app) | version_answer(one) if one else name for name, one in found]
    return names if len(msgspec.json.encode(whole)) > DEFINITIONS_BYTES_MAX else whole


def _group(group_id: str, apps: Sequence[dict[str, Any]], version: str) -> dict[str, Any]:
    """`apps`: all those below the group."""
    below = group_id.rstrip("/") + "/"
    own: list[dict[str, Any]] = []
    children: dict[str, list[dict[str, Any]]] = {}
    for one in apps:
        name, deeper, _ = str(one["id"]).removeprefix(below).partition("/")
        if deeper:
            children.setdefault(below + name, []).append(one)
        else:
            own.append(one)
    return {
        "id": group_id,
        "apps": own,
        "groups": [_group(name, members, version) for name, members in children.items()],
        "pods": [],
        "dependencies": [],
        "version": max((str(one["version"]) for one in apps), default=version),
    }
