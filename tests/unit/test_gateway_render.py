"""The configuration of nginx is one text, compared whole; nothing but settings gets into it."""

from dataclasses import replace
from pathlib import Path

from coldchain.gateway.render import digest, render
from coldchain.gateway.settings import GatewaySettings

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
    assert "access_log off;" in lines
    assert "worker_processes 3;" in lines
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in lines
    assert "log_accesses = false," in lines
    for gone in ("log_format", "geo ", "user ", "set $coldchain_service", "coldchain_forwarded"):
        assert not [line for line in lines if line.startswith(gone) or f" ${gone}" in line]


def test_changed_code_is_a_changed_configuration() -> None:
    other = render(SETTINGS, modules=Path("/modules"), lua=Path("/lua"), lua_digest="fedcba9876543210")
    names = [text.partition('configuration = "')[2].partition('"')[0] for text in (rendered(SETTINGS), other)]
    assert len(set(names)) == 2
