"""Routing: who speaks with whom, what is announced, what goes through the tunnel, and what is wrong."""

import ipaddress
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.decisions.node import problems, problems_beside, routing_problems
from coldchain.decisions.routing import route_plan, tunnel_mac
from coldchain.model.node import Node, RoutePeer, Routing
from coldchain.model.pool import Block, Holding, Pool
from coldchain.model.route_plan import RoutePlan, Session

NEAR = [Node(name=f"n{number}", address=f"10.10.3.{number}/24") for number in range(1, 5)]
FAR = [Node(name=f"f{number}", address=f"10.10.50.{number}/24") for number in range(1, 3)]
POOL = Pool(name="p", cidr="10.200.0.0/16")
ROUTER = RoutePeer(name="r", address="10.10.3.254", autonomous_system=64600)


def plan(me: Node, nodes: Iterable[Node], routing: Routing | None = None, blocks: Iterable[Block] = ()) -> RoutePlan:
    return route_plan(me, nodes, blocks, [POOL], routing or Routing())


def sessions(found: RoutePlan) -> dict[str, Session]:
    return {one.name: one for family in found.families for one in family.sessions}


def test_all_of_a_segment_speak_with_all() -> None:
    found = plan(NEAR[0], NEAR)
    assert {name: one.address for name, one in sessions(found).items()} == {
        "node4-n2": "10.10.3.2",
        "node4-n3": "10.10.3.3",
        "node4-n4": "10.10.3.4",
    }
    assert not found.findings
    assert found.tunnel is None


def test_another_segment_is_out_of_reach_without_a_router_and_said_so() -> None:
    found = plan(NEAR[0], NEAR + FAR)
    assert set(sessions(found)) == {"node4-n2", "node4-n3", "node4-n4"}
    (finding,) = found.findings
    assert "f1, f2 cannot be reached from n1" in finding.reason
    assert "--encapsulation cross-subnet" in finding.todo


def test_the_router_of_the_segment_is_the_way_to_another() -> None:
    found = plan(NEAR[0], NEAR[:2] + FAR, Routing(peers=(ROUTER,)))
    assert set(sessions(found)) == {"node4-n2", "peer4-r"}
    assert sessions(found)["peer4-r"].autonomous_system == 64600
    assert not found.findings
    assert not found.families[0].passes_on
    assert "peer4-r" not in sessions(plan(FAR[0], NEAR + FAR, Routing(peers=(ROUTER,))))
    assert plan(FAR[0], NEAR + FAR, Routing(peers=(ROUTER,))).findings


def test_a_named_node_speaks_with_the_router_for_its_segment() -> None:
    routing = Routing(peers=(RoutePeer(name="r", address="10.10.3.254", autonomous_system=64600, nodes=("n1",)),))
    assert plan(NEAR[0], NEAR + FAR, routing).families[0].passes_on
    second = plan(NEAR[1], NEAR + FAR, routing)
    assert "peer4-r" not in sessions(second)
    assert not second.findings


def test_a_router_that_is_not_on_link_of_who_is_named_is_told_of() -> None:
    routing = Routing(peers=(RoutePeer(name="r", address="10.10.50.254", autonomous_system=64600, nodes=("n1",)),))
    found = plan(NEAR[0], NEAR, routing)
    assert "peer4-r" not in sessions(found)
    assert "peer r (10.10.50.254) is not in the segment of node n1" in found.findings[0].reason


def test_encapsulation_is_for_other_segments_only() -> None:
    routing = Routing(encapsulation="cross-subnet")
    found = plan(NEAR[0], NEAR + FAR, routing)
    assert {"node4-f1", "node4-f2"} < set(sessions(found))
    assert found.families[0].tunnelled
    assert found.tunnel is not None
    assert [(one.name, one.address, one.mac) for one in found.tunnel.neighbors] == [
        ("f1", "10.10.50.1", "02:cc:0a:0a:32:01"),
        ("f2", "10.10.50.2", "02:cc:0a:0a:32:02"),
    ]
    assert found.tunnel.pools == ("10.200.0.0/16",)
    alone = plan(NEAR[0], NEAR, routing)
    assert alone.tunnel is None
    assert not alone.families[0].tunnelled


def test_beyond_the_mesh_all_speak_with_the_reflectors() -> None:
    nodes = [Node(name=one.name, address=one.address, reflector=one.name in ("n1", "n2")) for one in NEAR]
    routing = Routing(mesh_nodes_max=3)
    assert {name: one.role for name, one in sessions(plan(nodes[0], nodes, routing)).items()} == {
        "node4-n2": "mesh",
        "node4-n3": "client",
        "node4-n4": "client",
    }
    assert plan(nodes[0], nodes, routing).families[0].passes_on
    assert set(sessions(plan(nodes[3], nodes, routing))) == {"node4-n1", "node4-n2"}
    assert len(sessions(plan(nodes[3], nodes, Routing(mesh_nodes_max=4)))) == 3


def test_without_reflectors_a_mesh_that_is_too_large_goes_on() -> None:
    found = plan(NEAR[0], NEAR, Routing(mesh_nodes_max=3))
    assert len(sessions(found)) == 3
    assert "none of them reflects" in found.findings[0].reason


