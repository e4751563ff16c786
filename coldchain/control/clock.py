"""clock: the real time behind the port."""

import asyncio
import random
import time
import uuid


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
