"""Registry: where services are known by name (Consul, or the embedded one that speaks the same)."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from coldchain.model.registration import KnownService, Registration, ServiceEndpoint


class Registry(Protocol):
    """Raises `Unavailable` when it does not answer: what it knows is then unknown, never gone."""

    async def registrations(self) -> Sequence[Registration]:
        """All that this controller registered, whenever; nobody else's."""
        ...

    async def register(self, registration: Registration) -> None:
        """Make it known as it is, in the place of what has its id; of several reasons for being out of service the
        first stays. Raises `Rejected` with the words of the registry."""
        ...

    async def deregister(self, registration_id: str) -> None:
        """Take it away. Of one that is not there: nothing happens."""
        ...

    async def maintain(self, registration_id: str, reason: str) -> None:
        """Put out of service what somebody else registered; it stays registered. Raises `Rejected` where that is not
        known."""
        ...

    async def services(self) -> Sequence[KnownService]:
        """All services by name, with all their endpoints."""
        ...

    def watch(self, service: str, on_trouble: Callable[[str], None]) -> AsyncGenerator[Sequence[ServiceEndpoint], None]:
        """The endpoints of a service that are not this controller's: now, and each time they change, for ever. While
        it does not answer nothing comes, and `on_trouble` is told why. To be closed by who takes it."""
        ...

    async def close(self) -> None: ...
