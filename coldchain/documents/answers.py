"""What the API answers: Marathon's JSON for apps, tasks, deployments and errors, with Coldchain's own fields beside.

Everything here is a pure function of nouns and returns plain objects, ready for JSON.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from statistics import mean, median
from typing import Any

from coldchain.decisions import health as decide
from coldchain.decisions.acceptance import WINDOW_SECONDS, Observed, latency, total
from coldchain.documents.application import encode_app, usual_deadline_seconds
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.errors import ColdchainError, Conflict, InvalidDocument, MalformedDocument
from coldchain.model.group import GroupDeployment
from coldchain.model.health import CheckHealth, Health
from coldchain.model.instance import Instance, Phase
from coldchain.model.task import TaskFailure, TaskState, TaskStatus
from coldchain.model.traffic import Traffic
from coldchain.model.version import Override, Version

EMBEDS = ("tasks", "counts", "deployments", "readiness", "lastTaskFailure", "taskStats")
"""What an app's answer can have beside its definition."""
LIVE_EMBEDS = frozenset({"tasks", "counts", "readiness", "taskStats"})
"""Those of them that are made of what engine and probes say at the moment; the others stand on record."""
OWN = "coldchain"
"""What is embedded for clients that know Coldchain: the fields that Marathon has not."""
OWN_FIELDS = frozenset(
    {"service", "routes", "drainSeconds", "settleSeconds", "deadlineSeconds", "rollbackOnFailure", "rollout", "target"}
    | {"registration", "tty"}
)
"""Fields of a definition that Marathon has not, or leaves out where they are not given."""

TASK_STATES: dict[TaskState, str] = {
    "staging": "TASK_STAGING",
    "starting": "TASK_STARTING",
    "running": "TASK_RUNNING",
    "killing": "TASK_KILLING",
    "finished": "TASK_FINISHED",
    "failed": "TASK_FAILED",
    "killed": "TASK_KILLED",
    "lost": "TASK_LOST",
}
PHASE_STATES: dict[Phase, TaskState] = {
    "launching": "staging",
    "starting": "running",
    "entering": "running",
    "serving": "running",
    "draining": "running",
    "closing": "running",
    "stopping": "killing",
}
"""What a task is taken for while its engine says nothing; the other phases have no task."""

ACTIONS: dict[DeploymentKind, tuple[str, ...]] = {
    "start": ("StartApplication", "ScaleApplication"),
    "scale": ("ScaleApplication",),
    "restart": ("RestartApplication",),
    "replace": ("RestartApplication",),
    "rollback": ("RestartApplication",),
    "stop": ("StopApplication",),
}


class InstanceView(Noun, frozen=True, kw_only=True):
    """All that is known of an instance now; None: the engine, or no probe, has said anything yet."""

    instance: Instance
    status: TaskStatus | None = None
    health: Health | None = None

    @property
    def state(self) -> TaskState | None:
        """The state of its task; None while it has none, or none any more."""
        if self.instance.phase not in PHASE_STATES:
            return None
        return self.status.state if self.status else PHASE_STATES[self.instance.phase]


