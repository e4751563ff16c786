"""tasks: `/v2/tasks` and `/v2/apps/…/tasks`: the incarnations of instances, as JSON or as the text balancers read; and
how to have some of them go."""

from collections.abc import Collection, Iterable, Sequence

from aiohttp import web

from coldchain.api.apps import embedded
from coldchain.api.context import Context, context_of
from coldchain.api.exchange import (
    answer,
    answer_all,
    app_id_of,
    authorize,
    body_of,
    caller_of,
    change_answer,
    flag,
    seen,
    text,
    unknown_members,
)
from coldchain.documents.answers import OWN, endpoints
from coldchain.model.errors import InvalidDocument, MalformedDocument, NotFound, Problem
from coldchain.model.instance import Instance
from coldchain.model.task import TaskState

STATES: dict[str, TaskState] = {"running": "running", "staging": "staging"}


async def list_tasks(request: web.Request) -> web.Response:
    """All tasks, or those in the states that `status` names."""
    context = context_of(request)
    wanted = {*request.query.getall("status", []), *request.query.getall("status[]", [])}
    if unknown := wanted - STATES.keys():
        raise MalformedDocument(f"no status {min(unknown)[:40]!r}", todo=f"Use {' or '.join(STATES)}")
    states = {STATES[one] for one in wanted} or None
    return _answer(request, context, seen(request, sorted(context.controller.state.instances_of)), states)


async def list_app_tasks(request: web.Request) -> web.Response:
    context, app_id = context_of(request), app_id_of(request)
    context.wanted(app_id)
    return _answer(request, context, [app_id])


def _answer(
    request: web.Request, context: Context, app_ids: Sequence[str], states: Collection[TaskState] | None = None
) -> web.Response:
    instances = [
        one
        for app_id in app_ids
        for one in context.instances(app_id)
        if states is None or context.view(one).state in states
    ]
    if request.headers.get("Accept", "").partition(";")[0].strip() == "text/plain":
        return text("".join(_lines(context, app_ids, instances)))
    own = OWN in embedded(request)
    return answer_all("tasks", (task for one in instances for task in context.tasks([one], own=own)))


def _lines(context: Context, app_ids: Iterable[str], instances: Iterable[Instance]) -> Iterable[str]:
    """One line for each port of each app: id (`_` for `/`), service port, and where its running tasks listen."""
    running: dict[str, list[Instance]] = {}
    for one in instances:
        if context.view(one).state == "running":
            running.setdefault(one.app_id, []).append(one)
    for app_id in app_ids:
        version = context.controller.state.wanted(app_id)
        name = app_id.strip("/").replace("/", "_")
        if version is None or not version.app.ports:
            yield "\t".join([name, " ", *(str(one.agent) for one in running.get(app_id, ()))]) + "\n"
            continue
        for index, port in enumerate(version.app.service_ports):
            reached = [endpoints(one) for one in running.get(app_id, ())]
            yield "\t".join([name, str(port), *(one[index] for one in reached if index < len(one))]) + "\n"


async def delete_tasks(request: web.Request) -> web.Response:
    """Those whose ids the body names, as Marathon's `POST /v2/tasks/delete`; ids that nothing has are passed over."""
    context = context_of(request)
    names = _ids(await body_of(request))
    known = {one.task_id: one for one in context.controller.state.instances.values()}
    chosen = [known[name] for name in dict.fromkeys(names) if name in known]
    authorize(request, "operator", sorted({one.app_id for one in chosen}))
    return await _delete(request, chosen)


def _ids(given: object) -> list[str]:
    if not isinstance(given, dict):
        raise InvalidDocument([Problem(path="", reason="must be an object")])
    ids = given.get("ids")
    unknown = unknown_members(given, ["ids"])
    if not isinstance(ids, list):
        raise InvalidDocument([Problem(path="/ids", reason="must be an array of ids of tasks"), *unknown])
    problems = unknown + [
        Problem(path=f"/ids/{position}", reason="must be text, the id of a task")
        for position, one in enumerate(ids)
        if not isinstance(one, str)
    ]
    if problems:
        raise InvalidDocument(problems)
    return ids


async def delete_app_tasks(request: web.Request) -> web.Response:
    """All tasks of an app, or with `host` those on one agent."""
    context, app_id = context_of(request), app_id_of(request)
    context.wanted(app_id)
    host = request.query.get("host", "*")
    return await _delete(request, [one for one in context.instances(app_id) if host in ("*", one.agent)])


async def delete_app_task(request: web.Request) -> web.Response:
    """One task of an app."""
    context, app_id, name = context_of(request), app_id_of(request), request.match_info["task_id"]
    context.wanted(app_id)
    chosen = [one for one in context.instances(app_id) if name == one.task_id and context.view(one).state is not None]
    if not chosen:
        raise NotFound(f"Task '{name}' does not exist", todo=f"/v2/apps{app_id}/tasks has all.")
    return await _delete(request, chosen, single=True)


async def _delete(request: web.Request, chosen: Sequence[Instance], *, single: bool = False) -> web.Response:
    """Have instances leave, in order: each is replaced first where its app allows, or with `scale` left out of its
    number. `wipe` would remove what they keep on their agents beyond their end, of which there is nothing."""
    context = context_of(request)
    scale, wipe, force = flag(request, "scale"), flag(request, "wipe"), flag(request, "force")
    if scale and wipe:
        raise MalformedDocument("scale and wipe at the same time", todo="Give one of the two")
    operations, caller = context.controller.operations, caller_of(request).name
    instance_ids = [one.id for one in chosen]
    tasks = context.tasks(chosen, own=OWN in embedded(request))
    if not scale:
        await operations.kill(instance_ids, caller)
        return answer({"task": tasks[0]} if single else {"tasks": tasks})
    begun = await operations.kill_and_scale(instance_ids, caller, force=force)
    if not begun:
        raise NotFound("None of these tasks is there, or all of them leave already", todo="`/v2/tasks` has all.")
    return change_answer(begun[0])