def test_own_blocks_and_what_is_borrowed_are_announced_and_nothing_else() -> None:
    blocks = [
        Block(pool="p", cidr="10.200.0.64/26", node="n1", held={"10.200.0.70": Holding(node="n2")}),
        Block(pool="p", cidr="10.200.0.0/26", node="n1", held={"10.200.0.3": Holding(node="n1")}),
        Block(pool="p", cidr="10.200.1.0/26", node="n2", held={"10.200.1.9": Holding(node="n1")}),
        Block(pool="p", cidr="10.200.2.0/26", node="", held={"10.200.2.9": Holding(node="n1", attachment="a")}),
        Block(pool="gone", cidr="10.201.0.0/26", node="n1"),
    ]
    (family,) = plan(NEAR[0], NEAR, blocks=blocks).families
    assert family.blocks == ("10.200.0.0/26", "10.200.0.64/26")
    assert family.borrowed == ("10.200.1.9/32", "10.200.2.9/32")
    assert family.pools == ("10.200.0.0/16",)


def test_ipv6_needs_an_address_and_a_pool() -> None:
    one = Node(name="one", address="10.10.3.1/24", address6="fd00::1/64")
    two = Node(name="two", address="10.10.3.2/24", address6="fd00::2/64")
    three = Node(name="three", address="10.10.3.3/24")
    pool6 = Pool(name="six", cidr="fd00:200::/64", block_length=122)
    found = route_plan(one, [one, two, three], [], [POOL, pool6], Routing())
    assert set(sessions(found)) == {"node4-two", "node4-three", "node6-two"}
    assert found.families[1].segment == "fd00::/64"
    assert len(route_plan(three, [one, two, three], [], [POOL, pool6], Routing()).families) == 1
    assert len(route_plan(one, [one, two, three], [], [POOL], Routing()).families) == 1


def test_a_node_that_does_not_fit_is_left_out_and_told_of() -> None:
    odd = Node(name="x'; evil", address="10.10.3.9/24")
    found = plan(NEAR[0], [*NEAR, odd, Node(name="y", address="10.10.3.10")])
    assert len(sessions(found)) == 3
    assert len(found.findings) == 2
    assert "is left out" in found.findings[0].reason


ADDRESSES = st.sampled_from([f"10.10.{segment}.{last}/24" for segment in (3, 50, 60) for last in range(1, 7)])
NODES = st.lists(st.tuples(ADDRESSES, st.booleans()), unique_by=lambda pair: pair[0], min_size=2, max_size=12).map(
    lambda pairs: [
        Node(name=f"n{number}", address=address, reflector=reflects) for number, (address, reflects) in enumerate(pairs)
    ]
)


@settings(max_examples=200)
@given(nodes=NODES, most=st.integers(2, 12), encapsulated=st.booleans())
def test_both_ends_of_each_session_agree_and_routes_of_each_reach_all(
    nodes: list[Node], most: int, encapsulated: bool
) -> None:
    """Each session has its other end; and within a segment, or with a tunnel anywhere, a route goes from each node to
    each other directly or by one or two reflectors."""
    routing = Routing(mesh_nodes_max=most, encapsulation="cross-subnet" if encapsulated else "never")
    links = {}
    for one in nodes:
        for session in sessions(plan(one, nodes, routing)).values():
            (other,) = [node.name for node in nodes if node.address.startswith(f"{session.address}/")]
            links[one.name, other] = session.role
    assert {(b, a) for a, b in links} == set(links)
    for origin in nodes:
        reached = {origin.name} | {b for a, b in links if a == origin.name}
        for _ in range(2):
            # A reflector passes on to all what comes from its clients, and to its clients what comes from others.
            for (via, to), role in list(links.items()):
                from_client = links.get((via, origin.name)) == "client"
                if via in reached and (role == "client" or from_client):
                    reached.add(to)
        segment = ipaddress.ip_interface(origin.address).network
        for other in nodes:
            if encapsulated or ipaddress.ip_interface(other.address).network == segment:
                assert other.name in reached, (origin.name, other.name, links)


@given(address=st.ip_addresses(v=4), other=st.ip_addresses(v=4))
def test_two_nodes_never_have_one_end_of_the_tunnel(
    address: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    assert (tunnel_mac(f"{address}/24") == tunnel_mac(f"{other}/24")) == (address == other)


def test_all_that_is_wrong_with_a_node_is_said() -> None:
    node = Node(name="a_b", address="10.10.3.5", address6="fe80::1/64", interface="eth 0")
    assert [one.path for one in problems(node)] == ["/name", "/address", "/address6", "/interface"]
    assert problems(Node(name="a", address="127.0.0.1/8"))
    assert problems(Node(name="a", address="fd00::1/64"))
    assert problems(Node(name="a" * 56, address="10.0.0.1/24"))
    assert not problems(Node(name="a" * 55, address="10.0.0.1/24", interface="eth0.100"))


def test_an_address_belongs_to_one_node() -> None:
    same = Node(name="other", address="10.10.3.1/16")
    assert [one.path for one in problems_beside(same, NEAR)] == ["/address"]
    assert not problems_beside(NEAR[0], NEAR)


def test_all_that_is_wrong_with_the_settings_is_said() -> None:
    routing = Routing(
        autonomous_system=0,
        mesh_nodes_max=1,
        hold_seconds=1,
        bfd_interval_ms=1,
        peers=(
            RoutePeer(name="r", address="10.0.0.1", autonomous_system=1),
            RoutePeer(name="r", address="10.0.0.1", autonomous_system=0, nodes=("",)),
            RoutePeer(name="", address="10.0.0.1/24", autonomous_system=1),
        ),
    )
    assert [one.path for one in routing_problems(routing)] == [
        "/autonomousSystem",
        "/meshNodesMax",
        "/holdSeconds",
        "/bfdIntervalMs",
        "/peers/1/name",
        "/peers/1/address",
        "/peers/1/autonomousSystem",
        "/peers/1/nodes/0",
        "/peers/2/name",
        "/peers/2/address",
    ]
    assert not routing_problems(Routing(peers=(ROUTER,)))
