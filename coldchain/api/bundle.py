"""bundle: `/v1`: the last decisions on an app, with all that they looked at."""

from aiohttp import web

from coldchain._version import __version__
from coldchain.api.context import context_of, unknown_app
from coldchain.api.exchange import answer, app_id_of
from coldchain.documents.bundle import SCHEMA, Bundle


async def show_bundle(request: web.Request) -> web.Response:
    """Also of a deleted app, as long as it is remembered."""
    context, app_id = context_of(request), app_id_of(request)
    recorded = context.controller.recorder.recorded(app_id)
    if not recorded and app_id not in context.controller.state.apps:
        raise unknown_app(app_id)
    made_at = context.settings.clock.now()
    return answer(Bundle(schema=SCHEMA, coldchain=__version__, app_id=app_id, made_at=made_at, decisions=recorded))
