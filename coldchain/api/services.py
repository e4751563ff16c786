"""services: what the registry knows, whoever registered it."""

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import answer
from coldchain.model.registration import KnownService


async def list_services(request: web.Request) -> web.Response:
    """All services with their endpoints; 503 when the registry does not answer."""
    registrar = context_of(request).controller.registrar
    found = await registrar.services() if registrar is not None else ()
    return answer({"services": [_service(one) for one in found]})


def _service(service: KnownService) -> dict[str, object]:
    endpoints = [
        {"id": one.id, "address": one.address, "port": one.port, "status": one.status, "app": one.app_id}
        for one in service.endpoints
    ]
    return {"name": service.name, "endpoints": endpoints}
