"""What Marathon's clients are answered, whole: written by hand from Marathon's documentation, never recorded from
what is answered. Clients in Python refuse fields that they do not know, so that nothing may be there beside."""

from typing import Any

from msgspec import structs

from coldchain.decisions.launch_queue import Queued
from coldchain.decisions.placement import Refused, Unused
from coldchain.documents.answers import InstanceView, app_answer, failure_answer, task_answer
from coldchain.documents.application import decode_app
from coldchain.documents.launch_queue import queue_answer
from coldchain.model.deployment import Deployment
from coldchain.model.health import CheckHealth, Health
from coldchain.model.instance import Instance, Phase, Transition
from coldchain.model.task import TaskFailure
from coldchain.model.version import Version

NOW = 1_700_000_000.0
CONFIG, SCALED = "2023-11-14T22:13:10.000Z", "2023-11-14T22:13:20.000Z"
DEFINITION: dict[str, Any] = {
    "id": "/shop",
    "cmd": None,
    "instances": 3,
    "container": {
        "type": "DOCKER",
        "docker": {"image": "shop:1"},
        "portMappings": [{"containerPort": 8080, "hostPort": 0, "servicePort": 10001, "name": "http-api"}],
    },
    "labels": {"team": "web"},
    "healthChecks": [{"path": "/health"}],
    "readinessChecks": [{"path": "/ready"}],
}
APP = decode_app(DEFINITION)
VERSION = Version(app=APP, id=SCALED, config_id=CONFIG)


def view(name: str, phases: tuple[Phase, ...], **health: Any) -> InstanceView:
    """An instance that came into each of the phases a second after the one before."""
    check = CheckHealth(check="health/0", **health)
    return InstanceView(
        instance=Instance(
            id=name,
            app_id="/shop",
            version_id=CONFIG,
            target="cluster",
            task_id=f"task-{name}",
            phase=phases[-1],
            since=NOW + len(phases),
            created_at=NOW,
            agent="agent-1",
            address="172.18.0.2",
            host_ports=(31000,),
            ports=(8080,),
            history=tuple(Transition(phase=phase, at=NOW + at, cause="it is time") for at, phase in enumerate(phases)),
        ),
        health=Health(instance_id=name, since=NOW, checks=(check,)) if health else None,
    )


SERVED: tuple[Phase, ...] = ("scheduled", "launching", "starting", "entering", "serving")
HEALTHY = view("a", SERVED, passed_in_a_row=5, ever_passed=True, at=NOW + 5)
SICK = view("b", SERVED, failed_in_a_row=3, ever_passed=True, at=NOW + 6, detail="status 503")
LAUNCHING = view("d", ("scheduled", "launching"))
TASK = {
    "id": "task-a",
    "appId": "/shop",
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
        }
    ],
    "localVolumes": [],
}
FAILURE = TaskFailure(
    app_id="/shop",
    target="cluster",
    task_id="task-z",
    instance_id="z",
    version_id=CONFIG,
    agent="agent-1",
    state="failed",
    at=NOW,
    exit_status=137,
    message="out of memory",
    log_tail=("one",),
)
LAST_TASK_FAILURE = {
    "appId": "/shop",
    "host": "agent-1",
    "slaveId": "agent-1",
    "message": "out of memory",
    "state": "TASK_FAILED",
    "taskId": "task-z",
    "instanceId": "z",
    "timestamp": "2023-11-14T22:13:20.000Z",
    "version": CONFIG,
}


def test_a_task() -> None:
    assert task_answer(APP, HEALTHY, own=False) == TASK


def test_the_last_failure() -> None:
    assert failure_answer(FAILURE, own=False) == LAST_TASK_FAILURE


