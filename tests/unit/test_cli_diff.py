"""`coldchain diff` against the real API: what it says, that it changes nothing, how it ends."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldchain.testing.command_server import Server, saved


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_new_app_no_change_and_changes(server: Server, tmp_path: Path) -> None:
    new = server.run("diff", saved(tmp_path))
    assert (new.exit_code, new.stdout) == (1, "/shop: new app\n")
    assert server.json("status")["apps"] == []
    server.done("deploy", saved(tmp_path))
    assert server.done("diff", saved(tmp_path)) == "/shop: no change\n"
    changed = server.run("diff", saved(tmp_path, env={"A": "ä"}, drainSeconds=2, routes=[]))
    assert changed.exit_code == 1
    assert changed.stdout.splitlines() == [
        "/shop: 3 changes",
        "  ~ /drainSeconds: 1.0 → 2.0",
        '  + /env/A: "ä"',
        '  - /routes/0: {"domains": ["shop.test"], "path": "/", "portIndex": 0, "balance": "round_robin"}',
    ]
    assert server.done("diff", saved(tmp_path)) == "/shop: no change\n"


def test_json_has_every_difference(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path))
    result = server.run("diff", saved(tmp_path, instances=3), "--json")
    assert result.exit_code == 1
    [found] = json.loads(result.stdout)
    assert found["differences"] == [{"path": "/instances", "kind": "changed", "old": 2, "new": 3}]
    assert (found["id"], found["new"]) == ("/shop", False)


@pytest.mark.parametrize(("fields", "url", "status"), [({"instances": -1}, None, 2), ({}, "http://127.0.0.1:1", 3)])
def test_what_cannot_be_compared_has_a_status_of_its_own(
    server: Server, tmp_path: Path, fields: dict[str, object], url: str | None, status: int
) -> None:
    result = server.run("diff", saved(tmp_path, **fields), *(["--url", url] if url else []))
    assert result.exit_code == status, result.output
    assert result.stdout == ""


def test_a_platform_that_cannot_tell_is_not_a_change(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.done("deploy", saved(tmp_path))
    monkeypatch.setattr("coldchain.api.context.app_answer", lambda *given, **named: 1 / 0)
    result = server.run("diff", saved(tmp_path))
    assert result.exit_code == 3
    assert "error" in result.stderr