def timestamp(seconds: float) -> str:
    """ISO 8601, UTC, with milliseconds and `Z`, as Marathon writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def app_answer(
    version: Version,
    views: Sequence[InstanceView],
    *,
    now: float,
    embed: Collection[str] = (),
    deployments: Sequence[Deployment | GroupDeployment] = (),
    last_failure: TaskFailure | None = None,
    app_of: Callable[[Instance], App] | None = None,
) -> dict[str, Any]:
    """The app as it is wanted, and what `embed` names of EMBEDS. `deployments` are the running ones of this app.

    `app_of`: the definition that an instance was made from; without it the wanted one stands for all. Fields that only
    Coldchain has are there with OWN; those of the definition also without it, where they say more than their default.
    """
    own = OWN in embed
    answer = (encode_app(version.app) if own else definition_answer(version.app)) | version_answer(version)
    tasks = [view for view in views if view.state is not None]
    if "counts" in embed:
        answer |= _counts(version.app, views)
        answer |= {"tasksServing": sum(view.instance.in_rotation for view in views)} if own else {}
    if "deployments" in embed:
        answer["deployments"] = [{"id": deployment.id} for deployment in deployments]
    if "readiness" in embed:
        answer["readinessCheckResults"] = [one for view in tasks for one in readiness_answer(version.app, view)]
    if "lastTaskFailure" in embed and last_failure is not None:
        answer["lastTaskFailure"] = failure_answer(last_failure, own=own)
    if "taskStats" in embed:
        answer["taskStats"] = task_stats_answer(version, tasks, now)
    if "tasks" in embed:
        made_from = app_of or (lambda instance: version.app)
        answer["tasks"] = [task_answer(made_from(view.instance), view, own=own) for view in tasks]
    return answer


def definition_answer(app: App) -> dict[str, Any]:
    """The definition without Coldchain's own fields where they have their defaults: clients that were written for
    Marathon may refuse fields that it has not."""
    usual = usual_definition() | {"deadlineSeconds": usual_deadline_seconds(app)}
    return {
        name: member
        for name, member in encode_app(app).items()
        if name not in OWN_FIELDS or name not in usual or member != usual[name]
    }


@cache
def usual_definition() -> dict[str, Any]:
    """A definition of defaults."""
    return encode_app(App(id="/"))


def version_answer(version: Version) -> dict[str, Any]:
    """When an app was last changed, and when more than its number of instances."""
    info = {"lastScalingAt": version.id, "lastConfigChangeAt": version.config_id}
    return {"version": version.id, "versionInfo": info}


def _counts(app: App, views: Sequence[InstanceView]) -> dict[str, int]:
    return {f"tasks{name.capitalize()}": count for name, count in _states(app, views).items()}


def _states(app: App, views: Iterable[InstanceView]) -> dict[str, int]:
    known = list(views)
    standings = [decide.verdict(app, view.health).standing for view in known if view.state == "running"]
    return {
        "staged": sum(view.state in ("staging", "starting") for view in known),
        "running": len(standings),
        "healthy": standings.count("healthy") if app.health_checks else 0,
        "unhealthy": standings.count("unhealthy"),
    }


def task_stats_answer(version: Version, views: Sequence[InstanceView], now: float) -> dict[str, Any]:
    """How many tasks are in which state, and for how long those that run have, by what they were started for; a group
    of tasks that is empty has no entry."""
    latest = version.config_id
    groups = {
        "startedAfterLastScaling": [one for one in views if timestamp(one.instance.created_at) >= version.id],
        "withLatestConfig": [one for one in views if one.instance.version_id == latest],
        "withOutdatedConfig": [one for one in views if one.instance.version_id != latest],
        "totalSummary": views,
    }
    return {name: {"stats": _stats(version.app, group, now)} for name, group in groups.items() if group}


def _stats(app: App, views: Sequence[InstanceView], now: float) -> dict[str, Any]:
    began = [one.at for view in views for one in view.instance.history if one.phase == "starting"]
    lives = [max(0.0, now - at) for at in began]
    times = {"averageSeconds": round(mean(lives), 3), "medianSeconds": round(median(lives), 3)} if lives else None
    return {"counts": _states(app, views)} | ({"lifeTime": times} if times else {})


def readiness_answer(app: App, view: InstanceView) -> list[dict[str, Any]]:
    """Whether a task is ready, by each of the app's readiness checks that was asked."""
    known = {check.check: check for check in view.health.checks} if view.health else {}
    results: list[dict[str, Any]] = []
    for position, check in enumerate(app.readiness_checks):
        found = known.get(f"readiness/{position}")
        if found is None:
            continue
        results.append({"name": check.name, "taskId": view.instance.task_id, "ready": found.ever_passed})
        if found.response is not None:
            results[-1]["lastResponse"] = {
                "status": found.response.status,
                "contentType": found.response.content_type,
                "body": found.response.body,
            }
    return results


