"""The command for secrets: values come in by file or standard input, and never come out."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldchain.testing.command_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_secret_is_set_listed_sealed_anew_and_deleted(server: Server, tmp_path: Path) -> None:
    value = tmp_path / "value"
    value.write_text("correct-horse\n")
    result = server.run("secret", "set", "database", "--file", str(value))
    assert (result.exit_code, "correct-horse" in result.output) == (0, False), result.output
    [secret] = server.platform.controller.state.secrets.values()
    assert server.platform.cipher.open("database", secret.key_id, secret.sealed) == "correct-horse"
    listed = server.run("secret", "list")
    assert "database" in listed.stdout
    assert server.json("secret", "rotate") == {"secrets": 1}
    assert [one["name"] for one in server.json("secret", "list")["secrets"]] == ["database"]
    assert server.json("secret", "delete", "database") == {"deleted": "database"}
    assert json.dumps(server.json("secret", "list")) == '{"secrets": []}'


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["set"], 2, "needs a name"),
        (["list", "database"], 2, "takes none"),
        (["set", "database", "--file", "/none/such"], 2, "No such file"),
        (["delete", "database"], 1, "does not exist"),
        (["show", "database"], 2, "show"),
    ],
)
def test_what_cannot_be_is_told(server: Server, arguments: list[str], status: int, words: str) -> None:
    result = server.run("secret", *arguments)
    assert result.exit_code == status, result.output
    assert words in result.stderr
