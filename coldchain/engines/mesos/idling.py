"""idling: gives offers back when nobody waits for them, and asks for them again."""

import asyncio
from collections.abc import Iterable, Sequence

from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.offer_book import OfferBook
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.model.errors import ColdchainError
from coldchain.ports.clock import Clock

GLANCE_SECONDS = 2.0
"""How long offers are held for a look at what there is: longer than a round of the master."""


class Idling:
    """Held offers keep what they are of from other frameworks. So they are declined, and no more of them are asked for,
    once nothing has waited for a while; a look now and then shows new agents and what became free."""

    def __init__(self, settings: MesosSettings, offers: OfferBook, link: Link, clock: Clock) -> None:
        self._settings = settings
        self._offers = offers
        self._link = link
        self._clock = clock
        self._came = asyncio.Event()
        self._suppressed = False
        self._hold_until = 0.0
        self._look_at = 0.0
        self._subscribed_at = 0.0
        self._unsettled: list[str] = []

    def subscribed(self) -> None:
        """A new subscription gets all offers."""
        now = self._clock.monotonic()
        self._suppressed = False
        self._subscribed_at = now
        self._hold_until = now + self._settings.hold_seconds
        self._came.clear()
        self._unsettled.clear()

    def unsettled(self, offer_ids: Iterable[str]) -> None:
        """Of the answer to these offers nobody knows whether it arrived. One that did not keeps them from everybody, us
        included: they are declined, which does nothing where it did."""
        self._unsettled += offer_ids

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

    async def tick(self, *, waiting: bool) -> None:
        now = self._clock.monotonic()
        if not self._link.up:
            return
        if self._unsettled:
            unsettled, self._unsettled = self._unsettled, []
            await self._decline(unsettled, 0.0)
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
            await self._decline(released, self._settings.look_seconds)
        await self._link.try_call("SUPPRESS")

    async def _decline(self, offer_ids: Sequence[str], refuse_seconds: float) -> None:
        ids = [{"value": one} for one in offer_ids]
        filters = {"refuse_seconds": refuse_seconds}
        try:
            await self._link.call("DECLINE", decline={"offer_ids": ids, "filters": filters})
        except ColdchainError:
            self.unsettled(offer_ids)

    async def _revive(self) -> None:
        if not self._suppressed:
            return
        self._suppressed = False
        try:
            await self._link.call("REVIVE")
        except ColdchainError:
            self._suppressed = True  # the next tick, or the next subscription
