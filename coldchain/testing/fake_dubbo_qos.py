"""QoS servers of providers of Dubbo, without a network: who is offline in a set, on the clock it is given."""

import asyncio
from collections.abc import Awaitable, Callable

from coldchain.model.errors import Rejected, Unavailable
from coldchain.ports.clock import Clock

ANSWER_SECONDS = 0.001
NO_ANSWER_SECONDS = 3.0
Place = tuple[str, int]


class FakeDubboQos:
    """Implements `ports.dubbo_qos.DubboQos`. `providers`: where there is one. `offline_at` has those that are offline.
    `silent`: no answer comes; what was asked may have been done (`loses_replies`). `foreign`: no command is taken.
    `lies`: all is answered and nothing done. `told` has what was told, in order; `around` is awaited before each word
    is taken, and after it, before that is answered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.providers: set[Place] = set()
        self.offline_at: set[Place] = set()
        self.silent = False
        self.loses_replies = False
        self.foreign = False
        self.lies = False
        self.told: list[tuple[str, Place]] = []
        self.around: Callable[[str], Awaitable[None]] = _nothing

    async def offline(self, host: str, port: int) -> None:
        await self._tell("offline", (host, port), self.offline_at.add)

    async def online(self, host: str, port: int) -> None:
        await self._tell("online", (host, port), self.offline_at.discard)

    async def _tell(self, word: str, place: Place, change: Callable[[Place], None]) -> None:
        await self.around("before")
        if self.silent and self.loses_replies:
            change(place)
        if self.silent:
            await self._clock.sleep(NO_ANSWER_SECONDS)
            raise Unavailable(f"{place[0]}:{place[1]} gave no answer in {NO_ANSWER_SECONDS:g} s")
        await self._clock.sleep(ANSWER_SECONDS)
        if place not in self.providers:
            raise Unavailable(f"{place[0]}:{place[1]}: Connection refused")
        if self.foreign:
            raise Rejected(f"{place[0]}:{place[1]}: foreign addresses are not permitted", todo="Permit them")
        self.told.append((word, place))
        if not self.lies:
            change(place)
        await self.around("after")


async def _nothing(when: str) -> None:
    await asyncio.sleep(0)