def task_answer(app: App, view: InstanceView, *, own: bool = True) -> dict[str, Any]:
    """One task. `app` is its own definition; `own`: with the fields that only Coldchain has. Raises ValueError if the
    instance has no task (`view.state` is None)."""
    instance, state = view.instance, view.state
    if state is None:
        raise ValueError(f"instance {instance.id} is {instance.phase} and has no task")
    began = {step.phase: step.at for step in instance.history}
    answer: dict[str, Any] = {
        "id": instance.task_id,
        "appId": instance.app_id,
        "host": instance.agent,
        "slaveId": instance.agent,
        "ipAddresses": _addresses(instance.address),
        "ports": [port for port in instance.host_ports if port],
        "servicePorts": list(app.service_ports),
        "state": TASK_STATES[state],
        "version": instance.version_id,
        "stagedAt": timestamp(began.get("launching", instance.created_at)),
        "healthCheckResults": _check_results(app, view, own=own),
        "localVolumes": [],
    }
    if "starting" in began:
        answer["startedAt"] = timestamp(began["starting"])
    if own:
        answer |= {
            "instanceId": instance.id,
            "phase": instance.phase,
            "phaseSince": timestamp(instance.since),
            "endpoints": endpoints(instance),
            "cause": instance.history[-1].cause if instance.history else "",
        }
    return answer


def endpoints(instance: Instance) -> list[str]:
    """Where the instance is reached, port by port."""
    if not instance.address:
        return []
    host = f"[{instance.address}]" if ":" in instance.address else instance.address
    return [f"{host}:{port}" for port in instance.ports]


def _addresses(address: str | None) -> list[dict[str, str]]:
    return [{"ipAddress": address, "protocol": "IPv6" if ":" in address else "IPv4"}] if address else []


def _check_results(app: App, view: InstanceView, *, own: bool) -> list[dict[str, Any]]:
    """Of health checks only, as Marathon does; a check that was never answered has no result."""
    checks = view.health.checks if view.health else ()
    return [
        _check_result(view.instance, check) | ({"check": check.check} if own else {})
        for check in checks
        if check.check.startswith("health/") and check.at and app.health_checks
    ]


def _check_result(instance: Instance, check: CheckHealth) -> dict[str, Any]:
    at = timestamp(check.at)
    return {
        "instanceId": instance.id,
        "taskId": instance.task_id,
        "alive": check.failed_in_a_row < decide.FAILURES_TO_LEAVE
        and (check.ever_passed or check.passed_in_a_row >= decide.PASSES_TO_ENTER),
        "consecutiveFailures": check.failed_in_a_row,
        "lastSuccess": at if check.passed_in_a_row else None,
        "lastFailure": at if not check.passed_in_a_row else None,
        "lastFailureCause": check.detail if not check.passed_in_a_row else None,
    }


def failure_answer(failure: TaskFailure, *, own: bool = True) -> dict[str, Any]:
    """The last failed task of an app; `own`: with how it ended and what it wrote last, which only Coldchain has."""
    answer = {
        "appId": failure.app_id,
        "host": failure.agent,
        "slaveId": failure.agent,
        "message": failure.message,
        "state": TASK_STATES[failure.state],
        "taskId": failure.task_id,
        "instanceId": failure.instance_id,
        "timestamp": timestamp(failure.at),
        "version": failure.version_id,
    }
    return answer | ({"exitStatus": failure.exit_status, "logTail": list(failure.log_tail)} if own else {})


