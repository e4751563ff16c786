"""The command for certificates: keys come in by files, reach gateways, and never come out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coldchain.model.gateway_resource import Certificate
from coldchain.testing.certificates import Authority
from coldchain.testing.command_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def published(server: Server) -> list[tuple[str, tuple[str, ...], bool]]:
    resources = server.platform.controller.publisher.rotation.resources.values()
    return [(one.name, one.domains, one.default) for one in resources if isinstance(one, Certificate)]


def test_a_certificate_is_set_replaced_listed_sealed_anew_and_deleted(server: Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    shop, other = authority.made_for("shop", "shop.test"), authority.made_for("other", "other.test", "*.other.test")
    secret = shop.read_text().splitlines()[-2]
    result = server.run("certificate", "set", "shop", "--certificate", str(shop), "--default")
    assert (result.exit_code, "shop.test" in result.output, secret in result.output) == (0, True, False), result.output
    certificate, key = tmp_path / "chain", tmp_path / "key"
    whole = other.read_text()
    certificate.write_text(whole[: whole.index("-----BEGIN PRIVATE")])
    key.write_text(whole[whole.index("-----BEGIN PRIVATE") :])
    files = ("--certificate", str(certificate), "--key", str(key))
    found = server.json("certificate", "set", "other", *files, "--default")
    assert (found["domains"], found["default"]) == (["other.test", "*.other.test"], True)
    listed = server.json("certificate", "list")["certificates"]
    assert [(one["name"], one["default"]) for one in listed] == [("other", True), ("shop", False)]
    assert "other.test" in server.run("certificate", "list").stdout
    before = published(server)
    assert sorted(before) == [("other", ("other.test", "*.other.test"), True), ("shop", ("shop.test",), False)]
    assert server.json("secret", "rotate") == {"secrets": 0}
    kept = server.platform.controller.state.certificates["shop"]
    assert kept.key_id == server.platform.cipher.key_id
    assert secret in server.platform.cipher.open("certificate/shop", kept.key_id, kept.sealed)
    assert published(server) == before
    assert server.json("certificate", "delete", "shop") == {"deleted": "shop"}
    assert [name for name, _, _ in published(server)] == ["other"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["set"], 2, "needs a name"),
        (["list", "shop"], 2, "takes none"),
        (["set", "shop"], 2, "--certificate"),
        (["set", "shop", "--certificate", "/none/such"], 2, "No such file"),
        (["delete", "shop"], 1, "does not exist"),
    ],
)
def test_what_cannot_be_is_told(server: Server, arguments: list[str], status: int, words: str) -> None:
    result = server.run("certificate", *arguments)
    assert (result.exit_code, words in result.output) == (status, True), result.output


def test_two_certificates_for_one_domain_are_refused(server: Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.made_for("one", "shop.test"), authority.made_for("other", "www.shop.test", "shop.test")
    server.json("certificate", "set", "one", "--certificate", str(one))
    result = server.run("certificate", "set", "other", "--certificate", str(other))
    assert (result.exit_code, "shop.test has certificate 'one'" in result.output) == (2, True), result.output
    assert [name for name, _, _ in published(server)] == ["one"]
