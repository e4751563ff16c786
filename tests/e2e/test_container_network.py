"""The container network over machines joined by cables: real Docker, BIRD and nft on each, a VM beside them."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from coldchain.documents import keys
from coldchain.documents.stored import decode
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.node import Routing
from coldchain.testing.machines import SEGMENTED, Machine
from coldchain.testing.network_lab import NetworkLab, network_lab

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORT = "7000"
PATIENCE_SECONDS = 30.0
NETWORKS = (
    ContainerNetwork(name="online_net", pool="online"),
    ContainerNetwork(name="isolated_net", pool="offline", isolated=True),
)
CALL = "import socket, sys; made = socket.create_connection((sys.argv[1], int(sys.argv[2]))); made.recv(1)"
HEAR = (
    "import socket; here = socket.create_server(('', 7000)); print('ready', flush=True)\n"
    "while True: made, (source, _) = here.accept(); print(source, flush=True); made.close()"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole() -> AsyncIterator[NetworkLab]:
    """Sessions would hold for an hour: what ends them earlier has another reason."""
    async with network_lab(routing=Routing(hold_seconds=3600), networks=NETWORKS) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def network(whole: NetworkLab) -> AsyncIterator[NetworkLab]:
    """Without containers, and with everybody at work, at the beginning of each test."""
    yield whole
    for machine in whole.hosts:
        if left := machine.docker.run("ps", "--all", "--quiet").split():
            machine.docker.run("rm", "--force", *left)
    await until(lambda: attachments(whole), [])


async def until(question: Callable[[], object], answer: object = True) -> None:
    """Asked again and again until it answers so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (said := await maybe(question())) != answer:
        assert time.monotonic() < deadline, said
        await asyncio.sleep(0.05)


async def maybe(said: object) -> object:
    return await said if asyncio.iscoroutine(said) else said


async def attachments(network: NetworkLab) -> list[tuple[str, str]]:
    """Node and address of all that the store knows."""
    entries = (await network.store.list(keys.ATTACHMENT)).entries
    return sorted((one.node, one.address) for one in (decode(entry.value, Attachment) for entry in entries))


def pings(machine: Machine, container: str, address: str) -> bool:
    asked = ("exec", container, "busybox", "ping", "-c1", "-W1", address)
    return "1 packets received" in machine.docker.run(*asked, status=None)


def connects(machine: Machine, container: str, address: str) -> bool:
    asked = ("exec", container, "busybox", "timeout", "3", "talker", "connections", address, PORT, "1")
    return machine.docker.run(*asked, status=None) != ""


def callers_of(machine: Machine, container: str) -> set[str]:
    """Who has a connection with its port."""
    rows = machine.docker.run("exec", container, "busybox", "netstat", "-tn").splitlines()
    words = [row.split() for row in rows if "ESTABLISHED" in row]
    return {there.rpartition(":")[0] for _, _, _, here, there, *_ in words if here.endswith(f":{PORT}")}


async def serving(network: NetworkLab, machine: str, name: str, on: str = "online_net") -> str:
    """A container that keeps connections; its address."""
    return await network.run(machine, name, network=on, command=f"talker serve {PORT}")


async def test_containers_and_the_vm_reach_each_other_and_see_who_calls(network: NetworkLab) -> None:
    first, vm = network["machine-1"], network["vm"]
    one = await network.run("machine-1", "one")
    two = await serving(network, "machine-2", "two")
    await until(lambda: pings(first, "one", two))
    await until(lambda: vm.reaches(two))
    calls = [vm.start(sys.executable, "-c", CALL, two, PORT)]
    first.docker.run("exec", "--detach", "one", "sh", "-c", f"sleep 1000 | busybox nc {two} {PORT}")
    await until(lambda: callers_of(network["machine-2"], "two"), {one, vm.address})
    hearing = vm.start(sys.executable, "-c", HEAR)
    await until(lambda: hearing.log.read_text(), "ready\n")
    first.docker.run("exec", "one", "busybox", "nc", vm.address, PORT, status=None)
    await until(lambda: hearing.log.read_text(), f"ready\n{one}\n")
    for each in (*calls, hearing):
        each.kill()


async def test_each_machine_has_blocks_of_its_own_and_the_store_knows_who_has_what(network: NetworkLab) -> None:
    one, two = await network.run("machine-1", "one"), await network.run("machine-2", "two")
    await until(lambda: attachments(network), [("machine-1", one), ("machine-2", two)])
    fixed = await network.run("machine-2", "fixed", "--ip", "10.200.9.9")
    assert fixed == "10.200.9.9"
    await until(lambda: network["vm"].reaches(fixed))


async def test_nobody_reaches_an_isolated_network_but_its_own(network: NetworkLab) -> None:
    first, second = network["machine-1"], network["machine-2"]
    there = await serving(network, "machine-2", "there", on="isolated_net")
    await network.run("machine-1", "stranger")
    await network.run("machine-1", "friend", network="isolated_net")
    await until(lambda: connects(first, "friend", there))
    assert not connects(first, "stranger", there)
    await network.run("machine-2", "neighbour")
    assert not connects(second, "neighbour", there)


