"""deployments: `/v2/deployments`: the moves under way, and how to take one back."""

from http import HTTPStatus

from aiohttp import web

from coldchain.api.apps import embedded
from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, caller_of, change_answer, flag
from coldchain.documents.answers import OWN, deployment_answer, running_answer


async def list_deployments(request: web.Request) -> web.Response:
    running = context_of(request).controller.state.running.values()
    found = [deployment_answer(one) for one in sorted(running, key=lambda one: (one.started_at, one.id))]
    return answer(found if OWN in embedded(request) else [running_answer(one) for one in found])


async def cancel_deployment(request: web.Request) -> web.Response:
    """By a deployment that leads back; with `force` it just ends where it is."""
    operations = context_of(request).controller.operations
    back = await operations.cancel(
        request.match_info["deployment_id"], caller_of(request).name, force=flag(request, "force")
    )
    if back is None:
        return web.Response(status=HTTPStatus.ACCEPTED, headers=HEADERS)
    return change_answer(back)
