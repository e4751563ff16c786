"""TaskSpec → container document, compared whole."""

from typing import Any

import pytest

from coldchain.decisions.address import task_ports
from coldchain.model.app import App, Container, Docker, Network, Parameter, PortDefinition, PortMapping, ResourceLimits
from coldchain.model.errors import Rejected
from coldchain.model.task import TaskSpec
from coldchain.runners.docker import DockerSettings, unknown_parameters
from coldchain.runners.docker.specification import MIB, container_document, container_name


def make_app(**changes: Any) -> App:
    values: dict[str, Any] = {
        "id": "/shop/cart",
        "cpus": 0.5,
        "mem": 64,
        "container": Container(docker=Docker(image="shop:1"), port_mappings=(PortMapping(container_port=80),)),
    }
    return App(**(values | changes))


def make_spec(app: App, **changes: Any) -> TaskSpec:
    values: dict[str, Any] = {
        "task_id": "shop_cart.instance-1._app.1",
        "instance_id": "shop_cart.instance-1",
        "app_id": app.id,
        "version_id": "V1",
        "target": "cluster",
        "agent": "box",
        "app": app,
        "image": "sha256:abc",
        "address": "10.201.0.5",
        "host_ports": (0,),
    }
    return TaskSpec(**(values | changes))


def document_of(app: App, settings: DockerSettings | None = None, **changes: Any) -> dict[str, Any]:
    return container_document(make_spec(app, **changes), "main", settings or DockerSettings())


def with_parameters(*pairs: tuple[str, str]) -> App:
    parameters = tuple(Parameter(key=key, value=value) for key, value in pairs)
    return make_app(container=Container(docker=Docker(image="shop:1", parameters=parameters)))


def test_the_whole_document() -> None:
    app = make_app(
        container=Container(
            docker=Docker(image="shop:1"),
            port_mappings=(
                PortMapping(container_port=80, host_port=0, name="http"),
                PortMapping(container_port=53, protocol="udp,tcp"),
            ),
        ),
        env={"MODE": "fresh"},
        cmd="exec serve",
    )
    assert document_of(app, host_ports=(31005, 0)) == {
        "Image": "sha256:abc",
        "Entrypoint": ["/bin/sh"],
        "Cmd": ["-c", "exec serve"],
        "Env": [
            "HOST=box",
            "MARATHON_APP_DOCKER_IMAGE=shop:1",
            "MARATHON_APP_ID=/shop/cart",
            "MARATHON_APP_LABELS=",
            "MARATHON_APP_RESOURCE_CPUS=0.5",
            "MARATHON_APP_RESOURCE_DISK=0",
            "MARATHON_APP_RESOURCE_GPUS=0",
            "MARATHON_APP_RESOURCE_MEM=64",
            "MARATHON_APP_VERSION=V1",
            "MESOS_TASK_ID=shop_cart.instance-1._app.1",
            "MODE=fresh",
            "PORT=31005",
            "PORT0=31005",
            "PORT1=53",
            "PORTS=31005,53",
            "PORT_53=53",
            "PORT_80=31005",
            "PORT_HTTP=31005",
        ],
        "Labels": {
            "coldchain.controller": "main",
            "coldchain.target": "cluster",
            "coldchain.agent": "box",
            "coldchain.instance": "shop_cart.instance-1",
            "coldchain.task": "shop_cart.instance-1._app.1",
            "coldchain.app": "/shop/cart",
            "coldchain.version": "V1",
            "coldchain.ports": "80,53",
            "coldchain.host-ports": "31005,0",
            "coldchain.address": "10.201.0.5",
        },
        "HostConfig": {
            "NetworkMode": "coldchain",
            "CpuShares": 512,
            "Memory": 64 * 1024 * 1024,
            "MemorySwap": 64 * 1024 * 1024,
            "PidsLimit": 4096,
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["NET_RAW"],
            "Privileged": False,
            "Init": False,
            "RestartPolicy": {"Name": "no"},
            "Mounts": [],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "31005"}]},
        },
        "Tty": False,
        "NetworkingConfig": {"EndpointsConfig": {"coldchain": {"IPAMConfig": {"IPv4Address": "10.201.0.5"}}}},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "53/tcp": {}},
    }


