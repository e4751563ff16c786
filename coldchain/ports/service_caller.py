"""ServiceCaller: calls a method of a service, whoever provides it."""

from typing import Protocol

from coldchain.model.service_call import ServiceAnswer, ServiceCall


class ServiceCaller(Protocol):
    async def call(self, call: ServiceCall) -> ServiceAnswer:
        """Raises `RaisedByService` with what the method raised; `InDoubt` where it may have been carried out and no
        value came; and, where it was carried out nowhere: `Unavailable` (no provider, or none that takes it now),
        `NotFound` (they have no such method), `InvalidDocument` (these arguments cannot be sent) and `Rejected`."""
        ...

    async def close(self) -> None: ...
