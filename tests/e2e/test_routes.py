"""Routes between machines with real BIRDs: network namespaces are the machines, a bridge is the link of a segment."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from coldchain.model.node import RoutePeer, Routing
from coldchain.model.pool import Holding, Pool
from coldchain.testing.routes_lab import Cluster, Machine, RoutesLab, Stream, asked, contain, heard, routes_lab, run

POOL = Pool(name="shop", cidr="10.200.0.0/16")
NEVER = Routing(hold_seconds=3600, bfd=False)
"""Sessions that no time ends: what happens then has another reason."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RoutesLab]:
    with routes_lab(tmp_path) as made:
        yield made


def three(lab: RoutesLab, cluster: Cluster) -> list[Machine]:
    """On one link."""
    lab.segment("one")
    machines = []
    for number in (1, 2, 3):
        address = f"10.10.3.{number}/24"
        machines.append(lab.machine(f"h{number}", {"one": address}))
        cluster.join(machines[-1], address)
    return machines


def two_segments(lab: RoutesLab, cluster: Cluster) -> tuple[Machine, Machine, Machine]:
    """A machine on each side of a router."""
    lab.segment("near")
    lab.segment("far")
    router = lab.machine("router", {"near": "10.10.3.254/24", "far": "10.10.50.254/24"})
    near = lab.machine("near", {"near": "10.10.3.1/24"}, gateway="10.10.3.254")
    far = lab.machine("far", {"far": "10.10.50.1/24"}, gateway="10.10.50.254")
    cluster.join(near, "10.10.3.1/24")
    cluster.join(far, "10.10.50.1/24")
    cluster.has_block("near", "10.200.0.0/26")
    cluster.has_block("far", "10.200.0.64/26")
    contain(near, "10.200.0.5")
    contain(far, "10.200.0.70")
    return near, router, far


def test_blocks_come_and_go_on_all_machines_of_a_mesh(lab: RoutesLab) -> None:
    cluster = Cluster([POOL], Routing())
    one, two, three_ = three(lab, cluster)
    cluster.has_block("h1", "10.200.0.0/26")
    cluster.apply()
    for machine in (two, three_):
        found = machine.until(lambda routes: "10.200.0.0/26" in routes)
        assert found["10.200.0.0/26"] == "10.10.3.1 eth0"
    assert one.routes() == {"10.200.0.0/26": "unreachable"}
    cluster.has_block("h3", "10.200.7.0/26")
    cluster.apply_on("h3")
    for machine in (one, two):
        machine.until(lambda routes: routes.get("10.200.7.0/26") == "10.10.3.3 eth0")
    cluster.blocks = []
    cluster.apply()
    for machine in (one, two, three_):
        machine.until(lambda routes: not routes)


def test_what_is_borrowed_goes_to_who_borrowed_it(lab: RoutesLab) -> None:
    cluster = Cluster([POOL], NEVER)
    _, two, three_ = three(lab, cluster)
    cluster.has_block("h1", "10.200.0.0/26")
    cluster.blocks[0] = replace(cluster.blocks[0], held={"10.200.0.9": Holding(node="h2")})
    cluster.apply()
    found = three_.until(lambda routes: len(routes) == 2)
    assert found == {"10.200.0.0/26": "10.10.3.1 eth0", "10.200.0.9": "10.10.3.2 eth0"}
    assert two.until(lambda routes: bool(routes)) == {"10.200.0.0/26": "10.10.3.1 eth0"}
    contain(two, "10.200.0.9")
    assert asked(three_, "", two, "10.200.0.9") == "10.10.3.3"


def test_both_families_lead_from_machine_to_machine(lab: RoutesLab) -> None:
    lab.segment("one")
    cluster = Cluster([POOL, Pool(name="shop6", cidr="fd00:200::/64", block_length=122)], NEVER)
    machines = []
    for number in (1, 2):
        machine = lab.machine(f"h{number}", {"one": f"10.10.3.{number}/24"})
        lab.add_ipv6(machine, f"fd00:3::{number}/64")
        cluster.join(machine, f"10.10.3.{number}/24", f"fd00:3::{number}/64")
        cluster.has_block(machine.name, f"10.200.{number}.0/26")
        cluster.has_block(machine.name, f"fd00:200::{number}00/122")
        contain(machine, f"10.200.{number}.5")
        contain(machine, f"fd00:200::{number}05")
        machines.append(machine)
    one, two = machines
    cluster.apply()
    for machine, other in ((one, 2), (two, 1)):
        found = machine.until(lambda routes: len(routes) == 4)
        assert found[f"10.200.{other}.0/26"] == f"10.10.3.{other} eth0"
        assert found[f"fd00:200::{other}00/122"] == f"fd00:3::{other} eth0"
    assert asked(one, "fd00:200::105", two, "fd00:200::205") == "fd00:200::105"
    assert asked(two, "", one, "fd00:200::105") == "fd00:3::2"  # by its own address, not by one of a container
    assert asked(one, "10.200.1.5", two, "10.200.2.5") == "10.200.1.5"


