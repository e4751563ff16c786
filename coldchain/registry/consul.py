"""The client of the registry: `ports.registry.Registry` over Consul's HTTP API, embedded or not."""

import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from coldchain.clients.consul import ConsulClient, ConsulRefused, ConsulUnavailable
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.registration import (
    EndpointStatus,
    KnownEndpoint,
    KnownService,
    Registration,
    ServiceEndpoint,
    Sighting,
)

OWNER = "coldchain-controller"
"""The metadata by which a controller knows its own registrations."""
VERSION_TAG = "version="
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""As a definition can name it."""
MAINTENANCE, NODE_MAINTENANCE = "_service_maintenance:", "_node_maintenance"
OTHER: Final = "another controller"
TODO = "Look at the registry; nothing has to be restarted here, and endpoints stay as they are"


class ConsulRegistry:
    """Registrations are those of one agent: each belongs to the controller whose id it has as metadata. `place`: what
    that agent is called in them."""

    unreachable: Mapping[str, str] = {}
    stale = False

    def __init__(self, client: ConsulClient, controller_id: str, place: str = "") -> None:
        self._client = client
        self._controller_id = controller_id
        self.place = place

    def places(self, agent: str, said: str) -> Sequence[str]:
        return (self.place,)

    async def registrations(self) -> Sequence[Registration]:
        with _errors():
            services, checks = await self._client.agent_services(), await self._client.agent_checks()
        return self._of(services, checks, self.place)

    def _of(self, services: Mapping[str, Any], checks: Mapping[str, Any], place: str) -> list[Registration]:
        return [
            _registration(service, checks.get(MAINTENANCE + service["ID"]), place)
            for service in services.values()
            if self._mine(service)
        ]

    async def node(self) -> str:
        """Name of the node whose agent this is. Raises Unavailable, Rejected."""
        with _errors():
            return await self._client.node_name()

    async def nodes(self) -> Mapping[str, str]:
        """Addresses of all nodes of the catalog, by name. Raises Unavailable, Rejected."""
        with _errors():
            return {one["Node"]: one["Address"] for one in await self._client.nodes()}

    async def registrations_of_node(self, node: str, place: str) -> Sequence[Registration]:
        """What the catalog knows of those at another agent, which is called `place`. Raises Unavailable, Rejected."""
        with _errors():
            services = await self._client.node_services(node)
            if not any(map(self._mine, services.values())):
                return ()
            return self._of(services, await self._client.node_checks(node), place)

    async def forget(self, node: str, registration: Registration) -> None:
        """Take it out of the catalog, since the agent of its node does not answer. Raises Unavailable, Rejected."""
        with _errors():
            await self._client.forget_service(node, registration.id)

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

    async def deregister(self, registration: Registration) -> None:
        with _errors():
            await self._client.deregister_service(registration.id)

    async def maintain(self, registration_id: str, reason: str) -> None:
        with _errors():
            await self._client.maintain_service(registration_id, reason)

    async def services(self) -> Sequence[KnownService]:
        with _errors():
            names = sorted(await self._client.service_names())
            healths = [(await self._client.service_health(name)).document for name in names]
        return [
            KnownService(name=name, endpoints=tuple(self._known_endpoint(entry) for entry in entries))
            for name, entries in zip(names, healths, strict=True)
        ]

    async def watch(self, service: str, on_trouble: Callable[[str], None]) -> AsyncGenerator[Sighting, None]:
        path = f"/v1/health/service/{service}"
        async with contextlib.aclosing(
            self._client.watch(path, on_trouble=lambda error: on_trouble(str(error)))
        ) as answers:
            async for seen in answers:
                others = [self._endpoint(entry) for entry in seen.document if not self._mine(entry["Service"])]
                found = tuple(sorted(others, key=lambda one: one.id))
                yield Sighting(endpoints=found, certain=seen.certain)

    def _endpoint(self, entry: dict[str, Any]) -> ServiceEndpoint:
        service = entry["Service"]
        return ServiceEndpoint(
            id=service["ID"],
            address=service["Address"] or entry["Node"]["Address"],
            port=service["Port"],
            status=_status(entry["Checks"]),
            app_id=service["Meta"].get("app") if self._mine(service) else None,
            version=_version(service),
        )

    def _known_endpoint(self, entry: dict[str, Any]) -> KnownEndpoint:
        one, owner = self._endpoint(entry), (entry["Service"].get("Meta") or {}).get(OWNER)
        status = one.status
        decisive = [check for check in entry["Checks"] if _status([check]) == status]
        moments = [found for each in decisive or [entry["Service"]] if (found := _since(each)) is not None]
        # It passes since the last of its checks does, and fails since the first of them did.
        since = (max if status == "passing" else min)(moments, default=_since(entry["Service"]))
        return KnownEndpoint(
            **{name: getattr(one, name) for name in one.__struct_fields__},
            since=since,
            why="" if status == "passing" else "; ".join(_said(check) for check in decisive),
            registered_by="others" if not owner else "this controller" if self._mine(entry["Service"]) else OTHER,
        )

    async def follow(self, note: Callable[[str], None]) -> None:
        await self._client.follow(note)

    async def close(self) -> None:
        await self._client.close()


def _registration(service: dict[str, Any], maintenance: dict[str, Any] | None, place: str) -> Registration:
    meta = {name: value for name, value in service["Meta"].items() if name != OWNER}
    return Registration(
        id=service["ID"],
        service=service["Service"],
        address=service["Address"],
        port=service["Port"],
        tags=tuple(service["Tags"] or ()),
        meta=meta,
        out_of_service=(maintenance["Notes"] or "maintenance") if maintenance else "",
        place=place,
    )


def _version(service: dict[str, Any]) -> str:
    """By the metadata `version`, or a tag `version=NAME`."""
    tagged = (tag.removeprefix(VERSION_TAG) for tag in service.get("Tags") or () if tag.startswith(VERSION_TAG))
    said = (service["Meta"] or {}).get("version") or next(tagged, "")
    return said if VERSION.fullmatch(said) else ""


def _status(checks: list[dict[str, Any]]) -> EndpointStatus:
    if any(check["CheckID"].startswith((MAINTENANCE, NODE_MAINTENANCE)) for check in checks):
        return "maintenance"
    statuses = {check["Status"] for check in checks}
    return "critical" if "critical" in statuses else "warning" if "warning" in statuses else "passing"


def _since(one: dict[str, Any]) -> float | None:
    """Only the embedded registry says it."""
    found = (one.get("Coldchain") or {}).get("Since")
    return float(found) if isinstance(found, int | float) else None


def _said(check: dict[str, Any]) -> str:
    """What a check that does not pass says: maintenance has its reason in the notes."""
    if check["CheckID"].startswith((MAINTENANCE, NODE_MAINTENANCE)):
        return str(check["Notes"] or "maintenance")
    return f"{check['Name'] or check['CheckID']}: {check['Output'] or check['Status']}"


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except ConsulUnavailable as error:
        raise Unavailable(str(error), todo=TODO) from error
    except ConsulRefused as error:
        raise Rejected(f"the registry refused: {error}", todo=TODO) from error
