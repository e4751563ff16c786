"""Registry: where services are known by name (Consul, or the embedded one that speaks the same)."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Protocol

from coldchain.model.registration import KnownService, Registration, Sighting


class Registry(Protocol):
    """Raises `Unavailable` when it does not answer: what it knows is then unknown, never gone."""

    @property
    def unreachable(self) -> Mapping[str, str]:
        """Places other than the registries themselves that did not answer when last asked, with why. What belongs there
        is registered elsewhere until they do."""
        ...

    @property
    def stale(self) -> bool:
        """Whether a place was named that nobody has asked yet: a listing is due, and until then nothing goes there."""
        ...

    def places(self, agent: str, said: str) -> Sequence[str]:
        """Where the endpoints of an agent's instances are to be registered: one for each registry. `said`: what the
        agent itself says of where, if anything."""
        ...

    async def registrations(self) -> Sequence[Registration]:
        """All that this controller registered, whenever and at whatever place; nobody else's."""
        ...

    async def register(self, registration: Registration) -> None:
        """Make it known at its place as it is, instead of what has its id there; of several reasons for being out of
        service the first stays. Raises `Rejected` with the words of the registry."""
        ...

    async def deregister(self, registration: Registration) -> None:
        """Take it away from its place. Of one that is not there: nothing happens."""
        ...

    async def maintain(self, registration_id: str, reason: str) -> None:
        """Put out of service what somebody else registered; it stays registered. Raises `Rejected` where that is not
        known."""
        ...

    async def services(self) -> Sequence[KnownService]:
        """All services by name, with all their endpoints."""
        ...

    def watch(self, service: str, on_trouble: Callable[[str], None]) -> AsyncGenerator[Sighting, None]:
        """The endpoints of a service that are not this controller's: now, and each time they change, for ever. While
        it does not answer nothing comes, and `on_trouble` is told why. To be closed by who takes it."""
        ...

    async def follow(self, note: Callable[[str], None]) -> None:
        """For ever: note why at once when it does not answer any more, and nothing when it answers again or may have
        lost what it had, so that nobody finds that out by a timer."""
        ...

    async def close(self) -> None: ...
