"""logs: `/v1/apps/…/logs`: what the instances of an app write, line by line, in one stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Literal

import msgspec
import structlog
from aiohttp import web

from coldchain.api.context import Context, context_of, unknown_app
from coldchain.api.exchange import HEADERS, app_id_of, flag, number
from coldchain.api.streams import relay
from coldchain.model.errors import ColdchainError, NotFound
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
Reading = Literal["ended", "absent", "broken"]
"""Whether an instance's output was read to its end, was not there yet, or stopped half-way."""

log = structlog.get_logger(__name__)


async def follow_logs(request: web.Request) -> web.StreamResponse:
    """`follow`, `tail` (lines of each instance, 100), `instance` (beginning of its id), `format` (json, text)."""
    context, app_id = context_of(request), app_id_of(request)
    follow, tail = flag(request, "follow"), number(request, "tail", TAIL_MAX)
    tail = TAIL_DEFAULT if tail is None else tail
    plain = request.query.get("format") == "text"
    chosen = request.query.get("instance")
    only = context.instance(chosen, app_id).id if chosen is not None else None
    if app_id not in context.controller.state.apps and not context.instances(app_id):
        raise unknown_app(app_id)

    def choose() -> list[Instance]:
        return _with_output(context, app_id) if only is None else _only(context, app_id, only)

    lines = _followed(context, choose, tail) if follow else _present(context, choose(), tail)
    response = web.StreamResponse(headers=HEADERS | {"X-Accel-Buffering": "no"})
    response.content_type = "text/plain" if plain else "application/x-ndjson"
    response.charset = "utf-8"
    await response.prepare(request)
    return await relay(request, response, _chunks(lines, plain), idle=b"", idle_seconds=LOOK_SECONDS)


def _with_output(context: Context, app_id: str) -> list[Instance]:
    """Those with a task; when none has one any more, those that had: why an app does not run is in their output."""
    placed = [one for one in context.instances(app_id) if one.agent is not None]
    return [one for one in placed if one.live] or placed


def _only(context: Context, app_id: str, instance_id: str) -> list[Instance]:
    return [one for one in context.instances(app_id) if one.id == instance_id]


async def _chunks(lines: AsyncGenerator[Line, None], plain: bool) -> AsyncGenerator[bytes, None]:
    try:
        async for instance_id, line in lines:
            shown = line.encode() if plain else msgspec.json.encode({"instance": instance_id, "line": line})
            yield shown + b"\n"
    finally:
        await lines.aclose()


async def _present(context: Context, instances: list[Instance], tail: int) -> AsyncGenerator[Line, None]:
    for instance in instances:
        try:
            async for line in _lines(context.controller.engine.logs(instance.task_id, follow=False, tail=tail)):
                yield instance.id, line
        except NotFound:
            continue
        except ColdchainError as error:
            yield instance.id, f"[output not to be had: {error}]"


async def _followed(context: Context, choose: Callable[[], list[Instance]], tail: int) -> AsyncGenerator[Line, None]:
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
                        lines: int | None = tail if first else None
                    elif not reader.done() or reader.result() == "ended":
                        continue
                    else:
                        lines = 0 if reader.result() == "broken" else None
                    readers[one.id] = asyncio.create_task(_read(context, one, lines, queue))
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


async def _read(context: Context, instance: Instance, tail: int | None, queue: asyncio.Queue[Line]) -> Reading:
    try:
        async for line in _lines(context.controller.engine.logs(instance.task_id, follow=True, tail=tail)):
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
