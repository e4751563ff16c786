"""status: `/v1`: what Marathon has not: how things stand and why, in one answer for one screen."""

from typing import Any

from aiohttp import web

from coldchain._version import __version__
from coldchain.api import apps
from coldchain.api.context import Context, context_of, unknown_app
from coldchain.api.deployments import shown
from coldchain.api.exchange import answer, app_id_of, caller_of, optional_body, seen, unknown_members
from coldchain.api.explanation import PROGRESS, condition, progress, refused, shared_ports, warnings, why_not_yet
from coldchain.api.holds import brake_answer
from coldchain.decisions.group import inside
from coldchain.decisions.instance import story
from coldchain.decisions.route import places
from coldchain.decisions.route import shown as shown_place
from coldchain.documents.answers import deployment_answer, failure_answer, overrides_answer, timestamp, traffic_answer
from coldchain.model.caller import EVERYTHING, Caller
from coldchain.model.deployment import Deployment
from coldchain.model.errors import InvalidDocument, NotFound, Problem
from coldchain.model.group import GroupDeployment
from coldchain.model.instance import Instance

WAITS_TOLD = 3
"""Of how many apps of a group deployment it is told in one line what they wait for."""


async def show_platform(request: web.Request) -> web.Response:
    """All apps in brief, gateways, engine."""
    context = context_of(request)
    controller = context.controller
    app_ids = sorted({*controller.state.apps, *(one.app_id for one in controller.state.instances.values() if one.live)})
    return answer(
        {
            "version": __version__,
            "goingDown": controller.operations.closed_because,
            "apps": [_brief(context, app_id) for app_id in seen(request, app_ids)],
            "rotation": {"revision": controller.publisher.rotation.revision},
            "gateways": _gateways(context),
            "engine": _engine(context),
            "registry": _registry(context, caller_of(request)),
            "brake": brake_answer(context),
        }
    )


def _brief(context: Context, app_id: str) -> dict[str, Any]:
    state = context.controller.state
    wanted, running = state.wanted(app_id), state.move_of(app_id)
    return {
        "id": app_id,
        "condition": condition(context, app_id),
        "version": wanted.id if wanted else None,
        "image": wanted.app.container.docker.image if wanted and wanted.app.container else None,
        "progress": progress(context, app_id),
        "deployment": {"id": running.id, "kind": running.kind} if running else None,
        "explain": why_not_yet(context, app_id),
        "warnings": warnings(context, wanted) if wanted else [],
        "overrides": overrides_answer(wanted.overrides) if wanted else [],
    }


def _gateways(context: Context) -> list[dict[str, Any]]:
    publisher = context.controller.publisher
    now = context.settings.clock.monotonic()
    return [
        {
            "name": name,
            "live": session.lease_until > now,
            "leaseSeconds": round(max(0.0, session.lease_until - now), 3),
            "applied": session.applied,
            "inStep": session.applied == publisher.rotation.revision,
            "inFlightOnLeaving": sum(session.in_flight.values()),
            "ejected": len(session.ejected),
        }
        for name, session in sorted(publisher.sessions.items())
    ]


def _engine(context: Context) -> dict[str, Any]:
    tasks = context.controller.tasks
    return {
        "target": context.controller.engine.target,
        "known": tasks.known,
        "trouble": tasks.trouble,
        "agents": [
            {"agent": one.agent, "hostname": one.hostname, "cpus": one.cpus, "mem": one.mem, "disk": one.disk}
            for one in tasks.offers
        ],
    }


def _registry(context: Context, caller: Caller) -> dict[str, Any] | None:
    """None where there is none to register with. What troubles it may name any app."""
    registrar = context.controller.registrar
    if registrar is None:
        return None
    whole = caller.group == EVERYTHING or not registrar.trouble
    return {"known": registrar.known, "trouble": registrar.trouble if whole else "it does not do all that it is told"}


async def show_app(request: web.Request) -> web.Response:
    """All that one screen needs of an app; also of a deleted one while its instances leave."""
    context, app_id = context_of(request), app_id_of(request)
    state = context.controller.state
    wanted, instances = state.wanted(app_id), context.instances(app_id)
    seen = context.controller.reconciler.view(app_id).seen
    if wanted is None and not any(one.live for one in instances):
        raise unknown_app(app_id)
    running, failure = state.running.get(app_id), state.failures.get(app_id)
    backoff = state.backoffs.get(app_id)
    ended = [one for one in state.deployments.values() if one.app_id == app_id and not one.running]
    brief = _brief(context, app_id)
    last = max(ended, key=lambda one: (one.ended_at or 0.0, one.started_at), default=None)
    return answer(
        brief
        | {
            "warnings": [*brief["warnings"], *(shared_ports(context, wanted, caller_of(request)) if wanted else ())],
            "deployment": _deployment(context, running) | _whole(context, app_id) if running else None,
            "lastDeployment": deployment_answer(last) if last else None,
            "instances": [_instance(context, one, seen[one.id].trouble) for one in instances],
            "lastFailure": failure_answer(failure) if failure else None,
            "backoff": {"failures": backoff.failures, "until": timestamp(backoff.until)} if backoff else None,
            "resolvedImage": wanted.image if wanted else None,
            "imageProgress": context.controller.reconciler.progress.get(app_id),
            "refused": refused(context, app_id),
            "routes": [shown_place(place) for route in wanted.app.routes for place in places(route)] if wanted else [],
        }
    )


