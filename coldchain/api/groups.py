"""groups: `/v2/groups`: apps under a common path, read and changed together; and several apps changed at once."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from coldchain.api.apps import checked, embedded
from coldchain.api.context import context_of, unknown_app
from coldchain.api.exchange import answer, authorize, body_of, caller_of, change_answer, flag, overrides_of
from coldchain.control.group_operations import unknown_group
from coldchain.decisions.group import all_updates, inside
from coldchain.documents.answers import LIVE_EMBEDS, OWN, definition_answer, version_answer
from coldchain.documents.application import decode_app, encode_app, merge_app
from coldchain.documents.findings import pointer
from coldchain.documents.group import GroupRequest, decode_apps, decode_group
from coldchain.documents.group_answers import GROUP_EMBEDS, group_answer, group_change_failed, steps_answer
from coldchain.model.app import App
from coldchain.model.errors import ColdchainError, InvalidDocument, Problem
from coldchain.model.group import ROOT, Group, GroupDeployment

RESERVED = ("apps", "versions")
"""Words of addresses: a group of this name below another one could not be asked for."""


def group_id_of(request: web.Request) -> str:
    """The id in the path; the root where there is none."""
    return "/" + request.match_info.get("group_id", "").strip("/")


def _embedded(request: web.Request) -> tuple[set[str], set[str]]:
    """What to embed in groups and in apps; groups, apps and pods where nothing is asked for, as Marathon does."""
    names = request.query.getall("embed", [])
    groups = {one.removeprefix("group.") for name in names for one in [name.partition(".apps.")[0]]} & GROUP_EMBEDS
    if any(".apps." in name or name.startswith("apps.") for name in names):
        groups.add("apps")
    return groups or (set(GROUP_EMBEDS) if set(names) <= {OWN} else set()), embedded(request)


def by_records(request: web.Request) -> bool:
    """Whether it asks for nothing of a group that only the engine and the probes tell."""
    return not _embedded(request)[1] & LIVE_EMBEDS


async def show_group(request: web.Request) -> web.Response:
    context, group_id = context_of(request), group_id_of(request)
    state, latest = context.controller.state, context.controller.groups.latest()
    if group_id not in latest:
        raise unknown_group(group_id)
    in_groups, in_apps = _embedded(request)
    return answer(
        group_answer(
            group_id,
            state.apps,
            state.groups,
            version_of=latest.__getitem__,
            app_answer=lambda app_id: context.app(app_id, in_apps),
            embed=in_groups,
        )
    )


async def list_apps(request: web.Request) -> web.Response:
    """All apps of a group, at any depth."""
    context, group_id = context_of(request), group_id_of(request)
    if not context.controller.groups.tree().has(group_id):
        raise unknown_group(group_id)
    app_ids = sorted(app_id for app_id in context.controller.state.apps if inside(app_id, group_id))
    return answer([context.app(app_id, {"counts", "deployments", *embedded(request)}) for app_id in app_ids])


async def list_versions(request: web.Request) -> web.Response:
    """The latest first."""
    names = context_of(request).controller.groups.version_names(group_id_of(request))
    if not names:
        raise unknown_group(group_id_of(request))
    return answer(names)


async def show_version(request: web.Request) -> web.Response:
    """The group as it was."""
    context, group_id, name = context_of(request), group_id_of(request), request.match_info["version"]
    found, apps = context.controller.groups.version(group_id, name)
    own = OWN in embedded(request)

    def shown(app_id: str) -> dict[str, Any]:
        version = apps[app_id]
        return (encode_app(version.app) if own else definition_answer(version.app)) | version_answer(version)

    groups = {one: Group(id=one, dependencies=others) for one, others in found.groups.items()}
    made = {group_id: name}
    return answer(
        group_answer(
            group_id,
            apps,
            groups,
            version_of=lambda one: (
                made.get(one) or max((app.id for app_id, app in apps.items() if inside(app_id, one)), default=name)
            ),
            app_answer=shown,
        )
    )


async def create_group(request: web.Request) -> web.Response:
    asked = await _request(request)
    if asked.update is None:
        raise InvalidDocument([Problem(path="/id", reason="a group is created with what is in it: PUT changes one")])
    change = context_of(request).controller.group_operations.change
    group = await _announced(request, asked.group_id, partial(change, asked, create=True))
    return change_answer(group, HTTPStatus.CREATED, {"Location": f"/v2/groups{asked.group_id}"})


async def put_group(request: web.Request) -> web.Response:
    """Create or change; go back to a version; scale; with `dryRun` only say by which steps."""
    asked = await _request(request)
    operations = context_of(request).controller.group_operations
    flag(request, "force")  # is looked at even where it says nothing
    if flag(request, "dryRun"):
        steps = await operations.steps(asked, caller_of(request).name, overrides=overrides_of(request))
        return answer({"steps": steps_answer(steps)})
    return change_answer(await _announced(request, asked.group_id, partial(operations.change, asked)))


async def delete_group(request: web.Request) -> web.Response:
    """Stop everything in it, and take it away. The root as any other, as Marathon does: it is empty afterwards."""
    operations, caller = context_of(request).controller.group_operations, caller_of(request).name
    return change_answer(await operations.delete(group_id_of(request), caller, force=flag(request, "force")))


async def _request(request: web.Request) -> GroupRequest:
    """What the body asks for: its caller may say so, and each app can be run. Where the address names a version it is
    what is asked for: so Marathon's client in Python goes back to one."""
    version = request.match_info.get("version")
    asked = decode_group(await body_of(request) if version is None else {"version": version}, group_id_of(request))
    authorize(request, "viewer", [asked.group_id])  # the role that the address needs was looked at before
    problems: list[Problem] = []
    for update in all_updates(asked.update) if asked.update is not None else ():
        problems += _reserved(update.id, pointer(asked.places[update.id]))
        for app in update.apps or ():
            problems += _problems(request, app, pointer(asked.places[app.id]))
    if problems:
        raise InvalidDocument(problems)
    return asked


