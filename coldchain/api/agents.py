"""agents: `/v1/agents`: what agents offer and what is taken of it; drain one, and use it again."""

from typing import Any

from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import answer, caller_of
from coldchain.decisions.caller import sees
from coldchain.decisions.placement import NOTHING, Held
from coldchain.documents.answers import timestamp
from coldchain.model.caller import Caller
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer


async def list_agents(request: web.Request) -> web.Response:
    """All that offer something, have an instance, or are drained."""
    context, caller = context_of(request), caller_of(request)
    known, held = context.controller.agents.known(), context.controller.reconciler.held()
    shown = [_agent(context, caller, name, offer, held.get(name, NOTHING)) for name, offer in sorted(known.items())]
    return answer({"agents": shown})


async def drain_agent(request: web.Request) -> web.Response:
    """Nothing is placed on it any more, and what is there leaves once something else serves in its place."""
    context, caller, name = context_of(request), caller_of(request), request.match_info["agent"]
    await context.controller.agents.drain(name, caller.name)
    known, held = context.controller.agents.known(), context.controller.reconciler.held()
    return answer(_agent(context, caller, name, known[name], held.get(name, NOTHING)))


async def use_agent(request: web.Request) -> web.Response:
    """The end of a drain. Who has begun to leave still leaves."""
    await context_of(request).controller.agents.end_drain(request.match_info["agent"])
    return web.Response(status=204)


def _agent(context: Context, caller: Caller, name: str, offer: Offer | None, held: Held) -> dict[str, Any]:
    there = [one for one in context.controller.state.instances_on.get(name, {}).values() if one.live]
    apps: dict[str, int] = {}
    for one in there:
        if sees(caller, [one.app_id]):
            apps[one.app_id] = apps.get(one.app_id, 0) + 1
    wholes = (offer.cpus, offer.mem, offer.disk, offer.gpus) if offer is not None else (None,) * 4
    used = (held.cpus, held.mem, held.disk, held.gpus)
    return {
        "agent": name,
        "target": offer.target if offer is not None else None,
        "hostname": offer.hostname if offer is not None else None,
        "role": offer.role if offer is not None else None,
        "attributes": offer.attributes if offer is not None else {},
        "region": offer.region if offer is not None else None,
        "zone": offer.zone if offer is not None else None,
        "resources": {
            kind: {"whole": whole, "used": round(taken, 6)}
            for kind, whole, taken in zip(("cpus", "mem", "disk", "gpus"), wholes, used, strict=True)
        },
        "instances": len(there),
        "instancesOf": dict(sorted(apps.items())),
        "draining": _drain(context, caller, name, offer, there),
    }


def _drain(
    context: Context, caller: Caller, name: str, offer: Offer | None, there: list[Instance]
) -> dict[str, Any] | None:
    """Who drains it since when, and what the instances wait for that are still there; None where nobody does."""
    asked = context.controller.state.drains.get(name)
    if asked is None and (offer is None or not offer.draining):
        return None
    return {
        "by": asked.caller if asked is not None else "engine",
        "since": timestamp(asked.since) if asked is not None else None,
        "waits": [
            {"instance": one.id, "app": one.app_id, "phase": one.phase}
            for one in sorted(there, key=lambda one: (one.created_at, one.id))
            if sees(caller, [one.app_id])
        ],
    }
