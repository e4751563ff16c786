"""registry: keeps what the registry knows of our endpoints as the rotation says, and tells who waits for that."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import structlog

from coldchain.control.state import State
from coldchain.decisions import registration as decide
from coldchain.decisions import rotation as rotations
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.model.instance import Instance
from coldchain.model.registration import KnownService, Registration
from coldchain.model.rotation import Rotation, ServiceRotation
from coldchain.ports.clock import Clock
from coldchain.ports.registry import Registry

LISTING_SECONDS = 30.0
"""Between two full listings: how long somebody else's hand in our registrations can go unnoticed."""
CALL_SECONDS = 15.0
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.5, 10.0

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Registrar:
    """`known` is False until the first full listing, and again after any fault: what a registry that does not answer
    has is unknown, so nobody is said to be registered or marked. `changed(app ids)`: who may go on because of an
    answer. `trouble`: why the registry does not do what it is told, in words; empty when it does."""

    def __init__(
        self, registry: Registry, state: State, clock: Clock, changed: Callable[[Collection[str]], None]
    ) -> None:
        self._registry = registry
        self._state = state
        self._clock = clock
        self._changed = changed
        self._wanted: dict[str, dict[str, Registration]] = {}
        self._held: dict[str, Registration] = {}
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

    def _registrations(self, name: str) -> dict[str, Registration]:
        found = {}
        for endpoint in self._services[name].endpoints if name in self._services else ():
            instance = self._state.instances.get(endpoint.instance_id)
            if instance is not None and not self._state.app_of(instance).registers_itself:
                one = decide.registration(name, endpoint, instance, self._state.app_of(instance))
                found[one.id] = one
        return found

    def waits_for(self, instance: Instance) -> str:
        """What its registrations wait for, in words; empty when the registry has them as they shall be."""
        own, version = self._state.app_of(instance), self._state.wanted(instance.app_id)
        if own.registers_itself:
            return ""
        names = rotations.joined(own, version.app if version else None)
        if not names:
            return ""
        if not self.known:
            return f"the registry does not answer: {self.trouble or 'it was not listed yet'}"
        for name in names:
            found = decide.registration_id(name, instance.id)
            settled = decide.settled(self._wanted.get(name, {}).get(found), self._held.get(found))
            if not settled or found in self._asked:
                return f"the registry has not taken over its state in service {name}" + (
                    f": {self.trouble}" if self.trouble else ""
                )
        return ""

    async def services(self) -> Sequence[KnownService]:
        """All that the registry knows, whoever registered it. Raises Unavailable."""
        return await self._limited(self._registry.services())

    async def run(self) -> None:
        """For ever."""
        listed_at, delay = 0.0, RETRY_SECONDS
        while True:
            try:
                if not self.known or self._clock.monotonic() >= listed_at + LISTING_SECONDS:
                    listed_at = self._clock.monotonic()
                    await self._list()
                await self._bring()
            except ColdchainError as error:
                self._troubled(error)
                await self._clock.sleep(delay)
                delay = min(RETRY_SECONDS_MAX, 2 * delay)
                continue
            delay = RETRY_SECONDS
            if self.trouble:
                log.info("registry takes our registrations again")
                self.trouble = ""
            await self._rest(listed_at + LISTING_SECONDS - self._clock.monotonic())

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
        listed = await self._limited(self._registry.registrations())
        self._held = {one.id: one for one in listed}
        self.known = True
        self._dirty.update(self._wanted, (one.service for one in listed))
        self._changed({one.app_id for one in self._state.instances.values() if one.phase in ("entering", "draining")})

    async def _bring(self) -> None:
        """Tell the registry what it does not have as it shall. What was not told when something fails stays to do."""
        self._wake.clear()
        names, self._dirty = self._dirty, set()
        wanted = {key: one for name in names for key, one in self._wanted.get(name, {}).items()}
        held = {key: one for key, one in self._held.items() if one.service in names}
        todo = decide.steps(wanted, held)
        refused: Rejected | None = None
        try:
            for one in todo.register:
                try:
                    await self._register(one)
                except Rejected as error:  # its own fault: the others must not wait for it
                    self._dirty.add(one.service)
                    refused = refused or error
            for name in todo.deregister:
                await self._limited(self._registry.deregister(name))
                self._held.pop(name, None)
        except BaseException:
            self._dirty |= names
            raise
        if refused is not None:
            raise refused

    async def _register(self, one: Registration) -> None:
        self._asked.add(one.id)
        try:
            await self._limited(self._registry.register(one))
        finally:
            # After a fault nothing is known any more, see `known`; a refusal changed nothing.
            self._asked.discard(one.id)
        self._held[one.id] = one
        self._changed({one.meta["app"]})

    async def _limited(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call
        except TimeoutError as error:
            raise Unavailable(f"the registry gave no answer in {CALL_SECONDS:g} s") from error
