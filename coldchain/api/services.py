"""services: what the registry knows, whoever registered it, and what the rotation makes of it."""

from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import answer, caller_of
from coldchain.decisions.caller import sees
from coldchain.decisions.service_view import Told, told
from coldchain.documents.answers import timestamp
from coldchain.model.caller import EVERYTHING
from coldchain.model.instance import Instance

UNLISTED = "unlisted"
"""The status of who serves and is not in the registry."""


async def list_services(request: web.Request) -> web.Response:
    """All services with their endpoints, or those of the caller's group; 503 when the registry does not answer."""
    context, caller = context_of(request), caller_of(request)
    registrar, rotation = context.controller.registrar, context.controller.publisher.rotation.services
    owners = context.controller.registered.owners if context.controller.registered is not None else _nobody
    found = {one.name: one.endpoints for one in await registrar.services()} if registrar is not None else {}
    services = []
    for name in sorted({*found, *(rotation if registrar is not None else ())}):
        endpoints = [_endpoint(context, one) for one in told(found.get(name, ()), rotation.get(name), owners(name))]
        if caller.group != EVERYTHING:
            endpoints = [one for one in endpoints if one["app"] is not None and sees(caller, [str(one["app"])])]
        if endpoints:
            services.append({"name": name, "endpoints": endpoints})
    return answer({"services": services})


def _nobody(service: str) -> dict[str, Instance]:
    """Without a registry no instance registers itself."""
    return {}


def _endpoint(context: Context, one: Told) -> dict[str, object]:
    known, endpoint = one.known, one.endpoint
    instance = context.controller.state.instances.get(endpoint.instance_id) if endpoint else None
    place = known or endpoint
    assert place is not None
    # A Consul does not say since when something is so; of our own we know since when they are where they are.
    since = known.since if known else None
    since = instance.since if since is None and instance is not None else since
    return {
        "id": known.id if known else endpoint.instance_id if endpoint else "",
        "address": place.address,
        "port": place.port,
        "status": known.status if known else UNLISTED,
        "since": None if since is None else timestamp(since),
        "inRotation": one.in_rotation,
        "why": one.why,
        "registeredBy": known.registered_by if known else None,
        "app": known.app_id if known else instance.app_id if instance else None,
    }
