"""registry: keeps what the registry knows of our endpoints as the rotation says, and tells who waits for that."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import structlog

from coldchain.control.state import State
from coldchain.decisions import registration as decide
from coldchain.decisions import rotation as rotations
from coldchain.decisions.self_registration import by_itself
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer
from coldchain.model.registration import KnownService, Registration
from coldchain.model.rotation import Rotation, ServiceRotation
from coldchain.ports.clock import Clock
from coldchain.ports.registry import Registry

LISTING_SECONDS = 30.0
"""Between two full listings: how long somebody else's hand in our registrations can go unnoticed."""
CALL_SECONDS = 15.0
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.5, 10.0
PLACE_ATTRIBUTE = "coldchain_consul"
"""By it an agent says where its instances are to be registered: HOST:PORT."""
RECOVERED_AT_ONCE, RECOVERY_SECONDS = 20, 0.2
"""So many of those that the registry lost are told to it, then it has a rest: at most 100 a second, and whoever waits
for a registration waits for no more than these."""

log = structlog.get_logger(__name__)
T = TypeVar("T")
ByPlace = dict[str, dict[str, Registration]]
"""By id, then by key: the same endpoint may be registered at several places."""


class Registrar:
    """`known` is False until the first full listing, and again after any fault: what a registry that does not answer
    has is unknown, so nobody is said to be registered or marked. `changed(app ids)`: who may go on because of an
    answer. `trouble`: why the registry does not do what it is told, in words; empty when it does."""

    def __init__(
        self, registry: Registry, state: State, clock: Clock, changed: Callable[[Collection[str]], None]
    ) -> None:
        self._registry = registry
        self.offers: Callable[[], Sequence[Offer]] = tuple
        """Of the agents, which may say where their instances are to be registered."""
        self._said: dict[str, str] = {}
        self._state = state
        self._clock = clock
        self._changed = changed
        self._wanted: dict[str, ByPlace] = {}
        self._held: ByPlace = {}
        self._asked: set[str] = set()
        self._services: Mapping[str, ServiceRotation] = {}
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self.known = False
        self.trouble = ""

    def published(self, rotation: Rotation, names: Iterable[str]) -> None:
        """The rotation as it is now; the services named changed."""
        self._services = rotation.services
        for name in names:
            self._wanted[name] = self._registrations(name)
            if not self._wanted[name]:
                del self._wanted[name]
            self._dirty.add(name)
        self._wake.set()

    def _registrations(self, name: str) -> ByPlace:
        found: ByPlace = {}
        for endpoint in self._services[name].endpoints if name in self._services else ():
            instance = self._state.instances.get(endpoint.instance_id)
            if instance is not None and not by_itself(instance, self._state.app_of(instance)):
                app, agent = self._state.app_of(instance), instance.agent or ""
                for place in self._registry.places(agent, self.said_by(agent)):
                    one = decide.registration(name, endpoint, instance, app, place)
                    found.setdefault(one.id, {})[one.key] = one
        return found

    def said_by(self, agent: str) -> str:
        """Where its registry is; the last that it said, for it may have nothing to offer."""
        if agent not in self._said:
            self._said[agent] = ""
            self._hear()
        return self._said[agent]

    def _hear(self) -> bool:
        before = dict(self._said)
        self._said |= {one.agent: one.attributes.get(PLACE_ATTRIBUTE, "") for one in self.offers()}
        return any(self._said[agent] != said for agent, said in before.items())

    def waits_for(self, instance: Instance) -> str:
        """What its registrations wait for, in words; empty when the registry has them as they shall be."""
        own, version = self._state.app_of(instance), self._state.wanted(instance.app_id)
        if by_itself(instance, own):
            return ""
        names = rotations.joined(own, version.app if version else None)
        if not names:
            return ""
        if not self.known:
            return f"the registry does not answer: {self.trouble or 'it was not listed yet'}"
        for name in names:
            found = decide.registration_id(name, instance.id)
            wanted, held = self._wanted.get(name, {}).get(found, {}), self._held.get(found, {})
            for key in wanted.keys() | held.keys():
                settled = decide.settled(wanted.get(key), held.get(key), served=instance.served)
                if not settled or key in self._asked:
                    return f"the registry has not taken over its state in service {name}" + (
                        f": {self.trouble}" if self.trouble else ""
                    )
        return ""

    async def services(self) -> Sequence[KnownService]:
        """All that the registry knows, whoever registered it. Raises Unavailable."""
        return await self._limited(self._registry.services())

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._registry.follow(self._disturbed))
            group.create_task(self._keep())

    def _disturbed(self, words: str) -> None:
        """What it has is unknown from now on. It is asked at once, and again until it answers."""
        self.known = False
        self._wake.set()

    async def _keep(self) -> None:
        listed_at, delay = 0.0, RETRY_SECONDS
        while True:
            try:
                due = self._clock.monotonic() >= listed_at + LISTING_SECONDS
                if due or not self.known or self._registry.stale:
                    listed_at = self._clock.monotonic()
                    await self._list()
                whole = await self._bring()
            except ColdchainError as error:
                self._troubled(error)
                await self._clock.sleep(delay)
                delay = min(RETRY_SECONDS_MAX, 2 * delay)
                continue
            delay = RETRY_SECONDS
            away = "; ".join(f"{place}: {words}" for place, words in self._registry.unreachable.items())
            if self.trouble and not away:
                log.info("registry takes our registrations again")
            self.trouble = f"another one stands in for {away}" if away else ""
            if whole:
                await self._rest(listed_at + LISTING_SECONDS - self._clock.monotonic())
            else:
                await self._clock.sleep(RECOVERY_SECONDS)

    def _troubled(self, error: ColdchainError) -> None:
        if str(error) != self.trouble:
            log.warning("registry does not take our registrations", error=str(error))
        self.trouble = str(error)
        self.known = self.known and isinstance(error, Rejected)

    async def _rest(self, seconds: float) -> None:
        wake = asyncio.ensure_future(self._wake.wait())
        sleep = asyncio.ensure_future(self._clock.sleep(max(0.0, seconds)))
        try:
            await asyncio.wait({wake, sleep}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()
            sleep.cancel()

    async def _list(self) -> None:
        moved = self._hear() or self._registry.stale
        before = dict(self._registry.unreachable)
        if before:  # which of them are still of use
            for agent in {one.agent for one in self._state.instances.values() if one.live and one.agent}:
                self._registry.places(agent, self.said_by(agent))
        try:
            listed = await self._limited(self._registry.registrations())
        except Rejected:
            self.known = False  # who may not list does not know either
            raise
        self._held = {}
        for one in listed:
            self._held.setdefault(one.id, {})[one.key] = one
        self.known = True
        now = self._registry.unreachable
        for place in now.keys() - before.keys():
            log.warning("part of the registry does not answer: another one stands in", place=place, error=now[place])
        if moved or now.keys() != before.keys():
            self.published(Rotation(services=dict(self._services)), list(self._services))
        self._dirty.update(self._wanted, (one.service for one in listed))
        self._changed({one.app_id for one in self._state.instances.values() if one.phase in ("entering", "draining")})

    async def _bring(self) -> bool:
        """Tell the registry what it does not have as it shall. What was not told when something fails stays to do, as
        does what it lost beyond what is told at once: then False."""
        self._wake.clear()
        names, self._dirty = self._dirty, set()
        wanted = {key: one for name in names for at in self._wanted.get(name, {}).values() for key, one in at.items()}
        held = {key: one for at in self._held.values() for key, one in at.items() if one.service in names}
        todo = decide.steps(wanted, held, {key for key, one in wanted.items() if self._served(one)})
        now, later = todo.recover[:RECOVERED_AT_ONCE], todo.recover[RECOVERED_AT_ONCE:]
        refused: Rejected | None = None
        try:
            for one in (*todo.register, *now):
                try:
                    await self._register(one)
                except Rejected as error:  # its own fault: the others must not wait for it
                    self._dirty.add(one.service)
                    refused = refused or error
            for one in todo.deregister:
                if not self._stands_in(one, wanted):
                    await self._limited(self._registry.deregister(one))
                    self._forget(one)
        except BaseException:
            self._dirty |= names
            raise
        self._dirty.update(one.service for one in later)
        if refused is not None:
            raise refused
        return not later

    def _served(self, one: Registration) -> bool:
        instance = self._state.instances.get(one.meta["instance"])
        return instance is not None and instance.served

    def _stands_in(self, one: Registration, wanted: Mapping[str, Registration]) -> bool:
        """Whether it has to stay until what takes its place at another one is there."""
        held = self._held.get(one.id, {})
        return any(each.id == one.id and not each.out_of_service and key not in held for key, each in wanted.items())

    def _forget(self, one: Registration) -> None:
        held = self._held[one.id]
        del held[one.key]
        if not held:
            del self._held[one.id]
        self._changed({one.meta["app"]} if "app" in one.meta else ())

    async def _register(self, one: Registration) -> None:
        self._asked.add(one.key)
        try:
            await self._limited(self._registry.register(one))
        finally:
            # After a fault nothing is known any more, see `known`; a refusal changed nothing.
            self._asked.discard(one.key)
        self._held.setdefault(one.id, {})[one.key] = one
        self._changed({one.meta["app"]})

    async def _limited(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call
        except TimeoutError as error:
            raise Unavailable(f"the registry gave no answer in {CALL_SECONDS:g} s") from error
