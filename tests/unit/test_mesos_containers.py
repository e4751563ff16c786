"""Tasks that agents run by their own Docker containerizer: the documents whole, what is heard of them, their end."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.clients.mesos.events import Offer, Status
from coldchain.decisions.containerizer import unsupported
from coldchain.decisions.docker_options import is_network
from coldchain.decisions.mesos_task import Contained, ExecutorGone, Heard, Stood, hear, seen, wants_successor
from coldchain.decisions.task_environment import task_environment
from coldchain.engines.mesos.agent_attributes import agent_url
from coldchain.engines.mesos.containers import container_task, heard_of_container
from coldchain.engines.mesos.infos import kept_spec
from coldchain.model.app import (
    App,
    Command,
    Container,
    Docker,
    HealthCheck,
    Network,
    Parameter,
    PortDefinition,
    PortMapping,
    ResourceLimits,
    Volume,
)
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskSpec, TaskState, TaskStatus

URL = "http://10.0.0.7:5051/slave(1)"
NOW = 100.0


def app_of(*, parameters: dict[str, str] | None = None, **fields: Any) -> App:
    docker = Docker(
        image="shop:1",
        parameters=tuple(Parameter(key=key, value=value) for key, value in (parameters or {}).items()),
        **fields.pop("docker", {}),
    )
    mappings = (
        PortMapping(container_port=8080, host_port=0, name="http", protocol="udp,tcp"),
        PortMapping(container_port=9090),
    )
    container = Container(docker=docker, port_mappings=mappings, volumes=fields.pop("volumes", ()))
    return App(**({"id": "/shop", "container": container} | fields))


def spec_of(app: App, host_ports: tuple[int, ...] = (31001, 0), image: str | None = None) -> TaskSpec:
    return TaskSpec(
        task_id="t.1",
        instance_id="t",
        app_id=app.id,
        version_id="v",
        target="cluster",
        agent="agent-1",
        app=app,
        image=image,
        address=None,
        host_ports=host_ports,
    )


def info(app: App, **more: Any) -> dict[str, Any]:
    return container_task(spec_of(app, **more), "m.1", "S0", [{"name": "cpus"}], pids_max=64)


def task(app: App | None = None, host_ports: tuple[int, ...] = (31001, 0), **changes: Any) -> MesosTask:
    spec = spec_of(app or app_of(), host_ports)
    told = TaskStatus(
        task_id="t.1", instance_id="t", app_id="/shop", target="cluster", agent="agent-1", state="staging", at=90.0
    )
    made = MesosTask(
        target="cluster",
        task_id="t.1",
        mesos_id="t.1",
        agent_id="S0",
        executor_id="",
        role="*",
        reserved_for="*",
        spec=kept_spec(spec),
        told=told,
        launched_at=90.0,
        agent_url=URL,
    )
    return msgspec.structs.replace(made, **changes)


def test_a_task_is_all_that_mesos_needs_to_run_it_by_itself() -> None:
    app = app_of(
        parameters={"init": "", "cap-add": "CHOWN", "user": "7"},
        docker={"privileged": True, "force_pull_image": True},
        volumes=(Volume(container_path="/data", host_path="/srv/data", mode="RO"),),
        args=("serve", "--now"),
        user="nobody",
        env={"A": "b"},
        labels={"tier": "front"},
        resource_limits=ResourceLimits(mem=256.0),
        task_kill_grace_period_seconds=7.0,
    )
    spec = spec_of(app, image="shop@sha256:1")
    variables = task_environment(spec, (8080, 9090))
    assert variables["A"] == "b"
    assert variables["PORT0"] == "31001"
    assert info(app, image="shop@sha256:1") == {
        "name": "/shop",
        "task_id": {"value": "m.1"},
        "agent_id": {"value": "S0"},
        "resources": [{"name": "cpus"}],
        "command": {
            "shell": False,
            "arguments": ["serve", "--now"],
            "environment": {"variables": [{"name": key, "value": value} for key, value in sorted(variables.items())]},
        },
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": "shop@sha256:1",
                "network": "BRIDGE",
                "privileged": True,
                "parameters": [
                    {"key": "security-opt", "value": "no-new-privileges"},
                    {"key": "pids-limit", "value": "64"},
                    {"key": "cap-drop", "value": "NET_RAW"},
                    {"key": "user", "value": "nobody"},
                    {"key": "init", "value": "true"},
                    {"key": "cap-add", "value": "CHOWN"},
                    {"key": "user", "value": "7"},
                ],
                "force_pull_image": True,
                "port_mappings": [
                    {"host_port": 31001, "container_port": 8080, "protocol": "udp"},
                    {"host_port": 31001, "container_port": 8080, "protocol": "tcp"},
                ],
            },
            "volumes": [{"container_path": "/data", "host_path": "/srv/data", "mode": "RO"}],
        },
        "labels": {"labels": [{"key": "tier", "value": "front"}]},
        "kill_policy": {"grace_period": {"nanoseconds": 7 * 10**9}},
        "limits": {"mem": {"value": 256.0}},
    }


def test_a_command_line_is_for_the_shell_and_nothing_at_all_for_the_image() -> None:
    given = info(app_of(cmd="exec serve"))["command"]
    assert (given["shell"], given["value"], "arguments" in given) == (True, "exec serve", False)
    left = info(app_of())["command"]
    assert (left["shell"], left.keys()) == (False, {"shell", "environment"})


@pytest.mark.parametrize(
    ("networks", "docker", "infos"),
    [
        ((), "BRIDGE", None),
        ((Network(mode="container/bridge"),), "BRIDGE", None),
        ((Network(mode="container"),), "BRIDGE", None),
        ((Network(mode="container", name="shops"),), "USER", [{"name": "shops"}]),
        (
            (Network(name="shops", labels={"zone": "dmz", "a": "b"}),),
            "USER",
            [{"name": "shops", "labels": {"labels": [{"key": "a", "value": "b"}, {"key": "zone", "value": "dmz"}]}}],
        ),
        ((Network(mode="host"),), "HOST", None),
    ],
)
def test_networks_are_what_they_are_to_marathon(networks: tuple[Network, ...], docker: str, infos: object) -> None:
    app = app_of(networks=networks, port_definitions=(PortDefinition(), PortDefinition()))
    container = info(app)["container"]
    assert (container["docker"]["network"], container.get("network_infos")) == (docker, infos)
    assert ("port_mappings" in container["docker"]) == (docker != "HOST")


def test_a_capability_that_was_let_through_is_not_taken_away_again() -> None:
    given = info(app_of(parameters={"cap-add": "CAP_NET_RAW"}))["container"]["docker"]["parameters"]
    assert {"key": "cap-drop", "value": "NET_RAW"} not in given


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ()),
        ({"cmd": "serve", "health_checks": (HealthCheck(), HealthCheck(protocol="TCP"))}, ()),
        ({"resource_limits": ResourceLimits(cpus=2.0)}, ()),
        ({"container": None, "cmd": "serve"}, ("it has no container",)),
        (
            {"health_checks": (HealthCheck(protocol="COMMAND", command=Command(value="ok")),) * 2},
            ("health checks by COMMAND are asked beside the task",),
        ),
        (
            {"health_checks": (HealthCheck(protocol="MESOS_TCP"),), "gpus": 1, "tty": True},
            ("health checks by MESOS_TCP are asked beside the task", "it wants gpus", "it wants a terminal"),
        ),
        ({"resource_limits": ResourceLimits(cpus="unlimited")}, ("it has a limit `unlimited`",)),
        (
            {"container": Container(docker=Docker(image="a"), port_mappings=(PortMapping(container_port=0),))},
            ("its port 0 has neither a container port nor a host port",),
        ),
        (
            {"networks": (Network(mode="container", name="container:other"),)},
            ("container:other is not the name of a network of Docker",),
        ),
    ],
)
def test_what_the_containerizer_cannot_do_is_said(fields: dict[str, Any], words: tuple[str, ...]) -> None:
    assert unsupported(app_of(**fields)) == words


def test_no_name_of_a_network_is_another_mode() -> None:
    assert [name for name in ("shops", "host", "none", "default", "container:a", "-x", "") if is_network(name)] == [
        "shops"
    ]


def status(state: str, message: str = "", source: str = "SOURCE_EXECUTOR", **more: Any) -> Status:
    given = {"task_id": {"value": "t.1"}, "state": f"TASK_{state}", "message": message, "source": source}
    return msgspec.convert(given | {"timestamp": NOW} | more, Status)


def told(heard: Heard) -> TaskStatus:
    assert isinstance(heard, Contained)
    return heard.status


OWN = {"container_status": {"network_infos": [{"ip_addresses": [{"ip_address": "10.9.0.3"}]}]}}
AGENTS = {"container_status": {"network_infos": [{"ip_addresses": [{"ip_address": "10.0.0.7"}]}]}}
"""As agents fill it in where the executor says nothing of it, as when the task ends."""


@pytest.mark.parametrize(
    ("networks", "host_ports", "reached"),
    [
        ((), (31001, 0), ("10.0.0.7", (31001, 0))),
        ((), (0, 0), ("10.9.0.3", (8080, 9090))),
        ((Network(mode="container", name="shops"),), (31001, 0), ("10.9.0.3", (8080, 9090))),
        ((Network(mode="host"),), (31001, 31002), ("10.0.0.7", (31001, 31002))),
    ],
)
def test_where_a_task_is_reached_follows_from_its_network(
    networks: tuple[Network, ...], host_ports: tuple[int, ...], reached: tuple[str, tuple[int, ...]]
) -> None:
    known = task(app_of(networks=networks), host_ports)
    found = told(heard_of_container(known, status("RUNNING", **OWN), NOW))
    assert (found.state, found.at, found.address, found.ports) == ("running", NOW, *reached)
    later = hear(known, Contained(status=found))
    killing = told(heard_of_container(later, status("KILLING", **AGENTS), NOW))
    assert (killing.state, killing.address, killing.ports) == ("killing", *reached)


@pytest.mark.parametrize(
    ("said", "state", "exit_status", "message"),
    [
        (status("FINISHED", "Container exited with status 0"), "finished", 0, "Container exited with status 0"),
        (status("FAILED", "Container exited with status 3"), "failed", 3, "Container exited with status 3"),
        (
            status("FAILED", "Failed to run 'docker pull a': exited with status 1", "SOURCE_AGENT"),
            "failed",
            None,
            "Mesos says failed: Failed to run 'docker pull a': exited with status 1",
        ),
        (
            status("FAILED", "", "SOURCE_AGENT", reason="REASON_EXECUTOR_TERMINATED"),
            "failed",
            None,
            "Mesos says failed: executor terminated",
        ),
        (status("DROPPED", "stale", "SOURCE_MASTER"), "failed", None, "Mesos says dropped: stale"),
        (status("KILLED"), "killed", None, ""),
    ],
)
def test_ends_are_as_far_as_mesos_tells(said: Status, state: TaskState, exit_status: int | None, message: str) -> None:
    found = told(heard_of_container(task(), said, NOW))
    assert (found.state, found.exit_status, found.message) == (state, exit_status, message)


def test_what_was_to_end_was_killed_also_if_it_went_by_itself() -> None:
    said = status("FINISHED", "Container exited with status 0")
    found = told(heard_of_container(task(kill_grace_seconds=5.0), said, NOW))
    assert (found.state, found.exit_status) == ("killed", 0)


def test_what_a_master_says_of_an_agent_is_heard_as_of_any_task() -> None:
    assert isinstance(heard_of_container(task(), status("UNREACHABLE", "", "SOURCE_MASTER"), NOW), Stood)
    again = status("RUNNING", "Reconciliation", "SOURCE_MASTER")
    assert heard_of_container(task(), again, NOW) == Stood(standing="reachable", at=NOW)


def test_nobody_takes_over_what_mesos_ran_itself() -> None:
    running = hear(task(), heard_of_container(task(), status("RUNNING"), NOW))
    for heard in (
        heard_of_container(running, status("FAILED", "", "SOURCE_AGENT", reason="REASON_EXECUTOR_TERMINATED"), NOW + 1),
        ExecutorGone(at=NOW + 1, message="Mesos has forgotten this framework"),
    ):
        gone = hear(running, heard)
        assert (seen(gone, NOW + 1).state, wants_successor(gone)) == ("failed", False)
        assert seen(hear(gone, Stood(standing="gone", at=NOW + 2)), NOW + 99).state == "failed"
    lost = hear(running, Stood(standing="gone", at=NOW + 1))
    assert (seen(lost, NOW + 1).state, wants_successor(lost)) == ("lost", False)


TIMES = st.integers(90, 110).map(float)
SAID = st.sampled_from(
    [
        *("STAGING", "STARTING", "RUNNING", "KILLING", "FINISHED", "FAILED", "KILLED", "DROPPED", "UNREACHABLE"),
        *("UNKNOWN", "GONE_BY_OPERATOR", "ERROR"),
    ]
)


@st.composite
def heard_things(draw: st.DrawFn) -> Heard:
    source = draw(st.sampled_from(["SOURCE_EXECUTOR", "SOURCE_AGENT", "SOURCE_MASTER"]))
    message = draw(st.sampled_from(["", "Container exited with status 3"]))
    said = status(draw(SAID), message, source, timestamp=draw(TIMES))
    if draw(st.booleans()):
        return heard_of_container(task(), said, 120.0)
    return ExecutorGone(at=draw(TIMES), message=draw(st.sampled_from(["one", "other"])))


@given(st.lists(heard_things(), max_size=8), st.data())
def test_any_order_leads_to_the_same_end_and_an_end_stays_one(heard: list[Heard], data: st.DataObject) -> None:
    one = other = task()
    ended = False
    for each in heard:
        one = hear(one, each)
        assert one.told.terminal or not ended
        assert not wants_successor(one)
        ended = one.told.terminal
    for each in data.draw(st.permutations(heard + heard[:2])):
        other = hear(other, each)
    assert one == other


def test_a_master_that_knows_less_does_not_take_an_exit_status_away() -> None:
    known = hear(task(), heard_of_container(task(), status("FAILED", "Container exited with status 3"), NOW))
    again = status("FAILED", "Reconciliation: Latest task state", "SOURCE_MASTER", timestamp=NOW + 5)
    assert hear(known, heard_of_container(known, again, NOW + 5)) == known


def test_an_agent_is_reached_where_its_offer_says() -> None:
    offer = {"id": {"value": "O"}, "agent_id": {"value": "S0"}, "hostname": "agent-1"}
    url = {"scheme": "http", "address": {"ip": "::1", "hostname": "agent-1", "port": 5052}, "path": "/slave(2)"}
    assert agent_url(msgspec.convert(offer | {"url": url}, Offer)) == "http://[::1]:5052/slave(2)"
    assert agent_url(msgspec.convert(offer, Offer)) == "http://agent-1:5051"
