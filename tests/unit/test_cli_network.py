"""The commands for pools and networks of containers."""

import json
from collections.abc import Iterator

import pytest

from coldchain.documents import keys, stored
from coldchain.model.attachment import Attachment
from coldchain.model.node import Node
from coldchain.model.pool import Block, Holding
from coldchain.ports.store import Change
from coldchain.testing.command_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def put(server: Server, *written: keys.NetworkRecord) -> None:
    changes = [Change(key=keys.network_key_of(one), value=stored.encode(one)) for one in written]
    server.do(server.platform.store.write(changes))


def test_pools_and_networks_are_made_shown_and_removed(server: Server) -> None:
    result = server.run("pool", "add", "online", "10.200.0.0/16")
    assert (result.exit_code, result.stderr) == (0, "pool online is added: 10.200.0.0/16\n")
    added = server.json("pool", "add", "six", "fd00:200::/64", "--nat-outgoing", "--block-length", "120")
    assert (added["natOutgoing"], added["blockLength"], added["addresses"]) == (True, 120, None)
    result = server.run("network", "create", "online_net", "--pool", "online", "--pool6", "six", "--isolated")
    assert result.stderr == "network online_net is created; every machine makes it now\n"
    put(
        server,
        Node(name="a", address="10.10.3.1/24"),
        Block(
            pool="online",
            cidr="10.200.0.0/26",
            node="a",
            held={"10.200.0.5": Holding(node="a", attachment="x" * 64)},
        ),
        Attachment(id="x" * 64, node="a", network="online_net", address="10.200.0.5", app_id="/shop"),
    )
    [header, online, six] = server.run("pool", "list").stdout.splitlines()
    assert online.split() == ["online", "10.200.0.0/16", "1/65536", "1/1024", "/26", "no", "online_net", "in", "use"]
    assert "0/-" in six
    assert "BLOCK LENGTH" in header
    shown = server.run("pool", "show", "online").stdout
    assert ["10.200.0.0/26", "a", "1", "1", "0", "0"] in [line.split() for line in shown.splitlines()]
    shown = server.run("network", "show", "online_net").stdout
    assert "10.200.0.5  a     /shop  xxxxxxxxxxxx" in shown
    assert "online, six" in server.run("network", "list").stdout
    assert server.run("network", "check").stderr == "all addresses are in order\n"
    assert server.run("pool", "disable", "online").exit_code == 0
    assert "disabled" in server.run("pool", "list").stdout
    assert server.json("pool", "enable", "online")["disabled"] is False
    refused = server.run("network", "remove", "online_net")
    assert (refused.exit_code, "1 containers are in network 'online_net', on a" in refused.stderr) == (1, True)
    refused = server.run("pool", "remove", "online")
    assert (refused.exit_code, "is used by network online_net" in refused.stderr) == (1, True)
    assert server.run("pool", "remove", "none").exit_code == 1


def test_a_check_says_what_is_wrong_and_repairs(server: Server) -> None:
    server.json("pool", "add", "online", "10.200.0.0/16")
    put(server, Block(pool="online", cidr="10.200.0.0/26", node="gone", held={"10.200.0.5": Holding(node="gone")}))
    result = server.run("network", "check")
    assert result.exit_code == 1
    assert result.stdout.startswith("there is no node gone, and it holds 1 addresses\n  With --repair")
    assert [one["kind"] for one in json.loads(server.run("network", "check", "--json").stdout)["findings"]] == [
        "removed node"
    ]
    result = server.run("network", "check", "--repair")
    said = "put right: there is no node gone, and it holds 1 addresses\nall addresses are in order\n"
    assert (result.exit_code, result.stderr) == (0, said)
    assert server.json("network", "check", "--repair") == {"repaired": [], "findings": []}
    assert server.json("pool", "remove", "online") == {"removed": "online"}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["pool", "add"], 2, "needs a name"),
        (["pool", "list", "x"], 2, "takes none"),
        (["pool", "add", "x"], 2, "add needs addresses"),
        (["pool", "show", "x", "10.0.0.0/8"], 2, "the others take none"),
        (["pool", "disable", "x", "--nat-outgoing"], 2, "are for add"),
        (["pool", "add", "x", "10.200.0.0/33"], 2, "is no network"),
        (["pool", "add", "x", "10.200.0.1/16"], 2, "10.200.0.0/16"),
        (["pool", "add", "x", "10.200.0.0/16", "--block-length", "8"], 2, "must be 20 to 32"),
        (["pool", "add", "-x", "10.200.0.0/16"], 2, ""),
        (["pool", "show", "x"], 1, "does not exist"),
        (["network", "create", "x"], 2, "needs --pool"),
        (["network", "check", "x"], 2, "takes none"),
        (["network", "list", "--repair"], 2, "--repair is for check"),
        (["network", "show", "x", "--isolated"], 2, "are for create"),
        (["network", "create", "host", "--pool", "x"], 2, "Docker's own word"),
        (["network", "create", "x", "--pool", "none"], 2, "there is no pool 'none'"),
        (["network", "show", "x"], 1, "does not exist"),
    ],
)
def test_what_cannot_be_is_told(server: Server, arguments: list[str], status: int, words: str) -> None:
    result = server.run(*arguments)
    assert result.exit_code == status, result.output
    assert words in result.stderr
