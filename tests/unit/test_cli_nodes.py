"""The commands for nodes and routes."""

from collections.abc import Iterator

import pytest

from coldchain.control.nodes import Nodes
from coldchain.documents import keys, stored
from coldchain.main import command
from coldchain.model.attachment import Attachment
from coldchain.model.node import Node
from coldchain.ports.store import Change
from coldchain.testing.command_server import Server

MACHINE = command.node
"""A command of the application since that module was imported."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    nodes = Nodes(server.platform.store)
    server.do(nodes.join(Node(name="a", address="10.10.3.1/24")))
    server.do(nodes.join(Node(name="vm", address="10.10.3.2/24", containers=False)))
    yield server
    server.close()


def test_nodes_are_listed_changed_and_removed(server: Server) -> None:
    place = Attachment(id="x", node="a", network="n", address="10.200.0.1")
    put = Change(key=keys.network_key_of(place), value=stored.encode(place))
    server.do(server.platform.store.write([put]))
    [_, first, second] = server.done("node", "list").splitlines()
    assert first.split() == ["a", "10.10.3.1/24", "1", "no"]
    assert second.split() == ["vm", "10.10.3.2/24", "runs", "none", "no"]
    assert server.json("node", "set", "a", "--reflector", "--address6", "fd00::1/64")["reflector"] is True
    assert "10.10.3.1/24, fd00::1/64" in server.done("node", "show", "a")
    refused = server.run("node", "set", "a", "--address", "10.10.3.2/24")
    assert (refused.exit_code, "node vm has this address" in refused.stderr) == (2, True)
    refused = server.run("node", "remove", "a")
    assert (refused.exit_code, "has 1 containers" in refused.stderr) == (1, True)
    assert server.run("node", "remove", "a", "--lost").stderr == "node a is removed; its routes go\n"
    assert server.json("node", "remove", "vm") == {"removed": "vm"}
    assert server.json("node", "list") == {"nodes": []}
    told = server.run("node", "remove", "a", "--may-return").stderr
    assert told == "node a is removed, and joins again when its program starts\n"
    assert "Node 'a' does not exist" in server.run("node", "show", "a").stderr


def test_how_routes_are_spread_is_shown_and_changed(server: Server) -> None:
    assert server.json("routing", "set", "--encapsulation", "cross-subnet", "--no-bfd")["bfd"] is False
    added = server.run(
        *("routing", "add-peer", "tor", "--address", "10.10.3.254", "--autonomous-system", "64600"),
        *("--node", "a", "--secret", "tor-password"),
    )
    assert (added.exit_code, added.stderr) == (0, "nodes exchange routes with tor now\n")
    shown = server.done("routing", "show")
    assert "cross-subnet" in shown
    assert ["tor", "10.10.3.254", "64600", "a", "tor-password", "no"] in [line.split() for line in shown.splitlines()]
    refused = server.run("routing", "set", "--hold-seconds", "1")
    assert (refused.exit_code, "/holdSeconds" in refused.stderr) == (2, True)
    assert server.run("routing", "remove-peer", "tor").exit_code == 0
    assert server.json("routing", "show")["peers"] == []
    assert "does not exist" in server.run("routing", "remove-peer", "tor").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("node show", "needs a name"),
        ("node list a", "needs a name, or takes none"),
        ("node join a", "--store"),
        ("node join a --store etcd://127.0.0.1:1", "--address"),
        ("routing show tor", "needs a name, or takes none"),
        ("routing add-peer tor --address 10.0.0.1", "needs --address and --autonomous-system"),
        ("routing set --address 10.0.0.1", "does not take"),
        ("routing add-peer tor --address 10.0.0.1 --autonomous-system 1 --hold-seconds 9", "does not take"),
    ],
)
def test_what_does_not_fit_together_is_said_before_anything_is_asked(server: Server, words: str, said: str) -> None:
    result = server.run(*words.split())
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
