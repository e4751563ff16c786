"""Answers and events: the forms that Marathon's clients read."""

import json
from typing import Any

import pytest
from msgspec import structs

from coldchain.documents import events
from coldchain.documents.answers import (
    OWN,
    InstanceView,
    app_answer,
    deployment_answer,
    deployment_result,
    error_answer,
    failure_answer,
    task_answer,
    timestamp,
)
from coldchain.documents.application import decode_app
from coldchain.model.deployment import Deployment
from coldchain.model.errors import Conflict, InvalidDocument, MalformedDocument, NotFound, Problem, Unavailable
from coldchain.model.health import CheckHealth, Health
from coldchain.model.instance import Instance, Phase, Transition
from coldchain.model.task import TaskFailure, TaskStatus
from coldchain.model.version import Version

NOW = 1_700_000_000.0
CONFIG, SCALED = "2023-11-14T22:13:10.000Z", "2023-11-14T22:13:20.000Z"
APP = decode_app(
    {
        "id": "/shop",
        "instances": 3,
        "container": {
            "docker": {"image": "shop:1"},
            "portMappings": [{"containerPort": 8080, "hostPort": 0, "servicePort": 10001}],
        },
        "healthChecks": [{}],
    }
)
VERSION = Version(app=APP, id=SCALED, config_id=CONFIG)
DEPLOYMENT = Deployment(
    id="d-1",
    app_id="/shop",
    target="cluster",
    kind="replace",
    from_version=CONFIG,
    to_version=SCALED,
    started_at=NOW,
    deadline_at=NOW + 600,
    cause="local",
)


def instance(name: str, phase: Phase) -> Instance:
    steps: tuple[Phase, ...] = ("scheduled", "launching", "starting", "entering", "serving", "draining")
    lived = steps[: steps.index(phase) + 1] if phase in steps else (*steps, phase)
    return Instance(
        id=name,
        app_id="/shop",
        version_id=CONFIG,
        target="cluster",
        task_id=f"task-{name}",
        phase=phase,
        since=NOW + 9,
        created_at=NOW,
        agent="agent-1",
        address="172.18.0.2",
        host_ports=(31000,),
        ports=(8080,),
        history=tuple(Transition(phase=step, at=NOW + at, cause=f"into {step}") for at, step in enumerate(lived)),
    )


def health(name: str, **fields: Any) -> Health:
    return Health(instance_id=name, since=NOW, checks=(CheckHealth(check="health/0", **fields),))


HEALTHY = InstanceView(
    instance=instance("a", "serving"), health=health("a", passed_in_a_row=5, ever_passed=True, at=NOW + 5)
)
SICK = InstanceView(
    instance=instance("b", "serving"),
    health=health("b", failed_in_a_row=3, ever_passed=True, at=NOW + 6, detail="status 503"),
)
UNKNOWN = InstanceView(instance=instance("c", "starting"))
LAUNCHING = InstanceView(instance=instance("d", "launching"))
WAITING = InstanceView(instance=instance("e", "scheduled"))
GONE = InstanceView(instance=instance("f", "stopped"))
STOPPING = InstanceView(instance=instance("g", "stopping"))
ALL = [HEALTHY, SICK, UNKNOWN, LAUNCHING, WAITING, GONE, STOPPING]


def test_timestamps_have_milliseconds_and_z() -> None:
    assert timestamp(NOW) == "2023-11-14T22:13:20.000Z"
    assert timestamp(NOW + 0.0625) == "2023-11-14T22:13:20.062Z"


def test_an_app_counts_its_tasks() -> None:
    answer = app_answer(VERSION, ALL, now=NOW, embed={"counts", "deployments", OWN}, deployments=[DEPLOYMENT])
    counts = {name: answer[name] for name in ("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy")}
    assert counts == {"tasksStaged": 1, "tasksRunning": 3, "tasksHealthy": 1, "tasksUnhealthy": 1}
    assert answer["tasksServing"] == 2
    assert answer["deployments"] == [{"id": "d-1"}]
    assert answer["version"] == SCALED
    assert answer["versionInfo"] == {"lastScalingAt": SCALED, "lastConfigChangeAt": CONFIG}
    assert (answer["id"], answer["instances"]) == ("/shop", 3)
    assert "tasks" not in answer
    assert "lastTaskFailure" not in answer


