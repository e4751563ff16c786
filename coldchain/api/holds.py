"""holds: `/v1`: pause, resume and promote a deployment; let go the brake."""

from typing import Any

from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.deployments import shown
from coldchain.api.exchange import answer
from coldchain.control.group_operations import GroupOperations
from coldchain.control.operations import Operations
from coldchain.documents.answers import timestamp
from coldchain.model.errors import Conflict


async def pause(request: web.Request) -> web.Response:
    operations, name = _held_by(request)
    return answer(shown(context_of(request), await operations.pause(name)))


async def resume(request: web.Request) -> web.Response:
    operations, name = _held_by(request)
    return answer(shown(context_of(request), await operations.resume(name)))


async def promote(request: web.Request) -> web.Response:
    """Past all steps of its plan. 409 where it has none."""
    operations, name = _held_by(request)
    return answer(shown(context_of(request), await operations.promote(name)))


def _held_by(request: web.Request) -> tuple[Operations | GroupOperations, str]:
    """Who can hold the deployment that is named, and its id: a part of a group deployment means the whole."""
    controller, name = context_of(request).controller, request.match_info["deployment_id"]
    group = controller.state.group_of(name)
    return (controller.operations, name) if group is None else (controller.group_operations, group.id)


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
