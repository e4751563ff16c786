"""policy against the real API: shown, compared, applied, asked."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldchain.documents import stored
from coldchain.documents.keys import network_key_of
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.node import Node
from coldchain.model.pool import Pool
from coldchain.ports.store import Change
from coldchain.testing.command_server import Server

THERE = (
    Pool(name="online", cidr="10.200.0.0/16"),
    ContainerNetwork(name="online_net", pool="online"),
    Node(name="node-1", address="10.10.0.1/24"),
    Attachment(id="1" * 64, node="node-1", network="online_net", address="10.200.0.1", app_id="/shop/web"),
    Attachment(id="2" * 64, node="node-1", network="online_net", address="10.200.0.2", app_id="/shop/db"),
)
POLICY = """\
rules:
- name: no-web
  verdict: deny
  source:
    app: /shop/web
  destination:
    network: online_net
  ports:
  - '5432'
- name: later
  source: {app: /later}
"""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    changes = [Change(key=network_key_of(one), value=stored.encode(one)) for one in THERE]
    server.do(server.platform.store.write(changes))
    yield server
    server.close()


def written(tmp_path: Path, text: str = POLICY, name: str = "policy.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_a_policy_is_compared_applied_and_shown(server: Server, tmp_path: Path) -> None:
    compared = server.run("policy", "diff", written(tmp_path))
    assert compared.exit_code == 1
    assert "+ /rules/0:" in compared.stdout
    assert server.json("policy", "show")["rules"] == []
    applied = server.run("policy", "apply", written(tmp_path))
    assert applied.exit_code == 0, applied.output
    assert "2 changes" in applied.stderr
    assert "rule later: its source means no container now" in applied.stderr
    shown = server.run("policy", "show")
    again = written(tmp_path, shown.stdout, "again.yaml")
    same = server.run("policy", "diff", again)
    assert (same.exit_code, same.stdout) == (0, "")
    assert "no change" in server.run("policy", "apply", again).stderr


def test_what_is_wrong_with_a_file_is_said_with_its_line(server: Server, tmp_path: Path) -> None:
    path = written(tmp_path, POLICY.replace("'5432'", "'x'"))
    result = server.run("policy", "apply", path)
    assert result.exit_code == 2
    assert f"{path}:9: /rules/0/ports/0: must be as 80" in result.stderr
    result = server.run("policy", "apply", written(tmp_path, POLICY.replace("online_net", "onlin_net")))
    assert result.exit_code == 2
    assert "/rules/0/destination/network: there is no network 'onlin_net'" in result.stderr
    assert server.run("policy", "apply", str(tmp_path / "none.yaml")).exit_code == 2
    assert server.json("policy", "show")["rules"] == []


def test_who_decides(server: Server, tmp_path: Path) -> None:
    allowed = server.run("policy", "test", "/shop/web", "/shop/db", "5432")
    assert allowed.exit_code == 0, allowed.output
    assert "both are in network online_net" in allowed.stdout
    server.done("policy", "apply", written(tmp_path))
    denied = server.run("policy", "test", "/shop/web", "10.200.0.2", "5432")
    assert denied.exit_code == 1
    assert "rule no-web" in denied.stdout
    assert server.run("policy", "test", "/shop/web", "node-1", "--protocol", "icmp").exit_code == 0
    result = server.run("policy", "test", "/shop/web", "node-1", "2379", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["decisions"][0]["verdict"] == "deny"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("test", "/shop/web", "/shop/none", "80"), "no container of /shop/none is in a network now"),
        (("test", "machine-9", "/shop/web", "80"), "there is no machine 'machine-9'"),
        (("test", "/shop/web", "/shop/db"), "test takes 3 arguments, not 2"),
        (("test", "/shop/web", "/shop/db", "http"), "http is no port"),
        (("test", "/shop/web", "fd00::1", "80"), "has no address of the same family"),
        (("diff",), "diff takes 1 arguments, not 0"),
    ],
)
def test_what_nobody_can_answer(server: Server, arguments: tuple[str, ...], words: str) -> None:
    result = server.run("policy", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