def test_without_health_checks_nobody_is_called_healthy() -> None:
    version = structs.replace(VERSION, app=structs.replace(APP, health_checks=()))
    answer = app_answer(version, [structs.replace(HEALTHY, health=None)], now=NOW, embed={"counts"})
    assert (answer["tasksRunning"], answer["tasksHealthy"], answer["tasksUnhealthy"]) == (1, 0, 0)


def test_tasks_are_embedded_on_demand() -> None:
    answer = app_answer(VERSION, ALL, now=NOW, embed={"tasks", OWN})
    assert [task["instanceId"] for task in answer["tasks"]] == ["a", "b", "c", "d", "g"]
    assert [task["state"] for task in answer["tasks"]] == [
        "TASK_RUNNING",
        "TASK_RUNNING",
        "TASK_RUNNING",
        "TASK_STAGING",
        "TASK_KILLING",
    ]
    json.dumps(answer, allow_nan=False)


def test_a_task() -> None:
    assert task_answer(APP, HEALTHY) == {
        "id": "task-a",
        "appId": "/shop",
        "instanceId": "a",
        "host": "agent-1",
        "slaveId": "agent-1",
        "ipAddresses": [{"ipAddress": "172.18.0.2", "protocol": "IPv4"}],
        "ports": [31000],
        "servicePorts": [10001],
        "state": "TASK_RUNNING",
        "version": CONFIG,
        "stagedAt": "2023-11-14T22:13:21.000Z",
        "startedAt": "2023-11-14T22:13:22.000Z",
        "healthCheckResults": [
            {
                "instanceId": "a",
                "taskId": "task-a",
                "alive": True,
                "consecutiveFailures": 0,
                "lastSuccess": "2023-11-14T22:13:25.000Z",
                "lastFailure": None,
                "lastFailureCause": None,
                "check": "health/0",
            }
        ],
        "localVolumes": [],
        "phase": "serving",
        "phaseSince": "2023-11-14T22:13:29.000Z",
        "endpoints": ["172.18.0.2:8080"],
        "cause": "into serving",
    }


def test_a_sick_task_says_why() -> None:
    (result,) = task_answer(APP, SICK)["healthCheckResults"]
    assert (result["alive"], result["consecutiveFailures"]) == (False, 3)
    assert (result["lastFailure"], result["lastFailureCause"]) == ("2023-11-14T22:13:26.000Z", "status 503")


def test_a_task_that_nothing_is_known_of() -> None:
    answer = task_answer(APP, LAUNCHING)
    assert "startedAt" not in answer
    assert answer["healthCheckResults"] == []
    with pytest.raises(ValueError, match="scheduled and has no task"):
        task_answer(APP, WAITING)


def test_what_the_engine_says_counts() -> None:
    status = TaskStatus(
        task_id="task-a", instance_id="a", app_id="/shop", target="cluster", agent="agent-1", state="lost", at=NOW
    )
    assert task_answer(APP, structs.replace(HEALTHY, status=status))["state"] == "TASK_LOST"


def test_a_failure() -> None:
    failure = TaskFailure(
        target="cluster",
        app_id="/shop",
        task_id="t",
        instance_id="a",
        version_id=CONFIG,
        agent="agent-1",
        state="failed",
        at=NOW,
        exit_status=137,
        message="killed: out of memory",
        log_tail=("one", "two"),
    )
    answer = app_answer(VERSION, [], now=NOW, embed={"lastTaskFailure", OWN}, last_failure=failure)["lastTaskFailure"]
    assert answer == failure_answer(failure)
    assert (answer["state"], answer["exitStatus"], answer["logTail"]) == ("TASK_FAILED", 137, ["one", "two"])
    assert (answer["host"], answer["timestamp"]) == ("agent-1", timestamp(NOW))


def test_a_deployment() -> None:
    answer = deployment_answer(DEPLOYMENT)
    assert answer["steps"] == [{"actions": [{"action": "RestartApplication", "app": "/shop"}]}]
    assert answer["currentActions"] == [
        {"action": "RestartApplication", "app": "/shop", "readinessCheckResults": []},
    ]
    assert (answer["currentStep"], answer["totalSteps"]) == (1, 1)
    assert (answer["affectedApps"], answer["version"]) == (["/shop"], SCALED)
    assert (answer["state"], answer["reason"], answer["endedAt"]) == ("running", "", None)
    assert answer["deadlineAt"] == timestamp(NOW + 600)
    assert deployment_result(DEPLOYMENT) == {"deploymentId": "d-1", "version": SCALED}


