"""Bodies of events as Marathon's clients read them. Each has `eventType` and `timestamp`."""

from typing import Any, Literal, get_args

from coldchain.decisions.brake import Brake
from coldchain.decisions.placement import Refused
from coldchain.documents.answers import ACTIONS, TASK_STATES, deployment_version, overrides_answer, timestamp
from coldchain.documents.application import encode_app, encode_check
from coldchain.model.app import App, HealthCheck
from coldchain.model.deployment import Deployment
from coldchain.model.event import AppMove
from coldchain.model.instance import Instance, Phase
from coldchain.model.task import TaskState, TaskStatus
from coldchain.model.version import Version

MarathonEventType = Literal[
    "status_update_event",
    "health_status_changed_event",
    "failed_health_check_event",
    "unhealthy_instance_kill_event",
    "instance_changed_event",
    "instance_health_changed_event",
    "unknown_instance_terminated_event",
    "deployment_info",
    "deployment_step_success",
    "deployment_step_failure",
    "deployment_success",
    "deployment_failed",
    "group_change_success",
    "group_change_failed",
    "app_terminated_event",
    "api_post_event",
    "add_health_check_event",
    "remove_health_check_event",
    "event_stream_attached",
    "event_stream_detached",
    "scheduler_registered_event",
    "scheduler_reregistered_event",
    "scheduler_disconnected_event",
]
OwnEventType = Literal[
    "events_missed",
    "instance_refused_event",
    "instance_exec_event",
    "deployment_paused",
    "deployment_resumed",
    "brake_changed_event",
    "admission_overridden_event",
    "streams_cut_event",
    "gateway_left_event",
]
"""What Marathon has not. Clients that were written for it may refuse types that they do not know."""
MARATHONS: frozenset[str] = frozenset(get_args(MarathonEventType))

FRAMEWORK = "coldchain"
"""What the engines know us by."""

CONDITIONS: dict[Phase, str] = {
    "scheduled": "Scheduled",
    "launching": "Provisioned",
    "starting": "Starting",
    "entering": "Running",
    "serving": "Running",
    "draining": "Running",
    "closing": "Running",
    "stopping": "Killing",
    "stopped": "Killed",
}
"""The phases in Marathon's words for an instance."""
TERMINAL_CONDITIONS: dict[TaskState, str] = {
    "finished": "Finished",
    "failed": "Failed",
    "killed": "Killed",
    "lost": "Gone",
}
"""How a task ended, in Marathon's words for an instance."""


def status_update_event(status: TaskStatus, version_id: str, host_ports: tuple[int, ...] = ()) -> dict[str, Any]:
    """The engine reported a task. `version_id`, `host_ports`: of the task's instance."""
    address = status.address
    return _event("status_update_event", status.at) | {
        "slaveId": status.agent,
        "taskId": status.task_id,
        "taskStatus": TASK_STATES[status.state],
        "message": status.message,
        "appId": status.app_id,
        "instanceId": status.instance_id,
        "host": status.agent,
        "ipAddresses": [{"ipAddress": address, "protocol": "IPv6" if ":" in address else "IPv4"}] if address else [],
        "ports": [port for port in host_ports if port],
        "version": version_id,
    }


def health_status_changed_event(instance: Instance, alive: bool, at: float) -> dict[str, Any]:
    """An instance became healthy or unhealthy."""
    return _event("health_status_changed_event", at) | {
        "appId": instance.app_id,
        "instanceId": instance.id,
        "taskId": instance.task_id,
        "version": instance.version_id,
        "alive": alive,
    }


def failed_health_check_event(instance: Instance, check: HealthCheck, detail: str, at: float) -> dict[str, Any]:
    """An answer that counts against an instance; `detail`: what it was, in words."""
    return _event("failed_health_check_event", at) | {
        "appId": instance.app_id,
        "instanceId": instance.id,
        "taskId": instance.task_id,
        "version": instance.version_id,
        "healthCheck": encode_check(check),
        "detail": detail,
    }


