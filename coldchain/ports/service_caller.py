"""ServiceCaller: calls a method of a service, whoever provides it. HttpCaller: the same over HTTP, by an address."""

from typing import Protocol

from coldchain.model.http_call import HttpAnswer, HttpCall
from coldchain.model.service_call import ServiceAnswer, ServiceCall


class ServiceCaller(Protocol):
    async def call(self, call: ServiceCall) -> ServiceAnswer:
        """Raises `RaisedByService` with what the method raised; `InDoubt` where it may have been carried out and no
        value came; and, where it was carried out nowhere: `Unavailable` (no provider, or none that takes it now),
        `NotFound` (they have no such method), `InvalidDocument` (these arguments cannot be sent) and `Rejected`."""
        ...

    async def close(self) -> None: ...


class HttpCaller(Protocol):
    async def send(self, call: HttpCall) -> HttpAnswer:
        """Sends it once; an answer of any status is one. Raises `InDoubt` where it may have been carried out and no
        whole answer came, `Unavailable` where there was no connection, so that it was carried out nowhere, and
        `Rejected` for an answer that is larger than it may be."""
        ...

    async def close(self) -> None: ...
