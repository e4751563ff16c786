"""A registry without a network: what is registered in a dictionary, on the clock it is given."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.registration import KnownService, Registration, ServiceEndpoint
from coldchain.ports.clock import Clock

ANSWER_SECONDS = 0.001


class FakeRegistry:
    """Implements `ports.registry.Registry`. `held`: what is registered, by id. `silent`: it does not answer; what was
    asked may have been done (`loses_replies`). `others`: endpoints by service that are not this controller's;
    `told` counts registrations and removals."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self.held: dict[str, Registration] = {}
        self.others: dict[str, tuple[ServiceEndpoint, ...]] = {}
        self.silent = False
        self.loses_replies = False
        self.told: list[tuple[str, str]] = []

    async def _answer(self) -> None:
        await self._clock.sleep(ANSWER_SECONDS)
        if self.silent:
            raise Unavailable("the registry does not answer")

    async def registrations(self) -> Sequence[Registration]:
        await self._answer()
        return list(self.held.values())

    async def register(self, registration: Registration) -> None:
        if self.loses_replies:
            self.held[registration.id] = registration
        await self._answer()
        self.told.append(("out" if registration.out_of_service else "in", registration.id))
        known = self.held.get(registration.id)
        if known is not None and known.out_of_service and registration.out_of_service:
            registration = msgspec.structs.replace(registration, out_of_service=known.out_of_service)
        self.held[registration.id] = registration

    async def deregister(self, registration_id: str) -> None:
        await self._answer()
        self.told.append(("gone", registration_id))
        self.held.pop(registration_id, None)

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
        found = {name: list(endpoints) for name, endpoints in self.others.items() if endpoints}
        for one in self.held.values():
            found.setdefault(one.service, []).append(
                ServiceEndpoint(
                    id=one.id,
                    address=one.address,
                    port=one.port,
                    status="maintenance" if one.out_of_service else "passing",
                    app_id=one.meta.get("app"),
                )
            )
        return [KnownService(name=name, endpoints=tuple(found[name])) for name in sorted(found)]

    def set_others(self, service: str, *endpoints: ServiceEndpoint) -> None:
        """Others registered these endpoints, and no more."""
        self.others[service] = endpoints
        self._changed.set()
        self._changed = asyncio.Event()

    async def watch(
        self, service: str, on_trouble: Callable[[str], None]
    ) -> AsyncGenerator[Sequence[ServiceEndpoint], None]:
        known: Sequence[ServiceEndpoint] | None = None
        while True:
            changed = self._changed
            found = sorted(self.others.get(service, ()), key=lambda one: one.id)
            if self.silent:
                on_trouble("the registry does not answer")
                await self._clock.sleep(1.0)
                continue
            if found != known:
                known = found
                yield found
            await changed.wait()

    async def close(self) -> None:
        """Nothing to let go of."""
