"""engines/executor: what an agent hands down and says, and what it is told."""

import base64
import uuid
from typing import Any

import pytest

from coldchain.decisions.executor import KillAsked, LaunchAsked, LaunchRefused, Update, UpdateKept
from coldchain.documents.executor_messages import decode, encode, encode_task
from coldchain.engines.executor.environment import duration_seconds, read_environment
from coldchain.engines.executor.statuses import happening_of, refusals_of_group, update_document
from coldchain.main.executor import is_frozen_by_agent
from coldchain.model.errors import Rejected
from coldchain.model.executor import TaskDescription, TaskReport
from coldchain.model.task import TaskStatus
from coldchain.testing.engine_labs import make_spec

RUN = b"abcdef"
SANDBOX = "/var/lib/mesos/slaves/a-S0/frameworks/f-0000/executors/coldchain-1/runs/1f-2e"
VARIABLES = {
    "MESOS_SANDBOX": SANDBOX,
    "MESOS_SLAVE_PID": "slave(2)@10.0.0.7:5051",
    "MESOS_AGENT_ENDPOINT": "10.0.0.7:5051",
    "MESOS_FRAMEWORK_ID": "f-0000",
    "MESOS_EXECUTOR_ID": "coldchain-1",
    "MESOS_CHECKPOINT": "1",
    "MESOS_RECOVERY_TIMEOUT": "15mins",
    "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
}
STATUS = TaskStatus(
    task_id="shop.1",
    instance_id="shop",
    app_id="/shop",
    target="cluster",
    agent="agent-1",
    state="running",
    at=12.5,
    address="10.201.0.9",
)


def test_what_an_agent_hands_down() -> None:
    environment = read_environment(VARIABLES)
    assert environment.url == "http://10.0.0.7:5051/slave(2)/api/v1/executor"
    assert (environment.address, environment.life) == ("10.0.0.7", "coldchain-1:1f-2e")
    assert str(environment.work_folder) == "/var/lib/mesos"
    assert (environment.checkpoint, environment.recovery_seconds, environment.backoff_seconds_max) == (True, 900.0, 2.0)
    assert environment.token == ""
    more = {"LIBPROCESS_SSL_ENABLED": "true", "MESOS_EXECUTOR_AUTHENTICATION_TOKEN": "t", "MESOS_CHECKPOINT": "0"}
    other = read_environment(VARIABLES | more)
    assert (other.url[:8], other.token, other.checkpoint) == ("https://", "t", False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MESOS_SANDBOX": None}, "it has no MESOS_SANDBOX"),
        ({"MESOS_FRAMEWORK_ID": None}, "it has no MESOS_FRAMEWORK_ID"),
        ({"MESOS_SANDBOX": "/tmp/x"}, "no sandbox of an agent"),
        ({"MESOS_SLAVE_PID": "slave(1)", "MESOS_AGENT_ENDPOINT": ""}, "no address of an agent"),
        ({"MESOS_RECOVERY_TIMEOUT": "soon"}, "'soon' is no duration"),
    ],
)
def test_an_environment_that_is_not_an_agents(changes: dict[str, str | None], words: str) -> None:
    variables = {name: value for name, value in (VARIABLES | changes).items() if value is not None}
    with pytest.raises(Rejected, match=words):
        read_environment(variables)


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("2secs", 2.0), ("1.5mins", 90.0), ("1hrs", 3600.0), ("1weeks", 604800.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "secs", "5 secs", "5parsecs", "--1secs"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError):
        duration_seconds(text)


def test_an_update_is_told_with_all_that_belongs_to_it() -> None:
    document = update_document(Update(number=7, task_id="m1", status=STATUS), "e", RUN, "10.0.0.7", 40001)
    data, given = document.pop("data"), document.pop("uuid")
    assert document == {
        "task_id": {"value": "m1"},
        "executor_id": {"value": "e"},
        "state": "TASK_RUNNING",
        "source": "SOURCE_EXECUTOR",
        "timestamp": 12.5,
        "container_status": {"network_infos": [{"ip_addresses": [{"ip_address": "10.201.0.9"}]}]},
    }
    assert decode(data, TaskReport) == TaskReport(address="10.0.0.7", port=40001, status=STATUS)
    # An agent aborts on a uuid that does not say of which kind it is.
    assert uuid.UUID(bytes=base64.b64decode(given)).version == 4


@pytest.mark.parametrize("number", [1, 255, 2**40])
def test_what_is_acknowledged_is_known_by_its_uuid_and_only_of_this_life(number: int) -> None:
    document = update_document(Update(number=number, task_id="m1", status=STATUS), "e", RUN, "10.0.0.7", 40001)
    event = {"type": "ACKNOWLEDGED", "acknowledged": {"task_id": {"value": "m1"}, "uuid": document["uuid"]}}
    assert happening_of(event, RUN) == UpdateKept(number=number)
    assert happening_of(event, b"ABCDEF") is None


@pytest.mark.parametrize("name", ["serves", "cannot"])
@pytest.mark.parametrize("adopts", [True, False])
def test_a_task_is_described_without_what_is_as_by_default(name: str, adopts: bool) -> None:
    description = TaskDescription(spec=make_spec(name), adopts=adopts)
    assert decode(encode_task(description), TaskDescription) == description
    assert len(encode_task(description)) < len(encode(description)) / 2


def test_what_an_agent_asks_for() -> None:
    description = TaskDescription(spec=make_spec("serves"), adopts=True)

    def launch(data: dict[str, str]) -> dict[str, Any]:
        return {"type": "LAUNCH", "launch": {"task": {"task_id": {"value": "m1"}, **data}}}

    asked = happening_of(launch({"data": encode(description)}), RUN)
    assert asked == LaunchAsked(task_id="m1", description=description)
    for data in ({}, {"data": "bm8="}):
        assert isinstance(happening_of(launch(data), RUN), LaunchRefused)
    kill: dict[str, Any] = {"task_id": {"value": "m1"}}
    assert happening_of({"type": "KILL", "kill": kill}, RUN) == KillAsked(task_id="m1")
    policy = {"kill_policy": {"grace_period": {"nanoseconds": 1_500_000_000}}}
    assert happening_of({"type": "KILL", "kill": kill | policy}, RUN) == KillAsked(task_id="m1", grace_seconds=1.5)
    assert happening_of({"type": "HEARTBEAT"}, RUN) is None
    group = {"task_group": {"tasks": [{"task_id": {"value": "m1"}}, {"task_id": {"value": "m2"}}]}}
    refused = refusals_of_group({"type": "LAUNCH_GROUP", "launch_group": group})
    assert [one.task_id for one in refused if isinstance(one, LaunchRefused)] == ["m1", "m2"]


@pytest.mark.parametrize(
    ("cgroups", "frozen"),
    [
        ("7:freezer:/mesos/1f-2e\n3:cpu,cpuacct:/mesos/1f-2e\n", True),
        ("7:freezer:/\n3:cpu,cpuacct:/mesos/1f-2e\n", False),
        ("0::/system.slice/mesos.service\n", False),
        ("", False),
    ],
)
def test_whose_freezer_cgroup_it_is_in(cgroups: str, frozen: bool) -> None:
    assert is_frozen_by_agent(cgroups) is frozen