def test_a_user_and_a_terminal_are_dockers() -> None:
    document = document_of(make_app(user="1000:1000", tty=True))
    assert (document["User"], document["Tty"]) == ("1000:1000", True)


@pytest.mark.parametrize(
    ("limits", "values"),
    [
        ({}, {"Memory": 64 * MIB, "MemorySwap": 64 * MIB}),
        ({"cpus": "unlimited"}, {"Memory": 64 * MIB, "MemorySwap": 64 * MIB}),
        ({"cpus": 1.5}, {"Memory": 64 * MIB, "MemorySwap": 64 * MIB, "NanoCpus": 1_500_000_000}),
        ({"mem": 128.0}, {"Memory": 128 * MIB, "MemorySwap": 128 * MIB, "MemoryReservation": 64 * MIB}),
        ({"mem": "unlimited"}, {"Memory": 0, "MemorySwap": 0, "MemoryReservation": 64 * MIB}),
    ],
)
def test_limits_beyond_what_the_app_is_given(limits: dict[str, Any], values: dict[str, int]) -> None:
    config = document_of(make_app(resource_limits=ResourceLimits(**limits)))["HostConfig"]
    assert {name: number for name, number in config.items() if "Mem" in name or "Nano" in name} == values


def test_host_network_publishes_nothing_and_is_reached_at_the_host() -> None:
    app = make_app(
        networks=(Network(mode="host"),),
        container=Container(docker=Docker(image="shop:1")),
        port_definitions=(PortDefinition(port=9000, name="admin"), PortDefinition()),
        args=("serve", "--fast"),
    )
    document = document_of(
        app, DockerSettings(host_address="192.0.2.7"), address=None, host_ports=(9000, 31001), image=None
    )
    assert document["HostConfig"]["NetworkMode"] == "host"
    assert "NetworkingConfig" not in document
    assert "ExposedPorts" not in document
    assert "Entrypoint" not in document
    assert document["Cmd"] == ["serve", "--fast"]
    assert document["Image"] == "shop:1"
    assert document["Labels"]["coldchain.address"] == "192.0.2.7"
    assert document["Labels"]["coldchain.ports"] == "9000,31001"
    assert {"PORT=9000", "PORT_9000=9000", "PORT_ADMIN=9000", "PORT1=31001", "PORT_31001=31001"} <= {*document["Env"]}


def test_seen_from_other_machines_a_task_is_where_its_ports_are_published() -> None:
    settings = DockerSettings(publish_address="192.0.2.7", reached_by_host_ports=True)
    mappings = (PortMapping(container_port=80, host_port=0), PortMapping(container_port=81, host_port=0))
    app = make_app(container=Container(docker=Docker(image="shop:1"), port_mappings=mappings))
    document = document_of(app, settings, address=None, host_ports=(31001, 31002))
    assert document["Labels"]["coldchain.address"] == "192.0.2.7"
    assert document["Labels"]["coldchain.ports"] == "31001,31002"
    own = document_of(app, address=None, host_ports=(31001, 31002))
    assert own["Labels"]["coldchain.ports"] == "80,81"
    assert own["Env"] == document["Env"]
    hidden = document_of(app, settings, address=None, host_ports=(31001, 0))["Labels"]
    assert "coldchain.address" not in hidden
    assert hidden["coldchain.ports"] == "80,81"


def test_named_network_without_a_wanted_address() -> None:
    document = document_of(make_app(networks=(Network(mode="container", name="online_net"),)), address=None)
    assert document["HostConfig"]["NetworkMode"] == "online_net"
    assert document["NetworkingConfig"] == {"EndpointsConfig": {"online_net": {}}}
    assert "coldchain.address" not in document["Labels"]


def test_a_network_by_name_gives_the_address_and_is_joined_at_the_tasks_own_ports() -> None:
    """Also where gateways are on other machines and a port is published: the network reaches all of them."""
    settings = DockerSettings(publish_address="192.0.2.7", reached_by_host_ports=True)
    mappings = (PortMapping(container_port=80, host_port=0), PortMapping(container_port=81, host_port=0))
    app = make_app(
        container=Container(docker=Docker(image="shop:1"), port_mappings=mappings),
        networks=(Network(name="online_net"),),
    )
    document = document_of(app, settings, address="10.201.0.5", host_ports=(31001, 31002))
    assert document["NetworkingConfig"] == {"EndpointsConfig": {"online_net": {}}}
    assert "coldchain.address" not in document["Labels"]
    assert document["Labels"]["coldchain.ports"] == "80,81"
    assert document["HostConfig"]["PortBindings"]["80/tcp"] == [{"HostIp": "192.0.2.7", "HostPort": "31001"}]


