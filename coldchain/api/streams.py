"""streams: answers without an end; they stop with the server, with the client, and with his right to ask, whatever they
wait for."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from coldchain.api.authentication import dismissed
from coldchain.api.context import context_of


async def relay(
    request: web.Request,
    response: web.StreamResponse,
    chunks: AsyncGenerator[bytes, None],
    *,
    idle: bytes,
    idle_seconds: float,
) -> web.StreamResponse:
    """Write the chunks as they come, and `idle` after each silence of `idle_seconds`; then see whether the client is
    still there. The response must be prepared."""
    stopping = asyncio.ensure_future(context_of(request).stopping.wait())
    leaving = asyncio.ensure_future(dismissed(request))
    upcoming: asyncio.Future[bytes | None] | None = None
    try:
        while request.transport is not None and not request.transport.is_closing():
            if upcoming is None:
                upcoming = asyncio.ensure_future(anext(chunks, None))
            waiting: set[asyncio.Future[Any]] = {upcoming, stopping, leaving}
            await asyncio.wait(waiting, timeout=idle_seconds, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() or leaving.done():
                break
            if not upcoming.done():
                await _write(response, idle)
                continue
            chunk, upcoming = upcoming.result(), None
            if chunk is None:
                break
            await _write(response, chunk)
    except ConnectionResetError:
        pass  # the client has gone
    finally:
        stopping.cancel()
        leaving.cancel()
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
        await chunks.aclose()
    return response


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    if chunk:
        await response.write(chunk)
