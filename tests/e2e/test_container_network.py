"""The container network over machines joined by cables: real Docker, BIRD and nft on each, a VM beside them."""

import asyncio
import ipaddress
import json
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from coldchain.control.clock import SystemClock
from coldchain.control.container_networks import ContainerNetworks
from coldchain.control.network_check import NetworkCheck
from coldchain.control.network_policy import NetworkPolicy
from coldchain.control.pools import Pools
from coldchain.documents import keys
from coldchain.documents.policy_request import PolicyQuestion
from coldchain.documents.stored import decode, encode
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.node import Routing
from coldchain.model.pool import Pool
from coldchain.network.bird.render import RESTART_SECONDS
from coldchain.ports.store import Change
from coldchain.ports.tunnel import TUNNEL
from coldchain.testing.machines import SEGMENTED, Machine
from coldchain.testing.network_lab import MachineNetd, NetworkLab, callers, network_lab

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORT = "7000"
PATIENCE_SECONDS = 30.0
NETWORKS = (
    ContainerNetwork(name="online_net", pool="online"),
    ContainerNetwork(name="isolated_net", pool="offline", isolated=True),
)
ROUTES_OF_BIRD = ("ip", "route", "show", "proto", "bird")
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
    return callers(machine.docker.run("exec", container, "busybox", "netstat", "-tn"), int(PORT))


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
    began = time.monotonic()
    for machine in (first, vm):
        await until(
            lambda machine=machine: second.address in machine.run("ip", "route", "show", "proto", "bird"), False
        )
    # By netd, which asks the machine: BIRD would wait whether it is back. `bin/bench network` measures it closely.
    assert time.monotonic() - began < RESTART_SECONDS
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
    for netd in network.netds.values():
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


async def test_bird_killed_takes_no_route_and_comes_back(network: NetworkLab) -> None:
    first, second = network["machine-1"], network["machine-2"]
    one, two = await network.run("machine-1", "one"), await network.run("machine-2", "two")
    await until(lambda: pings(first, "one", two))
    # Only of these: an empty block of an earlier test is given back, with its routes, whenever its rest is over.
    blocks = [str(ipaddress.ip_network(f"{address}/26", strict=False)) for address in (one, two)]

    def theirs(text: str) -> list[str]:
        return [line for line in text.splitlines() if any(block in line for block in blocks)]

    before, routes = bird(second), [theirs(machine.run(*ROUTES_OF_BIRD)) for machine in (first, second)]
    assert all(routes)
    told = second.start("ip", "monitor", "route")
    second.run("kill", "-KILL", str(before))
    await until(lambda: bird(second) not in (0, before))
    for machine in ("machine-2", "machine-1"):
        await until(lambda machine=machine: sessions(network, machine), {"Established"})
    assert [theirs(machine.run(*ROUTES_OF_BIRD)) for machine in (first, second)] == routes
    await until(lambda: pings(first, "one", two))
    told.kill()
    assert not [line for line in theirs(told.log.read_text()) if "Deleted" in line]


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
    """Without a tunnel that is said, and with one it works."""
    async with network_lab(SEGMENTED) as network:
        first, vm = network["machine-1"], network["vm"]
        far = "containers on machine-2, vm cannot be reached from machine-1"
        await until(lambda: named_by_doctor(network, "machine-1", "netd routes", far))
        await network.store.write([Change(key=keys.ROUTING, value=encode(Routing(encapsulation="cross-subnet")))])
        await until(lambda: TUNNEL in first.run("ip", "link"))
        one = await network.run("machine-1", "one")
        assert "mtu 1450" in first.docker.run("exec", "one", "busybox", "ip", "link", "show", "eth0")
        two = await serving(network, "machine-2", "two")
        await until(lambda: pings(first, "one", two))
        await until(lambda: vm.reaches(one))
        first.docker.run("exec", "--detach", "one", "sh", "-c", f"sleep 1000 | busybox nc {two} {PORT}")
        await until(lambda: callers_of(network["machine-2"], "two"), {one})
        assert not network["router"].reaches(two)
        assert await network.doctor("machine-1") == {}


async def test_netd_ends_in_order(network: NetworkLab) -> None:
    netd = network.netds["vm"]
    assert await asyncio.to_thread(netd.terminate) == 0
    netd.start()
    await netd.status()


OPEN = {
    "name": "open",
    "source": {"network": "online_net"},
    "destination": {"network": "third_net"},
    "protocol": "tcp",
    "ports": [PORT],
}
STREAM = "while echo; do sleep 0.05; done | busybox nc {} 7000 >/answers"


@pytest_asyncio.fixture(loop_scope="module")
async def third_net(network: NetworkLab) -> AsyncIterator[str]:
    """Made while all runs, beside the others."""
    pools, networks = Pools(network.store), ContainerNetworks(network.store, lambda name: ())
    await pools.add(Pool(name="third", cidr="10.202.0.0/16"))
    await networks.create(ContainerNetwork(name="third_net", pool="third"))
    for machine in network.hosts:
        await until(lambda machine=machine: "third_net" in machine.docker.run("network", "ls"))
    yield "third_net"
    for machine in network.hosts:
        if left := machine.docker.run("ps", "--all", "--quiet").split():
            machine.docker.run("rm", "--force", *left)
    await NetworkPolicy(network.store).put({"rules": []})
    await networks.remove("third_net")
    for machine in network.hosts:
        await until(lambda machine=machine: "third_net" in machine.docker.run("network", "ls"), False)


