"""`coldchain diff`, `bundle` and `replay` against the real API: what they say and how they end; they change nothing."""

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
        '  - /routes/0: {"domains": ["shop.test"], "path": "/", "pathKind": "prefix", "methods": [], "headers": {}, '
        '"priority": 0, "portIndex": 0, "balance": "round_robin"}',
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


def test_steps_show_the_rollout_before_it_starts(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path))
    changed = saved(tmp_path, env={"A": "1"}, upgradeStrategy={"maximumOverCapacity": 0.5})
    shown = server.run("diff", changed, "--steps")
    assert shown.exit_code == 1, shown.output
    assert "rollout (replace): tasks are replaced" in shown.stdout
    assert "live at most 3 (3 allowed), in rotation at least 2 (2 wanted)" in shown.stdout
    assert shown.stdout.endswith("  it ends as wanted\n")
    words = [line.split()[1] for line in shown.stdout.splitlines() if line.split()[0].isdigit()]
    assert [word for word in words if word != "wait"] == ["launch", "serve", "leave", "stop"] * 2
    scaled = server.run("diff", saved(tmp_path, instances=3), "--steps")
    assert "no task is replaced, only their number changes" in scaled.stdout
    assert len(server.json("versions", "shop")["versions"]) == 1


def test_steps_show_what_would_never_fit(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path))
    result = server.run("diff", saved(tmp_path, mem=10_000_000), "--steps", "--json")
    [found] = json.loads(result.stdout)
    assert found["preview"]["outcome"] == "stuck"
    assert "too little memory" in found["preview"]["reason"]
    assert found["preview"]["leastInRotation"] == 2


def test_steps_of_what_the_platform_refuses(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path))
    result = server.run("diff", saved(tmp_path, id="/other"), "--steps")
    assert result.exit_code == 2
    assert "belongs to /shop" in result.stderr


def test_steps_say_what_is_in_the_way(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path, env={"HEALTH": "never"}), "--detach")
    shown = server.run("diff", saved(tmp_path), "--steps")
    assert "still runs: only --force replaces it" in shown.stdout


def test_a_bundle_is_saved_and_replayed_elsewhere(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path))
    path = tmp_path / "bundle.json"
    said = server.json("bundle", "shop", "-o", str(path))
    assert said["decisions"] == len(json.loads(path.read_text())["decisions"]) > 3
    assert json.loads(server.done("bundle", "shop"))["appId"] == "/shop"
    told = server.done("replay", str(path))
    assert "CreateInstances count=2" in told
    assert "every live gateway has it" in told
    assert server.run("bundle", "none").exit_code == 1
    assert server.run("bundle", "shop", "-o", str(tmp_path / "no" / "x")).exit_code == 2
    assert server.run("replay", str(tmp_path / "none")).exit_code == 2
