"""Consumers by command: keys come out once, gateways get digests of them, secrets for signing stay sealed."""

import base64
import hashlib
from collections.abc import Iterator

import pytest

from coldchain.model.gateway_resource import Consumer
from coldchain.testing.command_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def published(server: Server) -> dict[str, Consumer]:
    resources = server.platform.controller.publisher.rotation.resources.values()
    return {one.name: one for one in resources if isinstance(one, Consumer)}


def test_a_key_is_shown_once_and_gateways_have_its_digest(server: Server) -> None:
    result = server.run("consumer", "put", "anna", "--group", "vip", "--group", "partners")
    assert (result.exit_code, "anna" in result.output) == (0, True), result.output
    first = server.run("consumer", "add-key", "anna").stdout.strip()
    second = server.json("consumer", "add-key", "anna", "--expires", "30d")
    assert first.startswith("cck_")
    (one,) = published(server).values()
    assert (one.name, one.groups, one.secrets) == ("anna", ("vip", "partners"), ())
    assert [key.digest for key in one.api_keys] == [digest(first), digest(second["key"])]
    assert [key.expires_at is None for key in one.api_keys] == [True, False]
    shown = server.run("consumer", "show", "anna").stdout + server.run("consumer", "list").stdout
    shown += str(server.json("consumer", "list")) + repr(server.platform.controller.state.consumers)
    assert second["id"] in shown
    assert not [text for text in (first, second["key"]) if text in shown]
    assert server.json("consumer", "put", "anna")["keys"] == server.json("consumer", "show", "anna")["keys"]
    assert len(published(server)["anna"].api_keys) == 2
    server.json("consumer", "revoke-key", "anna", second["id"])
    assert [key.digest for key in published(server)["anna"].api_keys] == [digest(first)]
    assert server.json("consumer", "delete", "anna") == {"deleted": "anna"}
    assert published(server) == {}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_secrets_for_signing_reach_gateways_and_are_sealed_in_the_store(server: Server) -> None:
    server.json("consumer", "put", "anna")
    made = {use: server.json("consumer", "add-key", "anna", "--use", use) for use in ("hmac", "jwt")}
    before = published(server)
    assert {one.id: (one.use, base64.b64decode(one.value).decode()) for one in before["anna"].secrets} == {
        one["id"]: (use, one["key"]) for use, one in made.items()
    }
    sealed_by = {key.sealed_by for key in server.platform.controller.state.consumers["anna"].keys}
    assert server.json("secret", "rotate") == {"secrets": 0}
    kept = server.platform.controller.state.consumers["anna"]
    assert {key.sealed_by for key in kept.keys} == {server.platform.cipher.key_id} != sealed_by
    assert published(server) == before
    said = repr(kept) + repr(before)
    assert not [one for one in made.values() if one["key"] in said or encoded(one["key"]) in said]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_consumer_has_twenty_keys_at_most(server: Server) -> None:
    server.json("consumer", "put", "anna")
    for _ in range(20):
        server.json("consumer", "add-key", "anna")
    result = server.run("consumer", "add-key", "anna")
    assert (result.exit_code, "has 20 keys" in result.output) == (1, True), result.output


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["put"], 2, "needs a name"),
        (["list", "anna"], 2, "takes none"),
        (["revoke-key", "anna"], 2, "id of a key"),
        (["show", "anna", "key"], 2, "take none"),
        (["show", "anna", "--group", "vip"], 2, "only put"),
        (["put", "anna", "--use", "jwt"], 2, "only add-key"),
        (["add-key", "anna", "--expires", "soon"], 2, "no span of time"),
        (["add-key", "anna"], 1, "does not exist"),
        (["show", "anna"], 1, "does not exist"),
        (["delete", "anna"], 1, "does not exist"),
    ],
)
def test_what_cannot_be_is_told(server: Server, arguments: list[str], status: int, words: str) -> None:
    result = server.run("consumer", *arguments)
    assert (result.exit_code, words in result.output) == (status, True), result.output
