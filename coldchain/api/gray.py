"""gray: `/v1/gray`: the rollouts that share requests out among two versions, by the id of their app."""

from typing import Any

from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import answer, app_id_of, body_of, caller_of, seen
from coldchain.documents.gray_answers import gray_answer
from coldchain.documents.gray_request import decode_gray_change
from coldchain.model.deployment import Deployment
from coldchain.model.errors import Conflict, NotFound


async def list_rollouts(request: web.Request) -> web.Response:
    """All that run."""
    context = context_of(request)
    running = context.controller.state.running
    names = sorted(app_id for app_id, one in running.items() if one.gray is not None and one.to_version is not None)
    return answer({"gray": [_shown(context, running[app_id]) for app_id in seen(request, names)]})


async def show_rollout(request: web.Request) -> web.Response:
    """One, with what the gateways see of both versions."""
    return answer(_shown(context_of(request), _running(request)))


async def change_rollout(request: web.Request) -> web.Response:
    """Another share, with which it is held, or other rules."""
    running, change = _running(request), decode_gray_change(await body_of(request))
    context = context_of(request)
    return answer(_shown(context, await context.controller.operations.share(running.id, change.share, change.rules)))


async def pause(request: web.Request) -> web.Response:
    context, running = context_of(request), _running(request)
    return answer(_shown(context, await context.controller.operations.pause(running.id)))


async def resume(request: web.Request) -> web.Response:
    context, running = context_of(request), _running(request)
    return answer(_shown(context, await context.controller.operations.resume(running.id)))


async def promote(request: web.Request) -> web.Response:
    """All requests to the new version; then the old one leaves."""
    context, running = context_of(request), _running(request)
    return answer(_shown(context, await context.controller.operations.promote(running.id)))


async def abort(request: web.Request) -> web.Response:
    """All requests to the old version; then the new one leaves. 409 once all go to the new one."""
    context, running = context_of(request), _running(request)
    if running.gray is None or running.gray.state != "open":
        raise Conflict(
            f"deployment {running.id} shares no requests out any more", todo="`coldchain rollback` leads back from it."
        )
    back = await context.controller.operations.cancel(running.id, caller_of(request).name, force=False)
    assert back is not None
    return answer(_shown(context, back))


def _running(request: web.Request) -> Deployment:
    app_id = app_id_of(request)
    running = context_of(request).controller.state.running.get(app_id)
    if running is None or running.gray is None or running.to_version is None:
        raise NotFound(f"no gray rollout of {app_id} runs", todo="`coldchain gray list` shows those that do.")
    return running


def _shown(context: Context, running: Deployment) -> dict[str, Any]:
    controller, app_id = context.controller, running.app_id
    wanted = controller.state.wanted(app_id)
    assert wanted is not None
    in_force = controller.publisher.gray_in_force(app_id)
    return gray_answer(running, wanted.app, controller.traffic.observed(app_id), in_force=in_force)
