"""belief: what is held to be the endpoints of one service, by what the registry says of it one time after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from coldchain.decisions import registration as decide
from coldchain.decisions.registration import Belief
from coldchain.model.registration import ServiceEndpoint, Sighting
from coldchain.ports.clock import Clock

DOUBT_SECONDS = 120.0
"""After a fault: for how long who is missing in the registry may still come back to it, by his own heartbeats."""

log = structlog.get_logger(__name__)


class Believer:
    """Endpoints go only because the registry says so, and while that may be for its own loss they stay for a while.
    `keep`: is given the belief whenever it may have changed."""

    def __init__(
        self,
        service: str,
        clock: Clock,
        keep: Callable[[Belief], Awaitable[None]],
        known: Sequence[ServiceEndpoint] = (),
    ) -> None:
        self._service = service
        self._clock = clock
        self._keep = keep
        self._belief = Belief(listed=tuple(known))
        self._doubts = 0
        """How often who was missing was doubted to be gone."""

    async def take(self, sighting: Sighting, group: asyncio.TaskGroup) -> None:
        """Believe what the registry says. Doubts are ended by a task of the group."""
        self._belief = decide.seen(self._belief, sighting)
        await self._keep(self._belief)
        if not sighting.certain and self._belief.doubted:
            log.warning("who is missing in the registry stays for a while", service=self._service)
            group.create_task(self._end_doubts())

    async def _end_doubts(self) -> None:
        """After a while who was not seen again is gone, unless there were new doubts since."""
        self._doubts += 1
        number = self._doubts
        while number == self._doubts and self._belief.doubted:
            await self._clock.sleep(DOUBT_SECONDS)
            if number == self._doubts:
                self._belief = decide.doubted_for_long(self._belief)
                await self._keep(self._belief)
