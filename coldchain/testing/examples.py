"""Nouns made by hand, with fixed ids and times, for tests that compare whole documents."""

from typing import Any

from coldchain.decisions.launch_queue import Queued
from coldchain.decisions.placement import Refused, Unused
from coldchain.documents.answers import InstanceView
from coldchain.documents.application import decode_app
from coldchain.model.deployment import Deployment
from coldchain.model.health import CheckHealth, Health, Response
from coldchain.model.instance import Instance, Phase, Transition
from coldchain.model.task import TaskFailure, TaskStatus
from coldchain.model.version import Version

NOW = 1_700_000_000.0
"""2023-11-14T22:13:20.000Z, when most of what happened did; the documents are asked for twelve seconds later."""
FIRST, CONFIG, SCALED = "2023-11-14T22:03:00.000Z", "2023-11-14T22:13:10.000Z", "2023-11-14T22:13:20.000Z"
"""The versions of the example: the first; one of another configuration; the same with more instances."""
DEFINITION: dict[str, Any] = {
    "id": "/shop",
    "cpus": 0.5,
    "mem": 64,
    "instances": 3,
    "container": {
        "type": "DOCKER",
        "docker": {"image": "shop:1"},
        "portMappings": [{"containerPort": 8080, "hostPort": 0, "servicePort": 10001, "name": "http-api"}],
    },
    "networks": [{"mode": "container/bridge"}],
    "env": {"MODE": "live"},
    "labels": {"team": "web"},
    "healthChecks": [{"path": "/health"}],
    "readinessChecks": [{"path": "/ready", "preserveLastResponse": True}],
}
APP = decode_app(DEFINITION)
VERSION = Version(app=APP, id=SCALED, config_id=CONFIG, image="sha256:1111")
CONFIG_VERSION = Version(app=decode_app(DEFINITION | {"instances": 2}), id=CONFIG, config_id=CONFIG)
FIRST_VERSION = Version(app=decode_app(DEFINITION | {"cpus": 0.25, "instances": 2}), id=FIRST, config_id=FIRST)
DEPLOYMENT = Deployment(
    id="d-1",
    app_id="/shop",
    target="cluster",
    kind="replace",
    from_version=FIRST,
    to_version=SCALED,
    started_at=NOW,
    deadline_at=NOW + 600,
    cause="replace asked for by local",
)
SERVED: tuple[Phase, ...] = ("scheduled", "launching", "starting", "entering", "serving")


def view(
    name: str, phases: tuple[Phase, ...], *checks: CheckHealth, version: str = CONFIG, began: float = NOW
) -> InstanceView:
    """An instance that came into each of the phases a second after the one before."""
    placed = "launching" in phases
    return InstanceView(
        instance=Instance(
            id=name,
            app_id="/shop",
            version_id=version,
            target="cluster",
            task_id=f"task-{name}",
            phase=phases[-1],
            since=began + len(phases) - 1,
            created_at=began,
            agent="agent-1" if placed else None,
            address="172.18.0.2" if placed else None,
            host_ports=(31000,) if placed else (),
            ports=(8080,) if placed else (),
            served="serving" in phases,
            history=tuple(
                Transition(phase=phase, at=began + at, cause=f"into {phase}") for at, phase in enumerate(phases)
            ),
        ),
        health=Health(instance_id=name, since=began, checks=checks) if checks else None,
    )


HEALTHY = view(
    "a",
    SERVED,
    CheckHealth(check="health/0", passed_in_a_row=5, ever_passed=True, at=NOW + 5),
    CheckHealth(
        check="readiness/0",
        passed_in_a_row=1,
        ever_passed=True,
        at=NOW + 3,
        response=Response(status=200, content_type="text/plain", body="ready"),
    ),
)
SICK = view(
    "b",
    SERVED,
    CheckHealth(check="health/0", failed_in_a_row=3, ever_passed=True, at=NOW + 6, detail="status 503"),
    version=FIRST,
    began=NOW - 600,
)
LAUNCHING = view("d", ("scheduled", "launching"))
WAITING = view("e", ("scheduled",))
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
STATUS = TaskStatus(
    task_id="task-a",
    instance_id="a",
    app_id="/shop",
    target="cluster",
    agent="agent-1",
    state="running",
    at=NOW,
    address="172.18.0.2",
    ports=(8080,),
    message="container started",
)
WAITS = Queued(count=2, since=NOW, delayed_until=NOW + 9.2)
REFUSED = Refused(
    instance_id="e",
    app_id="/shop",
    agents=4,
    reasons={"InsufficientMemory": 3, "InsufficientCpus": 1, "UnfulfilledTarget": 1},
    sifted={"InsufficientCpus": 1, "InsufficientMemory": 2, "UnfulfilledTarget": 1},
    unused=(Unused(agent="agent-9", cpus=0.5, mem=64.0, disk=10.0, reasons=("InsufficientCpus", "UnfulfilledTarget")),),
)
