"""preview: `/v1`: a rollout before it starts."""

import asyncio

import msgspec
from aiohttp import web

from coldchain.api.apps import checked
from coldchain.api.context import context_of
from coldchain.api.exchange import answer, app_id_of, body_of, overrides_of
from coldchain.control.preview import prepare
from coldchain.documents.application import decode_app


async def show_preview(request: web.Request) -> web.Response:
    """The rollout of the definition in the body, whole as a file has it. Nothing is stored."""
    context = context_of(request)
    app = checked(request, decode_app(await body_of(request), app_id=app_id_of(request)))
    change, play = prepare(context.controller, app, context.settings.clock.now(), overrides_of(request))
    supersedes = context.controller.state.move_of(app.id)  # while what the rollout starts from still stands there
    shown = await asyncio.to_thread(play)
    more = {"kind": change.deployment.kind, "supersedes": supersedes.id if supersedes else None}
    return answer(msgspec.to_builtins(shown) | more)
