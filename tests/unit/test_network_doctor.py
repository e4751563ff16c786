"""The doctor of the network finds what is wrong in recorded facts, says what to do, and nothing where all is well."""

from dataclasses import replace
from typing import Any

import pytest

from coldchain.main.doctor import Finding
from coldchain.main.network_doctor import findings
from coldchain.main.network_machine import (
    Interface,
    NetworkMachine,
    Route,
    Session,
    Shared,
    interfaces_in,
    routes_in,
    sessions_in,
)
from coldchain.model.node import Node
from coldchain.model.pool import Block

ETH0 = Interface(name="eth0", mtu=1500, up=True)
TUNNEL = Interface(name="cnvx", mtu=1500, up=True, kind="vxlan")
LINK = Interface(name="cn98bf0123456", mtu=1500, up=True, kind="veth")
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/bridge/bridge-nf-call-iptables": "1",
    f"net/ipv4/conf/{LINK.name}/rp_filter": "1",
    f"net/ipv4/conf/{LINK.name}/forwarding": "1",
}
LOOPS: dict[str, Any] = {
    "addresses": {"held": 64, "trouble": ""},
    "attachments": {"attachments": 1, "untold": 0, "withoutLink": [], "trouble": "", "machineTrouble": ""},
    "networks": {"present": ["online_net"], "troubles": {}, "trouble": ""},
    "routes": {"joined": True, "findings": [], "trouble": "", "machineTrouble": ""},
}
NETD: dict[str, Any] = {
    "version": "1.0",
    "node": {"name": "a", "address": "10.10.3.5/24", "interface": "eth0"},
    "loops": LOOPS,
}
ROUTES = (
    Route(destination="default", device="eth0", via="10.10.3.1"),
    Route(destination="10.200.0.0/26", kind="blackhole"),
    Route(destination="10.200.0.7", device=LINK.name),
    Route(destination="10.200.0.64/26", device="eth0", via="10.10.3.6"),
)
NODES = (Node(name="a", address="10.10.3.5/24"), Node(name="b", address="10.10.3.6/24"))
BLOCKS = (
    Block(pool="main", cidr="10.200.0.0/26", node="a"),
    Block(pool="main", cidr="10.200.0.64/26", node="b"),
    Block(pool="main", cidr="10.200.0.128/26", node=""),
)
SHARED = Shared(nodes=NODES, blocks=BLOCKS, clock_ahead_seconds=0.3)
WELL = NetworkMachine(
    user=0,
    sysctls=SYSCTLS,
    forward=("-P FORWARD ACCEPT", "-A FORWARD -j DOCKER-USER", "-N DOCKER-USER"),
    interfaces=(ETH0, LINK),
    routes=ROUTES,
    driver=("NetworkDriver", "IpamDriver"),
    netd=NETD,
    docker={"LiveRestoreEnabled": True},
    networks=("online_net",),
    sessions=(Session(name="mesh_b", state="Established"),),
    clock_synchronised=True,
    shared=SHARED,
)
CLOSED = ("-P FORWARD DROP", "-A FORWARD -j DOCKER-USER", "-N DOCKER-USER")


def changed(**fields: object) -> NetworkMachine:
    return replace(WELL, **fields)  # type: ignore[arg-type]


def with_sysctl(name: str, value: str, **fields: object) -> NetworkMachine:
    return changed(sysctls=SYSCTLS | {name: value}, **fields)


def with_loop(name: str, **status: object) -> NetworkMachine:
    return changed(netd=NETD | {"loops": LOOPS | {name: LOOPS[name] | status}})


def with_link(**fields: Any) -> NetworkMachine:
    return changed(interfaces=(ETH0, replace(LINK, **fields)))


def with_session(state: str, words: str) -> NetworkMachine:
    return changed(sessions=(Session(name="mesh_b", state=state, words=words),))


def bad(machine: NetworkMachine) -> list[Finding]:
    return [one for one in findings(machine) if one.state != "ok"]


def test_nothing_is_wrong_where_all_is_well() -> None:
    found = findings(WELL)
    assert bad(WELL) == []
    assert {one.todo for one in found} == {""}
    assert [one.name for one in found] == [
        "user",
        "netd",
        "netd addresses",
        "netd attachments",
        "netd networks",
        "netd routes",
        "driver",
        "docker",
        "sysctls",
        "FORWARD",
        "links",
        "BIRD mesh_b",
        "routes",
        "clock",
    ]


def test_links_may_be_as_large_as_what_passes_the_tunnel() -> None:
    assert not bad(changed(interfaces=(ETH0, replace(LINK, mtu=1450), replace(TUNNEL, mtu=1450))))