@pytest.mark.parametrize("watched", [False, True])
def test_a_machine_that_is_lost_is_withdrawn_by_bfd(lab: RoutesLab, watched: bool) -> None:
    """The others' sessions would hold for an hour. By itself BIRD waits whether it is back; `watched` by netd it is
    told that nobody answers: there it would wait for an hour as well."""
    cluster = Cluster([POOL], Routing(hold_seconds=3600))
    if watched:
        cluster.restart_seconds = 3600
    one, two, three_ = three(lab, cluster)
    cluster.has_block("h1", "10.200.0.0/26")
    cluster.apply()
    for machine in (two, three_):
        machine.until(lambda routes: "10.200.0.0/26" in routes)
        machine.established("node4-h1", "node4-h3" if machine is two else "node4-h2")
        machine.hears("10.10.3.1", "10.10.3.3" if machine is two else "10.10.3.2")
        if watched:
            machine.watch_for_lost_nodes()
    lab.cut(one, "one")
    for machine in (two, three_):
        machine.until(lambda routes: not routes)
    assert two.sessions()["node4-h3"] == "Established"


@pytest.mark.parametrize("bfd", [False, True])
def test_a_bird_that_is_killed_and_started_again_changes_no_route(lab: RoutesLab, bfd: bool) -> None:
    cluster = Cluster([POOL], Routing(hold_seconds=3600, bfd=bfd))
    machines = one, two, _ = three(lab, cluster)
    cluster.has_block("h1", "10.200.0.0/26")
    cluster.has_block("h2", "10.200.0.64/26")
    cluster.apply()
    for machine in machines:
        machine.until(lambda routes: len(routes) == 2)
        machine.established(*(f"node4-{other.name}" for other in machines if other is not machine))
    contain(one, "10.200.0.5")
    contain(two, "10.200.0.70")
    stream = Stream(one, "10.200.0.5", two, "10.200.0.70")
    monitors = [machine.monitor() for machine in machines]
    if bfd:
        for machine in machines[1:]:
            machine.watch_for_lost_nodes()
            machine.hears("10.10.3.1")
    process = one.process()
    os.kill(process, signal.SIGKILL)
    one.do(one.bird.ended())
    cluster.apply_on("h1")
    assert one.process() != process
    for machine in machines:
        machine.established(*(f"node4-{other.name}" for other in machines if other is not machine))
    cluster.has_block("h1", "10.200.9.0/26")
    cluster.apply_on("h1")
    for machine in machines:
        # So it has done with all that came before.
        machine.until(lambda routes: "10.200.9.0/26" in routes)
    for machine, monitor in zip(machines, monitors, strict=True):
        with monitor:
            told = heard(monitor)
        assert told, f"the monitor of {machine.name} heard nothing at all"
        assert all(change.there for change in told), f"{machine.name} had a route taken away"
    assert stream.lost() == 0


def test_a_bird_that_finds_no_routes_in_the_kernel_waits_for_nobody(lab: RoutesLab) -> None:
    """As after a start of the machine: that a third one is away must not hold up what leads to the second."""
    cluster = Cluster([POOL], Routing(hold_seconds=3600, bfd=False))
    one, two, _ = three(lab, cluster)
    cluster.has_block("h2", "10.200.0.64/26")
    cluster.apply_on("h2")
    cluster.apply_on("h1")
    one.until(lambda routes: "10.200.0.64/26" in routes)
    one.established("node4-h2")
    assert "Graceful restart" not in one.log()
    os.kill(one.process(), signal.SIGKILL)
    one.do(one.bird.ended())
    cluster.apply_on("h1")
    assert "Graceful restart started" in one.log()
    assert two.routes() == {"10.200.0.64/26": "unreachable"}


def test_beyond_the_mesh_reflectors_pass_routes_on_and_packets_go_directly(lab: RoutesLab) -> None:
    lab.segment("one")
    cluster = Cluster([POOL], Routing(mesh_nodes_max=3, hold_seconds=3600, bfd=False))
    machines = []
    for number in range(1, 6):
        address = f"10.10.3.{number}/24"
        machines.append(lab.machine(f"h{number}", {"one": address}))
        cluster.join(machines[-1], address, reflector=number in (1, 2))
        cluster.has_block(f"h{number}", f"10.200.{number}.0/26")
    cluster.apply()
    for number, machine in enumerate(machines, 1):
        wanted = {f"10.200.{other}.0/26": f"10.10.3.{other} eth0" for other in range(1, 6) if other != number}
        wanted[f"10.200.{number}.0/26"] = "unreachable"
        machine.until(lambda routes, wanted=wanted: routes == wanted)  # type: ignore[misc]
    assert set(machines[4].sessions()) == {"node4-h1", "node4-h2"}


