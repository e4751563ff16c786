"""candidate: one of several controllers of a store: it stands by and follows the records, or leads; and what it has of
the platform meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial

import msgspec

from coldchain.control.controller import Controller
from coldchain.control.credentials import Credentials
from coldchain.control.fence import Authority, Deposed, FencedFeed, FencedStore
from coldchain.control.leadership import Leadership
from coldchain.control.rotation import LEASE_SECONDS
from coldchain.control.standby import Follower, ReadStore
from coldchain.decisions.leadership import Timing
from coldchain.documents import keys
from coldchain.model.errors import Unavailable
from coldchain.model.leader import Leader
from coldchain.model.rotation import GatewayReport, RotationUpdate
from coldchain.ports.clock import Clock
from coldchain.ports.rotation_feed import RotationFeed
from coldchain.ports.store import Change, LostUpdate, Store

Opening = Callable[[Store, Authority], AbstractAsyncContextManager[Controller]]
"""Makes the controller of one lead, not started, with all that it needs; at the end of it lets go of that."""
FeedOf = Callable[[Leader], RotationFeed]
"""The way of a gateway to another controller, which leads."""

LOOK_SECONDS = 0.1
REMOTE_WAIT_SECONDS = 0.3
"""How long one exchange with another controller waits for news. Its gateway's lease is the older the longer that is,
and when the leader dies what is left of it must do until the next one answers."""


class Candidate:
    """`controller`: the one that leads here, or one that stands by. `on_controller` is told of each other one. `down`
    is set when everything was stopped and all controllers shall end; `take_leave` is what the leader does before that,
    once nothing runs. Implements ports.rotation_feed.RotationFeed, for
    gateways that this process feeds: from `own_feed` while it leads, else from whoever does."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        me: Leader,
        opening: Opening,
        standing_by: Callable[[Store], Controller],
        timing: Timing | None = None,
        feed_of: FeedOf | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._opening = opening
        self._standing_by = standing_by
        self._following: asyncio.Task[None] | None = None
        self._feed_of = feed_of
        self._followed: tuple[Leader, RotationFeed] | None = None
        self._changed = asyncio.Event()
        self.down = asyncio.Event()
        self.take_leave: Callable[[], Awaitable[None]] | None = None
        self.own_feed: FencedFeed | None = None
        self._credentials: Credentials | None = None
        self.me = me
        self.leadership = Leadership(store, clock, me, self._lead, timing)
        self.leadership.on_leader = self._leader_changed
        self.on_controller: Callable[[Controller], None] = lambda controller: None
        self._stand_by()

    def _stand_by(self) -> None:
        self.own_feed = None
        self.controller = self._standing_by(ReadStore(self._store))
        self.controller.stand_by()
        self.controller.callers.credentials = self._credentials
        self.follower = Follower(self._store, self.controller.state, self._clock, self.me.name)
        self.follower.on_down = self.down.set
        self.on_controller(self.controller)

    def reached_at(self, url: str) -> None:
        """Where its API is, for the other controllers; to be said before it runs."""
        self.me = self.leadership.me = msgspec.structs.replace(self.me, url=url)

    @property
    def credentials(self) -> Credentials | None:
        """By which an admin is known to every controller of this process."""
        return self._credentials

    @credentials.setter
    def credentials(self, credentials: Credentials | None) -> None:
        self._credentials = self.controller.callers.credentials = credentials

    @property
    def leads(self) -> bool:
        """Whether it leads and has taken that up."""
        return self.own_feed is not None and self.leadership.leads

    async def run(self) -> None:
        """Until cancelled."""
        try:
            self._follow()
            await self.leadership.run()
        finally:
            await self._unfollow()

    def _follow(self) -> None:
        self._following = asyncio.create_task(self.follower.run())

    async def _unfollow(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    async def _lead(self, authority: Authority) -> None:
        store = FencedStore(self._store, authority, partial(self.leadership.deposed, authority))
        async with self._opening(store, authority) as controller:
            controller.callers.credentials = self._credentials
            await controller.start()
            await self._unfollow()
            self.controller, self.own_feed = controller, FencedFeed(controller.publisher, authority)
            self.on_controller(controller)
            try:
                await controller.run()
            finally:
                self._stand_by()
                self._follow()

    async def stop_everything(self) -> bool:
        """As the leader: stop every instance, and have all other controllers end. False when it leads no more before
        that is done: then somebody else leads, and everything goes on."""
        authority = self.leadership.authority
        if not self.leads or authority is None:
            return False
        stopping = asyncio.create_task(self.controller.stop_everything())
        try:
            while not stopping.done() and authority.holds:
                await asyncio.wait({stopping}, timeout=LOOK_SECONDS)
            if not stopping.done():
                return False
            await stopping
            if self.take_leave is not None:
                await self.take_leave()
            mark = Change(key=keys.CONTROLLERS_DOWN, value=b"")
            await self._store.write([mark], [authority.guard])
        except (LostUpdate, Deposed):
            return False
        finally:
            stopping.cancel()
        return True

    def _leader_changed(self, leader: Leader | None) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @property
    def lease_seconds(self) -> float:
        if self.own_feed is None and self._followed is not None:
            return self._followed[1].lease_seconds
        return LEASE_SECONDS

    def shares(self, gateway: str) -> Mapping[str, float]:
        feed = self.own_feed or (self._followed[1] if self._followed is not None else None)
        return feed.shares(gateway) if feed is not None else {}

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        if self.own_feed is not None:
            return await self.own_feed.exchange(report, wait_seconds)
        leader = self.leadership.leader
        if leader is None or leader.name == self.me.name or self._feed_of is None:
            raise Unavailable("No controller leads at this moment: the gateway goes on with what it has")
        if self._followed is None or self._followed[0] != leader:
            self._followed = leader, self._feed_of(leader)
        exchange = self._followed[1].exchange(report, min(wait_seconds, REMOTE_WAIT_SECONDS))
        return await self._while_it_leads(leader, exchange)

    async def _while_it_leads(
        self, leader: Leader, exchange: Coroutine[None, None, RotationUpdate | None]
    ) -> RotationUpdate | None:
        """A leader that is gone may leave a question open until its time is over: the next one is asked before."""
        asking = asyncio.create_task(exchange)
        try:
            while not asking.done() and self.leadership.leader == leader:
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait({asking, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            if asking.done():
                return asking.result()
            raise Unavailable(f"The controller at {leader.address} leads no more")
        finally:
            asking.cancel()