CASES: list[tuple[NetworkMachine, str, str, str, str]] = [
    (changed(user=1000), "user", "warning", "not root", "as root"),
    (changed(netd=None, netd_error="there is no socket /x"), "netd", "missing", "no socket /x", "coldchain netd"),
    (with_loop("addresses", trouble="etcd is away"), "netd addresses", "warning", "etcd is away", "tried again"),
    (with_loop("attachments", machineTrouble="no netlink"), "netd attachments", "warning", "no netlink", "tried"),
    (with_loop("attachments", withoutLink=["web.1"]), "netd attachments", "warning", "web.1", "tried again"),
    (with_loop("networks", troubles={"b": "no pool"}), "netd networks", "warning", "b: no pool", "tried again"),
    (
        with_loop("routes", findings=[{"reason": "no way to b", "todo": "name a router"}]),
        "netd routes",
        "warning",
        "no way to b",
        "name a router",
    ),
    (changed(driver=(), driver_error="it hangs"), "driver", "missing", "it hangs", "before Docker"),
    (changed(driver=("NetworkDriver",)), "driver", "missing", "no IpamDriver", "before Docker"),
    (changed(docker=None, docker_error="does not answer"), "docker", "missing", "not answer", "coldchain doctor"),
    (changed(docker={"LiveRestoreEnabled": False}), "docker live-restore", "warning", "containers end", "daemon.json"),
    (with_sysctl("net/ipv4/ip_forward", "0"), "net.ipv4.ip_forward", "missing", "no packets", "sysctl -w net.ipv4"),
    (
        with_sysctl("net/ipv4/conf/all/rp_filter", "2"),
        "net.ipv4.conf.all.rp_filter",
        "warning",
        "addresses of others",
        "rp_filter=1",
    ),
    (
        with_sysctl(f"net/ipv4/conf/{LINK.name}/rp_filter", "0"),
        f"net.ipv4.conf.{LINK.name}.rp_filter",
        "missing",
        "addresses of others",
        "sysctl -w",
    ),
    (
        with_sysctl(f"net/ipv4/conf/{LINK.name}/forwarding", "0"),
        f"net.ipv4.conf.{LINK.name}.forwarding",
        "missing",
        "reaches nobody",
        "sysctl -w",
    ),
    (
        changed(routes=(*ROUTES, Route(destination="fd00::7", device=LINK.name))),
        "net.ipv6.conf.all.forwarding",
        "missing",
        "passes no IPv6 on",
        "sysctl -w",
    ),
    (
        changed(interfaces=(replace(ETH0, kind="bridge"), LINK)),
        "net.bridge.bridge-nf-call-iptables",
        "warning",
        "eth0 is a bridge",
        "iptables=0",
    ),
    (changed(forward=CLOSED), "FORWARD", "missing", "DROP", "-i cn+ -j ACCEPT; iptables -I DOCKER-USER -o cn+"),
    (changed(links_error="ip is not installed"), "links", "warning", "ip is not installed", "iproute2"),
    (with_link(up=False), LINK.name, "missing", "is down", f"ip link set {LINK.name} up"),
    (changed(routes=(*ROUTES[:2], *ROUTES[3:])), LINK.name, "missing", "no route", "Restart the container"),
    (with_link(mtu=9000), LINK.name, "missing", "large packets are lost", "mtu 1500"),
    (with_link(mtu=1400), LINK.name, "warning", "smaller than need be", "Restart the container"),
    (
        changed(interfaces=(ETH0, replace(LINK, mtu=1400), replace(TUNNEL, mtu=1450))),
        LINK.name,
        "warning",
        "eth0 has 1450: smaller",
        "Restart the container",
    ),
    (
        changed(interfaces=(ETH0, LINK, TUNNEL)),
        "cnvx",
        "missing",
        "eth0 has 1450 bytes",
        "mtu 1450",
    ),
    (changed(sessions=(), bird_error="birdc is not installed"), "BIRD", "missing", "not installed", "install bird2"),
    (changed(sessions=()), "BIRD", "missing", "1 other nodes", "log of netd"),
    (with_session("Active", "Socket: Connection refused"), "BIRD mesh_b", "missing", "refused", "port 179"),
    (with_session("Active", "Socket: No route to host"), "BIRD mesh_b", "missing", "No route", "ip route get"),
    (with_session("Connect", "Error: Hold timer expired"), "BIRD mesh_b", "missing", "expired", "UDP 3784"),
    (with_session("Idle", "Received: Authentication failure"), "BIRD mesh_b", "missing", "Idle", "same password"),
    (changed(routes=ROUTES[:3]), "routes", "missing", "no route to 10.200.0.64/26 of node b", "session"),
    (
        changed(routes=(*ROUTES[:3], Route(destination="10.200.0.64/26", kind="blackhole"))),
        "routes",
        "missing",
        "stops its packets",
        "Restart netd",
    ),
    (changed(shared=None, shared_error="it does not answer"), "store", "warning", "not answer", "go on"),
    (changed(shared=replace(SHARED, clock_ahead_seconds=-7.25)), "clock", "warning", "by -7.2 s", "timesyncd"),
    (changed(clock_synchronised=False), "clock", "warning", "nobody keeps", "timesyncd"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]}: {case[3]}")
