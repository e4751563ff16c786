"""clock: the real time behind the port."""

import asyncio
import random
import time
import uuid

from coldchain.ports.clock import Clock

FOLLOWED = 0.1
"""How much of the time that passes a steady clock may add or leave out: every wait is right but for that."""


class SystemClock:
    """Implements ports.clock.Clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return random.random()  # noqa: S311 -- spreads probes, guards nothing

    def unique(self) -> str:
        return uuid.uuid4().hex


class SteadyClock:
    """Another clock whose time of day never jumps: when that is set, this one follows it slowly. Records have times of
    day, and how long a drain or a quarantine lasts must not depend on somebody who sets the machine's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now, self._at = clock.now(), clock.monotonic()

    def now(self) -> float:
        passed = self._clock.monotonic() - self._at
        ahead = self._clock.now() - self._now - passed
        self._now += passed + max(-FOLLOWED * passed, min(FOLLOWED * passed, ahead))
        self._at += passed
        return self._now

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def random(self) -> float:
        return self._clock.random()

    def unique(self) -> str:
        return self._clock.unique()
