"""logs: `/v1/apps/…/logs`: what the instances of an app write, line by line, in one stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Literal, NamedTuple

import msgspec
import structlog
from aiohttp import web

from coldchain.api.context import Context, context_of, unknown_app
from coldchain.api.exchange import HEADERS, app_id_of, flag, number
from coldchain.api.streams import relay
from coldchain.model.app import YEAR_SECONDS
from coldchain.model.errors import ColdchainError, MalformedDocument, NotFound
from coldchain.model.instance import Instance

TAIL_MAX = 100_000
TAIL_DEFAULT = 100
LINES_WAITING_MAX = 1000
"""Lines held for a slow reader; then reading waits."""
LINE_BYTES_MAX = 64 * 1024
"""A longer line is given in parts: who writes no line end must not fill our memory."""
LOOK_SECONDS = 1.0
"""How often a followed app is looked at for new instances, and the client for being there."""

Line = tuple[str, str]
"""Instance id, and what it wrote."""


class Part(NamedTuple):
    """Which lines of an instance: the last `tail` of those written since then (seconds since the epoch)."""

    tail: int | None
    since: float | None


Reading = Literal["ended", "absent", "broken"]
"""Whether an instance's output was read to its end, was not there yet, or stopped half-way."""

log = structlog.get_logger(__name__)


async def follow_logs(request: web.Request) -> web.StreamResponse:
    """`follow`, `tail` (lines of each instance, 100), `sinceSeconds` (how long ago the first line was written at most),
    `previous` (of those that have ended), `instance` (beginning of its id), `format` (json, text)."""
    context, app_id = context_of(request), app_id_of(request)
    part, follow, previous = _part(request, context), flag(request, "follow"), flag(request, "previous")
    plain = _plain(request)
    chosen = request.query.get("instance")
    only = context.instance(chosen, app_id).id if chosen is not None else None
    if app_id not in context.controller.state.apps and not context.instances(app_id):
        raise unknown_app(app_id)
    if follow and previous:
        raise MalformedDocument("What has ended writes no more", todo="Ask for follow or for previous")

    def choose() -> list[Instance]:
        placed = [one for one in context.instances(app_id) if one.agent is not None and only in (None, one.id)]
        if previous:
            return [one for one in placed if not one.live]
        # When none runs any more, those that did: why an app does not run is in their output.
        return placed if only else [one for one in placed if one.live] or placed

    lines = _followed(context, choose, part) if follow else _present(context, choose(), part)
    if previous:
        lines = _with_last_failure(context, app_id, only, lines)
    response = web.StreamResponse(headers=HEADERS | {"X-Accel-Buffering": "no"})
    response.content_type = "text/plain" if plain else "application/x-ndjson"
    response.charset = "utf-8"
    await response.prepare(request)
    return await relay(request, response, _chunks(lines, plain), idle=b"", idle_seconds=LOOK_SECONDS)


def _plain(request: web.Request) -> bool:
    given = request.query.get("format", "json")
    if given not in ("json", "text"):
        raise MalformedDocument(f"format={given[:40]} in the query is none", todo="Write json or text")
    return given == "text"


def _part(request: web.Request, context: Context) -> Part:
    tail, seconds = number(request, "tail", TAIL_MAX), number(request, "sinceSeconds", YEAR_SECONDS)
    since = None if seconds is None else context.settings.clock.now() - seconds
    return Part(tail=TAIL_DEFAULT if tail is None else tail, since=since)


async def _chunks(lines: AsyncGenerator[Line, None], plain: bool) -> AsyncGenerator[bytes, None]:
    try:
        async for instance_id, line in lines:
            shown = line.encode() if plain else msgspec.json.encode({"instance": instance_id, "line": line})
            yield shown + b"\n"
    finally:
        await lines.aclose()


async def _present(context: Context, instances: list[Instance], part: Part) -> AsyncGenerator[Line, None]:
    for instance in instances:
        output = context.controller.engine.logs(instance.task_id, follow=False, tail=part.tail, since=part.since)
        try:
            async for line in _lines(output):
                yield instance.id, line
        except NotFound:
            continue
        except ColdchainError as error:
            yield instance.id, f"[output not to be had: {error}]"


async def _with_last_failure(
    context: Context, app_id: str, only: str | None, lines: AsyncGenerator[Line, None]
) -> AsyncGenerator[Line, None]:
    """The app's last failed task is known by the end of its output when the rest of it is gone."""
    told = set()
    failure = context.controller.state.failures.get(app_id)
    kept = failure if failure and only in (None, failure.instance_id) else None
    async for instance_id, line in lines:
        told.add(instance_id)
        yield instance_id, line
    if kept is not None and kept.instance_id not in told:
        for line in kept.log_tail:
            yield kept.instance_id, line


async def _followed(context: Context, choose: Callable[[], list[Instance]], part: Part) -> AsyncGenerator[Line, None]:
    """Lines of all chosen instances as they come, also of those that start later, until there is none left."""
    queue: asyncio.Queue[Line] = asyncio.Queue(LINES_WAITING_MAX)
    readers: dict[str, asyncio.Task[Reading]] = {}
    clock = context.settings.clock
    look_at, instances, first = clock.monotonic(), choose(), True
    try:
        while True:
            if clock.monotonic() >= look_at:
                look_at, instances = clock.monotonic() + LOOK_SECONDS, choose()
                for one in instances:
                    reader = readers.get(one.id)
                    if reader is None:
                        wanted = part if first else Part(tail=None, since=part.since)
                    elif not reader.done() or reader.result() == "ended":
                        continue
                    else:
                        wanted = Part(tail=0 if reader.result() == "broken" else None, since=part.since)
                    readers[one.id] = asyncio.create_task(_read(context, one, wanted, queue))
                first = False
            try:
                line = await asyncio.wait_for(queue.get(), LOOK_SECONDS)
            except TimeoutError:
                if not instances and all(reader.done() for reader in readers.values()):
                    return
                continue
            yield line
    finally:
        for reader in readers.values():
            reader.cancel()
        await asyncio.gather(*readers.values(), return_exceptions=True)


async def _read(context: Context, instance: Instance, part: Part, queue: asyncio.Queue[Line]) -> Reading:
    output = context.controller.engine.logs(instance.task_id, follow=True, tail=part.tail, since=part.since)
    try:
        async for line in _lines(output):
            await queue.put((instance.id, line))
    except NotFound:
        return "absent"
    except ColdchainError as error:
        log.info("output not to be had", instance=instance.id, error=str(error))
        return "broken"
    return "ended"


async def _lines(output: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Output cut into lines."""
    kept = b""
    async for chunk in output:
        *whole, kept = (kept + chunk).split(b"\n")
        for line in whole:
            yield _text(line)
        while len(kept) > LINE_BYTES_MAX:
            yield _text(kept[:LINE_BYTES_MAX])
            kept = kept[LINE_BYTES_MAX:]
    if kept:
        yield _text(kept)


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")
