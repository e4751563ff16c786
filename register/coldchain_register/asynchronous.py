"""asynchronous: the same for asyncio. Heartbeats have a thread, so they tell of a loop that is stuck."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType

from coldchain_register.registration import SIGNALS, Registration, always
from coldchain_register.settings import Settings

ANSWER_SECONDS = 3.0
"""An app of which the loop does not come to its health within this time is not well."""

AsyncHealth = Callable[[], "bool | Awaitable[bool]"]


class AsyncRegistration:
    """As a context: registered within, gone after it. It takes SIGTERM and SIGINT of the loop: `released` returns when
    one came, the mark is in the registry and those who look there have let go."""

    def __init__(self, health: AsyncHealth = always, settings: Settings | None = None) -> None:
        self._health = health
        self._registration = Registration(self._ask, settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._released = asyncio.Event()

    async def __aenter__(self) -> AsyncRegistration:
        self._loop = loop = asyncio.get_running_loop()
        for number in SIGNALS:
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
                loop.add_signal_handler(number, self._signalled)
        self._registration.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await asyncio.to_thread(self._registration.drain)
        finally:
            await asyncio.to_thread(self._registration.stop)
            assert self._loop is not None
            for number in SIGNALS:
                with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                    self._loop.remove_signal_handler(number)

    async def released(self) -> None:
        """Wait for the signal, and until the app may end."""
        await self._released.wait()

    def _signalled(self) -> None:
        loop = self._loop
        assert loop is not None
        self._registration.release(lambda: _call(loop, self._released.set))

    def _ask(self) -> bool:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self._answer(), self._loop).result(ANSWER_SECONDS)

    async def _answer(self) -> bool:
        found = self._health()
        return bool(await found) if inspect.isawaitable(found) else bool(found)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(callback)