def test_without_a_published_port_the_environment_says_where_to_listen() -> None:
    app = make_app(networks=(Network(name="online_net"),))
    document = document_of(app, address=None, host_ports=(0,))
    assert {"HOST=box", "PORT=80", "PORT0=80", "PORTS=80", "PORT_80=80"} <= {*document["Env"]}
    assert document["HostConfig"]["PortBindings"] == {}


@pytest.mark.parametrize("name", ["host", "none", "default", "container:database", "", "a b"])
def test_a_network_name_that_means_something_else_to_docker_is_rejected(name: str) -> None:
    with pytest.raises(Rejected, match="not the name of a container network"):
        document_of(make_app(networks=(Network(mode="container", name=name),)))


def test_container_port_0_is_the_host_port() -> None:
    app = make_app(container=Container(docker=Docker(image="shop:1"), port_mappings=(PortMapping(host_port=0),)))
    spec = make_spec(app, host_ports=(31009,))
    assert task_ports(spec) == (31009,)
    assert document_of(app, host_ports=(31009,))["HostConfig"]["PortBindings"] == {
        "31009/tcp": [{"HostIp": "127.0.0.1", "HostPort": "31009"}]
    }
    with pytest.raises(Rejected, match="neither a container port nor a host port"):
        task_ports(make_spec(app, host_ports=(0,)))


def test_an_app_without_container_is_rejected() -> None:
    with pytest.raises(Rejected, match="no container"):
        document_of(make_app(container=None))


def test_limits() -> None:
    host_config = document_of(make_app(cpus=0.001, mem=0.5))["HostConfig"]
    assert host_config["CpuShares"] == 2
    assert host_config["Memory"] == 512 * 1024


def test_no_user_label_makes_it_someone_elses() -> None:
    app = with_parameters(("label", "coldchain.controller=evil"), ("label", "coldchain.task=other"), ("label", "a=b"))
    labels = document_of(app, host_ports=())["Labels"]
    assert labels["coldchain.controller"] == "main"
    assert labels["coldchain.task"] == "shop_cart.instance-1._app.1"
    assert labels["a"] == "b"


PARAMETERS: list[tuple[str, str, list[str], Any]] = [
    ("add-host", "db:10.0.0.1", ["HostConfig", "ExtraHosts"], ["db:10.0.0.1"]),
    ("cap-add", "SYS_PTRACE", ["HostConfig", "CapAdd"], ["SYS_PTRACE"]),
    ("cap-drop", "ALL", ["HostConfig", "CapDrop"], ["NET_RAW", "ALL"]),
    ("cpus", "1.5", ["HostConfig", "NanoCpus"], 1_500_000_000),
    ("device", "/dev/fuse", ["HostConfig", "Devices", 0, "CgroupPermissions"], "rwm"),  # type: ignore[list-item]
    ("dns", "10.0.0.2", ["HostConfig", "Dns"], ["10.0.0.2"]),
    ("entrypoint", "/bin/serve", ["Entrypoint"], ["/bin/serve"]),
    ("hostname", "cart", ["Hostname"], "cart"),
    ("init", "true", ["HostConfig", "Init"], True),
    ("log-driver", "syslog", ["HostConfig", "LogConfig"], {"Type": "syslog", "Config": {}}),
    (
        "log-opt",
        "max-size=1m",
        ["HostConfig", "LogConfig"],
        {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}},
    ),
    ("memory-swap", "128m", ["HostConfig", "MemorySwap"], 128 * 1024 * 1024),
    ("memory-swap", "-1", ["HostConfig", "MemorySwap"], -1),
    ("read-only", "", ["HostConfig", "ReadonlyRootfs"], True),
    ("read-only", "false", ["HostConfig", "ReadonlyRootfs"], False),
    ("shm-size", "64M", ["HostConfig", "ShmSize"], 64 * 1024 * 1024),
    ("stop-signal", "SIGQUIT", ["StopSignal"], "SIGQUIT"),
    ("sysctl", "net.core.somaxconn=1024", ["HostConfig", "Sysctls"], {"net.core.somaxconn": "1024"}),
    ("tmpfs", "/run:size=1m", ["HostConfig", "Tmpfs"], {"/run": "size=1m"}),
    ("tmpfs", "/run", ["HostConfig", "Tmpfs"], {"/run": ""}),
    ("ulimit", "nofile=1024:2048", ["HostConfig", "Ulimits"], [{"Name": "nofile", "Soft": 1024, "Hard": 2048}]),
    ("ulimit", "core=-1", ["HostConfig", "Ulimits"], [{"Name": "core", "Soft": -1, "Hard": -1}]),
    ("user", "1000:1000", ["User"], "1000:1000"),
    ("volume", "/data:/data:ro", ["HostConfig", "Binds"], ["/data:/data:ro"]),
    ("volume", "/scratch", ["Volumes"], {"/scratch": {}}),
    ("workdir", "/srv", ["WorkingDir"], "/srv"),
]


