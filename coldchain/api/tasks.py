"""tasks: `/v2/tasks` and `/v2/apps/…/tasks`: the incarnations of instances, as JSON or as the text balancers read."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import answer, app_id_of, text
from coldchain.model.errors import MalformedDocument

STATES = {"running": "TASK_RUNNING", "staging": "TASK_STAGING"}


async def list_tasks(request: web.Request) -> web.Response:
    """All tasks, or those in the states that `status` names."""
    context = context_of(request)
    wanted = {*request.query.getall("status", []), *request.query.getall("status[]", [])}
    if unknown := wanted - STATES.keys():
        raise MalformedDocument(f"no status {min(unknown)[:40]!r}", todo=f"Use {' or '.join(STATES)}")
    app_ids = sorted(context.controller.state.instances_of)
    tasks = context.tasks(app_ids)
    if wanted:
        states = {STATES[one] for one in wanted}
        tasks = [task for task in tasks if task["state"] in states]
    return _answer(request, context, app_ids, tasks)


async def list_app_tasks(request: web.Request) -> web.Response:
    context, app_id = context_of(request), app_id_of(request)
    context.wanted(app_id)
    return _answer(request, context, [app_id], context.tasks([app_id]))


def _answer(
    request: web.Request, context: Context, app_ids: Iterable[str], tasks: list[dict[str, Any]]
) -> web.Response:
    if request.headers.get("Accept", "").partition(";")[0].strip() == "text/plain":
        return text("".join(_lines(context, app_ids, tasks)))
    return answer({"tasks": tasks})


def _lines(context: Context, app_ids: Iterable[str], tasks: list[dict[str, Any]]) -> Iterable[str]:
    """One line for each port of each app: id (`_` for `/`), service port, and where its running tasks listen."""
    for app_id in app_ids:
        running = [task for task in tasks if task["appId"] == app_id and task["state"] == "TASK_RUNNING"]
        version = context.controller.state.wanted(app_id)
        name = app_id.strip("/").replace("/", "_")
        if version is None or not version.app.ports:
            yield "\t".join([name, " ", *(str(task["host"]) for task in running)]) + "\n"
            continue
        for index, port in enumerate(version.app.ports):
            at = [task["endpoints"][index] for task in running if index < len(task["endpoints"])]
            yield "\t".join([name, str(getattr(port, "service_port", 0)), *at]) + "\n"
