"""Bodies of events as Marathon's clients read them. Each has `eventType` and `timestamp`."""

from typing import Any

from coldchain.decisions.placement import Refused
from coldchain.documents.answers import ACTIONS, TASK_STATES, deployment_version, overrides_answer, timestamp
from coldchain.documents.application import encode_app
from coldchain.model.app import App
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance, Phase
from coldchain.model.task import TaskStatus
from coldchain.model.version import Version

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
        "ports": list(host_ports),
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


def deployment_step_success(deployment: Deployment, at: float) -> dict[str, Any]:
    """The last step of a deployment was done."""
    plan = _plan(deployment)
    return _event("deployment_step_success", at) | {"plan": plan, "currentStep": plan["steps"][-1]}


def deployment_ended(deployment: Deployment) -> dict[str, Any]:
    """`deployment_success`, or `deployment_failed` for every other end; needs `ended_at`."""
    assert deployment.ended_at is not None, f"deployment {deployment.id} has not ended"
    kind = "deployment_success" if deployment.state == "succeeded" else "deployment_failed"
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


def _event(kind: str, at: float) -> dict[str, Any]:
    return {"eventType": kind, "timestamp": timestamp(at)}


def _plan(deployment: Deployment) -> dict[str, Any]:
    """The light form, without the groups before and after."""
    actions = [{"action": action, "app": deployment.app_id} for action in ACTIONS[deployment.kind]]
    return {
        "id": deployment.id,
        "version": deployment_version(deployment),
        "steps": [{"actions": [action]} for action in actions],
    }
