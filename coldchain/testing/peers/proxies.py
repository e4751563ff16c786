"""Proxies that the gateway is compared with: HAProxy, Envoy, and one of aiohttp; each with one thread for requests.

Of each there is a plain one (round robin) and one with all that `BENCH_ROUTE` asks for: a limit of rate that nobody
reaches, a share of the requests for another version, and a token (JWT, HS256) that is remembered where they can. That
one also gives each request an id, as the gateway always does (and Envoy).
"""

import base64
import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RATE = 1_000_000
GRAY_PERCENT = 33
KEY_ID, ISSUER = "bench", "bench"


@dataclass(frozen=True)
class Features:
    """What the proxies check tokens with. The last upstream is the new version."""

    secret: bytes

    @property
    def secret_text(self) -> str:
        return self.secret.decode()


def haproxy(port: int, upstreams: list[int], features: Features | None) -> str:
    """The configuration as text."""
    servers = [f"    server app{index} 127.0.0.1:{upstream}" for index, upstream in enumerate(upstreams)]
    lines = [
        "global",
        "    nbthread 1",
        "    maxconn 8192",
        "defaults",
        "    mode http",
        "    http-reuse always",
        "    option forwardfor",
        "    timeout connect 1s",
        "    timeout client 60s",
        "    timeout server 60s",
        "frontend consumers",
        f"    bind 127.0.0.1:{port}",
        "    http-request set-header X-Forwarded-Proto http",
    ]
    if features:
        lines += [
            r"    unique-id-format %{+X}o\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid",  # the one of its manual
            "    http-request set-header X-Request-Id %[unique-id] unless { req.hdr(X-Request-Id) -m found }",
            "    stick-table type ip size 100k expire 10s store http_req_rate(1s)",
            "    http-request track-sc0 src",
            f"    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {RATE} }}",
            "    http-request set-var(txn.token) http_auth_bearer",
            f"    acl signed var(txn.token),jwt_verify(HS256,{features.secret_text}) -m int 1",
            "    http-request set-var(txn.ends) var(txn.token),jwt_payload_query('$.exp','int')",
            "    acl good date,sub(txn.ends) lt 0",
            "    http-request deny deny_status 401 unless signed good",
            f"    use_backend gray if {{ rand(100) lt {GRAY_PERCENT} }}",
            "    default_backend normal",
            "backend normal",
            "    balance roundrobin",
            *servers[:-1],
            "backend gray",
            servers[-1],
        ]
    else:
        lines += ["    default_backend normal", "backend normal", "    balance roundrobin", *servers]
    return "\n".join([*lines, ""])


def envoy(port: int, upstreams: list[int], features: Features | None) -> str:
    """The configuration as JSON."""
    route: dict[str, Any] = {"cluster": "normal"}
    filters: list[dict[str, Any]] = []
    clusters = [_cluster("normal", upstreams)]
    if features:
        route = {
            "weighted_clusters": {
                "clusters": [
                    {"name": "normal", "weight": 100 - GRAY_PERCENT},
                    {"name": "gray", "weight": GRAY_PERCENT},
                ]
            }
        }
        filters = [_envoy_limit(), _envoy_tokens(features)]
        clusters = [_cluster("normal", upstreams[:-1]), _cluster("gray", upstreams[-1:])]
    filters.append({"name": "router", "typed_config": {"@type": _type("filters.http.router.v3.Router")}})
    everything = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
    manager = {
        "@type": _type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "consumers",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [everything]},  # their word
        "http_filters": filters,
    }
    listener = {
        "name": "consumers",
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}, indent=1)


def _envoy_limit() -> dict[str, Any]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "name": "limit",
        "typed_config": {
            "@type": _type("filters.http.local_ratelimit.v3.LocalRateLimit"),
            "stat_prefix": "limit",
            "token_bucket": {"max_tokens": RATE, "tokens_per_fill": RATE, "fill_interval": "1s"},
            "filter_enabled": always,
            "filter_enforced": always,
        },
    }


def _envoy_tokens(features: Features) -> dict[str, Any]:
    secret = base64.urlsafe_b64encode(features.secret).rstrip(b"=").decode()
    keys = {"keys": [{"kty": "oct", "alg": "HS256", "kid": KEY_ID, "k": secret}]}
    return {
        "name": "tokens",
        "typed_config": {
            "@type": _type("filters.http.jwt_authn.v3.JwtAuthentication"),
            "providers": {
                "bench": {
                    "issuer": ISSUER,
                    "forward": True,
                    "local_jwks": {"inline_string": json.dumps(keys)},
                    "jwt_cache_config": {"jwt_cache_size": 1000},
                }
            },
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
        },
    }


def _cluster(name: str, upstreams: list[int]) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(port)}} for port in upstreams]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"


def start_haproxy(file: Path, text: str) -> "subprocess.Popen[bytes]":
    file.write_text(text)
    return subprocess.Popen(["haproxy", "-db", "-q", "-f", file])


def start_envoy(program: Path, file: Path, text: str) -> "subprocess.Popen[bytes]":
    file.write_text(text)
    options = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    return subprocess.Popen([str(program), "-c", str(file), *options])


def start_aiohttp(port: int, upstreams: list[int], features: Features | None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "coldchain.testing.peers.aiohttp_proxy", str(port), ",".join(map(str, upstreams))]
    return subprocess.Popen([*command, *([features.secret_text] if features else [])])


def await_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Raises RuntimeError when it ends before, or takes too long."""
    for _ in range(3000):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} does not listen")
