"""Events as server-sent events have them, and what of a body is looked at without knowing its type."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from coldchain.documents.answers import timestamp
from coldchain.documents.plan import groups_answer
from coldchain.model.event import AppMove, Event
from coldchain.model.version import Version

_DATA = b"\ndata: "


def event_text(sequence: int, body: dict[str, Any], cause: str) -> bytes:
    """The event as a stream sends it: its id, its type, and the body with `cause` beside."""
    return _text(sequence, body["eventType"], msgspec.json.encode(body | {"cause": cause}))


def _text(sequence: int, event_type: str, data: bytes) -> bytes:
    return b"id: %d\nevent: %s%s%s\n\n" % (sequence, event_type.encode(), _DATA, data)


def event_body(event: Event) -> dict[str, Any]:
    """What stands in an event's text."""
    body: dict[str, Any] = msgspec.json.decode(event.text.partition(_DATA)[2])
    return body


def whole_plan_text(event: Event, version_of: Callable[[str, str], Version | None]) -> bytes:
    """The event's text with the groups before and after in its plan; `version_of`: an app's version by its id, None
    where it is not on record any more. As it is where it has none."""
    body = event_body(event)
    plan = body.get("plan")
    if plan is None:
        return event.text
    before = [(one.app_id, one.before) for one in event.moves if one.before is not None]
    after = [(one.app_id, one.after) for one in event.moves if one.after is not None]
    plan["original"] = groups_answer(before, version_of, plan["version"])
    plan["target"] = groups_answer(after, version_of, plan["version"])
    return _text(event.sequence, event.type, msgspec.json.encode(body))


def missed_text(sequence: int, after: int, before: int, at: float) -> bytes:
    """What stands where events are not known any more: those between the ids `after` and `before`."""
    body = {"eventType": "events_missed", "timestamp": timestamp(at), "after": after, "before": before}
    return event_text(sequence, body, "the follower was away for longer than events are kept")


def about(body: dict[str, Any], moves: Iterable[AppMove]) -> tuple[str, ...]:
    """The ids of the apps and groups that an event is about."""
    named = [body.get(member) for member in ("appId", "runSpecId", "groupId")]
    definition = body.get("appDefinition")
    if isinstance(definition, dict):
        named.append(definition.get("id"))
    plan = body.get("plan")
    for step in plan["steps"] if isinstance(plan, dict) else ():
        named += [action.get("app") for action in step["actions"]]
    named += [one.app_id for one in moves]
    return tuple(dict.fromkeys(one for one in named if isinstance(one, str)))