@pytest.mark.parametrize(("key", "value", "path", "expected"), PARAMETERS)
def test_parameters(key: str, value: str, path: list[str], expected: Any) -> None:
    app = with_parameters((key, value))
    assert unknown_parameters(app) == []
    found: Any = document_of(app, host_ports=())
    for name in path:
        found = found[name]
    assert found == expected


def test_order_of_log_driver_and_options_means_nothing() -> None:
    app = with_parameters(("log-opt", "tag=x"), ("log-driver", "syslog"))
    log = document_of(app, host_ports=())["HostConfig"]["LogConfig"]
    assert log == {"Type": "syslog", "Config": {"tag": "x"}}


def test_a_capability_that_is_asked_for_is_not_dropped() -> None:
    host_config = document_of(with_parameters(("cap-add", "NET_RAW")), host_ports=())["HostConfig"]
    assert host_config["CapAdd"] == ["NET_RAW"]
    assert host_config["CapDrop"] == []


def test_parameters_come_after_the_tasks_own_environment() -> None:
    document = document_of(with_parameters(("env", "HOST=elsewhere")), host_ports=())
    assert document["Env"][-1] == "HOST=elsewhere"


def test_unknown_parameters_are_all_named() -> None:
    app = with_parameters(("volum", "/a:/b"), ("name", "x"), ("ulimit", "many"), ("frobnicate", ""), ("env", "A"))
    assert [str(problem) for problem in unknown_parameters(app)] == [
        "/container/docker/parameters/0/key: docker option 'volum' is not known (did you mean 'volume'?)",
        "/container/docker/parameters/1/key: docker option 'name' is Coldchain's own; a container is named after its "
        "task",
        "/container/docker/parameters/2/value: ulimit: 'many' is not of the form NAME=SOFT[:HARD]",
        "/container/docker/parameters/3/key: docker option 'frobnicate' is not known",
        "/container/docker/parameters/4/value: env: 'A' is not of the form NAME=VALUE",
    ]
    with pytest.raises(Rejected, match=r"'volum' is not known.*'frobnicate' is not known"):
        document_of(app, host_ports=())
    assert unknown_parameters(make_app(container=None)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cpus", "many"),
        ("device", "fuse"),
        ("env", "=x"),
        ("init", "maybe"),
        ("log-opt", "x"),
        ("pids-limit", "x"),
        ("shm-size", "64q"),
        ("sysctl", "x"),
        ("volume", "x"),
    ],
)
def test_values_that_cannot_be_read(key: str, value: str) -> None:
    (problem,) = unknown_parameters(with_parameters((key, value)))
    assert problem.path.endswith("/value")


def test_container_names() -> None:
    assert container_name("shop_cart.instance-1._app.1") == "shop_cart.instance-1._app.1"
    strange = [container_name(task_id) for task_id in ("/a", "a/", "a b", "a-b ", "é", ".", "a")]
    assert len({*strange}) == len(strange)
    for name in strange:
        assert name.isascii()
        assert name[0].isalnum()
        assert "/" not in name