def test_a_deletion_is_known_by_the_time_it_began() -> None:
    deletion = structs.replace(DEPLOYMENT, kind="stop", to_version=None)
    assert deployment_result(deletion)["version"] == timestamp(NOW)


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            MalformedDocument("line 1, column 2: expecting value", todo="Send one JSON document"),
            400,
            {"message": "Invalid JSON", "details": "line 1, column 2: expecting value. Send one JSON document"},
        ),
        (
            InvalidDocument(
                [
                    Problem(path="/instancs", reason="is not a field", suggestion="instances"),
                    Problem(path="", reason="needs a container"),
                    Problem(path="/instancs", reason="again"),
                ]
            ),
            422,
            {
                "message": "Object is not valid",
                "details": [
                    {"path": "/instancs", "errors": ["is not a field (did you mean 'instances'?)", "again"]},
                    {"path": "/", "errors": ["needs a container"]},
                ],
            },
        ),
        (
            Conflict("App is locked by one or more deployments.", deployments=["d-1"]),
            409,
            {"message": "App is locked by one or more deployments.", "deployments": [{"id": "d-1"}]},
        ),
        (
            Conflict("An app with id [/shop] already exists."),
            409,
            {"message": "An app with id [/shop] already exists."},
        ),
        (NotFound("App '/x' does not exist"), 404, {"message": "App '/x' does not exist"}),
        (Unavailable("Docker does not answer", todo="Start it"), 503, {"message": "Docker does not answer. Start it"}),
    ],
)
def test_errors(error: Any, status: int, body: dict[str, Any]) -> None:
    assert error_answer(error) == (status, body)


ENDED = structs.replace(DEPLOYMENT, state="failed", reason="deadline passed", ended_at=NOW + 600)
STATUS = TaskStatus(
    task_id="task-a",
    instance_id="a",
    app_id="/shop",
    target="cluster",
    agent="agent-1",
    state="running",
    at=NOW,
    address="172.18.0.2",
)
EVENTS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    (
        events.status_update_event(STATUS, CONFIG, (31000,)),
        "status_update_event",
        {"taskStatus": "TASK_RUNNING", "slaveId": "agent-1", "ports": [31000], "version": CONFIG, "host": "agent-1"},
    ),
    (
        events.health_status_changed_event(HEALTHY.instance, True, NOW),
        "health_status_changed_event",
        {"appId": "/shop", "instanceId": "a", "version": CONFIG, "alive": True},
    ),
    (
        events.instance_changed_event(structs.replace(STOPPING.instance, since=NOW)),
        "instance_changed_event",
        {"condition": "Killing", "runSpecId": "/shop", "instanceId": "g", "cause": "into stopping"},
    ),
    (
        events.instance_health_changed_event(SICK.instance, None, NOW),
        "instance_health_changed_event",
        {"healthy": None, "runSpecVersion": CONFIG},
    ),
    (events.deployment_info(DEPLOYMENT), "deployment_info", {}),
    (
        events.deployment_ended(structs.replace(DEPLOYMENT, state="succeeded", ended_at=NOW)),
        "deployment_success",
        {"id": "d-1"},
    ),
    (
        events.deployment_ended(structs.replace(ENDED, ended_at=NOW)),
        "deployment_failed",
        {"id": "d-1", "reason": "deadline passed"},
    ),
    (events.app_terminated_event("/shop", NOW), "app_terminated_event", {"appId": "/shop"}),
    (
        events.api_post_event(APP, "/v2/apps", "127.0.0.1", NOW),
        "api_post_event",
        {"clientIp": "127.0.0.1", "uri": "/v2/apps"},
    ),
]


@pytest.mark.parametrize(("body", "kind", "members"), EVENTS)
def test_events(body: dict[str, Any], kind: str, members: dict[str, Any]) -> None:
    assert (body["eventType"], body["timestamp"]) == (kind, timestamp(NOW))
    assert {name: body[name] for name in members} == members
    json.dumps(body, allow_nan=False)


def test_a_deployment_event_has_the_light_plan() -> None:
    body = events.deployment_info(DEPLOYMENT)
    steps = [{"actions": [{"action": "RestartApplication", "app": "/shop"}]}]
    assert body["plan"] == {"id": "d-1", "version": SCALED, "steps": steps}
    assert body["currentStep"] == steps[0]