def test_a_tunnel_leads_past_a_router_that_knows_no_container(lab: RoutesLab) -> None:
    cluster = Cluster([POOL], Routing(encapsulation="cross-subnet", hold_seconds=3600, bfd=False))
    near, router, far = two_segments(lab, cluster)
    cluster.apply()
    near.until(lambda routes: routes.get("10.200.0.64/26") == "10.10.50.1 cn-tunnel")
    far.until(lambda routes: routes.get("10.200.0.0/26") == "10.10.3.1 cn-tunnel")
    assert asked(near, "10.200.0.5", far, "10.200.0.70") == "10.200.0.5"
    assert asked(far, "10.200.0.70", near, "10.200.0.5") == "10.200.0.70"
    # A node and a container of the other segment: the router would drop what comes from the container.
    assert asked(near, "", far, "10.200.0.70") == "10.10.3.1"
    assert asked(far, "10.200.0.70", near, "10.10.3.1") == "10.200.0.70"
    assert "10.200" not in run("ip", "-n", router.name, "route")


def test_a_tunnel_follows_the_nodes_and_leaves_nothing(lab: RoutesLab) -> None:
    cluster = Cluster([POOL], Routing(encapsulation="cross-subnet", hold_seconds=3600, bfd=False))
    near, _, far = two_segments(lab, cluster)
    third = lab.machine("third", {"far": "10.10.50.2/24"}, gateway="10.10.50.254")
    cluster.apply()
    near.until(lambda routes: "10.200.0.64/26" in routes)
    device = tunnel_of(near)
    cluster.join(third, "10.10.50.2/24")
    cluster.has_block("third", "10.200.0.128/26")
    contain(third, "10.200.0.130")
    cluster.apply()
    near.until(lambda routes: routes.get("10.200.0.128/26") == "10.10.50.2 cn-tunnel")
    far.until(lambda routes: routes.get("10.200.0.128/26") == "10.10.50.2 eth0")
    assert asked(near, "10.200.0.5", third, "10.200.0.130") == "10.200.0.5"
    assert tunnel_of(near) == device, "the tunnel was made anew"
    del cluster.nodes["far"]
    cluster.apply_on("near")
    for what in (("neigh", "show", "dev", "cn-tunnel"), ("route", "show", "table", "8475")):
        shown = run("ip", "-n", "near", *what)
        assert "10.10.50.2" in shown
        assert "10.10.50.1 " not in shown
    assert "10.10.50.1 " not in run("bridge", "-n", "near", "fdb", "show", "dev", "cn-tunnel")
    cluster.routing = Routing()
    cluster.apply_on("near")
    assert tunnel_of(near) is None
    assert "8475" not in run("ip", "-n", "near", "rule")
    assert not run("ip", "-n", "near", "route", "show", "table", "all", "dev", "eth0", "proto", "bird")


def tunnel_of(machine: Machine) -> int | None:
    links = json.loads(run("ip", "-n", machine.name, "-j", "link"))
    return next((one["ifindex"] for one in links if one["ifname"] == "cn-tunnel"), None)


ROUTER = """\
log stderr all;
router id 10.10.3.254;
protocol device {{ }}
protocol direct {{ ipv4; }}
protocol kernel {{ ipv4 {{ import none; export all; }}; }}
protocol bgp near {{
  local 10.10.3.254 as 64600; neighbor 10.10.3.1 as 64512; password "{password}"; connect delay time 1;
  error wait time 1, 1; ipv4 {{ import all; export all; }};
}}
protocol bgp far {{
  local 10.10.50.254 as 64600; neighbor 10.10.50.1 as 64512; password "{password}"; connect delay time 1;
  error wait time 1, 1; ipv4 {{ import all; export all; }};
}}
"""


def test_a_router_of_the_data_centre_is_the_way_between_segments(lab: RoutesLab) -> None:
    """By a session with a password each, and only with the right one."""
    peers = (
        RoutePeer(name="tor-near", address="10.10.3.254", autonomous_system=64600, secret="tor"),
        RoutePeer(name="tor-far", address="10.10.50.254", autonomous_system=64600, secret="tor"),
    )
    cluster = Cluster([POOL], Routing(bfd=False, peers=peers))
    near, router, far = two_segments(lab, cluster)
    router.do(router.bird.apply(ROUTER.format(password="right 'one'")))
    cluster.passwords["tor"] = "wrong one"
    cluster.apply()
    refused_for_its_password(router)
    assert near.sessions() == {"peer4-tor-near": near.sessions()["peer4-tor-near"]}
    assert near.sessions()["peer4-tor-near"] != "Established"
    cluster.passwords["tor"] = "right 'one'"
    cluster.apply()
    near.until(lambda routes: routes.get("10.200.0.64/26") == "10.10.3.254 eth0")
    far.until(lambda routes: routes.get("10.200.0.0/26") == "10.10.50.254 eth0")
    assert asked(near, "10.200.0.5", far, "10.200.0.70") == "10.200.0.5"
    assert asked(far, "", near, "10.200.0.5") == "10.10.50.1"


def refused_for_its_password(machine: Machine) -> None:
    """Waits until its kernel has dropped a packet for that."""

    def dropped() -> int:
        names, values = [line.split() for line in Path("/proc/thread-self/net/netstat").read_text().splitlines()[:2]]
        return int(dict(zip(names, values, strict=True))["TCPMD5Failure"])

    while not machine.call(dropped):
        time.sleep(0.1)