async def test_a_lost_machine_is_withdrawn_by_bfd(network: NetworkLab) -> None:
    first, second, vm = network["machine-1"], network["machine-2"], network["vm"]
    two = await network.run("machine-2", "two")
    await until(lambda: vm.reaches(two))
    second.cut_cable()
    for machine in (first, vm):
        await until(
            lambda machine=machine: second.address in machine.run("ip", "route", "show", "proto", "bird"), False
        )
    second.plug_in_cable()
    await until(lambda: vm.reaches(two))


async def test_netd_killed_everywhere_takes_nothing_and_goes_on(network: NetworkLab) -> None:
    first, vm = network["machine-1"], network["vm"]
    await network.run("machine-1", "one")
    two = await network.run("machine-2", "two")
    await until(lambda: pings(first, "one", two))
    for netd in network.netds.values():
        netd.kill()
    assert pings(first, "one", two)
    assert vm.reaches(two)
    for netd in network.netds.values():
        netd.start()
        await netd.status()
    assert pings(first, "one", two)
    three = await network.run("machine-1", "three")
    await until(lambda: vm.reaches(three))
    assert len(await attachments(network)) >= 2


async def test_docker_killed_takes_no_container_out_of_the_network(network: NetworkLab) -> None:
    first, second = network["machine-1"], network["machine-2"]
    await network.run("machine-1", "one")
    two = await network.run("machine-2", "two")
    await until(lambda: pings(first, "one", two))
    second.docker.kill()
    assert pings(first, "one", two)
    second.docker.start()
    await asyncio.to_thread(second.docker.ready)
    assert pings(first, "one", two)
    three = await network.run("machine-2", "three")
    await until(lambda: pings(first, "one", three))


async def test_bird_killed_takes_no_route_of_others_and_comes_back(network: NetworkLab) -> None:
    first, second = network["machine-1"], network["machine-2"]
    await network.run("machine-1", "one")
    two = await network.run("machine-2", "two")
    await until(lambda: pings(first, "one", two))
    before, routes = bird(second), first.run("ip", "route", "show", "proto", "bird")
    second.run("kill", "-KILL", str(before))
    await until(lambda: bird(second) not in (0, before))
    assert first.run("ip", "route", "show", "proto", "bird") == routes
    await until(lambda: sessions(network, "machine-1"), {"Established"})
    assert first.run("ip", "route", "show", "proto", "bird") == routes
    await until(lambda: pings(first, "one", two))


def bird(machine: Machine) -> int:
    """The number of BIRD there, by which it is known on the machine; 0 without one."""
    rows = machine.run("ps", "-C", "bird", "-o", "pid=", status=None).split()
    return int(rows[0]) if rows else 0


async def sessions(network: NetworkLab, machine: str) -> set[str]:
    return set((await network.netds[machine].loops())["routes"]["sessions"].values())


async def test_without_the_store_containers_start_and_are_reached(network: NetworkLab) -> None:
    first = network["machine-1"]
    await network.run("machine-1", "one")
    await network.run("machine-2", "two")
    await until(lambda: len(json.loads(first.docker.run("inspect", "one"))), 1)
    network.etcd.stop()
    three = await asyncio.to_thread(start_without_store, network["machine-2"], "three")
    await until(lambda: pings(first, "one", three))
    network.etcd.start()
    await network.etcd.ready()
    await until(lambda: knows(network, three))


def start_without_store(machine: Machine, name: str) -> str:
    asked = ("run", "--detach", "--name", name, "--network", "online_net", "coldchain/shop:v1", "sleep", "1000")
    machine.docker.run(*asked)
    return machine.docker.run("inspect", "--format", "{{.NetworkSettings.Networks.online_net.IPAddress}}", name)


async def knows(network: NetworkLab, address: str) -> bool:
    return address in {one for _, one in await attachments(network)}


async def test_a_machine_that_lost_power_comes_back_with_its_containers(network: NetworkLab) -> None:
    first, second = network["machine-1"], network["machine-2"]
    await network.run("machine-1", "one")
    two = await network.run("machine-2", "two", "--restart", "always", "--ip", "10.200.9.9")
    await until(lambda: pings(first, "one", two))
    second.power_off()
    await until(lambda: second.address in first.run("ip", "route", "show", "proto", "bird"), False)
    second.boot()
    network.netds["machine-2"].start()
    await network.netds["machine-2"].status()
    second.docker.start()
    await asyncio.to_thread(second.docker.ready)
    await until(lambda: pings(first, "one", two))


async def test_a_segment_beyond_a_router_that_knows_no_container() -> None:
    routing = Routing(encapsulation="cross-subnet")
    async with network_lab(SEGMENTED, routing=routing) as network:
        first, vm = network["machine-1"], network["vm"]
        one = await network.run("machine-1", "one")
        two = await serving(network, "machine-2", "two")
        await until(lambda: pings(first, "one", two))
        await until(lambda: vm.reaches(one))
        first.docker.run("exec", "--detach", "one", "sh", "-c", f"sleep 1000 | busybox nc {two} {PORT}")
        await until(lambda: callers_of(network["machine-2"], "two"), {one})
        assert not network["router"].reaches(two)


async def test_netd_ends_in_order(network: NetworkLab) -> None:
    netd = network.netds["vm"]
    assert await asyncio.to_thread(netd.terminate) == 0
    netd.start()
    await netd.status()
