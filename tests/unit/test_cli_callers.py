"""The commands about callers, and how all commands find the API and show who they are."""

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from coldchain.api.settings import ApiSettings
from coldchain.cli.application import application
from coldchain.testing.command_server import SHOP, Server, saved


@pytest.fixture
def data() -> Iterator[Path]:
    """The folder with the socket, of a path that is short enough for one."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    server = Server(ApiSettings(socket=data / "api.socket", hosts=("0.0.0.0",)))
    yield server
    server.close()


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logins are kept: nothing of the user's who runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("COLDCHAIN_TOKEN", "COLDCHAIN_CA", "COLDCHAIN_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLDCHAIN_DATA", str(tmp_path / "nothing"))
    return tmp_path / "config" / "coldchain" / "logins.json"


def run(*arguments: str, given: str | None = None, **environment: str) -> Result:
    return CliRunner().invoke(application, list(arguments), env=environment, input=given)


def made(server: Server, name: str, role: str, *options: str) -> str:
    result = server.run("token", "create", name, "--role", role, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("cct_")
    return result.stdout.strip()


def test_a_token_is_made_shown_listed_and_revoked(server: Server) -> None:
    ops = made(server, "ops", "admin")
    assert server.run("status").exit_code == 1
    assert "asks who you are" in server.run("status").stderr
    known = {"COLDCHAIN_TOKEN": ops, "COLDCHAIN_URL": server.platform.url}
    created = run("token", "create", "ci", "--role", "owner", "--group", "/shop", "--expires", "30d", "--json", **known)
    token = json.loads(created.stdout)
    assert (token["role"], token["group"]) == ("owner", "/shop")
    listed = run("token", "list", **known).stdout
    assert "ci" in listed
    assert "/shop" in listed
    assert ops not in listed
    assert run("token", "revoke", "ci", **known).exit_code == 0
    [one] = json.loads(run("token", "list", "--json", **known).stdout)["tokens"]
    assert one["name"] == "ops"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["create"], 2, "needs a name"),
        (["list", "x"], 2, "takes none"),
        (["create", "x"], 2, "needs --role"),
        (["revoke", "x", "--role", "viewer"], 2, "take none"),
        (["create", "x", "--role", "king"], 2, "king"),
        (["create", "x", "--role", "admin", "--expires", "soon"], 2, "no span of time"),
        (["create", "x", "--role", "owner"], 2, "an owner needs a group"),
        (["create", "x", "--role", "viewer"], 1, "first token must be an admin's"),
        (["revoke", "x"], 1, "no token 'x'"),
    ],
)
def test_what_cannot_be_is_told(server: Server, arguments: list[str], status: int, words: str) -> None:
    result = server.run("token", *arguments)
    assert (result.exit_code, words in result.output) == (status, True), result.output


def test_login_keeps_a_token_that_is_known_where_only_the_user_can_read_it(
    server: Server, own_config: Path, tmp_path: Path
) -> None:
    url = server.platform.url
    ops = made(server, "ops", "admin")
    refused = run("login", "--url", url, given="cct_0_wrong\n")
    assert (refused.exit_code, "does not know this token" in refused.stderr) == (2, True)
    assert not own_config.exists()
    assert run("login", "--url", url, given="é\n").exit_code == 2
    done = run("login", "--url", url + "/", given=ops + "\n")
    assert done.exit_code == 0, done.output
    assert "you are ops, admin of /" in done.stderr
    assert stat.S_IMODE(own_config.stat().st_mode) == 0o600
    assert run("status", "--url", url).exit_code == 0
    assert run("status", "--url", url, COLDCHAIN_TOKEN="cct_0_wrong").exit_code == 1
    (tmp_path / "token").write_text(ops)
    again = run("login", "--url", url, "--token-file", str(tmp_path / "token"), "--json")
    assert json.loads(again.stdout) == {"name": "ops", "role": "admin", "group": "/"}
    assert run("login", "--url", url, "--forget").exit_code == 0
    assert run("status", "--url", url).exit_code == 1
    assert json.loads(own_config.read_text()) == {}


def test_login_warns_of_tokens_that_others_can_read_on_the_way(server: Server) -> None:
    ops = made(server, "ops", "admin")
    for url, warned in ((server.platform.url, False), (server.platform.url.replace("127.0.0.1", "0.0.0.0"), True)):
        result = run("login", "--url", url, given=ops)
        assert (result.exit_code, "everybody on the way" in result.stderr) == (0, warned), result.output


def test_a_file_of_logins_that_cannot_be_read_is_told(server: Server, own_config: Path) -> None:
    own_config.parent.mkdir(parents=True)
    own_config.write_text("{")
    result = server.run("status")
    assert (result.exit_code, "logins.json cannot be read" in result.stderr) == (2, True)


def test_without_an_address_the_socket_of_this_machine_is_taken(server: Server, data: Path) -> None:
    made(server, "ops", "admin")
    assert json.loads(run("status", "--json", COLDCHAIN_DATA=str(data)).stdout)["apps"] == []
    made_there = run("token", "create", "ci", "--role", "viewer", COLDCHAIN_DATA=str(data))
    assert made_there.exit_code == 0
    # An address that is given is the one that is asked, whatever is there beside.
    assert run("status", "--url", server.platform.url, COLDCHAIN_DATA=str(data)).exit_code == 1
    os.replace(data / "api.socket", data / "gone")
    nobody = run("status", COLDCHAIN_DATA=str(data))
    assert "127.0.0.1:8080" in nobody.stderr


def test_a_name_and_a_password_in_the_address_are_shown_to_the_api_and_to_nobody_else(server: Server) -> None:
    ops = made(server, "ops", "admin")
    url = server.platform.url.replace("//", f"//ops:{ops}@")
    assert run("status", "--url", url).exit_code == 0
    server.do(server.platform.server.stop())
    result = run("status", "--url", url)
    assert (result.exit_code, ops in result.output) == (3, False)


def test_the_audit_says_who_did_what(server: Server, tmp_path: Path) -> None:
    ops = made(server, "ops", "admin")
    known = {"COLDCHAIN_TOKEN": ops, "COLDCHAIN_URL": server.platform.url}
    for number in (2, 3):
        assert run("deploy", saved(tmp_path, instances=number), **known).exit_code == 0
    lines = run("audit", "--app", "shop", **known).stdout.splitlines()
    assert "ops (admin)  127.0.0.1  PUT /v2/apps/shop  200" in lines[0]
    assert lines[1:3] == ["  ~ app /shop", "    ~ /instances: 2 → 3"]
    assert server.run("audit").exit_code == 1
    [first] = json.loads(run("audit", "--count", "1", "--json", **known).stdout)["entries"]
    assert first["caller"] == "ops"
    made_by = json.loads(run("audit", "--caller", "local", "--json", **known).stdout)["entries"]
    assert [one["changes"][0]["name"] for one in made_by] == ["ops"]


def test_a_program_is_not_run_for_who_may_not(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(SHOP))
    assert server.run("deploy", str(path)).exit_code == 0
    made(server, "ops", "admin")
    result = server.run("exec", "shop", "--", "true")
    assert (result.exit_code, "does not let you" in result.stderr) == (1, True)


def test_whom_to_trust_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLDCHAIN_CA", "before")  # what the option sets goes with it
    result = run("--ca", str(tmp_path / "none.pem"), "status", "--url", "https://127.0.0.1:1")
    assert (result.exit_code, "none.pem cannot be read" in result.stderr) == (2, True)
