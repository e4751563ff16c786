"""deployments: `/v2/deployments`: the moves under way, and how to take one back."""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from coldchain.api.apps import embedded
from coldchain.api.context import Context, context_of
from coldchain.api.exchange import HEADERS, answer, caller_of, change_answer, flag
from coldchain.documents.answers import OWN, deployment_answer, running_answer
from coldchain.documents.group_answers import group_deployment_answer
from coldchain.model.deployment import Deployment
from coldchain.model.group import GroupDeployment


def shown(context: Context, move: Deployment | GroupDeployment) -> dict[str, Any]:
    """A deployment, of one app or of several."""
    if isinstance(move, Deployment):
        return deployment_answer(move)
    return group_deployment_answer(move, context.members(move))


async def list_deployments(request: web.Request) -> web.Response:
    context = context_of(request)
    running = sorted(context.controller.state.moves(), key=lambda one: (one.started_at, one.id))
    found = [shown(context, one) for one in running]
    return answer(found if OWN in embedded(request) else [running_answer(one) for one in found])


async def cancel_deployment(request: web.Request) -> web.Response:
    """By a deployment that leads back; with `force` it just ends where it is."""
    controller, caller, force = context_of(request).controller, caller_of(request).name, flag(request, "force")
    name = request.match_info["deployment_id"]
    group = controller.state.group_of(name)
    back: Deployment | GroupDeployment | None
    if group is not None:
        back = await controller.group_operations.cancel(group.id, caller, force=force)
    else:
        back = await controller.operations.cancel(name, caller, force=force)
    if back is None:
        return web.Response(status=HTTPStatus.ACCEPTED, headers=HEADERS)
    return change_answer(back)
