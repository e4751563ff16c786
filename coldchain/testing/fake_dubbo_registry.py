"""ZooKeeper as Dubbo's registry, without a network: what is announced in a set, on the clock it is given."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from coldchain.model.dubbo import Announced, Announcement
from coldchain.model.errors import Unavailable
from coldchain.ports.clock import Clock

ANSWER_SECONDS = 0.001


class FakeDubboRegistry:
    """Implements `ports.dubbo_registry.DubboRegistry`. `silent`: it does not answer; what was asked may have been done
    (`loses_replies`). `told` has what was told, in order; `around` is awaited before each word is taken, and
    after it, before that is answered. `withdrawn`: what will not be announced again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self.providers: set[Announcement] = set()
        self.switched_off: set[Announcement] = set()
        self.silent = False
        self.loses_replies = False
        self.withdrawn: set[Announcement] = set()
        self.told: list[tuple[str, Announcement]] = []
        self.around: Callable[[str], Awaitable[None]] = _nothing

    def announce(self, found: Iterable[Announcement]) -> None:
        """These providers are there now, and no others."""
        self.providers = set(found) - self.withdrawn
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def watch(self, on_trouble: Callable[[str], None]) -> AsyncGenerator[Announced, None]:
        known: tuple[set[Announcement], set[Announcement]] | None = None
        troubled = False
        while True:
            changed = self._changed
            await self._clock.sleep(ANSWER_SECONDS)
            if self.silent:
                troubled = True
                on_trouble("ZooKeeper does not answer")
                await self._clock.sleep(0.1)
                continue
            if troubled:
                troubled = False
                on_trouble("")
            found = set(self.providers), set(self.switched_off)
            if found != known:
                known = found
                yield Announced(providers=tuple(found[0]), switched_off=tuple(found[1]))
                continue
            await _either(changed, self._clock)

    async def switch_off(self, one: Announcement) -> None:
        await self._switch("off", one, self.switched_off.add)

    async def withdraw(self, one: Announcement) -> None:
        await self._switch("gone", one, self._withdraw)

    def _withdraw(self, one: Announcement) -> None:
        gone = {one}
        if one.process:  # a process is withdrawn as a whole
            gone |= {each for each in self.providers if (each.process, each.place) == (one.process, one.place)}
        self.providers -= gone
        self.withdrawn |= gone

    async def switch_on(self, one: Announcement) -> None:
        await self._switch("on", one, self.switched_off.discard)

    async def _switch(self, word: str, one: Announcement, change: Callable[[Announcement], None]) -> None:
        await self.around("before")
        if self.loses_replies:
            change(one)
            self._tell()
        await self._clock.sleep(ANSWER_SECONDS)
        if self.silent:
            raise Unavailable("ZooKeeper does not answer")
        self.told.append((word, one))
        change(one)
        self._tell()
        await self.around("after")

    async def close(self) -> None:
        """Nothing to let go of."""


async def _nothing(when: str) -> None:
    """Nobody is in the way."""


async def _either(changed: asyncio.Event, clock: Clock) -> None:
    """Silence begins without a change."""
    waits = asyncio.ensure_future(changed.wait())
    passes = asyncio.ensure_future(clock.sleep(0.1))
    try:
        await asyncio.wait({waits, passes}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waits.cancel()
        passes.cancel()
