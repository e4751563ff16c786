"""asgi: an ASGI app that registers itself when its server has started, and lets go before the server ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from coldchain_register.registration import Health, Registration, always
from coldchain_register.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class RegisteredApp:
    """Around the app, for servers that set their signal handlers before the start of the lifespan, as uvicorn does:
    they hear of SIGTERM only after the mark and the settle time, and serve until then."""

    def __init__(self, app: AsgiApp, health: Health = always, settings: Settings | None = None) -> None:
        self._app = app
        self.registration = Registration(health, settings)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _lifespan(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        received = started = failed = False

        async def received_by_app() -> Message:
            nonlocal received
            received = True
            return await receive()

        async def sent_by_app(message: Message) -> None:
            nonlocal started, failed
            if message["type"] == "lifespan.startup.complete":
                started = True
                self._begin()
            elif message["type"] == "lifespan.startup.failed":
                failed = True
            elif message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self._end()
            await send(message)

        try:
            await self._app(scope, received_by_app, sent_by_app)
        except Exception:
            if started:
                await self._end()
            if started or failed:
                raise
        if started or failed:
            return
        # The app knows no lifespan: it is ours alone.
        if not received:
            await receive()
        self._begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._end()
        await send({"type": "lifespan.shutdown.complete"})

    def _begin(self) -> None:
        with contextlib.suppress(ValueError):  # not the main thread: then only the platform's mark is waited for
            self.registration.end_on()
        self.registration.start()

    async def _end(self) -> None:
        await asyncio.to_thread(self.registration.stop)
