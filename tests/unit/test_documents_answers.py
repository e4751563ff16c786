"""Answers: what each part of them is made of. Whole documents are compared in test_golden_documents.py."""

import json
from typing import Any

import pytest
from msgspec import structs

from coldchain.documents.answers import OWN, InstanceView, app_answer, deployment_result, error_answer, task_answer
from coldchain.documents.answers import timestamp as written
from coldchain.documents.application import decode_app
from coldchain.documents.events import parent_group
from coldchain.documents.launch_queue import queue_answer
from coldchain.model.errors import ColdchainError, Conflict, InvalidDocument, NotFound, Problem
from coldchain.testing.examples import (
    APP,
    DEFINITION,
    DEPLOYMENT,
    HEALTHY,
    LAUNCHING,
    NOW,
    SERVED,
    SICK,
    STATUS,
    VERSION,
    WAITING,
    WAITS,
    view,
)

UNKNOWN = view("c", SERVED[:3])
GONE = view("f", (*SERVED, "draining", "closing", "stopping", "stopped"))
STOPPING = view("g", (*SERVED, "draining", "closing", "stopping"))
ALL = [HEALTHY, SICK, UNKNOWN, LAUNCHING, WAITING, GONE, STOPPING]


def test_timestamps_have_milliseconds_and_z() -> None:
    assert written(NOW) == "2023-11-14T22:13:20.000Z"
    assert written(NOW + 0.0625) == "2023-11-14T22:13:20.062Z"


def test_an_app_counts_its_tasks() -> None:
    answer = app_answer(VERSION, ALL, now=NOW, embed={"counts", OWN})
    counts = {name: answer[name] for name in ("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy")}
    assert counts == {"tasksStaged": 1, "tasksRunning": 3, "tasksHealthy": 1, "tasksUnhealthy": 1}
    assert answer["tasksServing"] == 2
    assert {"tasks", "lastTaskFailure", "deployments"}.isdisjoint(answer)


def test_without_health_checks_nobody_is_called_healthy() -> None:
    version = structs.replace(VERSION, app=structs.replace(APP, health_checks=()))
    answer = app_answer(version, [structs.replace(HEALTHY, health=None)], now=NOW, embed={"counts"})
    assert (answer["tasksRunning"], answer["tasksHealthy"], answer["tasksUnhealthy"]) == (1, 0, 0)


def test_instances_without_a_task_are_no_tasks() -> None:
    answer = app_answer(VERSION, ALL, now=NOW, embed={"tasks", OWN})
    states = {task["instanceId"]: task["state"] for task in answer["tasks"]}
    running = dict.fromkeys("abc", "TASK_RUNNING")
    assert states == running | {"d": "TASK_STAGING", "g": "TASK_KILLING"}
    json.dumps(answer, allow_nan=False)
    with pytest.raises(ValueError, match="scheduled and has no task"):
        task_answer(APP, WAITING)


def test_what_the_engine_says_counts() -> None:
    lost = InstanceView(instance=HEALTHY.instance, status=structs.replace(STATUS, state="lost"))
    assert task_answer(APP, lost)["state"] == "TASK_LOST"


def test_a_deletion_is_known_by_the_time_it_began() -> None:
    assert deployment_result(DEPLOYMENT) == {"deploymentId": "d-1", "version": VERSION.id}
    deletion = structs.replace(DEPLOYMENT, kind="stop", to_version=None)
    assert deployment_result(deletion)["version"] == written(NOW)


def test_fields_of_coldchain_are_shown_where_they_say_something() -> None:
    own = {"service", "routes", "drainSeconds", "settleSeconds", "deadlineSeconds", "rollbackOnFailure", "rollout"}
    assert own.isdisjoint(app_answer(VERSION, [], now=NOW))
    late = decode_app(DEFINITION | {"drainSeconds": 5, "deadlineSeconds": 9000})
    answer = app_answer(structs.replace(VERSION, app=late), [], now=NOW)
    assert own & answer.keys() == {"drainSeconds", "deadlineSeconds"}


def test_an_app_that_waits_for_its_failures_alone() -> None:
    waits = structs.replace(WAITS, delayed_until=0.0)
    answer = queue_answer(VERSION, waits, [], [], now=NOW, refused_at=NOW, offers=False)
    assert answer["delay"] == {"timeLeftSeconds": 0, "overdue": True}
    summary = answer["processedOffersSummary"]
    assert (summary["processedOffersCount"], summary["unusedOffersCount"]) == (0, 0)
    assert "lastUnusedOfferAt" not in summary
    assert "lastUnusedOffers" not in answer


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
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
            Conflict("An app with id [/shop] already exists."),
            409,
            {"message": "An app with id [/shop] already exists."},
        ),
        (NotFound("App '/x' does not exist"), 404, {"message": "App '/x' does not exist"}),
    ],
)
def test_errors(error: ColdchainError, status: int, body: dict[str, Any]) -> None:
    assert error_answer(error) == (status, body)


@pytest.mark.parametrize(("app_id", "group"), [("/shop", "/"), ("/a/shop", "/a"), ("/a/b/shop", "/a/b")])
def test_the_group_of_an_app(app_id: str, group: str) -> None:
    assert parent_group(app_id) == group
