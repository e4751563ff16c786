"""holds: `/v1`: pause, resume and promote a deployment; let go the brake."""

from typing import Any

from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import answer
from coldchain.documents.answers import deployment_answer, timestamp
from coldchain.model.errors import Conflict


async def pause(request: web.Request) -> web.Response:
    paused = await context_of(request).controller.operations.pause(request.match_info["deployment_id"])
    return answer(deployment_answer(paused))


async def resume(request: web.Request) -> web.Response:
    resumed = await context_of(request).controller.operations.resume(request.match_info["deployment_id"])
    return answer(deployment_answer(resumed))


async def promote(request: web.Request) -> web.Response:
    """Past all steps of its plan. 409 where it has none."""
    promoted = await context_of(request).controller.operations.promote(request.match_info["deployment_id"])
    return answer(deployment_answer(promoted))


async def release_brake(request: web.Request) -> web.Response:
    """Go on in spite of the brake, until what made it hold is over. 409 where it does not hold."""
    context = context_of(request)
    if not context.controller.reconciler.release_brake():
        raise Conflict("The brake does not hold", todo="`coldchain status` says what is waited for.")
    return answer(brake_answer(context))


def brake_answer(context: Context) -> dict[str, Any]:
    """Whether the brake holds, and why."""
    brake = context.controller.reconciler.brake
    return {
        "holds": brake.holds,
        "reason": brake.reason,
        "since": timestamp(brake.since) if brake.reason else None,
        "released": brake.released,
    }
