"""Settings that could break out of nginx's configuration, or that nginx would refuse, are refused with their names."""

from pathlib import Path
from typing import Any

import pytest

from coldchain.gateway.settings import GatewayMemory, GatewaySettings
from coldchain.model.errors import InvalidDocument

PREFIX = Path("/var/lib/coldchain/gateway")


@pytest.mark.parametrize(
    ("option", "value", "path"),
    [
        ("prefix", Path("relative"), "/prefix"),
        ("prefix", Path("/a b"), "/prefix"),
        ("prefix", Path("/a;b"), "/prefix"),
        ("prefix", Path("/a{b"), "/prefix"),
        ("prefix", Path("/a\nb"), "/prefix"),
        ("prefix", Path("/a$b"), "/prefix"),
        ("prefix", Path("/" + "a" * 100), "/prefix"),
        ("listen", (), "/listen"),
        ("listen", ("127.0.0.1:80", "127.0.0.1:80;"), "/listen/1"),
        ("listen", ("127.0.0.1:80\n",), "/listen/0"),
        ("listen", ("127.0.0.1:80 ssl",), "/listen/0"),
        ("listen", ("127.0.0.1:0",), "/listen/0"),
        ("listen", ("127.0.0.1:70000",), "/listen/0"),
        ("listen", ("300.0.0.1:80",), "/listen/0"),
        ("listen", ("example.org:80",), "/listen/0"),
        ("listen", ("80",), "/listen/0"),
        ("tls_listen", ("0.0.0.0:443", "443"), "/tlsListen/1"),
        ("tls_listen", ("0.0.0.0:80",), "/tlsListen/0"),
        ("memory", GatewayMemory(nonces=1024), "/memory/nonces"),
        ("memory", GatewayMemory(control=1024), "/memory/control"),
        ("status_listen", "127.0.0.1", "/statusListen"),
        ("worker_user", ("www-data;", "www-data"), "/workerUser"),
        ("worker_user", ("www-data", ""), "/workerUser"),
        ("trusted_proxies", ("10.0.0.0/8", "10.0.0.0/8; evil"), "/trustedProxies/1"),
        ("mark_header", "X Gray", "/markHeader"),
        ("mark_header", "X-Real-IP", "/markHeader"),
        ("mark_header", "Cookie", "/markHeader"),
        ("worker_processes", 0, "/workerProcesses"),
        ("memory", GatewayMemory(rotation=100), "/memory/rotation"),
        ("upstream_keepalive_seconds", 0, "/upstreamKeepaliveSeconds"),
        ("upstream_connect_timeout_seconds", -1, "/upstreamConnectTimeoutSeconds"),
        ("upstream_read_timeout_seconds", float("nan"), "/upstreamReadTimeoutSeconds"),
        ("request_body_bytes_max", 0, "/requestBodyBytesMax"),
        ("acknowledge_timeout_seconds", 0, "/acknowledgeTimeoutSeconds"),
    ],
)
def test_an_impossible_value_is_refused(option: str, value: object, path: str) -> None:
    options: dict[str, Any] = {"prefix": PREFIX} | {option: value}
    with pytest.raises(InvalidDocument) as caught:
        GatewaySettings(**options)
    assert path in [problem.path for problem in caught.value.problems]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidDocument) as caught:
        GatewaySettings(prefix=Path("x"), listen=("y",), worker_processes=-1)
    assert [problem.path for problem in caught.value.problems] == ["/prefix", "/listen/0", "/workerProcesses"]


def test_defaults_and_ipv6_are_fine() -> None:
    assert GatewaySettings(prefix=PREFIX).listen == ("0.0.0.0:80",)
    assert GatewaySettings(prefix=PREFIX, listen=("[::1]:80", "[::]:8080"))


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8081", ("127.0.0.1", 8081)),
        ("0.0.0.0:8081", ("127.0.0.1", 8081)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::]:8081", ("::1", 8081)),
        ("[fd00::1]:8081", ("fd00::1", 8081)),
    ],
)
def test_where_the_status_is_reached_from_this_machine(listen: str, address: tuple[str, int]) -> None:
    assert GatewaySettings(prefix=PREFIX, status_listen=listen).status_address == address
