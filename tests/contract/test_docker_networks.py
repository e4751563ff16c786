"""What all networks of Docker do; the real ones with our driver, for which Docker asks this process."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coldchain.clients.docker import DockerClient
from coldchain.control.clock import SystemClock
from coldchain.control.netd.attachments import Attachments
from coldchain.model.docker_network import DockerNetwork
from coldchain.model.errors import Conflict, Rejected, Unavailable
from coldchain.model.node import Node
from coldchain.network.docker_networks import EngineNetworks
from coldchain.network.driver import DriverServer
from coldchain.network.links import NetlinkLinks
from coldchain.ports.docker_networks import DRIVER, DockerNetworks
from coldchain.testing.application.image import ensure_image
from coldchain.testing.fake_docker_networks import FakeDockerNetworks
from coldchain.testing.netd_machine import NetdMachine

SOCKET = Path("/run/docker/plugins/coldchain.sock")
ONLINE, ONLINE6 = "10.200.0.0/24", "fd00:200::/120"


@pytest.fixture
async def machine() -> NetdMachine:
    """With the store filled, and Docker without networks."""
    machine = NetdMachine(SystemClock())
    await machine.fill()
    machine.docker.held.clear()
    return machine


@pytest.fixture(params=["fake", "docker"])
async def docker(request: pytest.FixtureRequest, machine: NetdMachine) -> AsyncIterator[DockerNetworks]:
    if request.param == "fake":
        yield machine.docker
        return
    node = Node(name="node-1", address="127.0.0.1/8", interface="lo")
    attachments = Attachments(machine.book, machine.journal, NetlinkLinks(), node, "lo", lambda: machine.networks.known)
    server = DriverServer(attachments, SOCKET)
    await server.start()
    client = DockerClient(request.getfixturevalue("docker_daemon"))
    networks = EngineNetworks(client)
    yield networks
    for one in await networks.networks():
        if one.driver == DRIVER:
            await networks.remove(one.id)
    await client.close()
    await server.stop()


async def ours(docker: DockerNetworks) -> list[DockerNetwork]:
    return [one for one in await docker.networks() if one.driver == DRIVER]


async def test_a_network_is_made_and_removed(docker: DockerNetworks) -> None:
    await docker.create("online_net", ONLINE)
    (found,) = await ours(docker)
    assert found == DockerNetwork(
        id=found.id, name="online_net", driver="coldchain", network="online_net", subnet=ONLINE
    )
    await docker.remove(found.id)
    assert await ours(docker) == []
    await docker.remove(found.id)


async def test_one_with_ipv6(docker: DockerNetworks) -> None:
    await docker.create("dual_net", ONLINE, ONLINE6)
    (found,) = await ours(docker)
    assert (found.subnet, found.subnet6) == (ONLINE, ONLINE6)


async def test_a_name_is_taken_once(docker: DockerNetworks) -> None:
    await docker.create("online_net", ONLINE)
    with pytest.raises(Rejected, match=r"network online_net cannot be made.*already exists"):
        await docker.create("online_net", ONLINE)
    assert len(await ours(docker)) == 1


async def test_what_the_driver_refuses_is_not_made(docker: DockerNetworks) -> None:
    with pytest.raises(Rejected, match="has its addresses of IPv4 from pool online, not from tiny"):
        await docker.create("online_net", "10.201.0.0/31")
    assert await ours(docker) == []


async def test_those_of_other_drivers_are_told_with_their_driver(docker_daemon: Path) -> None:
    client = DockerClient(docker_daemon)
    others = {one.name: one for one in await EngineNetworks(client).networks()}
    await client.close()
    assert (others["bridge"].driver, others["bridge"].network) == ("bridge", "")
    assert (others["host"].driver, others["none"].driver) == ("host", "null")


async def test_a_network_that_containers_are_in(docker: DockerNetworks, machine: NetdMachine) -> None:
    await docker.create("online_net", ONLINE)
    (found,) = await ours(docker)
    if isinstance(docker, FakeDockerNetworks):
        docker.enter(found.id, "e" * 64)
        endpoints = {"e" * 64}
    else:
        assert isinstance(docker, EngineNetworks)
        socket = docker._client.socket
        await ensure_image(socket)
        command = ["docker", "-H", f"unix://{socket}", "run", "-d", "--network", "online_net", "coldchain/shop:v1"]
        container = await asyncio.to_thread(subprocess.check_output, command, text=True)
        ask = [*command[:3], "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.EndpointID}}{{end}}"]
        endpoints = {(await asyncio.to_thread(subprocess.check_output, [*ask, container.strip()], text=True)).strip()}
    (with_container,) = await ours(docker)
    assert with_container.endpoints == endpoints
    with pytest.raises(Conflict, match="containers are in it"):
        await docker.remove(found.id)
    if isinstance(docker, FakeDockerNetworks):
        docker.leave(found.id, "e" * 64)
    else:
        await asyncio.to_thread(subprocess.check_call, [*command[:3], "rm", "-f", container.strip()])
    (without,) = await ours(docker)
    assert without.endpoints == frozenset()


@pytest.mark.parametrize("kind", ["fake", "docker"])
async def test_a_docker_that_does_not_answer_is_unknown(kind: str, tmp_path: Path) -> None:
    fake = FakeDockerNetworks()
    fake.away = True
    docker: DockerNetworks = fake if kind == "fake" else EngineNetworks(DockerClient(tmp_path / "nobody.sock"))
    for call in (docker.networks(), docker.create("online_net", ONLINE), docker.remove("x")):
        with pytest.raises(Unavailable):
            await call
    if isinstance(docker, EngineNetworks):
        await docker._client.close()
