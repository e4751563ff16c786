"""history: `/v1/apps/…/history`: what was done to an app."""

from typing import Any

from aiohttp import web

from coldchain.api.context import Context, context_of, unknown_app
from coldchain.api.exchange import answer, app_id_of
from coldchain.documents.answers import deployment_answer
from coldchain.model.deployment import Deployment


async def show_history(request: web.Request) -> web.Response:
    """The deployments of an app on record, the latest first; also of a deleted app."""
    context, app_id = context_of(request), app_id_of(request)
    state = context.controller.state
    found = [one for one in state.deployments.values() if one.app_id == app_id]
    if not found and app_id not in state.apps:
        raise unknown_app(app_id)
    found.sort(key=lambda one: (one.started_at, one.id), reverse=True)
    now = context.settings.clock.now()
    return answer({"app": app_id, "deployments": [_told(context, one, now) for one in found]})


def _told(context: Context, one: Deployment, now: float) -> dict[str, Any]:
    """With how long it took, and what it led to."""
    version = context.controller.state.versions.get(one.app_id, {}).get(one.to_version or "")
    return deployment_answer(one) | {
        "seconds": round(max(0.0, (now if one.ended_at is None else one.ended_at) - one.started_at), 3),
        "image": version.app.container.docker.image if version and version.app.container else None,
        "instances": version.app.instances if version else None,
    }
