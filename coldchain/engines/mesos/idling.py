"""idling: which offers are held, which are given back, and for which roles none are asked for."""

import asyncio
from collections.abc import Collection
from typing import Literal

from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.offer_book import HeldOffer, KnownAgent, OfferBook
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError
from coldchain.ports.clock import Clock

GLANCE_SECONDS = 2.0
"""How long a look at what there is takes: longer than a round of the master."""
RENEWED_SECONDS = 5.0
"""After which what was held in vain may be offered again, while something else is waited for."""
REST_SECONDS = 0.02
"""After an ACCEPT: until the master has taken back what was left of the offer."""
HASTE_SECONDS = 0.1
"""Between two requests not to wait for the master's next round."""

Stance = Literal["hold", "watch", "rest"]
"""To the offers for a role: they are kept for what comes next; noted and given back at once; not asked for."""


class Demand(Noun, frozen=True, kw_only=True):
    """What launches wait for: offers of these agents, each for one of these roles. `lacking`: instances go nowhere, as
    far as is known of what there is."""

    places: frozenset[tuple[str, str]] = frozenset()
    lacking: bool = False

    @property
    def roles(self) -> frozenset[str]:
        """For which something waits."""
        return frozenset(role for _, role in self.places)


def stance(role: str, demand: Demand, now: float, hold_until: float, watch_until: float) -> Stance:
    """On the monotonic clock. What is offered for one role is offered for no other, so that roles without need stand
    back while another one waits."""
    if role in demand.roles:
        return "hold"
    if demand.roles:
        return "rest"
    if now < hold_until:
        return "hold"
    return "watch" if demand.lacking or now < watch_until else "rest"


class Idling:
    """Held offers keep what they are of from other frameworks, and from our own other roles. So those for roles that
    nothing waits for are declined, and suppressed; those that nobody needed in time are declined too. A look now and
    then shows new agents and what became free; as long as an instance finds no room, everything new is told at once."""

    def __init__(self, settings: MesosSettings, offers: OfferBook, link: Link, clock: Clock) -> None:
        self._settings = settings
        self._offers = offers
        self._link = link
        self._clock = clock
        self._came = asyncio.Event()
        self._hasty = asyncio.Event()
        self._unsettled: list[str] = []
        self._suppressed: set[str] = set()
        self._declined: set[str] = set()
        self._hold_until: dict[str, float] = {}
        self._held_since: dict[str, float] = {}
        self._look_at = 0.0
        self._watch_until = 0.0
        self._subscribed_at = 0.0

    def subscribed(self) -> None:
        """A new subscription gets all offers."""
        now = self._clock.monotonic()
        self._unsettled.clear()
        self._suppressed.clear()
        self._declined.clear()
        self._held_since.clear()
        self._subscribed_at = now
        self._hold_until = dict.fromkeys(self._settings.roles, now + self._settings.hold_seconds)
        self._look_at = now + self._settings.look_seconds
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

    def unsettled(self, offer_ids: Collection[str]) -> None:
        """Of the answer to these offers nobody knows whether it arrived. One that did not keeps them from everybody, us
        included: they are declined, which does nothing where it did."""
        self._unsettled += offer_ids

    async def need(self, roles: Collection[str] | None = None) -> None:
        """Something waits for offers for these, or for any, also for those that were given back."""
        roles = self._settings.roles if roles is None else roles
        self._hold_until |= dict.fromkeys(roles, self._clock.monotonic() + self._settings.hold_seconds)
        await self._revive(self._declined & set(roles) | self._suppressed & set(roles))

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
            if self._link.up:
                await self._revive(set(self._settings.roles) - self._suppressed)
            await self._clock.sleep(HASTE_SECONDS)

    async def tick(self, demand: Demand) -> None:
        now = self._clock.monotonic()
        if not self._link.up:
            return
        if self._unsettled:
            unsettled, self._unsettled = self._unsettled, []
            await self._decline(unsettled, 0.0)
        self._hold_until |= dict.fromkeys(demand.roles, now + self._settings.hold_seconds)
        if now >= self._look_at:
            self._look_at = now + self._settings.look_seconds
            self._watch_until = now + GLANCE_SECONDS
        stances = {
            role: stance(role, demand, now, self._hold_until.get(role, 0.0), self._watch_until)
            for role in self._settings.roles
        }
        await self._give_back(stances, demand, now)
        await self._revive([role for role in sorted(self._suppressed) if stances.get(role, "rest") != "rest"])
        await self._suppress([role for role, one in stances.items() if one == "rest"])

    async def _give_back(self, stances: dict[str, Stance], demand: Demand, now: float) -> None:
        held = self._offers.held
        self._held_since = {name: self._held_since.get(name, now) for name in held}
        oldest = now - self._settings.hold_seconds
        waited_for = {agent for agent, _ in demand.places}

        def unneeded(agent: KnownAgent, offer: HeldOffer) -> bool:
            return stances.get(offer.role) != "hold"

        def in_vain(agent: KnownAgent, offer: HeldOffer) -> bool:
            stands_in_the_way = agent.name in waited_for or self._held_since.get(offer.id, now) <= oldest
            return stands_in_the_way and (agent.name, offer.role) not in demand.places

        for chosen, seconds in ((unneeded, self._settings.look_seconds), (in_vain, RENEWED_SECONDS)):
            released = self._offers.release(chosen)
            self._declined |= {one.role for one in released}
            await self._decline([one.id for one in released], seconds)

    async def _decline(self, offer_ids: Collection[str], seconds: float) -> None:
        if not offer_ids:
            return
        ids = [{"value": one} for one in offer_ids]
        try:
            await self._link.call("DECLINE", decline={"offer_ids": ids, "filters": {"refuse_seconds": seconds}})
        except ColdchainError:
            self.unsettled(offer_ids)

    async def _suppress(self, roles: Collection[str]) -> None:
        new = sorted(set(roles) - self._suppressed)
        if new:
            self._suppressed.update(new)
            await self._link.try_call("SUPPRESS", suppress={"roles": new})

    async def _revive(self, roles: Collection[str]) -> None:
        """Ask for all there is for these, whatever was declined."""
        if not roles:
            return
        self._suppressed.difference_update(roles)
        self._declined.difference_update(roles)
        try:
            await self._link.call("REVIVE", revive={"roles": sorted(roles)})
        except ColdchainError:
            self._suppressed.update(roles)  # the next tick, or the next subscription
