"""A registry without a network: what is registered in a dictionary, on the clock it is given."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.registration import KnownEndpoint, KnownService, Registration, ServiceEndpoint, Sighting
from coldchain.ports.clock import Clock

ANSWER_SECONDS = 0.001


class FakeRegistry:
    """Implements `ports.registry.Registry`. `held`: what is registered, by key. `silent`: it does not answer; what was
    asked may have been done (`loses_replies`). `blind`: it answers and shows nothing of what it has, as Consul does
    for a token without rights. `others`: endpoints by service that are not this controller's; `told` has what was told
    in its order. `agents`: places that are one machine's each, by its name; of these `away` do not answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()
        self.held: dict[str, Registration] = {}
        self.others: dict[str, tuple[ServiceEndpoint, ...]] = {}
        self.silent = False
        self.loses_replies = False
        self.blind = False
        self.agents: set[str] = set()
        self.away: set[str] = set()
        self.unreachable: dict[str, str] = {}
        self.stale = False
        self.told: list[tuple[str, str]] = []

    async def _answer(self) -> None:
        await self._clock.sleep(ANSWER_SECONDS)
        if self.silent:
            raise Unavailable("the registry does not answer")

    def places(self, agent: str, said: str) -> Sequence[str]:
        place = said or (agent if agent in self.agents else "")
        return ("" if place in self.unreachable else place,)

    async def registrations(self) -> Sequence[Registration]:
        await self._answer()
        self.unreachable = dict.fromkeys(sorted(self.away), "the agent does not answer")
        return [] if self.blind else list(self.held.values())

    async def register(self, registration: Registration) -> None:
        if self.loses_replies:
            self.held[registration.key] = registration
        await self._answer()
        if registration.place in self.away:
            raise Unavailable("the agent does not answer")
        self.told.append(("out" if registration.out_of_service else "in", registration.id))
        known = self.held.get(registration.key)
        if known is not None and known.out_of_service and registration.out_of_service:
            registration = msgspec.structs.replace(registration, out_of_service=known.out_of_service)
        self.held[registration.key] = registration

    async def deregister(self, registration: Registration) -> None:
        await self._answer()
        self.told.append(("gone", registration.id))
        self.held.pop(registration.key, None)

    async def maintain(self, registration_id: str, reason: str) -> None:
        await self._answer()
        for service, endpoints in self.others.items():
            if any(one.id == registration_id for one in endpoints):
                self.told.append(("marked", registration_id))
                marked = [
                    msgspec.structs.replace(one, status="maintenance") if one.id == registration_id else one
                    for one in endpoints
                ]
                self.set_others(service, *marked)
                return
        raise Rejected(f"unknown service ID: {registration_id}")

    async def services(self) -> Sequence[KnownService]:
        await self._answer()
        found = {name: [known(one) for one in endpoints] for name, endpoints in self.others.items() if endpoints}
        for one in self.held.values():
            found.setdefault(one.service, []).append(
                KnownEndpoint(
                    id=one.id,
                    address=one.address,
                    port=one.port,
                    status="maintenance" if one.out_of_service else "passing",
                    app_id=one.meta.get("app"),
                    version=one.meta.get("version", ""),
                    why=one.out_of_service,
                    registered_by="this controller",
                )
            )
        return [KnownService(name=name, endpoints=tuple(found[name])) for name in sorted(found)]

    def set_others(self, service: str, *endpoints: ServiceEndpoint) -> None:
        """Others registered these endpoints, and no more."""
        self.others[service] = endpoints
        self.look_again()

    async def watch(self, service: str, on_trouble: Callable[[str], None]) -> AsyncGenerator[Sighting, None]:
        known: Sequence[ServiceEndpoint] | None = None
        certain = False
        while True:
            changed = self._changed
            found = () if self.blind else tuple(sorted(self.others.get(service, ()), key=lambda one: one.id))
            if self.silent:
                certain = False
                on_trouble("the registry does not answer")
                await self._clock.sleep(1.0)
                continue
            if found != known:
                known = found
                yield Sighting(endpoints=found, certain=certain and not self.blind)
            certain = not self.blind
            await changed.wait()

    def look_again(self) -> None:
        """Whoever watches is answered, changed or not."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, note: Callable[[str], None]) -> None:
        while True:
            await self._lost.wait()
            self._lost.clear()
            note("")

    def lose(self) -> None:
        """What was registered is gone, as when it was started again without its disk."""
        self.held.clear()
        self._lost.set()

    async def close(self) -> None:
        """Nothing to let go of."""


def known(one: ServiceEndpoint) -> KnownEndpoint:
    """What somebody else registered."""
    return KnownEndpoint(**{name: getattr(one, name) for name in one.__struct_fields__})
