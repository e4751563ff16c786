"""scheduler: the way between an engine and the leading master, in the place of clients.mesos.scheduler.SchedulerClient,
with its faults."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import msgspec

from coldchain.clients.mesos.events import Event
from coldchain.clients.mesos.scheduler import ANSWER_SECONDS, HEARTBEAT_SECONDS, MesosUnavailable
from coldchain.testing.simulation.ports import Existence

if TYPE_CHECKING:
    from coldchain.testing.simulation.mesos.world import MesosWorld

Document = dict[str, Any]
SILENT_SECONDS = 2 * HEARTBEAT_SECONDS
WAY_SECONDS = 0.004


class Subscription:
    """A stream of events, in order. `silent_since`: nothing of what is told arrives, and nobody knows."""

    def __init__(self, world: "MesosWorld") -> None:
        self.events: asyncio.Queue[Event | str] = asyncio.Queue()
        self.ended = False
        self.silent = False
        self._world = world
        self._last_at = 0.0

    def tell(self, event: Event) -> None:
        if self.silent or self.ended:
            return
        seconds = WAY_SECONDS * self._world.draw("way").random() + self._world.delay("event late")
        self._last_at = max(self._last_at + 1e-6, self._world.clock.monotonic() + seconds)
        asyncio.get_running_loop().call_at(self._last_at, self._arrive, event)

    def _arrive(self, event: Event) -> None:
        if not self.ended:
            self.events.put_nowait(event)

    def end(self, trouble: str) -> None:
        """What is on its way is lost."""
        self.ended = True
        if not self.silent:
            self.events.put_nowait(trouble)

    def fall_silent(self) -> None:
        """Half open: the engine finds that out by the signs of life that are missing."""
        if not self.silent:
            self.silent = True
            trouble = "it has not given a sign of life"
            asyncio.get_running_loop().call_later(SILENT_SECONDS, self.events.put_nowait, trouble)


class SimulatedScheduler:
    """The client of one controller, which dies with it."""

    def __init__(self, world: "MesosWorld", existence: Existence) -> None:
        self.master = "master"
        self._world = world
        self._existence = existence
        self._subscription: Subscription | None = None

    async def close(self) -> None:
        """As the end of its process."""
        self.hang_up("closed")

    def hang_up(self, trouble: str) -> None:
        """The connection is closed from our side."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.ended = True
            if self._world.masters.subscription is subscription:
                self._world.masters.cut(trouble)

    async def subscribe(self, framework: Document) -> AsyncGenerator[Event, None]:
        await self._existence.reach()
        await asyncio.sleep(WAY_SECONDS)
        masters = self._world.masters
        if not masters.leading or self._world.hits("master not found"):
            raise MesosUnavailable("no master leads")
        subscription = self._subscription = Subscription(self._world)
        masters.subscribe(subscription, framework)
        try:
            while not isinstance(item := await subscription.events.get(), str):
                await self._existence.reach()
                yield item
        finally:
            self.hang_up("the engine closed it")
        raise MesosUnavailable(item)

    async def call(self, kind: str, **content: Any) -> None:
        """Copied on its way, so that nobody changes afterwards what was said."""
        await self._existence.reach()
        world, subscription = self._world, self._subscription
        said = msgspec.json.decode(msgspec.json.encode(content))
        await asyncio.sleep(WAY_SECONDS * world.draw("way").random() + world.delay("call slow", *self._of(content)))
        await self._existence.reach()
        if subscription is None or subscription.ended or self._subscription is not subscription:
            raise MesosUnavailable("not subscribed to a master")
        if subscription.silent:
            await asyncio.sleep(ANSWER_SECONDS)
            raise MesosUnavailable("no answer")
        if world.hits("call lost", *self._of(content)):
            raise MesosUnavailable("the connection broke")
        if kind == "ACCEPT":
            self._strike_offers(said["accept"])
        world.masters.called(kind, said)
        await asyncio.sleep(0)
        await self._existence.reach()
        if world.hits("call reply lost", *self._of(content)):
            raise MesosUnavailable("the reply was lost")

    def _strike_offers(self, accept: Document) -> None:
        """An offer was rescinded, and the engine is yet to hear so."""
        masters, world = self._world.masters, self._world
        if world.hits("offer just rescinded", *self._of({"accept": accept})):
            for known in masters.agents.values():
                if any(one["value"] in known.offers for one in accept["offer_ids"]):
                    masters.rescind(known)

    def _of(self, content: Document) -> list[str]:
        """The instances that a call is about; all where that is not said."""
        world = self._world
        match content:
            case {"accept": {"operations": [{"launch": {"task_infos": infos}}]}}:
                return [world.instance_of(info["task_id"]["value"]) for info in infos]
            case {"kill": {"task_id": {"value": name}}} | {"acknowledge": {"task_id": {"value": name}}}:
                return [world.instance_of(name)]
        return []