def unhealthy_instance_kill_event(instance: Instance, reason: str, at: float) -> dict[str, Any]:
    """An instance begins to leave because its checks fail."""
    return _event("unhealthy_instance_kill_event", at) | {
        "appId": instance.app_id,
        "taskId": instance.task_id,
        "instanceId": instance.id,
        "version": instance.version_id,
        "reason": reason,
        "host": instance.agent,
        "slaveId": instance.agent,
    }


def unknown_instance_terminated_event(status: TaskStatus) -> dict[str, Any]:
    """A task ended that no instance on record has."""
    return _event("unknown_instance_terminated_event", status.at) | {
        "instanceId": status.instance_id,
        "runSpecId": status.app_id,
        "condition": TERMINAL_CONDITIONS[status.state],
        "taskId": status.task_id,
    }


def instance_changed_event(instance: Instance) -> dict[str, Any]:
    """An instance came into its present phase."""
    return _event("instance_changed_event", instance.since) | {
        "instanceId": instance.id,
        "condition": CONDITIONS[instance.phase],
        "runSpecId": instance.app_id,
        "agentId": instance.agent,
        "host": instance.agent,
        "runSpecVersion": instance.version_id,
        "phase": instance.phase,
        "cause": instance.history[-1].cause if instance.history else "",
    }


def instance_health_changed_event(instance: Instance, healthy: bool | None, at: float) -> dict[str, Any]:
    """As `health_status_changed_event`, in Marathon's newer form; `healthy` None: not known."""
    return _event("instance_health_changed_event", at) | {
        "instanceId": instance.id,
        "runSpecId": instance.app_id,
        "runSpecVersion": instance.version_id,
        "healthy": healthy,
    }


def instance_refused_event(refused: Refused, at: float) -> dict[str, Any]:
    """An instance fits no agent; Coldchain's own."""
    return _event("instance_refused_event", at) | {
        "instanceId": refused.instance_id,
        "runSpecId": refused.app_id,
        "agents": refused.agents,
        "reasons": refused.reasons,
        "constraints": refused.constraints,
        "message": str(refused),
    }


def deployment_info(deployment: Deployment) -> dict[str, Any]:
    """A deployment began."""
    plan = _plan(deployment)
    return _event("deployment_info", deployment.started_at) | {"plan": plan, "currentStep": plan["steps"][-1]}


def deployment_step_ended(deployment: Deployment) -> dict[str, Any]:
    """`deployment_step_success`, or `deployment_step_failure` for every other end of the last step."""
    assert deployment.ended_at is not None, f"deployment {deployment.id} has not ended"
    kind: MarathonEventType = "deployment_step_failure"
    if deployment.state == "succeeded":
        kind = "deployment_step_success"
    plan = _plan(deployment)
    return _event(kind, deployment.ended_at) | {"plan": plan, "currentStep": plan["steps"][-1]}


def deployment_ended(deployment: Deployment) -> dict[str, Any]:
    """`deployment_success`, or `deployment_failed` for every other end; needs `ended_at`."""
    assert deployment.ended_at is not None, f"deployment {deployment.id} has not ended"
    kind: MarathonEventType = "deployment_success" if deployment.state == "succeeded" else "deployment_failed"
    return _event(kind, deployment.ended_at) | {
        "id": deployment.id,
        "plan": _plan(deployment),
        "state": deployment.state,
        "reason": deployment.reason,
    }


def deployment_held(deployment: Deployment, at: float) -> dict[str, Any]:
    """`deployment_paused`, by whom and until when, or `deployment_resumed`; with how many steps are reached."""
    return _event("deployment_paused" if deployment.paused_by else "deployment_resumed", at) | {
        "id": deployment.id,
        "appId": deployment.app_id,
        "pausedBy": deployment.paused_by,
        "resumesAt": timestamp(deployment.resumes_at) if deployment.resumes_at is not None else None,
        "stepsDone": deployment.steps_done,
    }


def app_moves(deployment: Deployment) -> tuple[AppMove, ...]:
    """What a deployment moves, for those who want the groups before and after in its plan."""
    before, after = deployment.from_version, deployment.to_version
    return (AppMove(app_id=deployment.app_id, before=before, after=after),)


