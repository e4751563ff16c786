"""What the API answers about groups and their deployments, and the bodies of their events: Marathon's JSON.

Everything here is a pure function of nouns and returns plain objects, ready for JSON. A group deployment is shown once,
with all apps that it changes; its members are shown only to whoever asks for them by their ids.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from coldchain.decisions.dependency import group_ids, parent
from coldchain.documents.answers import timestamp
from coldchain.model.deployment import Deployment
from coldchain.model.group import ROOT, Group, GroupDeployment, GroupStep

GROUP_EMBEDS = frozenset({"groups", "apps", "pods"})
"""What a group's answer can have beside its own fields; `group.apps.tasks` and its like are embedded in the apps."""


def steps_answer(steps: Iterable[GroupStep]) -> list[dict[str, Any]]:
    """The steps of a plan."""
    return [_step(step) for step in steps]


def _step(step: GroupStep) -> dict[str, Any]:
    return {"actions": [{"action": one.action, "app": one.app} for one in step]}


def step_number(group: GroupDeployment) -> int:
    """The step that it is in, from 1; the last once it has ended well, 0 where there is none."""
    layers = [number for number, step in enumerate(group.steps, start=1) if step[0].action != "StartApplication"]
    return layers[min(group.layers_done, len(layers) - 1)] if layers else 0


def group_deployment_answer(group: GroupDeployment, members: Sequence[Deployment] = ()) -> dict[str, Any]:
    """As Marathon's clients read a deployment, and Coldchain's own beside. `members`: those of it that run."""
    number = step_number(group)
    paused = [one for one in members if one.paused_by not in (None, "dependency")]
    paused_by = "operator" if group.paused_at is not None else paused[0].paused_by if paused else None
    paused_at = group.paused_at if group.paused_at is not None else paused[0].paused_at if paused else None
    begun = [one for one in members if one.paused_by != "dependency"]
    deadline_at = min((one.deadline_at for one in begun), default=None)
    actions = _step(group.steps[number - 1])["actions"] if number else []
    return {
        "id": group.id,
        "version": group.version,
        "affectedApps": sorted(group.members),
        "affectedPods": [],
        "steps": steps_answer(group.steps),
        "currentActions": [{**one, "readinessCheckResults": []} for one in actions] if group.running else [],
        "currentStep": number,
        "totalSteps": len(group.steps),
        "target": group.target,
        "group": group.group_id,
        "kind": group.kind,
        "state": group.state,
        "reason": group.reason,
        "cause": group.cause,
        "fromVersion": None,
        "toVersion": group.version,
        "rollbackOf": group.rollback_of,
        "startedAt": timestamp(group.started_at),
        "pausedBy": paused_by,
        "pausedAt": None if paused_at is None else timestamp(paused_at),
        "resumesAt": None,
        "stepsDone": group.layers_done,
        "deadlineAt": None if deadline_at is None else timestamp(deadline_at),
        "endedAt": None if group.ended_at is None else timestamp(group.ended_at),
    }


def group_answer(
    group_id: str,
    apps: Collection[str],
    groups: Mapping[str, Group],
    *,
    version_of: Callable[[str], str],
    app_answer: Callable[[str], dict[str, Any]],
    embed: Collection[str] = GROUP_EMBEDS,
) -> dict[str, Any]:
    """A group with what `embed` names of GROUP_EMBEDS. `apps`, `groups`: all of the platform."""
    apps_in: dict[str, list[str]] = {}
    for name in sorted(apps):
        apps_in.setdefault(parent(name), []).append(name)
    groups_in: dict[str, list[str]] = {}
    for name in sorted(group_ids(apps, groups) - {ROOT}):
        groups_in.setdefault(parent(name), []).append(name)

    def shown(name: str) -> dict[str, Any]:
        own = groups.get(name)
        answer: dict[str, Any] = {"id": name, "version": version_of(name)}
        answer["dependencies"] = list(own.dependencies) if own else []
        if "apps" in embed:
            answer["apps"] = [app_answer(one) for one in apps_in.get(name, ())]
        if "pods" in embed:
            answer["pods"] = []
        if "groups" in embed:
            answer["groups"] = [shown(one) for one in groups_in.get(name, ())]
        return answer

    return shown(group_id)


# Events


def _event(kind: str, at: float, **body: Any) -> dict[str, Any]:
    return {"eventType": kind, "timestamp": timestamp(at), **body}


def _plan(group: GroupDeployment) -> dict[str, Any]:
    """The light form, without the groups before and after."""
    return {"id": group.id, "version": group.version, "steps": steps_answer(group.steps)}


def group_begun(group: GroupDeployment) -> list[dict[str, Any]]:
    """`group_change_success`, `deployment_info`, and the step that was done with its beginning."""
    first = _step(group.steps[0]) if group.steps else {"actions": []}
    changed = group_change_success(group.group_id, group.version, group.started_at)
    info = _event("deployment_info", group.started_at, plan=_plan(group), currentStep=first)
    done = [] if group.ended_at is not None else steps_done(group, 0, max(0, step_number(group) - 1), group.started_at)
    return [changed, info, *done]


def steps_done(group: GroupDeployment, first: int, last: int, at: float) -> list[dict[str, Any]]:
    """`deployment_step_success` for the steps from `first` (from 0) up to before `last`."""
    return [
        _event("deployment_step_success", at, plan=_plan(group), currentStep=_step(step))
        for step in group.steps[first:last]
    ]


def group_went_on(before: GroupDeployment, after: GroupDeployment, at: float) -> list[dict[str, Any]]:
    """What is to be told of a group deployment that has changed: steps done, a pause begun or over, its end."""
    last = len(after.steps) if after.state == "succeeded" else step_number(after) - 1
    found = steps_done(after, max(0, step_number(before) - 1), last, at)
    if after.running and (before.paused_at is None) != (after.paused_at is None):
        kind = "deployment_paused" if after.paused_at is not None else "deployment_resumed"
        body = {"id": after.id, "appId": None, "pausedBy": "operator" if after.paused_at is not None else None}
        found.append(_event(kind, at, **body, resumesAt=None, stepsDone=after.layers_done))
    if not after.running:
        found += group_ended(after)
    return found


def group_ended(group: GroupDeployment) -> list[dict[str, Any]]:
    """`deployment_success`, or the failure of its step and `deployment_failed` for every other end."""
    assert group.ended_at is not None, f"group deployment {group.id} has not ended"
    at, plan = group.ended_at, _plan(group)
    end = {"id": group.id, "plan": plan, "state": group.state, "reason": group.reason}
    if group.state == "succeeded":
        return [_event("deployment_success", at, **end)]
    step = _step(group.steps[step_number(group) - 1])
    return [
        _event("deployment_step_failure", at, plan=plan, currentStep=step, reason=group.reason),
        _event("deployment_failed", at, **end),
    ]


def group_change_success(group_id: str, version: str, at: float) -> dict[str, Any]:
    """A change of a group was taken; what it leads to is told of its deployment."""
    return _event("group_change_success", at, groupId=group_id, version=version)


def group_change_failed(group_id: str, version: str, reason: str, at: float) -> dict[str, Any]:
    """A change of a group was refused, and nothing of it was done."""
    return _event("group_change_failed", at, groupId=group_id, version=version, reason=reason)
