"""gateway: CPU per request against plain nginx with upstream keepalive, in interleaved pairs; how soon a push holds.

All stand before the same three static nginx upstreams, log nothing (nginx and the gateway the same lines with
--access-log), have one thread for requests, and get the same load from wrk. A pair is plain nginx and another one right
after it or before; what counts is the median of the pairs' ratios, since a shared machine is faster now and slower
then. HAProxy, Envoy and a proxy of aiohttp are put through the same, with the same features.
"""

import argparse
import asyncio
import base64
import hmac
import json
import os
import re
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from coldchain.gateway.installation import find_installation
from coldchain.gateway.process import NginxProcess
from coldchain.gateway.push import NginxGateway
from coldchain.gateway.settings import GatewaySettings
from coldchain.model.app import RouteFilters
from coldchain.model.gateway_resource import SHARES, Consumer, GrayRelease, Resource, SharedSecret, resource_key
from coldchain.model.gray import BY_WEIGHT
from coldchain.model.limit import Limit
from coldchain.model.rotation import Endpoint, RotationUpdate, RouteRule, ServiceRotation
from coldchain.model.route_access import Authentication, JsonWebToken
from coldchain.testing.bench import Bar, report
from coldchain.testing.gateway_lab import reachable_directory
from coldchain.testing.peers import envoy_program, proxies
from coldchain.testing.peers.gateway_push import PushBench
from coldchain.testing.ports import free_port, free_ports

UPSTREAMS = 3
LIMITS = {"round_robin": 1.35, "least_connections": 1.5, "all_on": 1.5}
PUSH_LIMITS = {"push_ms_p99": 10.0, "push_loaded_ms_p99": 100.0, "bulk_push_ms": 100.0}
FEATURES = proxies.Features(secret=b"0123456789abcdef0123456789abcdef")
BENCH_ROUTE = RouteFilters(
    authentication=Authentication(jwt=JsonWebToken(algorithm="HS256", issuer=proxies.ISSUER)),
    limits=(Limit(rate=proxies.RATE, by="address"),),
)
"""What the route asks for whose cost is `all_on_ratio`, beside the gray release of its service."""
RESOURCES: tuple[Resource, ...] = (
    Consumer(
        name="anna",
        secrets=(SharedSecret(id=proxies.KEY_ID, use="jwt", value=base64.b64encode(FEATURES.secret).decode()),),
    ),
    GrayRelease(
        service="all_on",
        mark="bench",
        version="new",
        normal="old",
        share=SHARES * proxies.GRAY_PERCENT // 100,
        rules=BY_WEIGHT,
    ),
)

_PLAIN = """
worker_processes 1;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    {log}
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    keepalive_requests 1000000;
    {servers}
}}
"""


@dataclass
class Subject:
    """Something to put load on, and what was measured in pairs with plain nginx. `tasks`: the threads whose CPU time
    counts."""

    name: str
    url: str
    tasks: Path
    host: str = "plain.test"
    microseconds: list[float] = field(default_factory=list)
    p99_milliseconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def tasks_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/task")


def token() -> str:
    """Of Anna, for as long as the bench may take."""
    header = {"alg": "HS256", "typ": "JWT", "kid": proxies.KEY_ID}
    claims = {"iss": proxies.ISSUER, "sub": "anna", "exp": int(time.time()) + 86_400}
    text = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{text}.{_encoded(hmac.digest(FEATURES.secret, text.encode(), 'sha256'))}"


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def start_plain(directory: Path, servers: str, log: str) -> int:
    """Run an nginx without Lua. Returns the process id of its master."""
    directory.mkdir()
    configuration = directory / "nginx.conf"
    configuration.write_text(_PLAIN.format(prefix=directory, servers=servers, log=log))
    nginx = str(find_installation().nginx)
    subprocess.run([nginx, "-p", directory, "-c", configuration, "-e", directory / "error.log"], check=True)
    return int((directory / "nginx.pid").read_text())


def upstream_servers(ports: list[int]) -> str:
    return "\n".join(f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok\\n"; }} }}' for port in ports)


def proxy_server(port: int, upstreams: list[int]) -> str:
    servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in upstreams)
    return (
        f"upstream apps {{ {servers} keepalive 512; keepalive_requests 1000000; }}\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://apps; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; '
        "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; } }"
    )


