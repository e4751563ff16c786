"""concerned: which apps and groups the body of an event is about, for those who may hear of some apps only."""

from collections.abc import Iterator
from typing import Any

PLATFORM_EVENTS = frozenset({"brake_changed_event"})
"""Those that name no app, and that everybody may hear of."""

_NAMES = ("appId", "runSpecId", "groupId", "podId")


def apps_of_event(body: dict[str, Any]) -> list[str]:
    """Every app, pod and group that it names where Marathon's bodies have them; none when nothing is named so, which
    says nothing of whom it is about."""
    return list(dict.fromkeys(_named(body)))


def _named(body: dict[str, Any]) -> Iterator[str]:
    yield from (body[name] for name in _NAMES if isinstance(body.get(name), str))
    plan = body.get("plan")
    if isinstance(plan, dict):
        for action in _actions(plan):
            yield from (action[name] for name in ("app", "pod") if isinstance(action.get(name), str))
    for part in (body.get("appDefinition"), body.get("podDefinition")):
        if isinstance(part, dict) and isinstance(part.get("id"), str):
            yield part["id"]


def without_groups(body: dict[str, Any]) -> dict[str, Any]:
    """The body without the groups before and after a plan, which hold the definitions of all apps."""
    plan = body.get("plan")
    if not isinstance(plan, dict) or not plan.keys() & {"original", "target"}:
        return body
    return body | {"plan": {name: plan[name] for name in plan if name not in ("original", "target")}}


def _actions(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for step in plan.get("steps", ()):
        yield from step.get("actions", ())