def group_change_success(group_id: str, version: str, at: float) -> dict[str, Any]:
    """A change of apps below the group was accepted, as a deployment."""
    return _event("group_change_success", at) | {"groupId": group_id, "version": version}


def group_change_failed(group_id: str, version: str, reason: str, at: float) -> dict[str, Any]:
    """A change of apps below the group was refused."""
    return _event("group_change_failed", at) | {"groupId": group_id, "version": version, "reason": reason}


def parent_group(app_id: str) -> str:
    """The group that an app is in."""
    return app_id.rpartition("/")[0] or "/"


def health_check_event(
    kind: Literal["add_health_check_event", "remove_health_check_event"],
    app_id: str,
    version_id: str,
    check: HealthCheck,
    at: float,
) -> dict[str, Any]:
    """An app has one check more, or fewer, than before; `version_id`: from this version on."""
    return _event(kind, at) | {"appId": app_id, "version": version_id, "healthCheck": encode_check(check)}


def app_terminated_event(app_id: str, at: float) -> dict[str, Any]:
    """A deleted app has no instance any more."""
    return _event("app_terminated_event", at) | {"appId": app_id}


def admission_overridden_event(version: Version, at: float) -> dict[str, Any]:
    """A version was let in although rules of admission refuse it; Coldchain's own."""
    return _event("admission_overridden_event", at) | {
        "appId": version.app.id,
        "version": version.id,
        "overrides": overrides_answer(version.overrides),
    }


def api_post_event(app: App, uri: str, client_address: str, at: float) -> dict[str, Any]:
    """Somebody asked for a change; `app` as he defined it."""
    return _event("api_post_event", at) | {"clientIp": client_address, "uri": uri, "appDefinition": encode_app(app)}


def stream_event(
    kind: Literal["event_stream_attached", "event_stream_detached"], client_address: str, at: float
) -> dict[str, Any]:
    """Somebody follows the events, or does so no more."""
    return _event(kind, at) | {"remoteAddress": client_address}


def engine_event(
    kind: Literal["scheduler_registered_event", "scheduler_reregistered_event"], target: str, at: float
) -> dict[str, Any]:
    """The engine answers: to the first controller of a store, or again."""
    return _event(kind, at) | {"frameworkId": FRAMEWORK, "master": target}


def scheduler_disconnected_event(target: str, reason: str, at: float) -> dict[str, Any]:
    """The engine does not answer."""
    return _event("scheduler_disconnected_event", at) | {"master": target, "reason": reason}


def streams_cut_event(instance: Instance) -> dict[str, Any]:
    """Gateways ended streams of an instance whose drain deadline was over; Coldchain's own."""
    return _event("streams_cut_event", instance.since) | {
        "instanceId": instance.id,
        "taskId": instance.task_id,
        "runSpecId": instance.app_id,
        "runSpecVersion": instance.version_id,
        "host": instance.agent,
        "streams": instance.streams_cut,
    }


def gateway_left_event(gateway: str, streams: int, at: float) -> dict[str, Any]:
    """A gateway has left, and ended that many streams at its own drain deadline; Coldchain's own."""
    return _event("gateway_left_event", at) | {"gateway": gateway, "streams": streams}


def instance_exec_event(instance: Instance, command: list[str], at: float) -> dict[str, Any]:
    """Somebody runs a command beside a task; Coldchain's own."""
    return _event("instance_exec_event", at) | {
        "runSpecId": instance.app_id,
        "instanceId": instance.id,
        "command": command,
    }


def brake_changed_event(brake: Brake, at: float) -> dict[str, Any]:
    """The brake took hold or let go; Coldchain's own."""
    return _event("brake_changed_event", at) | {"holds": brake.holds, "reason": brake.reason}


def _event(kind: MarathonEventType | OwnEventType, at: float) -> dict[str, Any]:
    return {"eventType": kind, "timestamp": timestamp(at)}


def _plan(deployment: Deployment) -> dict[str, Any]:
    """The light form, without the groups before and after."""
    actions = [{"action": action, "app": deployment.app_id} for action in ACTIONS[deployment.kind]]
    return {
        "id": deployment.id,
        "version": deployment_version(deployment),
        "steps": [{"actions": [action]} for action in actions],
    }
