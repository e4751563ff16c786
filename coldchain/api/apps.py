"""apps: `/v2/apps`: what is wanted, as users' tools read and change it."""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from coldchain.api.context import Context, context_of, unknown_app
from coldchain.api.exchange import (
    answer,
    answer_all,
    app_id_of,
    authorize,
    body_of,
    caller_of,
    change_answer,
    flag,
    overrides_of,
    seen,
)
from coldchain.api.selectors import app_selector
from coldchain.documents.answers import OWN, definition_answer, overrides_answer, version_answer
from coldchain.documents.application import decode_app, encode_app, merge_app
from coldchain.documents.events import api_post_event
from coldchain.model.app import App
from coldchain.model.caller import EVERYTHING
from coldchain.model.errors import InvalidDocument, NotFound, Problem
from coldchain.model.version import Version

RESERVED = ("restart", "tasks", "versions")
"""Words of addresses: an app of this name below another one could not be asked for."""


async def list_apps(request: web.Request) -> web.Response:
    """All apps, or those that `id`, `cmd` and `label` choose."""
    context = context_of(request)
    query = request.query
    chosen = app_selector(query.get("id"), query.get("cmd"), query.get("label"))
    embed = {"counts", "deployments", *embedded(request)}
    app_ids = sorted(seen(request, (app.id for app in context.controller.state.wanted_apps() if chosen(app))))
    return answer_all("apps", (context.app(app_id, embed) for app_id in app_ids))


def embedded(request: web.Request) -> set[str]:
    """What the query asks to be embedded, whatever it is embedded in: `apps.tasks` as `app.tasks`. Names that nobody
    knows are passed over, as Marathon does."""
    names = {name.rpartition(".")[2] for name in request.query.getall("embed", [])}
    return names | ({"tasks", "lastTaskFailure", "deployments"} if "failures" in names else set())


async def create_app(request: web.Request) -> web.Response:
    context = context_of(request)
    app = checked(request, decode_app(await body_of(request)))
    deployment = await context.controller.operations.create(
        app, caller_of(request).name, overrides=overrides_of(request)
    )
    _announce(request, context, app)
    headers = {"Marathon-Deployment-Id": deployment.id, "Location": f"/v2/apps{app.id}"}
    shown = context.app(app.id, {"counts", "tasks", "deployments", *embedded(request)})
    return answer(shown, HTTPStatus.CREATED, headers)


async def show_app(request: web.Request) -> web.Response:
    embed = {"counts", "tasks", "deployments", "lastTaskFailure", *embedded(request)}
    return answer({"app": context_of(request).app(app_id_of(request), embed)})


async def put_app(request: web.Request) -> web.Response:
    """Create or change; with nothing but a version go back to that version."""
    context, app_id = context_of(request), app_id_of(request)
    given, partial = await body_of(request), flag(request, "partialUpdate", True)
    version = _only_version(given, app_id)
    if version is not None:
        answered = await roll_back(request, context, app_id, version)
        _announce(request, context, context.wanted(app_id).app)
        return answered
    return await _change(request, context, given, partial=partial)


async def patch_app(request: web.Request) -> web.Response:
    """Change what exists."""
    context = context_of(request)
    context.wanted(app_id_of(request))
    return await _change(request, context, await body_of(request), partial=True)


async def roll_back(request: web.Request, context: Context, app_id: str, version: str | None) -> web.Response:
    """Aim at an earlier version; None: the last with another configuration."""
    force = flag(request, "force")
    operations = context.controller.operations
    deployment = await operations.roll_back(
        app_id, version, caller_of(request).name, force=force, overrides=overrides_of(request)
    )
    return change_answer(deployment)