def _reserved(group_id: str, place: str) -> list[Problem]:
    parts = group_id.strip("/").split("/")
    if len(parts) > 1 and (parts[-1] in RESERVED or parts[-2] == "versions"):
        return [Problem(path=f"{place}/id", reason=f"{', '.join(RESERVED)} have a meaning of their own in addresses")]
    return []


def _problems(request: web.Request, app: App, place: str) -> list[Problem]:
    try:
        checked(request, app)
    except InvalidDocument as error:
        return [msgspec.structs.replace(one, path=place + one.path) for one in error.problems]
    return []


async def _announced(
    request: web.Request, group_id: str, change: Callable[..., Awaitable[GroupDeployment]]
) -> GroupDeployment:
    """Make a change; where it is refused, whoever follows the events is told so, too."""
    context = context_of(request)
    force, overrides, caller = flag(request, "force"), overrides_of(request), caller_of(request).name
    try:
        return await change(caller=caller, force=force, overrides=overrides)
    except ColdchainError as error:
        version, now = context.controller.groups.version_of(group_id).id, context.settings.clock.now()
        body = group_change_failed(group_id, version, str(error), now)
        context.controller.events.emit("group_change_failed", f"asked for by {caller}", body)
        raise


async def put_apps(request: web.Request) -> web.Response:
    """Create or change several apps in one deployment."""
    return await _change_apps(request, partial_update=flag(request, "partialUpdate", True), create=True)


async def patch_apps(request: web.Request) -> web.Response:
    """Change several apps that exist in one deployment."""
    return await _change_apps(request, partial_update=True, create=False)


async def _change_apps(request: web.Request, *, partial_update: bool, create: bool) -> web.Response:
    context = context_of(request)
    given = decode_apps(await body_of(request))
    authorize(request, "viewer", given)  # before anything is said of them, or of their being there
    if not create:
        for app_id in given:
            if app_id not in context.controller.state.apps:
                raise unknown_app(app_id)

    def edited(current: Mapping[str, App]) -> dict[str, App]:
        problems: list[Problem] = []
        made = {}
        for app_id, (position, document) in given.items():
            former, place = current.get(app_id), f"/{position}"
            document = document | {"id": app_id}
            try:
                if former is None or not partial_update:
                    made[app_id] = decode_app(document)
                else:
                    made[app_id] = merge_app(former, document)
            except InvalidDocument as error:
                problems += [msgspec.structs.replace(one, path=place + one.path) for one in error.problems]
            else:
                problems += _problems(request, made[app_id], place)
        if problems:
            raise InvalidDocument(problems)
        return made

    change = partial(
        context.controller.group_operations.change_apps,
        edited,
        places={app_id: (position,) for app_id, (position, _) in given.items()},
    )
    return change_answer(await _announced(request, ROOT, change))