async def ruled(network: NetworkLab, *rules: object, cut: bool = False) -> None:
    """All machines have these rules."""
    await NetworkPolicy(network.store).put({"rules": list(rules), "cut": cut})
    for netd in network.netds.values():
        await until(lambda netd=netd: rules_of(netd), len(rules))


async def rules_of(netd: MachineNetd) -> object:
    return (await netd.loops())["policy"]["rules"]


async def answers(machine: Machine, container: str) -> int:
    """How many came on the stream until now."""
    return int(machine.docker.run("exec", container, "sh", "-c", "busybox wc -c </answers"))


async def flows(machine: Machine, container: str) -> bool:
    before = await answers(machine, container)
    await asyncio.sleep(1.0)  # what does not come in this time does not come
    return await answers(machine, container) > before


async def test_networks_keep_apart_unless_a_rule_says_otherwise(network: NetworkLab, third_net: str) -> None:
    first = network["machine-1"]
    there = await serving(network, "machine-2", "there", on=third_net)
    here = await network.run("machine-1", "here")
    policy, question = NetworkPolicy(network.store), PolicyQuestion(source=here, destination=there, port=int(PORT))
    assert not connects(first, "here", there)
    assert (await policy.ask(question))[0].decision.verdict == "deny"
    await ruled(network, OPEN)
    assert connects(first, "here", there)
    assert (await policy.ask(question))[0].decision.rule == "open"
    assert not pings(first, "here", there), "only what the rule names"
    await network.run("machine-1", "back", network=third_net)
    assert not connects(first, "back", here), "and only in its direction"
    first.docker.run("exec", "--detach", "here", "sh", "-c", STREAM.format(there))
    await until(lambda: flows(first, "here"))
    await ruled(network)
    assert not connects(first, "here", there)
    await until(lambda: flows(first, "here"))  # what stands is left alone
    await ruled(network, OPEN)
    await ruled(network, cut=True)
    await until(lambda: flows(first, "here"), False)


async def test_nobody_sends_with_an_address_of_another(network: NetworkLab) -> None:
    first, vm = network["machine-1"], network["vm"]
    own = await network.run("machine-1", "one", "--cap-add=NET_ADMIN")
    first.docker.run("exec", "one", "busybox", "ip", "address", "add", "10.200.77.77/32", "dev", "eth0")
    vm.run("nft", "-f", "-", stdin=WATCH.format(own=own))
    for source in ("10.200.77.77", own):
        asked = ("exec", "one", "busybox", "ping", "-c1", "-W1", "-I", source, vm.address)
        first.docker.run(*asked, status=None)
    await until(lambda: heard(vm, "own"))
    assert not heard(vm, "foreign")
    vm.run("nft", "delete", "table", "ip", "watch")


WATCH = """
table ip watch {{
  counter own {{ }}
  counter foreign {{ }}
  chain before {{
    type filter hook prerouting priority -300;
    ip saddr {own} counter name own
    ip saddr 10.200.77.77 counter name foreign
  }}
}}
"""


def heard(machine: Machine, counter: str) -> bool:
    return "packets 0" not in machine.run("nft", "list", "counter", "ip", "watch", counter)


async def test_netd_that_is_killed_while_the_store_is_away_still_serves_docker(network: NetworkLab) -> None:
    first, second = network["machine-1"], network["machine-2"]
    await network.run("machine-1", "one")
    two = await network.run("machine-2", "two")
    network.etcd.stop()
    network.netds["machine-2"].kill()
    network.netds["machine-2"].start()
    await network.netds["machine-2"].status()
    second.docker.run("rm", "--force", "two")
    three = await asyncio.to_thread(start_without_store, second, "three")
    assert three != two, "it rests"
    await until(lambda: pings(first, "one", three))
    network.etcd.start()
    await network.etcd.ready()
    await until(lambda: attachments_of(network, "machine-2"), [three])
    assert await checked(network) == []


async def attachments_of(network: NetworkLab, node: str) -> list[str]:
    return [address for its, address in await attachments(network) if its == node]


async def checked(network: NetworkLab) -> list[str]:
    """What `coldchain network check` says."""
    found = await NetworkCheck(network.store, SystemClock(), Pools(network.store)).look()
    return [one.says for one in found]


async def test_the_doctor_says_that_all_is_well_and_who_is_lost(network: NetworkLab) -> None:
    await network.run("machine-1", "one")
    await network.run("machine-2", "two")
    for name in network.netds:
        await until(lambda name=name: network.doctor(name), {})
    assert await checked(network) == []
    network["machine-2"].cut_cable()
    await until(lambda: named_by_doctor(network, "vm", "routes", "of node machine-2"))
    assert set(await network.doctor("vm")) == {"BIRD node4-machine-2", "routes"}
    network["machine-2"].plug_in_cable()
    for name in network.netds:
        await until(lambda name=name: network.doctor(name), {})


async def named_by_doctor(network: NetworkLab, machine: str, name: str, words: str) -> bool:
    return words in (await network.doctor(machine)).get(name, "")
