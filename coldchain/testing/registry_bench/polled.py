"""polled: a registry as those see it who ask every so many seconds and do not wait for an answer.

It stands before a real one and lets every question through, but those that wait: they are answered at the next tick,
whatever happens meanwhile. So a platform that is told to use it follows its services by a timer, by the same code.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

PASSED_ON = ("X-Consul-Index", "X-Consul-KnownLeader", "X-Consul-LastContact")


class Polled:
    """`interval_seconds`: between two ticks, on the loop's clock."""

    def __init__(self, registry: str, session: aiohttp.ClientSession, interval_seconds: float) -> None:
        self._registry = registry
        self._session = session
        self._interval_seconds = interval_seconds

    def until_tick(self) -> float:
        """Seconds until the next time that it asks."""
        return self._interval_seconds - asyncio.get_running_loop().time() % self._interval_seconds

    async def handle(self, request: web.Request) -> web.Response:
        """One question or order."""
        query = {name: value for name, value in request.query.items() if name not in ("index", "wait")}
        if "index" in request.query:
            await asyncio.sleep(self.until_tick())
        url, body = f"{self._registry}{request.path}", await request.read()
        async with self._session.request(request.method, url, params=query, data=body) as answer:
            headers = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
            return web.Response(
                status=answer.status, body=await answer.read(), content_type=answer.content_type, headers=headers
            )


@contextlib.asynccontextmanager
async def polled(registry: str, interval_seconds: float) -> AsyncIterator[tuple[Polled, str]]:
    """It and its HOST:PORT, before the registry at that URL."""
    async with aiohttp.ClientSession() as session:
        made = Polled(registry, session, interval_seconds)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", made.handle)
        async with TestServer(application) as server:
            yield made, f"{server.host}:{server.port}"


def polling_ms(interval_seconds: float, path_ms: list[float], phases: int) -> list[float]:
    """What a change takes that is seen at the next tick and then goes the path: for changes at evenly spread moments
    between two ticks, each with each of the paths."""
    waits = [(number + 0.5) / phases * interval_seconds * 1000 for number in range(phases)]
    return [wait + path for wait in waits for path in path_ms]