def worker_of(master: int) -> int:
    """The one worker of an nginx, which appears a moment after its master."""
    while not (children := Path(f"/proc/{master}/task/{master}/children").read_text().split()):
        time.sleep(0.01)
    return int(children[0])


def cpu_seconds(tasks: Path) -> float:
    """Of all threads, as the scheduler counts it, in nanoseconds."""
    return sum(int((one / "schedstat").read_text().split()[0]) for one in tasks.iterdir()) / 1e9


def measure(subject: Subject, seconds: int, shown: str) -> float:
    """Microseconds of CPU time for each request; `shown` is the token that all of them carry."""
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-H", f"Host: {subject.host}"]
    before = cpu_seconds(subject.tasks)
    command += ["-H", f"Authorization: Bearer {shown}", subject.url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(subject.tasks) - before
    requests = re.search(r"(\d+) requests in", output)
    latency = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    if requests is None or latency is None or "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"{subject.name}: the load went wrong:\n{output}")
    subject.microseconds.append(used / int(requests.group(1)) * 1e6)
    subject.p99_milliseconds.append(float(latency.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[latency.group(2)])
    return subject.microseconds[-1]


async def push_routes(settings: GatewaySettings, upstreams: list[int]) -> None:
    endpoints = tuple(
        Endpoint(
            instance_id=f"app-{index}",
            address="127.0.0.1",
            port=port,
            version="new" if port == upstreams[-1] else "old",
        )
        for index, port in enumerate(upstreams)
    )
    rules = {
        "round_robin": RouteRule(path="/", service="round_robin"),
        "least_connections": RouteRule(path="/", service="least_connections", balance="least_connections"),
        "all_on": RouteRule(path="/", service="all_on", filters=BENCH_ROUTE),
    }
    gateway = NginxGateway("bench", settings)
    await gateway.apply(
        RotationUpdate(
            base=0,
            revision=1,
            services={name: ServiceRotation(endpoints=endpoints) for name in rules},
            routes={_domain(name): (rule,) for name, rule in rules.items()},
            resources={resource_key(one): one for one in RESOURCES},
        )
    )
    await gateway.close()


def _domain(name: str) -> str:
    return f"{name.replace('_', '-')}.test"


def start_peers(stack: ExitStack, directory: Path, upstreams: list[int]) -> list[Subject]:
    """HAProxy, Envoy and a proxy of aiohttp: each once plain and once with all features."""
    program = envoy_program.find()
    subjects = []
    for kind, features in (("round_robin", None), ("all_on", FEATURES)):
        for name in ("haproxy", "envoy", "aiohttp"):
            port, file = free_port(), directory / f"{name}_{kind}"
            if name == "haproxy":
                process = proxies.start_haproxy(file, proxies.haproxy(port, upstreams, features))
            elif name == "envoy":
                process = proxies.start_envoy(program, file, proxies.envoy(port, upstreams, features))
            else:
                process = proxies.start_aiohttp(port, upstreams, features)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            proxies.await_listening(port, process)
            subjects.append(Subject(f"{name}_{kind}", f"http://127.0.0.1:{port}/", tasks_of(process.pid)))
    return subjects


def rounds(plain: Subject, subjects: list[Subject], pairs: int, seconds: int) -> None:
    """The first requests open connections and compile Lua."""
    shown = token()
    for subject in (plain, *subjects):
        measure(subject, 1, shown)
        subject.microseconds.clear()
        subject.p99_milliseconds.clear()
    for pair in range(pairs):
        for subject in subjects:
            found = {
                one.name: measure(one, seconds, shown) for one in ((plain, subject) if pair % 2 else (subject, plain))
            }
            subject.ratios.append(found[subject.name] / found[plain.name])
        now = ", ".join(f"{one.name} {one.ratios[-1]:.2f}" for one in subjects)
        print(f"pair {pair + 1} of {pairs}: {now}", flush=True)


async def measure_all(directory: Path, options: argparse.Namespace) -> tuple[Subject, list[Subject]]:
    *upstreams, plain_port, port, status_port = free_ports(UPSTREAMS + 3)
    log = f"access_log {directory}/plain/access.log combined buffer=64k flush=1s;"
    settings = GatewaySettings(
        prefix=directory / "gateway",
        listen=(f"127.0.0.1:{port}",),
        status_listen=f"127.0.0.1:{status_port}",
        worker_processes=1,
        access_log=options.access_log,
    )
    process = NginxProcess(settings)
    with ExitStack() as stack:
        for name, servers, logged in (
            ("upstreams", upstream_servers(upstreams), False),
            ("plain", proxy_server(plain_port, upstreams), options.access_log),
        ):
            master = start_plain(directory / name, servers, log if logged else "access_log off;")
            stack.callback(os.kill, master, 15)
        try:
            await process.start_or_adopt()
            await push_routes(settings, upstreams)
            state = await process.state()
            assert state is not None
            ours = tasks_of(state.workers[0].pid)
            plain = Subject("plain", f"http://127.0.0.1:{plain_port}/", tasks_of(worker_of(master)))
            subjects = [Subject(name, f"http://127.0.0.1:{port}/", ours, host=_domain(name)) for name in LIMITS]
            if not options.alone:
                subjects += start_peers(stack, directory, upstreams)
            rounds(plain, subjects, options.pairs, options.seconds)
        finally:
            await process.stop(5)
    return plain, subjects


def ratio_bars(subjects: list[Subject]) -> list[Bar]:
    """Each ratio, and how it is to the best of the two peers that others take instead."""
    found = {one.name: one.ratio for one in subjects}
    samples = len(subjects[0].ratios)
    bars = [
        Bar(name=f"{name}_ratio", value=found[name], unit="x", limit=limit, better="lower", samples=samples)
        for name, limit in LIMITS.items()
    ]
    for name in LIMITS:
        peers = [found[peer] for peer in (f"haproxy_{name}", f"envoy_{name}") if peer in found]
        if peers:
            value = found[name] / min(peers)
            bars.append(
                Bar(name=f"{name}_to_best_peer", value=value, unit="x", limit=1.0, better="lower", samples=samples)
            )
    return bars


def push_bars(milliseconds: dict[str, list[float]]) -> list[Bar]:
    values = {
        "push_ms_p99": _p99(milliseconds["push"]),
        "push_loaded_ms_p99": _p99(milliseconds["push_loaded"]),
        "bulk_push_ms": statistics.median(milliseconds["bulk_push"]),
    }
    samples = {name: len(milliseconds[name.partition("_ms")[0]]) for name in values}
    return [
        Bar(name=name, value=value, unit="ms", limit=PUSH_LIMITS[name], better="lower", samples=samples[name])
        for name, value in values.items()
    ]


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


async def run(directory: Path, options: argparse.Namespace) -> int:
    bars: list[Bar] = []
    peers: dict[str, dict[str, float]] = {}
    if options.pairs:
        plain, subjects = await measure_all(directory, options)
        bars += ratio_bars(subjects)
        peers = {
            one.name: {
                "microseconds_per_request": round(statistics.median(one.microseconds), 2),
                "p99_milliseconds": round(statistics.median(one.p99_milliseconds), 3),
                "ratio": round(one.ratio, 3) if one.ratios else 1.0,
            }
            for one in (plain, *subjects)
        }
    if options.changes:
        (static,) = free_ports(1)
        master = start_plain(directory / "pushed_upstream", upstream_servers([static]), "access_log off;")
        try:
            pushed = await PushBench(directory, [static]).run(options.changes)
        finally:
            os.kill(master, 15)
        bars += push_bars(pushed)
        peers |= {
            f"{name}_milliseconds": {"median": round(statistics.median(values), 2), "most": round(max(values), 2)}
            for name, values in pushed.items()
        }
    return report(bars, peers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="0: no ratios")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--changes", type=int, default=300, help="pushes at rest, and as many under load; 0: none")
    parser.add_argument("--access-log", action="store_true")
    parser.add_argument("--alone", action="store_true", help="only plain nginx and the gateway")
    parser.add_argument("--install", action="store_true", help="fetch Envoy; before, where there is a network")
    options = parser.parse_args()
    if options.install:
        envoy_program.install()
        return 0
    with reachable_directory() as directory:
        return asyncio.run(run(directory, options))


if __name__ == "__main__":
    sys.exit(main())
