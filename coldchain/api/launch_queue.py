"""launch_queue: `/v2/queue`: what waits to be launched, and why."""

from http import HTTPStatus

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, app_id_of, seen
from coldchain.decisions.launch_queue import queued
from coldchain.documents.launch_queue import queue_answer
from coldchain.model.errors import NotFound


async def list_queue(request: web.Request) -> web.Response:
    """Every app of which something could be launched by what is wanted, and is not."""
    context = context_of(request)
    reconciler, now = context.controller.reconciler, context.settings.clock.now()
    offers = "lastUnusedOffers" in request.query.getall("embed", [])
    items = []
    for app_id in seen(request, sorted(context.controller.state.apps)):
        view = reconciler.view(app_id)
        waits = queued(view, now)
        if waits is None or view.wanted is None:
            continue
        refused = [one for one in reconciler.refused.values() if one.app_id == app_id]
        items.append(
            queue_answer(
                view.wanted,
                waits,
                view.instances,
                refused,
                now=now,
                refused_at=reconciler.placed_at,
                offers=offers,
            )
        )
    return answer({"queue": items})


async def reset_delay(request: web.Request) -> web.Response:
    """Launch what waits for its failures at once. 404 where nothing of the app waits."""
    context, app_id = context_of(request), app_id_of(request)
    context.wanted(app_id)
    if queued(context.controller.reconciler.view(app_id), context.settings.clock.now()) is None:
        raise NotFound(f"Application {app_id} not found in tasks queue", todo="`/v2/queue` has all that wait.")
    await context.controller.operations.reset_delay(app_id)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)
