"""Deployments of several apps as clients read them, and what is told of them, written by hand from Marathon's facts."""

import msgspec

from coldchain.documents.group_answers import (
    group_begun,
    group_deployment_answer,
    group_ended,
    group_went_on,
    step_number,
)
from coldchain.model.deployment import Deployment
from coldchain.model.group import GroupAction, GroupDeployment

AT = 1_700_000_000.0
NOON = "2023-11-14T22:13:20.000Z"


def step(action: str, *apps: str) -> tuple[GroupAction, ...]:
    return tuple(GroupAction(action=action, app=app) for app in apps)  # type: ignore[arg-type]


GROUP = GroupDeployment(
    id="d1",
    group_id="/shop",
    target="cluster",
    kind="change",
    version="2023-11-14T22:13:20.001Z",
    steps=(
        step("StopApplication", "/shop/old"),
        step("StartApplication", "/shop/new"),
        step("RestartApplication", "/shop/db"),
        step("ScaleApplication", "/shop/new", "/shop/web"),
    ),
    members={name: name for name in ("/shop/db", "/shop/new", "/shop/old", "/shop/web")},
    started_at=AT,
    cause="change of group /shop asked for by local",
)
STEPS = [
    {"actions": [{"action": "StopApplication", "app": "/shop/old"}]},
    {"actions": [{"action": "StartApplication", "app": "/shop/new"}]},
    {"actions": [{"action": "RestartApplication", "app": "/shop/db"}]},
    {
        "actions": [
            {"action": "ScaleApplication", "app": "/shop/new"},
            {"action": "ScaleApplication", "app": "/shop/web"},
        ]
    },
]
PLAN = {"id": "d1", "version": "2023-11-14T22:13:20.001Z", "steps": STEPS}


def member(**fields: object) -> Deployment:
    given: dict[str, object] = {
        "id": "m",
        "app_id": "/shop/db",
        "target": "cluster",
        "kind": "replace",
        "from_version": None,
        "to_version": "2",
        "started_at": AT,
        "deadline_at": AT + 60.0,
        "cause": "c",
        "part_of": "d1",
    }
    return Deployment(**(given | fields))  # type: ignore[arg-type]


def test_a_deployment_of_several_apps_as_marathons_clients_read_it() -> None:
    waiting = member(app_id="/shop/web", deadline_at=AT + 5.0, paused_by="dependency", paused_at=AT)
    shown = group_deployment_answer(msgspec.structs.replace(GROUP, layers_done=1), [member(), waiting])
    assert {name: shown[name] for name in list(shown)[:8]} == {
        "id": "d1",
        "version": "2023-11-14T22:13:20.001Z",
        "affectedApps": ["/shop/db", "/shop/new", "/shop/old", "/shop/web"],
        "affectedPods": [],
        "steps": STEPS,
        "currentActions": [{"action": "RestartApplication", "app": "/shop/db", "readinessCheckResults": []}],
        "currentStep": 3,
        "totalSteps": 4,
    }
    assert (shown["deadlineAt"], shown["pausedBy"]) == ("2023-11-14T22:14:20.000Z", None), "who waits has no limit yet"
    held = group_deployment_answer(GROUP, [member(paused_by="plan", paused_at=AT)])
    assert (held["pausedBy"], held["pausedAt"]) == ("plan", NOON)


def test_the_step_that_it_is_in() -> None:
    assert [step_number(msgspec.structs.replace(GROUP, layers_done=done)) for done in range(4)] == [1, 3, 4, 4]
    without_stops = msgspec.structs.replace(GROUP, steps=GROUP.steps[1:])
    assert step_number(without_stops) == 2, "nothing is started yet by StartApplication, and so nothing waited for"
    assert step_number(msgspec.structs.replace(GROUP, steps=())) == 0


def test_its_beginning_is_told_with_the_change_of_the_group() -> None:
    changed, info = group_begun(GROUP)
    assert changed == {
        "eventType": "group_change_success",
        "timestamp": NOON,
        "groupId": "/shop",
        "version": "2023-11-14T22:13:20.001Z",
    }
    assert info == {"eventType": "deployment_info", "timestamp": NOON, "plan": PLAN, "currentStep": STEPS[0]}
    *_, started = group_begun(msgspec.structs.replace(GROUP, steps=GROUP.steps[1:]))
    assert (started["eventType"], started["currentStep"]) == ("deployment_step_success", STEPS[1])


def test_each_step_is_told_once() -> None:
    told: list[dict[str, object]] = []
    before = GROUP
    for done in (1, 2, 3):
        after = msgspec.structs.replace(before, layers_done=done)
        if done == 3:
            after = msgspec.structs.replace(after, state="succeeded", ended_at=AT)
        told += group_went_on(before, after, AT)
        before = after
    assert [one["currentStep"] for one in told[:-1]] == STEPS
    assert {str(one["eventType"]) for one in told[:-1]} == {"deployment_step_success"}
    assert told[-1] == {
        "eventType": "deployment_success",
        "timestamp": NOON,
        "id": "d1",
        "plan": PLAN,
        "state": "succeeded",
        "reason": "",
    }


def test_its_failure_is_told_with_its_step_and_its_reason() -> None:
    failed = msgspec.structs.replace(GROUP, layers_done=1, state="failed", ended_at=AT, reason="/shop/db: deadline")
    of_the_step, whole = group_ended(failed)
    assert (of_the_step["eventType"], of_the_step["currentStep"]) == ("deployment_step_failure", STEPS[2])
    assert (whole["eventType"], whole["reason"], whole["state"]) == (
        "deployment_failed",
        "/shop/db: deadline",
        "failed",
    )
    assert group_went_on(msgspec.structs.replace(GROUP, layers_done=1), failed, AT) == [of_the_step, whole]


def test_a_pause_is_told_by_whom_and_when_it_is_over() -> None:
    held = msgspec.structs.replace(GROUP, paused_at=AT)
    [paused] = group_went_on(GROUP, held, AT)
    [resumed] = group_went_on(held, GROUP, AT)
    assert (paused["eventType"], paused["id"], paused["pausedBy"]) == ("deployment_paused", "d1", "operator")
    assert (resumed["eventType"], resumed["pausedBy"]) == ("deployment_resumed", None)
