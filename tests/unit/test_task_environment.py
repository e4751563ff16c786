"""Marathon's task environment, and what an app needs to register itself."""

import pytest

from coldchain.decisions.task_environment import (
    label_variables,
    port_variables,
    registration_variables,
    registry_for,
    task_environment,
)
from coldchain.model.app import App, Container, Docker, Network, PortDefinition, PortMapping
from coldchain.model.task import TaskSpec


def app_with(*mappings: PortMapping) -> App:
    return App(id="/a", container=Container(docker=Docker(image="i"), port_mappings=mappings))


def test_no_ports_no_variables() -> None:
    assert port_variables(app_with(), (), ()) == {}


def test_unpublished_ports_are_the_tasks_own() -> None:
    app = app_with(PortMapping(container_port=80, name="http-api"), PortMapping(container_port=81))
    assert port_variables(app, (80, 81), (0, 0)) == {
        "PORT": "80",
        "PORTS": "80,81",
        "PORT0": "80",
        "PORT1": "81",
        "PORT_80": "80",
        "PORT_81": "81",
        "PORT_HTTP-API": "80",
    }


def test_published_ports_are_the_agents() -> None:
    app = app_with(PortMapping(container_port=80), PortMapping())
    assert port_variables(app, (80, 31001), (31000, 31001)) == {
        "PORT": "31000",
        "PORTS": "31000,31001",
        "PORT0": "31000",
        "PORT1": "31001",
        "PORT_80": "31000",
        "PORT_31001": "31001",
    }


def test_labels_are_sanitised() -> None:
    assert label_variables({"HAPROXY_0_VHOST": "shop.test", "a.b-c/d": "1"}) == {
        "MARATHON_APP_LABELS": "HAPROXY_0_VHOST A_B_C_D",
        "MARATHON_APP_LABEL_HAPROXY_0_VHOST": "shop.test",
        "MARATHON_APP_LABEL_A_B_C_D": "1",
    }


def test_labels_beyond_the_limits_are_left_out() -> None:
    labels = {"v511": "x" * 511, "v512": "x" * 512, "n" * 492: "1", "m" * 493: "1"}
    assert set(label_variables(labels)) == {
        "MARATHON_APP_LABELS",
        "MARATHON_APP_LABEL_V511",
        "MARATHON_APP_LABEL_" + "N" * 492,
    }


def test_all_of_marathons_variables_and_what_the_user_set_wins() -> None:
    app = App(
        id="/shop/cart",
        cpus=0.5,
        mem=64.0,
        disk=10.0,
        gpus=2,
        container=Container(
            docker=Docker(image="shop:1"),
            port_mappings=(PortMapping(container_port=8080, name="http", service_port=10003),),
        ),
        labels={"tier": "web"},
        env={"MODE": "fresh", "HOST": "mine"},
    )
    spec = TaskSpec(
        task_id="shop_cart.instance-1._app.1",
        instance_id="1",
        app_id=app.id,
        version_id="V",
        target="cluster",
        agent="box",
        app=app,
        image="sha256:abc",
        address=None,
        host_ports=(31005,),
    )
    assert task_environment(spec, (8080,)) == {
        "HOST": "mine",
        "MODE": "fresh",
        "PORT": "31005",
        "PORTS": "31005",
        "PORT0": "31005",
        "PORT_8080": "31005",
        "PORT_HTTP": "31005",
        "MESOS_TASK_ID": "shop_cart.instance-1._app.1",
        "MARATHON_APP_ID": "/shop/cart",
        "MARATHON_APP_VERSION": "V",
        "MARATHON_APP_DOCKER_IMAGE": "shop:1",
        "MARATHON_APP_RESOURCE_CPUS": "0.5",
        "MARATHON_APP_RESOURCE_MEM": "64",
        "MARATHON_APP_RESOURCE_DISK": "10",
        "MARATHON_APP_RESOURCE_GPUS": "2",
        "MARATHON_APP_LABELS": "TIER",
        "MARATHON_APP_LABEL_TIER": "web",
    }


def registering(app: App, **fields: object) -> dict[str, str]:
    given: dict[str, object] = {
        "task_id": "t",
        "instance_id": "1f",
        "app_id": app.id,
        "version_id": "V",
        "target": "cluster",
        "agent": "box",
        "app": app,
        "image": None,
        "address": "172.18.0.2",
        "host_ports": (0,),
        "registry": "127.0.0.1:8500",
    }
    return registration_variables(TaskSpec(**(given | fields)), (8080,))  # type: ignore[arg-type]


def test_who_registers_itself_is_told_all_that_it_needs() -> None:
    container = Container(docker=Docker(image="shop:1"), port_mappings=(PortMapping(container_port=8080),))
    app = App(id="/shop", service="shop", registration="self", container=container, labels={"public": "tag"})
    assert registering(app) == {
        "COLDCHAIN_REGISTRY": "box:8500",
        "COLDCHAIN_SERVICE": "shop",
        "COLDCHAIN_SERVICE_ID": "shop-1f",
        "COLDCHAIN_SERVICE_ADDRESS": "172.18.0.2",
        "COLDCHAIN_SERVICE_PORT": "8080",
        "COLDCHAIN_SERVICE_TAGS": "public",
        "COLDCHAIN_APP": "/shop",
        "COLDCHAIN_VERSION": "V",
        "COLDCHAIN_INSTANCE": "1f",
        "COLDCHAIN_HEALTH_PORT": "8080",
        "COLDCHAIN_TTL_SECONDS": "15",
        "COLDCHAIN_SETTLE_SECONDS": "3",
        "COLDCHAIN_GRACE_SECONDS": "13",
    }
    # Without an address of its own the agent's published port is where it is found.
    published = registering(app, address=None, host_ports=(31000,))
    assert (published["COLDCHAIN_SERVICE_ADDRESS"], published["COLDCHAIN_SERVICE_PORT"]) == ("box", "31000")
    assert "COLDCHAIN_SERVICE_ADDRESS" not in registering(app, address=None)
    assert registering(App(id="/shop", service="shop", container=container)) == {}


def test_a_process_finds_the_registry_on_its_own_machine() -> None:
    app = App(
        id="/shop",
        cmd="serve",
        service="shop",
        registration="self",
        networks=(Network(mode="host"),),
        port_definitions=(PortDefinition(name="http"),),
    )
    given = registering(app, address=None, host_ports=(8080,))
    assert given["COLDCHAIN_REGISTRY"] == "127.0.0.1:8500"
    assert "COLDCHAIN_SERVICE_ADDRESS" not in given


@pytest.mark.parametrize(
    ("registry", "alone", "sharing"),
    [
        ("10.0.0.5:8500", "10.0.0.5:8500", "10.0.0.5:8500"),
        ("consul.lan:8500", "consul.lan:8500", "consul.lan:8500"),
        ("localhost:8500", "box:8500", "localhost:8500"),
        ("[::1]:8500", "box:8500", "[::1]:8500"),
        ("0.0.0.0:8500", "box:8500", "box:8500"),
        ("", "", ""),
    ],
)
def test_a_registry_on_loopback_is_the_one_of_the_tasks_machine(registry: str, alone: str, sharing: str) -> None:
    assert registry_for(registry, "box", shares_network=False) == alone
    assert registry_for(registry, "box", shares_network=True) == sharing
