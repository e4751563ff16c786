"""events: `/v2/events`, the stream of what happens, which can be resumed and marks what it lost."""

from collections.abc import AsyncGenerator
from http import HTTPStatus

import msgspec
from aiohttp import web
from msgspec.structs import replace

from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, caller_of
from coldchain.api.streams import relay
from coldchain.control.events import EventLog
from coldchain.decisions.caller import sees
from coldchain.documents.answers import timestamp
from coldchain.documents.concerned import PLATFORM_EVENTS, apps_of_event, without_groups
from coldchain.model.caller import EVERYTHING, Caller
from coldchain.model.errors import MalformedDocument
from coldchain.model.event import Event

STREAM = "text/event-stream"
MISSED = "events_missed"


async def follow_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events; `event_type` in the query chooses, `Last-Event-ID` resumes."""
    if STREAM not in request.headers.get("Accept", ""):
        message = f"This is a stream: ask with the header `Accept: {STREAM}`."
        return answer({"message": message}, HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET"})
    context = context_of(request)
    after = _last_event_id(request)
    response = web.StreamResponse(headers=HEADERS | {"Content-Type": STREAM, "X-Accel-Buffering": "no"})
    await response.prepare(request)
    await response.write(b": events follow\n\n")
    types = frozenset(request.query.getall("event_type", []))
    chunks = _chunks(context.controller.events, after, types, caller_of(request))
    return await relay(
        request, response, chunks, idle=b": still here\n\n", idle_seconds=context.settings.keep_alive_seconds
    )


def _last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID", "").strip()
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise MalformedDocument(f"Last-Event-ID {given[:40]!r} is no id of an event", todo="Leave it out to begin now")
    return int(given)


async def _chunks(
    events: EventLog, after: int | None, types: frozenset[str], caller: Caller
) -> AsyncGenerator[bytes, None]:
    async for event in events.follow(after):
        if event.type == MISSED or ((not types or event.type in types) and _seen(caller, event)):
            yield _chunk(event if caller.group == EVERYTHING else replace(event, body=without_groups(event.body)))


def _seen(caller: Caller, event: Event) -> bool:
    """Who has a group gets what is known to be about his apps alone, and what is about the platform."""
    if caller.group == EVERYTHING or event.type in PLATFORM_EVENTS:
        return True
    concerned = apps_of_event(event.body)
    return bool(concerned) and sees(caller, concerned)


def _chunk(event: Event) -> bytes:
    body = {"eventType": event.type, "timestamp": timestamp(event.at), **event.body, "cause": event.cause}
    head = f"id: {event.sequence}\nevent: {event.type}\ndata: "
    return head.encode() + msgspec.json.encode(body) + b"\n\n"