def deployment_answer(deployment: Deployment) -> dict[str, Any]:
    """A deployment as Marathon's clients read it, and Coldchain's state, reason and deadline beside."""
    actions = [{"action": action, "app": deployment.app_id} for action in ACTIONS[deployment.kind]]
    return {
        "id": deployment.id,
        "version": deployment_version(deployment),
        "affectedApps": [deployment.app_id],
        "affectedPods": [],
        "steps": [{"actions": [action]} for action in actions],
        "currentActions": [{**actions[-1], "readinessCheckResults": []}] if deployment.running else [],
        "currentStep": len(actions),
        "totalSteps": len(actions),
        "target": deployment.target,
        "kind": deployment.kind,
        "state": deployment.state,
        "reason": deployment.reason,
        "cause": deployment.cause,
        "fromVersion": deployment.from_version,
        "toVersion": deployment.to_version,
        "rollbackOf": deployment.rollback_of,
        "partOf": deployment.part_of,
        "startedAt": timestamp(deployment.started_at),
        "pausedBy": deployment.paused_by,
        "pausedAt": timestamp(deployment.paused_at) if deployment.paused_at is not None else None,
        "resumesAt": timestamp(deployment.resumes_at) if deployment.resumes_at is not None else None,
        "stepsDone": deployment.steps_done,
        "deadlineAt": timestamp(deployment.deadline_at),
        "endedAt": timestamp(deployment.ended_at) if deployment.ended_at is not None else None,
    }


DEPLOYMENT_FIELDS = (
    "id",
    "version",
    "affectedApps",
    "affectedPods",
    "steps",
    "currentActions",
    "currentStep",
    "totalSteps",
)
"""What Marathon answers of a deployment."""


def running_answer(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """What Marathon's clients, who may refuse the rest, are told of an answer about a deployment."""
    return {name: deployment[name] for name in DEPLOYMENT_FIELDS}


def traffic_answer(observed: Observed) -> dict[str, Any]:
    """What the gateways saw of new and old version within the window."""
    return {
        "windowSeconds": WINDOW_SECONDS,
        "new": _counts_answer(total(one.new for one in observed.intervals)),
        "old": _counts_answer(total(one.old for one in observed.intervals)),
    }


def _counts_answer(counts: Traffic) -> dict[str, Any]:
    """`latencySeconds`: at most so long took half of the requests, and 95 %; null where that is not known."""
    found = {"p50": latency(counts, 0.5), "p95": latency(counts, 0.95)}
    return {
        "requests": counts.requests,
        "errors": counts.errors,
        "errorShare": round(counts.errors / counts.requests, 6) if counts.requests else None,
        "latencySeconds": {name: None if one is None or math.isinf(one) else one for name, one in found.items()},
    }


def deployment_version(deployment: Deployment) -> str:
    """The version aimed at; a deletion has none, and is known by the time it began."""
    return deployment.to_version or timestamp(deployment.started_at)


def deployment_result(deployment: Deployment | GroupDeployment) -> dict[str, str]:
    """What a change answers at once."""
    version = deployment.version if isinstance(deployment, GroupDeployment) else deployment_version(deployment)
    return {"deploymentId": deployment.id, "version": version}


def overrides_answer(overrides: Sequence[Override]) -> list[dict[str, Any]]:
    """The rules of admission that somebody let a version pass: which, why, who, and when."""
    return [
        {"rule": one.rule, "because": one.because, "caller": one.caller, "at": timestamp(one.at)} for one in overrides
    ]


def error_answer(error: ColdchainError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body of an error, in Marathon's forms."""
    if isinstance(error, MalformedDocument):
        return error.status, {"message": "Invalid JSON", "details": str(error)}
    if isinstance(error, InvalidDocument):
        return error.status, {"message": "Object is not valid", "details": _details(error)}
    body: dict[str, Any] = {"message": str(error)}
    if isinstance(error, Conflict) and error.deployments:
        body["deployments"] = [{"id": deployment} for deployment in error.deployments]
    return error.status, body


def _details(error: InvalidDocument) -> list[dict[str, Any]]:
    """One entry per path, as Marathon groups them, in the order in which they were found."""
    reasons: dict[str, list[str]] = {}
    for problem in error.problems:
        meant = f" (did you mean {problem.suggestion!r}?)" if problem.suggestion else ""
        reasons.setdefault(problem.path or "/", []).append(problem.reason + meant)
    return [{"path": path, "errors": errors} for path, errors in reasons.items()]