def _instance(context: Context, one: Instance, waits_for: str) -> dict[str, Any]:
    verdict = context.controller.reconciler.verdict(one)
    status = context.controller.tasks.tasks.get(one.task_id)
    lapsed_since = context.controller.reconciler.lapsed_since.get(one.id)
    bad_since = context.controller.health.bad_since.get(one.id, lapsed_since)
    return {
        "id": one.id,
        "taskId": one.task_id,
        "version": one.version_id,
        "phase": one.phase,
        "since": timestamp(one.since),
        "sinceSeconds": round(max(0.0, context.settings.clock.now() - one.since), 3),
        "standing": verdict.standing if one.live else "unknown",
        "badSince": timestamp(bad_since) if bad_since is not None else None,
        "ready": verdict.ready,
        "healthDetail": verdict.detail if one.live else "",
        "waitsFor": waits_for,
        "agent": one.agent,
        "address": one.address,
        "ports": list(one.ports),
        "hostPorts": list(one.host_ports),
        "taskState": status.state if status else None,
        "exitStatus": status.exit_status if status else None,
        "cause": one.history[-1].cause if one.history else "",
        "story": story(one).splitlines(),
    }


def _deployment(context: Context, deployment: Deployment) -> dict[str, Any]:
    """With how far it is, and once it failed with what failed and what takes it back."""
    state = context.controller.state
    failure = state.failures.get(deployment.app_id)
    during = failure is not None and failure.at >= deployment.started_at
    back = next((one.id for one in state.deployments.values() if one.rollback_of == deployment.id), None)
    return deployment_answer(deployment) | {
        "app": deployment.app_id,
        "progress": progress(context, deployment.app_id),
        "explain": why_not_yet(context, deployment.app_id) if deployment.running else "",
        "imageProgress": context.controller.reconciler.progress.get(deployment.app_id),
        "rolledBackBy": back,
        "traffic": traffic_answer(context.controller.traffic.observed(deployment.app_id))
        if deployment.running
        else None,
        "lastFailure": failure_answer(failure) if failure and during else None,
    }


def _group_deployment(context: Context, group: GroupDeployment) -> dict[str, Any]:
    """As one of a single app, of all its apps together; and how each of its members is. One that had nothing to change
    tells how far all apps of the group are."""
    state = context.controller.state
    known = [one for name in group.members.values() if (one := state.deployments.get(name)) is not None]
    mine = [one for one in known if one.app_id not in group.without]
    back = next((one.id for one in state.group_deployments.values() if one.rollback_of == group.id), None)
    told = [one.app_id for one in mine] if group.members else [one for one in state.apps if inside(one, group.group_id)]
    counts = [progress(context, app_id) for app_id in told]
    begun = [one for one in mine if one.running and one.paused_by != "dependency"]
    waits = [f"{one.app_id}: {why_not_yet(context, one.app_id)}" for one in begun[:WAITS_TOLD]]
    images = context.controller.reconciler.progress
    failed = next((_deployment(context, one)["lastFailure"] for one in mine if one.state == "failed"), None)
    return shown(context, group) | {
        "app": group.group_id,
        "progress": {name: sum(one[name] for one in counts) for name in PROGRESS},
        "explain": "; ".join(waits),
        "imageProgress": next((images[one.app_id] for one in begun if one.app_id in images), None),
        "rolledBackBy": back,
        "traffic": None,
        "lastFailure": failed,
        "members": [
            {"id": one.id, "app": one.app_id, "kind": one.kind, "state": one.state, "pausedBy": one.paused_by}
            for one in known
        ],
    }


def _whole(context: Context, app_id: str) -> dict[str, str]:
    """The id by which the deployment of an app is held and cancelled: where it is part of a group's, the group's."""
    move = context.controller.state.move_of(app_id)
    return {"id": move.id} if move is not None else {}


async def show_deployment(request: web.Request) -> web.Response:
    """Also one that has ended, with its state and reason."""
    context = context_of(request)
    name = request.match_info["deployment_id"]
    state = context.controller.state
    if (group := state.group_deployments.get(name)) is not None:
        return answer(_group_deployment(context, group))
    deployment = state.deployments.get(name)
    if deployment is None:
        raise NotFound(f"Deployment '{name}' does not exist", todo="Ended ones are kept for a while only.")
    return answer(_deployment(context, deployment))


async def show_story(request: web.Request) -> web.Response:
    """The life of an instance; the beginning of its id is enough."""
    one = context_of(request).instance(request.match_info["instance_id"])
    steps = [{"phase": step.phase, "at": timestamp(step.at), "cause": step.cause} for step in one.history]
    return answer({"id": one.id, "app": one.app_id, "phase": one.phase, "history": steps, "story": story(one)})


async def roll_back(request: web.Request) -> web.Response:
    """To the version in the body, or without one to the last with another configuration."""
    given = await optional_body(request)
    version = given.get("version")
    problems = unknown_members(given, ["version"], suggestion="version")
    if version is not None and not isinstance(version, str):
        problems.append(Problem(path="/version", reason="must be text"))
    if problems:
        raise InvalidDocument(problems)
    return await apps.roll_back(request, context_of(request), app_id_of(request), version)
