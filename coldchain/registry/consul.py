"""The client of the registry: `ports.registry.Registry` over Consul's HTTP API, embedded or not."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any

from coldchain.clients.consul import ConsulClient, ConsulRefused, ConsulUnavailable
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.registration import EndpointStatus, KnownService, Registration, ServiceEndpoint

OWNER = "coldchain-controller"
"""The metadata by which a controller knows its own registrations."""
MAINTENANCE, NODE_MAINTENANCE = "_service_maintenance:", "_node_maintenance"
TODO = "Look at the registry; nothing has to be restarted here, and endpoints stay as they are"


class ConsulRegistry:
    """Registrations are those of one agent: each belongs to the controller whose id it has as metadata."""

    def __init__(self, client: ConsulClient, controller_id: str) -> None:
        self._client = client
        self._controller_id = controller_id

    async def registrations(self) -> Sequence[Registration]:
        with _errors():
            services, checks = await self._client.agent_services(), await self._client.agent_checks()
        return [
            _registration(service, checks.get(MAINTENANCE + service["ID"]))
            for service in services.values()
            if self._mine(service)
        ]

    def _mine(self, service: dict[str, Any]) -> bool:
        return (service.get("Meta") or {}).get(OWNER) == self._controller_id

    async def register(self, registration: Registration) -> None:
        definition = {
            "ID": registration.id,
            "Name": registration.service,
            "Address": registration.address,
            "Port": registration.port,
            "Tags": list(registration.tags),
            "Meta": {**registration.meta, OWNER: self._controller_id},
        }
        with _errors():
            await self._client.register_service(definition)
            # Also where nothing is to be switched off: what stood there before may have been out of service.
            await self._client.maintain_service(registration.id, registration.out_of_service or None)

    async def deregister(self, registration_id: str) -> None:
        with _errors():
            await self._client.deregister_service(registration_id)

    async def maintain(self, registration_id: str, reason: str) -> None:
        with _errors():
            await self._client.maintain_service(registration_id, reason)

    async def services(self) -> Sequence[KnownService]:
        with _errors():
            names = sorted(await self._client.service_names())
            healths = [(await self._client.service_health(name)).document for name in names]
        return [
            KnownService(name=name, endpoints=tuple(self._endpoint(entry) for entry in entries))
            for name, entries in zip(names, healths, strict=True)
        ]

    async def watch(
        self, service: str, on_trouble: Callable[[str], None]
    ) -> AsyncGenerator[Sequence[ServiceEndpoint], None]:
        path = f"/v1/health/service/{service}"
        async with contextlib.aclosing(
            self._client.watch(path, on_trouble=lambda error: on_trouble(str(error)))
        ) as answers:
            async for entries in answers:
                found = [self._endpoint(entry) for entry in entries if not self._mine(entry["Service"])]
                yield sorted(found, key=lambda one: one.id)

    def _endpoint(self, entry: dict[str, Any]) -> ServiceEndpoint:
        service = entry["Service"]
        return ServiceEndpoint(
            id=service["ID"],
            address=service["Address"] or entry["Node"]["Address"],
            port=service["Port"],
            status=_status(entry["Checks"]),
            app_id=service["Meta"].get("app") if self._mine(service) else None,
        )

    async def close(self) -> None:
        await self._client.close()


def _registration(service: dict[str, Any], maintenance: dict[str, Any] | None) -> Registration:
    meta = {name: value for name, value in service["Meta"].items() if name != OWNER}
    return Registration(
        id=service["ID"],
        service=service["Service"],
        address=service["Address"],
        port=service["Port"],
        tags=tuple(service["Tags"] or ()),
        meta=meta,
        out_of_service=(maintenance["Notes"] or "maintenance") if maintenance else "",
    )


def _status(checks: list[dict[str, Any]]) -> EndpointStatus:
    if any(check["CheckID"].startswith((MAINTENANCE, NODE_MAINTENANCE)) for check in checks):
        return "maintenance"
    statuses = {check["Status"] for check in checks}
    return "critical" if "critical" in statuses else "warning" if "warning" in statuses else "passing"


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except ConsulUnavailable as error:
        raise Unavailable(str(error), todo=TODO) from error
    except ConsulRefused as error:
        raise Rejected(f"the registry refused: {error}", todo=TODO) from error
