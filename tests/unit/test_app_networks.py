"""An app in a network by name is reached at the address that the network gave, by the container's own ports, by whoever
asks; and which network it joins when it names none."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from typer.testing import CliRunner

from coldchain.decisions.default_network import with_network_named
from coldchain.decisions.health import questions
from coldchain.decisions.registration import registration
from coldchain.decisions.rotation import endpoints
from coldchain.documents.answers import InstanceView, task_answer
from coldchain.documents.answers import endpoints as endpoints_shown
from coldchain.documents.events import status_update_event
from coldchain.engines.fake import NETWORK
from coldchain.main.command import application
from coldchain.model.app import App, Container, Docker, HealthCheck, Network, PortMapping, ReadinessCheck
from coldchain.model.instance import Instance, Transition
from coldchain.model.task import TaskStatus
from coldchain.testing.served_platform import ServedPlatform, served_platform

ADDRESS = "10.200.0.7"
APP = App(
    id="/shop/web",
    container=Container(
        docker=Docker(image="shop"),
        port_mappings=(
            PortMapping(container_port=8080, name="http"),
            PortMapping(container_port=9090, host_port=0, name="admin"),
        ),
    ),
    networks=(Network(name="online_net"),),
    health_checks=(
        HealthCheck(port_index=0),
        HealthCheck(protocol="TCP", port_name="admin"),
        HealthCheck(protocol="MESOS_HTTP", port_index=1),
    ),
    readiness_checks=(ReadinessCheck(port_name="admin"),),
    service="web",
)
INSTANCE = Instance(
    id="web.1",
    app_id="/shop/web",
    version_id="V1",
    target="cluster",
    task_id="t.1",
    phase="serving",
    since=1.0,
    created_at=0.0,
    agent="box-2",
    address=ADDRESS,
    ports=(8080, 9090),
    host_ports=(0, 31007),
    history=(Transition(phase="serving", at=1.0, cause="test"),),
)
STATUS = TaskStatus(
    task_id="t.1",
    instance_id="web.1",
    app_id="/shop/web",
    target="cluster",
    agent="box-2",
    state="running",
    at=1.0,
    address=ADDRESS,
    ports=(8080, 9090),
)


def test_probes_ask_there_though_a_port_is_published() -> None:
    asked = [(one.check, one.address, one.port, one.beside) for one in questions(APP, INSTANCE)]
    assert asked == [
        ("health/0", ADDRESS, 8080, False),
        ("health/1", ADDRESS, 9090, False),
        ("health/2", "127.0.0.1", 9090, True),
        ("readiness/0", ADDRESS, 9090, False),
    ]


def test_gateways_and_registry_are_told_it() -> None:
    [endpoint] = endpoints(APP, [(INSTANCE, APP)], ())["web"]
    assert (endpoint.address, endpoint.port, endpoint.weight) == (ADDRESS, 8080, 1)
    told = registration("web", endpoint, INSTANCE, APP)
    assert (told.address, told.port) == (ADDRESS, 8080)


def test_marathons_clients_see_it_in_tasks_and_events() -> None:
    shown = task_answer(APP, InstanceView(instance=INSTANCE, status=STATUS), own=False)
    addresses = [{"ipAddress": ADDRESS, "protocol": "IPv4"}]
    assert (shown["host"], shown["ipAddresses"]) == ("box-2", addresses)
    assert shown["ports"] == [31007], "as with Marathon those that are published, and no others"
    event = status_update_event(STATUS, "V1", (0, 31007))
    assert (event["host"], event["ipAddresses"], event["ports"]) == ("box-2", addresses, [31007])


def test_an_address_of_ipv6_is_told_apart_from_the_port() -> None:
    assert endpoints_shown(msgspec.structs.replace(INSTANCE, address="2001:db8::7")) == [
        "[2001:db8::7]:8080",
        "[2001:db8::7]:9090",
    ]


@pytest.mark.parametrize(
    ("networks", "named"),
    [
        ((Network(),), (Network(name="online_net"),)),
        ((Network(labels={"a": "b"}),), (Network(name="online_net", labels={"a": "b"}),)),
        ((Network(name="other"),), (Network(name="other"),)),
        ((Network(mode="container/bridge"),), (Network(mode="container/bridge"),)),
        ((Network(mode="host"),), (Network(mode="host"),)),
        ((), ()),
    ],
)
def test_only_who_asks_for_a_network_and_names_none_gets_the_default(
    networks: tuple[Network, ...], named: tuple[Network, ...]
) -> None:
    app = App(id="/a", container=Container(docker=Docker(image="a")), networks=networks)
    assert with_network_named(app, None, "online_net").networks == named
    assert with_network_named(app, None, None) is app
    scaled = msgspec.structs.replace(app, instances=7)
    assert with_network_named(scaled, app, "online_net") is scaled, "what is there already is not moved"


async def test_no_two_tasks_have_one_address_of_a_network(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, definition(instances=3, networks=[{"name": "shops"}]))
        async with session.get("/v2/apps/web/tasks") as answer:
            found = [task["ipAddresses"][0]["ipAddress"] for task in (await answer.json())["tasks"]]
    assert len({*found}) == 3
    assert all(ip_address(one) in NETWORK for one in found)


@pytest.fixture
async def platform() -> AsyncIterator[ServedPlatform]:
    async with served_platform() as platform:
        platform.controller.operations.default_network = "online_net"
        yield platform


def definition(**fields: Any) -> dict[str, Any]:
    docker = {"image": "shop:v1"}
    return {"id": "/web", "container": {"docker": docker}, "networks": [{"mode": "container"}]} | fields


async def test_the_default_is_stored_with_the_app_and_writing_the_same_again_changes_nothing(
    platform: ServedPlatform,
) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, definition())
        async with session.get("/v2/apps/web") as answer:
            first = (await answer.json())["app"]
        assert first["networks"] == [{"mode": "container", "name": "online_net"}]
        async with session.post("/v1/apps/web/preview", json=definition(instances=2)) as answer:
            assert (await answer.json())["kind"] == "scale"
        async with session.put("/v2/groups/g", json={"apps": [definition(id="x")]}) as answer:
            begun = await answer.json()
        await platform.ended(session, begun["deploymentId"])
        async with session.put("/v2/groups/g", json={"apps": [definition(id="x")]}) as answer:
            again = await answer.json()
        assert (await platform.ended(session, again["deploymentId"]))["steps"] == []
        async with session.get("/v2/apps/g/x") as answer:
            assert (await answer.json())["app"]["networks"][0]["name"] == "online_net"


def test_the_name_must_be_one_of_a_network() -> None:
    result = CliRunner().invoke(application, ["up", "--default-network=host"])
    assert result.exit_code == 2
    assert "'host' is no name of a network" in result.output
