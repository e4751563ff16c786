"""services: what the registry knows, whoever registered it."""

from collections.abc import Iterator

from aiohttp import web
from msgspec.structs import replace

from coldchain.api.context import context_of
from coldchain.api.exchange import answer, caller_of
from coldchain.decisions.caller import sees
from coldchain.model.caller import EVERYTHING, Caller
from coldchain.model.registration import KnownService, ServiceEndpoint


async def list_services(request: web.Request) -> web.Response:
    """All services with their endpoints, or those of the caller's group; 503 when the registry does not answer."""
    registrar, caller = context_of(request).controller.registrar, caller_of(request)
    found = await registrar.services() if registrar is not None else ()
    if caller.group != EVERYTHING:
        own = [replace(one, endpoints=tuple(_own(caller, one))) for one in found]
        found = [one for one in own if one.endpoints]
    return answer({"services": [_service(one) for one in found]})


def _own(caller: Caller, service: KnownService) -> Iterator[ServiceEndpoint]:
    return (one for one in service.endpoints if one.app_id is not None and sees(caller, [one.app_id]))


def _service(service: KnownService) -> dict[str, object]:
    endpoints = [
        {"id": one.id, "address": one.address, "port": one.port, "status": one.status, "app": one.app_id}
        for one in service.endpoints
    ]
    return {"name": service.name, "endpoints": endpoints}
