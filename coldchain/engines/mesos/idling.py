"""idling: gives offers back when nobody waits for them, and asks for them again."""

import asyncio

from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.offer_book import OfferBook
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.model.errors import ColdchainError
from coldchain.ports.clock import Clock

GLANCE_SECONDS = 2.0
"""How long offers are held for a look at what there is: longer than a round of the master."""
REST_SECONDS = 0.02
"""After an ACCEPT: until the master has taken back what was left of the offer."""
HASTE_SECONDS = 0.1
"""Between two requests not to wait for the master's next round."""


class Idling:
    """Held offers keep what they are of from other frameworks. So they are declined, and no more of them are asked for,
    once nothing has waited for a while; a look now and then shows new agents and what became free."""

    def __init__(self, settings: MesosSettings, offers: OfferBook, link: Link, clock: Clock) -> None:
        self._settings = settings
        self._offers = offers
        self._link = link
        self._clock = clock
        self._came = asyncio.Event()
        self._hasty = asyncio.Event()
        self._suppressed = False
        self._hold_until = 0.0
        self._look_at = 0.0
        self._subscribed_at = 0.0

    def subscribed(self) -> None:
        """A new subscription gets all offers."""
        now = self._clock.monotonic()
        self._suppressed = False
        self._subscribed_at = now
        self._hold_until = now + self._settings.hold_seconds
        self._came.clear()

    def came(self) -> None:
        self._came.set()

    async def first_offers(self, patience_seconds: float) -> None:
        """Until the first of a subscription are there, or nobody seems to have any."""
        left = self._subscribed_at + patience_seconds - self._clock.monotonic()
        if left <= 0 or self._came.is_set():
            return
        try:
            async with asyncio.timeout(left):
                await self._came.wait()
        except TimeoutError:
            self._came.set()

    async def need(self) -> None:
        """Something waits."""
        self._hold_until = self._clock.monotonic() + self._settings.hold_seconds
        await self._revive()

    def hasten(self) -> None:
        """Something waits, and what is held has no room for it: what else there is would come in the master's next
        round, a second later with its own settings. REVIVE makes it look at once."""
        self._hasty.set()

    async def run(self) -> None:
        """For ever: hastens."""
        while True:
            await self._hasty.wait()
            await self._clock.sleep(REST_SECONDS)
            self._hasty.clear()
            if self._link.up and not self._suppressed:
                await self._link.try_call("REVIVE")
            await self._clock.sleep(HASTE_SECONDS)

    async def tick(self, *, waiting: bool) -> None:
        now = self._clock.monotonic()
        if not self._link.up:
            return
        if waiting:
            self._hold_until = now + self._settings.hold_seconds
        if self._suppressed and now >= self._look_at:
            self._hold_until = now + GLANCE_SECONDS
            await self._revive()
        elif now >= self._hold_until and not self._suppressed:
            await self._rest(now)

    async def _rest(self, now: float) -> None:
        released = self._offers.release()
        self._suppressed = True
        self._look_at = now + self._settings.look_seconds
        if released:
            ids = [{"value": one} for one in released]
            filters = {"refuse_seconds": self._settings.look_seconds}
            await self._link.try_call("DECLINE", decline={"offer_ids": ids, "filters": filters})
        await self._link.try_call("SUPPRESS")

    async def _revive(self) -> None:
        if not self._suppressed:
            return
        self._suppressed = False
        try:
            await self._link.call("REVIVE")
        except ColdchainError:
            self._suppressed = True  # the next tick, or the next subscription
