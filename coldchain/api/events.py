"""events: `/v2/events`, the stream of what happens, which can be resumed and marks what it lost."""

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Literal

from aiohttp import web

from coldchain.api.apps import embedded
from coldchain.api.authentication import dismissed
from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, caller_of
from coldchain.control.events import EventLog, Follower
from coldchain.decisions.caller import sees
from coldchain.documents.answers import OWN
from coldchain.documents.event_text import whole_plan_text
from coldchain.documents.events import MARATHONS, stream_event
from coldchain.model.caller import EVERYTHING, Caller
from coldchain.model.errors import MalformedDocument
from coldchain.model.event import Event
from coldchain.model.version import Version

STREAM = "text/event-stream"
MISSED = "events_missed"
PLATFORM_EVENTS = (
    "brake_changed_event",
    "scheduler_registered_event",
    "scheduler_reregistered_event",
    "scheduler_disconnected_event",
)
"""Those that everybody may hear of. Who follows the events, and from where, is told to those who see everything."""
WITH_PLANS = frozenset(
    {
        "deployment_info",
        "deployment_step_success",
        "deployment_step_failure",
        "deployment_success",
        "deployment_failed",
    }
)
"""Types whose bodies have the plan of a deployment, also of one that moves no app."""
WHOLE_PLANS_KEPT = 16
"""Of the last events with a plan, in the form that has the groups before and after: at most 256 KiB of definitions
each, twice. Made when the first client wants one, and shared by all."""


class WholePlans:
    """The texts of events with the groups before and after in their plans, for all clients of one server."""

    def __init__(self, version_of: Callable[[str, str], Version | None]) -> None:
        self._version_of = version_of
        self._texts: dict[int, bytes] = {}

    def text_of(self, event: Event) -> bytes:
        """The event's text, with a whole plan where it has one."""
        if event.type not in WITH_PLANS:
            return event.text
        text = self._texts.get(event.sequence)
        if text is None:
            text = self._texts[event.sequence] = whole_plan_text(event, self._version_of)
            if len(self._texts) > WHOLE_PLANS_KEPT:
                del self._texts[next(iter(self._texts))]
        return text


WHOLE_PLANS = web.AppKey("whole_plans", WholePlans)


async def follow_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events. `event_type` in the query chooses, `plan-format=light` leaves the groups out of plans,
    `embed=coldchain` adds the types that Marathon has not; `Last-Event-ID`, or `lastEventId` in the query, resumes."""
    if STREAM not in request.headers.get("Accept", ""):
        message = f"This is a stream: ask with the header `Accept: {STREAM}`."
        return answer({"message": message}, HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET"})
    context = context_of(request)
    events, after = context.controller.events, _last_event_id(request)
    response = web.StreamResponse(headers=HEADERS | {"Content-Type": STREAM, "X-Accel-Buffering": "no"})
    with events.follow(after) as follower:
        await response.prepare(request)
        await response.write(b": events follow\n\n")
        _announce(request, events, "event_stream_attached")
        try:
            await _send(request, response, follower, _chosen(request), _text_of(request))
        except ConnectionResetError:
            pass  # the client has gone
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            _announce(request, events, "event_stream_detached")
    return response


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    follower: Follower,
    chosen: Callable[[Event], bool],
    text_of: Callable[[Event], bytes],
) -> None:
    """Until the server stops, or the client is gone or may not go on. What he is too slow to take stays in the log, and
    is marked as missed when it has gone from there. Raises TimeoutError when he takes nothing at all."""
    context, leaving = context_of(request), asyncio.ensure_future(dismissed(request))
    events, stopping = context.controller.events, context.stopping
    leaving.add_done_callback(lambda _: events.wake())
    idle_seconds, stalled_seconds = context.settings.keep_alive_seconds, context.settings.stalled_seconds
    try:
        while not (stopping.is_set() or leaving.done() or _has_gone(request)):
            taken = follower.take()
            text = b"".join([text_of(event) for event in taken if chosen(event)])
            if not taken and not await follower.wait(idle_seconds):
                text = b": still here\n\n"
            if text:
                async with asyncio.timeout(stalled_seconds):
                    await response.write(text)
    finally:
        leaving.cancel()


def _has_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _announce(
    request: web.Request, events: EventLog, kind: Literal["event_stream_attached", "event_stream_detached"]
) -> None:
    words = "follows the events" if kind == "event_stream_attached" else "follows the events no more"
    body = stream_event(kind, request.remote or "", context_of(request).settings.clock.now())
    events.emit(kind, f"{caller_of(request).name} {words}", body)


def _last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID", request.query.get("lastEventId", "")).strip()
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise MalformedDocument(f"Last-Event-ID {given[:40]!r} is no id of an event", todo="Leave it out to begin now")
    return int(given)


def _chosen(request: web.Request) -> Callable[[Event], bool]:
    """Which events the client gets, of those that its caller may see: those whose types it names (types that there are
    not never come, as with Marathon), or all of Marathon's, with `embed=coldchain` all; and always the mark of those
    that it missed."""
    caller = caller_of(request)
    named: Iterable[str] = request.query.getall("event_type", [])
    types = frozenset(named or MARATHONS) | {MISSED}
    every = not named and OWN in embedded(request)
    return lambda event: (every or event.type in types) and _seen(caller, event)


def _seen(caller: Caller, event: Event) -> bool:
    """Who has a group gets what is known to be about his apps alone, and what is about the platform."""
    if caller.group == EVERYTHING or event.type in (MISSED, *PLATFORM_EVENTS):
        return True
    return bool(event.app_ids) and sees(caller, event.app_ids)


def _text_of(request: web.Request) -> Callable[[Event], bytes]:
    if request.query.get("plan-format") == "light":
        return lambda event: event.text
    return request.app[WHOLE_PLANS].text_of