def test_each_thing_is_found_with_what_to_do(case: tuple[NetworkMachine, str, str, str, str]) -> None:
    machine, name, state, said, todo = case
    [one] = bad(machine)
    assert (one.name, one.state) == (name, state)
    assert said in one.found
    assert todo in one.todo


def test_a_policy_that_drops_is_fine_where_links_are_let_through() -> None:
    rules = (*CLOSED, "-A DOCKER-USER -i cn+ -j ACCEPT", "-A DOCKER-USER -o cn+ -j ACCEPT")
    assert bad(changed(forward=rules)) == []
    [one] = bad(changed(forward=rules[:-1]))
    assert one.todo.startswith("`iptables -I DOCKER-USER -o cn+ -j ACCEPT`")


def test_without_iptables_nothing_can_drop_there() -> None:
    assert bad(changed(forward=(), forward_error="iptables is not installed")) == []


def test_a_node_that_runs_no_containers_needs_neither_docker_nor_driver() -> None:
    netd = NETD | {"node": NETD["node"] | {"containers": False}}
    assert bad(changed(netd=netd, docker=None, docker_error="no", driver=(), driver_error="no")) == []


def test_without_the_store_the_rest_is_looked_at() -> None:
    machine = changed(shared=None, sessions=())
    assert bad(machine) == []
    assert "routes" not in [one.name for one in findings(machine)]


def test_without_netd_the_uplink_is_that_of_the_default_route() -> None:
    machine = replace(with_link(mtu=9000), netd=None, netd_error="gone")
    assert [one.name for one in bad(machine)] == ["netd", LINK.name]


RECORDED_PROTOCOLS = """\
BIRD 2.0.12 ready.
Access restricted
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     09:12:01.004  
direct1    Direct     ---        up     09:12:01.004  
kernel1    Kernel     master4    up     09:12:01.004  
mesh_b     BGP        ---        up     09:12:03.310  Established   
mesh_c     BGP        ---        start  09:12:01.004  Active        Socket: Connection refused
mesh_d     BGP        ---        down   09:12:01.004  
mesh_e     BGP        ---        up     2026-11-28 09:12:03  Established   
mesh_f     BGP        ---        start  2026-11-28  Connect       
"""  # noqa: W291 -- as BIRD has it
RECORDED_LINKS = """[
 {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536},
 {"ifindex":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP"],"mtu":1500,"linkinfo":{}},
 {},
 {"ifindex":3,"link_index":2,"ifname":"cn98bf0123456","flags":["BROADCAST"],"mtu":1450,"linkinfo":{"info_kind":"veth"}}
]"""
RECORDED_ROUTES = """[
 {"dst":"default","gateway":"10.10.3.1","dev":"eth0","flags":[]},
 {"type":"blackhole","dst":"10.200.0.0/26","protocol":"bird","metric":32,"flags":[]},
 {"dst":"10.200.0.7","dev":"cn98bf0123456","scope":"link","prefsrc":"10.10.3.5","flags":[]},
 {"dst":"10.200.0.64/26","protocol":"bird","metric":32,"flags":[],
  "nexthops":[{"gateway":"10.10.3.6","dev":"eth0","weight":1,"flags":[]}]}
]"""


def test_what_bird_says_is_read() -> None:
    assert sessions_in(RECORDED_PROTOCOLS) == (
        Session(name="mesh_b", state="Established"),
        Session(name="mesh_c", state="Active", words="Socket: Connection refused"),
        Session(name="mesh_d", state="down"),
        Session(name="mesh_e", state="Established"),
        Session(name="mesh_f", state="Connect"),
    )
    assert sessions_in("") == ()


def test_what_the_kernel_says_is_read() -> None:
    assert interfaces_in(RECORDED_LINKS)[1:] == (
        ETH0,
        Interface(name="cn98bf0123456", mtu=1450, up=False, kind="veth"),
    )
    assert routes_in(RECORDED_ROUTES) == ROUTES
    assert (interfaces_in(""), routes_in("")) == ((), ())
