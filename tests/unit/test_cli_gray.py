"""gray against the real API: listed, shown, changed, held, ended."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldchain.testing.command_server import Server, saved

ROLLOUT = {
    "steps": [{"share": 0}, {"share": 0.5, "pauseSeconds": 3600}],
    "gray": {"mark": "spring", "rules": [{"by": "header", "name": "X-Tester", "strict": True}, {"by": "weight"}]},
}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def reached(server: Server, steps: int) -> None:
    limit = time.monotonic() + 60
    while [(one["stepsDone"], one["pausedBy"]) for one in server.json("gray", "list")["gray"]] != [(steps, "plan")]:
        assert time.monotonic() < limit


def test_a_gray_rollout_is_listed_shown_changed_and_ended(server: Server, tmp_path: Path) -> None:
    server.done("deploy", saved(tmp_path, rollout=ROLLOUT))
    server.run("deploy", saved(tmp_path, rollout=ROLLOUT, env={"A": "1"}), "--detach")
    reached(server, 1)
    listed = server.done("gray", "list").splitlines()
    assert [line.split() for line in listed] == [
        ["APP", "MARK", "SHARE", "STEP", "STATE"],
        ["/shop", "spring", "0", "%", "1/2", "paused", "by", "plan"],
    ]
    shown = server.run("gray", "show", "/shop")
    assert "/shop: 0 % of the requests to the new version, step 1/2, paused by plan" in shown.stderr
    assert "1. header name=X-Tester strict=True" in shown.stdout
    assert "2. weight" in shown.stdout
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {by: hash, who: cookie, name: id}\n")
    changed = server.json("gray", "set", "/shop", "--share", "0.1", "--rules", str(rules))
    assert (changed["share"], changed["rules"][0]["by"], changed["pausedBy"]) == (0.1, "hash", "operator")
    assert "goes on" in server.run("gray", "resume", "/shop").stderr
    reached(server, 2)
    assert "paused until" in server.run("gray", "show", "/shop").stderr
    assert "paused by operator" in server.run("gray", "pause", "/shop").stderr
    assert "aborted" in server.run("gray", "abort", "/shop").stderr


def test_what_makes_no_sense_is_refused(server: Server, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text("[")
    for words, said in (
        (["list", "/shop"], "list takes no app"),
        (["show"], "list takes no app"),
        (["set", "/shop"], "set needs --share or --rules"),
        (["pause", "/shop", "--share", "0.5"], "set needs --share or --rules"),
        (["set", "/shop", "--rules", str(rules)], "has no rules"),
        (["set", "/shop", "--rules", str(tmp_path / "none")], "cannot be read"),
    ):
        refused = server.run("gray", *words)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr
    assert server.run("gray", "promote", "/shop").exit_code == 1
