"""The text of bird.conf, compared whole with what was read and run once. tests/contract gives each to BIRD."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coldchain.decisions.routing import route_plan
from coldchain.model.node import Node, RoutePeer, Routing
from coldchain.model.pool import Block, Holding, Pool
from coldchain.network.bird.render import render

GOLDEN = Path(__file__).parent / "bird"
LOG = Path("/var/lib/coldchain-netd/bird/bird.log")

H1 = Node(name="h1", address="10.10.3.5/24", interface="eth0")
H2 = Node(name="h2", address="10.10.3.6/24", interface="eth0")
FAR = Node(name="far.example-1", address="10.10.50.7/24")
POOL = Pool(name="shop", cidr="10.200.0.0/16")
BLOCKS = [
    Block(pool="shop", cidr="10.200.0.64/26", node="h1"),
    Block(pool="shop", cidr="10.200.0.0/26", node="h1"),
    Block(pool="shop", cidr="10.200.1.0/26", node="h2", held={"10.200.1.9": Holding(node="h1")}),
]
ROUTER = RoutePeer(name="tor-1", address="10.10.3.1", autonomous_system=64600, secret="tor", bfd=True)


def alone() -> str:
    return render(route_plan(Node(name="vm", address="10.10.3.9/24"), [], [], [], Routing(bfd=False)), {}, LOG)


def mesh() -> str:
    return render(route_plan(H1, [H1, H2], BLOCKS, [POOL], Routing()), {}, LOG)


def router() -> str:
    plan = route_plan(H1, [H1, H2, FAR], BLOCKS, [POOL], Routing(peers=(ROUTER,)))
    return render(plan, {"tor": "not 'easy' \\ to guess"}, LOG)


def one_for_all() -> str:
    """One node speaks with the router for all of its segment."""
    peer = RoutePeer(name="tor-1", address="10.10.3.1", autonomous_system=64600, nodes=("h1",))
    return render(route_plan(H1, [H1, H2], BLOCKS, [POOL], Routing(peers=(peer,))), {}, LOG)


def reflector() -> str:
    nodes = [
        Node(name=f"h{number}", address=f"10.10.3.{number}/24", reflector=number in (5, 7)) for number in range(5, 9)
    ]
    return render(route_plan(nodes[0], nodes, [], [POOL], Routing(mesh_nodes_max=3)), {}, LOG)


def tunnel() -> str:
    plan = route_plan(H1, [H1, H2, FAR], BLOCKS, [POOL], Routing(encapsulation="cross-subnet"))
    return render(plan, {}, LOG)


def both_families() -> str:
    one = Node(name="h1", address="10.10.3.5/24", address6="fd00:3::5/64", interface="eth0")
    two = Node(name="h2", address="10.10.3.6/24", address6="fd00:3::6/64", interface="eth0")
    pools = [POOL, Pool(name="shop6", cidr="fd00:200::/64", block_length=122)]
    blocks = [*BLOCKS, Block(pool="shop6", cidr="fd00:200::40/122", node="h1")]
    return render(route_plan(one, [one, two, FAR], blocks, pools, Routing(encapsulation="cross-subnet")), {}, LOG)


CASES: list[Callable[[], str]] = [alone, mesh, router, one_for_all, reflector, tunnel, both_families]


@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
def test_the_whole_text(case: Callable[[], str]) -> None:
    assert case() == (GOLDEN / f"{case.__name__}.conf").read_text()


def test_a_session_whose_password_is_not_known_is_left_out() -> None:
    plan = route_plan(H1, [H1], [], [POOL], Routing(peers=(ROUTER,)))
    assert "peer4-tor-1" not in render(plan, {}, LOG)
    assert "peer4-tor-1" in render(plan, {"tor": "x"}, LOG)


def test_no_text_is_without_a_case() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == {case.__name__ for case in CASES}