async def _change(request: web.Request, context: Context, given: Any, *, partial: bool) -> web.Response:
    app_id = app_id_of(request)
    edits: list[tuple[App | None, App]] = []

    def edit(current: App | None) -> App:
        app = decode_app(given, app_id=app_id) if current is None or not partial else merge_app(current, given)
        edits.append((current, checked(request, app)))
        return app

    operations = context.controller.operations
    force, overrides = flag(request, "force"), overrides_of(request)
    deployment = await operations.change(app_id, edit, caller_of(request).name, force=force, overrides=overrides)
    [(before, after)] = edits
    _announce(request, context, after)
    if before is None:
        return change_answer(deployment, HTTPStatus.CREATED, {"Location": f"/v2/apps{app_id}"})
    return change_answer(deployment)


def checked(request: web.Request, app: App) -> App:
    """A definition that came in a body: its caller may say so, and it can be run. Raises Forbidden, InvalidDocument."""
    context = context_of(request)
    authorize(request, "viewer", [app.id])  # the role that the address needs was looked at before
    _hold_to_group(request, context, app)
    problems = list(context.settings.check(app))
    parts = app.id.strip("/").split("/")
    if len(parts) > 1 and (parts[-1] in RESERVED or parts[-2] in ("tasks", "versions")):
        problems.append(Problem(path="/id", reason=f"{', '.join(RESERVED)} have a meaning of their own in addresses"))
    if problems:
        raise InvalidDocument(problems)
    return app


def _hold_to_group(request: web.Request, context: Context, app: App) -> None:
    """Who could give any secret to an app of his own could read them all: who has a group gives his apps those secrets
    that some app of the group has. The first one is an operator's to give, as are routes to what others registered."""
    for source in {one.source for one in app.secrets.values()}:
        if not seen(request, context.controller.secrets.used_by(source)):
            authorize(request, "viewer", [EVERYTHING])
    current = context.controller.state.wanted(app.id)
    known = current is not None and current.app.external and current.app.service == app.service
    if app.external and not known:
        authorize(request, "viewer", [EVERYTHING])


def _announce(request: web.Request, context: Context, app: App) -> None:
    body = api_post_event(app, request.path, request.remote or "", context.settings.clock.now())
    context.controller.events.emit("api_post_event", f"asked for by {caller_of(request).name}", body)


def _only_version(given: Any, app_id: str) -> str | None:
    if not isinstance(given, dict) or not isinstance(given.get("version"), str) or given.keys() - {"id", "version"}:
        return None
    if "id" in given and "/" + str(given["id"]).strip("/") != app_id:
        return None
    version: str = given["version"]
    return version


async def restart_app(request: web.Request) -> web.Response:
    operations = context_of(request).controller.operations
    force, overrides = flag(request, "force"), overrides_of(request)
    return change_answer(
        await operations.restart(app_id_of(request), caller_of(request).name, force=force, overrides=overrides)
    )


async def delete_app(request: web.Request) -> web.Response:
    operations = context_of(request).controller.operations
    return change_answer(
        await operations.delete(app_id_of(request), caller_of(request).name, force=flag(request, "force"))
    )


def _versions(context: Context, app_id: str) -> dict[str, Version]:
    found = context.controller.state.versions.get(app_id)
    if not found or app_id not in context.controller.state.apps:
        raise unknown_app(app_id)
    return found


async def list_versions(request: web.Request) -> web.Response:
    """The latest first."""
    return answer({"versions": sorted(_versions(context_of(request), app_id_of(request)), reverse=True)})


async def show_version(request: web.Request) -> web.Response:
    """The definition as it was."""
    app_id, name = app_id_of(request), request.match_info["version"]
    version = _versions(context_of(request), app_id).get(name)
    if version is None:
        raise NotFound(f"App '{app_id}' does not have the version '{name}'", todo=f"/v2/apps{app_id}/versions has all.")
    own = OWN in embedded(request)
    shown = (encode_app(version.app) if own else definition_answer(version.app)) | version_answer(version)
    if own:
        shown["resolvedImage"] = version.image
    if own or version.overrides:
        shown["overrides"] = overrides_answer(version.overrides)
    return answer(shown)