def test_what_is_embedded_in_an_app() -> None:
    deployment = Deployment(
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
    everything = {"tasks", "counts", "deployments", "readiness", "lastTaskFailure", "taskStats"}
    old = structs.replace(SICK, instance=structs.replace(SICK.instance, version_id="2023-11-14T22:00:00.000Z"))
    views = [HEALTHY, old, LAUNCHING]
    alone = app_answer(VERSION, views, now=NOW + 12)
    answer = app_answer(VERSION, views, now=NOW + 12, embed=everything, deployments=[deployment], last_failure=FAILURE)
    tasks = answer.pop("tasks")
    assert tasks[0] == TASK
    assert [task["state"] for task in tasks] == ["TASK_RUNNING", "TASK_RUNNING", "TASK_STAGING"]
    life = {"averageSeconds": 10.0, "medianSeconds": 10.0}

    def stats(staged: int, running: int, healthy: int, unhealthy: int, **times: Any) -> dict[str, Any]:
        counts = {"staged": staged, "running": running, "healthy": healthy, "unhealthy": unhealthy}
        return {"stats": {"counts": counts, **times}}

    assert answer == alone | {
        "tasksStaged": 1,
        "tasksRunning": 2,
        "tasksHealthy": 1,
        "tasksUnhealthy": 1,
        "deployments": [{"id": "d-1"}],
        "readinessCheckResults": [],
        "lastTaskFailure": LAST_TASK_FAILURE,
        "taskStats": {
            "startedAfterLastScaling": stats(1, 2, 1, 1, lifeTime=life),
            "withLatestConfig": stats(1, 1, 1, 0, lifeTime=life),
            "withOutdatedConfig": stats(0, 1, 0, 1, lifeTime=life),
            "totalSummary": stats(1, 2, 1, 1, lifeTime=life),
        },
    }


WAITS = Queued(count=2, since=NOW, delayed_until=NOW + 9.2)
REFUSED = Refused(
    instance_id="e",
    app_id="/shop",
    agents=4,
    reasons={"InsufficientMemory": 3, "InsufficientCpus": 1, "UnfulfilledTarget": 1},
    sifted={"InsufficientCpus": 1, "InsufficientMemory": 2, "UnfulfilledTarget": 1},
    unused=(Unused(agent="agent-9", cpus=0.5, mem=64.0, disk=10.0, reasons=("InsufficientCpus", "UnfulfilledTarget")),),
)


def step(reason: str, declined: int, processed: int) -> dict[str, Any]:
    return {"reason": reason, "declined": declined, "processed": processed}


def test_an_app_that_waits() -> None:
    steps = [
        step("UnfulfilledRole", 1, 4),
        step("UnfulfilledConstraint", 0, 3),
        step("NoCorrespondingReservationFound", 0, 3),
        step("AgentMaintenance", 0, 3),
        step("InsufficientCpus", 1, 3),
        step("InsufficientMemory", 2, 2),
        step("InsufficientDisk", 0, 0),
        step("InsufficientGpus", 0, 0),
        step("InsufficientPorts", 0, 0),
        step("DeclinedScarceResources", 0, 0),
    ]
    given = {"now": NOW, "refused_at": NOW + 1}
    answer = queue_answer(VERSION, WAITS, [HEALTHY.instance], [REFUSED], offers=True, **given)  # type: ignore[arg-type]
    assert answer == {
        "app": app_answer(VERSION, [], now=NOW),
        "count": 2,
        "delay": {"timeLeftSeconds": 10, "overdue": False},
        "since": "2023-11-14T22:13:20.000Z",
        "processedOffersSummary": {
            "processedOffersCount": 4,
            "unusedOffersCount": 4,
            "lastUnusedOfferAt": "2023-11-14T22:13:21.000Z",
            "lastUsedOfferAt": "2023-11-14T22:13:21.000Z",
            "rejectSummaryLastOffers": steps,
            "rejectSummaryLaunchAttempt": steps,
        },
        "lastUnusedOffers": [
            {
                "offer": {
                    "id": "agent-9",
                    "agentId": "agent-9",
                    "hostname": "agent-9",
                    "resources": [
                        {"name": "cpus", "role": "*", "scalar": 0.5},
                        {"name": "mem", "role": "*", "scalar": 64.0},
                        {"name": "disk", "role": "*", "scalar": 10.0},
                    ],
                    "attributes": [],
                },
                "reason": ["InsufficientCpus", "UnfulfilledRole"],
                "timestamp": "2023-11-14T22:13:21.000Z",
            }
        ],
    }


def test_an_app_that_waits_for_its_failures_alone() -> None:
    waits = structs.replace(WAITS, delayed_until=0.0)
    answer = queue_answer(VERSION, waits, [], [], now=NOW, refused_at=NOW, offers=False)
    assert answer["delay"] == {"timeLeftSeconds": 0, "overdue": True}
    summary = answer["processedOffersSummary"]
    assert {name: summary[name] for name in ("processedOffersCount", "unusedOffersCount")} == {
        "processedOffersCount": 0,
        "unusedOffersCount": 0,
    }
    assert "lastUnusedOfferAt" not in summary
    assert "lastUnusedOffers" not in answer


def test_fields_of_coldchain_are_shown_where_they_say_something() -> None:
    own = {"service", "routes", "drainSeconds", "settleSeconds", "deadlineSeconds", "rollbackOnFailure", "rollout"}
    assert own.isdisjoint(app_answer(VERSION, [], now=NOW))
    late = decode_app(DEFINITION | {"drainSeconds": 5, "deadlineSeconds": 9000})
    answer = app_answer(structs.replace(VERSION, app=late), [], now=NOW)
    assert own & answer.keys() == {"drainSeconds", "deadlineSeconds"}
    assert own - {"service"} <= app_answer(VERSION, [], now=NOW, embed={"coldchain"}).keys()
