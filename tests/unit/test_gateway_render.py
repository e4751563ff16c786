"""The configuration of nginx is one text, compared whole; nothing but settings gets into it."""

from dataclasses import replace
from pathlib import Path

from coldchain.gateway.installation import find_firewall
from coldchain.gateway.render import digest, render
from coldchain.gateway.settings import FirewallFiles, GatewaySettings

SETTINGS = GatewaySettings(
    prefix=Path("/srv/gateway"),
    listen=("0.0.0.0:80", "[::]:80"),
    worker_user=("www-data", "www-data"),
    trusted_proxies=("10.0.0.0/8",),
    mark_trusted=("10.1.0.0/16",),
)
EXPECTED = Path(__file__).with_name("test_gateway_render.conf")


def rendered(settings: GatewaySettings) -> str:
    return render(settings, modules=Path("/modules"), lua=Path("/lua"), lua_digest="0123456789abcdef")


def test_the_whole_text() -> None:
    text = rendered(SETTINGS)
    configuration = text.partition('configuration = "')[2].partition('"')[0]
    assert text.replace(configuration, "CONFIGURATION") == EXPECTED.read_text()
    assert configuration == digest(text.replace(configuration, "@configuration@"))


def test_without_what_is_off() -> None:
    text = rendered(
        replace(SETTINGS, access_log=False, trusted_proxies=(), mark_trusted=(), worker_user=None, worker_processes=3)
    )
    lines = [line.strip() for line in text.splitlines()]
    assert [line for line in lines if line.startswith("access_log ") and "firewall" not in line] == [
        "access_log off;"
    ] * 2
    assert "worker_processes 3;" in lines
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in lines
    assert "log_accesses = false," in lines
    for gone in ("log_format coldchain escape", "geo ", "user ", "set $coldchain_service", "coldchain_forwarded"):
        assert not [line for line in lines if line.startswith(gone) or f" ${gone}" in line]


def test_a_firewall_is_named_where_it_is_installed() -> None:
    files = FirewallFiles(Path("/lib/m.so.3"), Path("/rules"))
    text = render(SETTINGS, modules=Path("/m"), lua=Path("/lua"), lua_digest="0", firewall=files)
    assert 'firewall = {library = "/lib/m.so.3", rules = "/rules"},' in text
    assert "firewall = {" not in rendered(SETTINGS)


def test_a_firewall_is_found_when_all_of_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    library, rules = tmp_path / "lib.so.3", tmp_path / "rules" / "first.conf"
    packages = {"a": f"{tmp_path}/*.so.3", "b": str(rules)}
    library.touch()
    assert find_firewall(packages) is None
    rules.touch()
    assert find_firewall(packages) == FirewallFiles(library, tmp_path / "rules")


def test_changed_code_is_a_changed_configuration() -> None:
    other = render(SETTINGS, modules=Path("/modules"), lua=Path("/lua"), lua_digest="fedcba9876543210")
    names = [text.partition('configuration = "')[2].partition('"')[0] for text in (rendered(SETTINGS), other)]
    assert len(set(names)) == 2
