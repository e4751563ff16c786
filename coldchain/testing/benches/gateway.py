"""gateway: CPU per request and p99 of the gateway against plain nginx with upstream keepalive, in interleaved pairs.

Both stand before the same three static nginx upstreams, log the same (nothing, or the same lines with --access-log),
have one worker, and get the same load from wrk. A pair is plain nginx and the gateway one right after the other; what
counts is the median of the pairs' ratios, since a shared machine is faster now and slower then.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from coldchain.gateway.installation import find_installation
from coldchain.gateway.process import NginxProcess
from coldchain.gateway.push import NginxGateway
from coldchain.gateway.settings import GatewaySettings
from coldchain.model.rotation import Endpoint, RotationUpdate, RouteRule, ServiceRotation
from coldchain.testing.bench import Bar, report
from coldchain.testing.gateway_lab import reachable_directory
from coldchain.testing.ports import free_ports

UPSTREAMS = 3
LIMITS = {"round_robin": 1.35, "least_connections": 1.5}

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
    """Something to put load on, and what was measured."""

    name: str
    url: str
    worker: int
    host: str = "plain.test"
    microseconds: list[float] = field(default_factory=list)
    p99_milliseconds: list[float] = field(default_factory=list)


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


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(subject: Subject, seconds: int) -> None:
    before = cpu_seconds(subject.worker)
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-H", f"Host: {subject.host}", subject.url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(subject.worker) - before
    requests = re.search(r"(\d+) requests in", output)
    latency = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    if requests is None or latency is None or "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"{subject.name}: the load went wrong:\n{output}")
    subject.microseconds.append(used / int(requests.group(1)) * 1e6)
    subject.p99_milliseconds.append(float(latency.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[latency.group(2)])


def ratios(subject: Subject, plain: Subject) -> list[float]:
    return [ours / theirs for ours, theirs in zip(subject.microseconds, plain.microseconds, strict=True)]


async def push_routes(settings: GatewaySettings, upstreams: list[int]) -> None:
    endpoints = tuple(
        Endpoint(instance_id=f"app-{index}", address="127.0.0.1", port=port) for index, port in enumerate(upstreams)
    )
    gateway = NginxGateway("bench", settings)
    await gateway.apply(
        RotationUpdate(
            base=0,
            revision=1,
            services={name: ServiceRotation(endpoints=endpoints) for name in ("round_robin", "least_connections")},
            routes={
                "round-robin.test": (RouteRule(path="/", service="round_robin"),),
                "least-connections.test": (
                    RouteRule(path="/", service="least_connections", balance="least_connections"),
                ),
            },
        )
    )
    await gateway.close()


async def run(directory: Path, pairs: int, seconds: int, access_log: bool) -> int:
    *upstreams, plain_port, port, status_port = free_ports(UPSTREAMS + 3)
    log = f"access_log {directory}/plain/access.log combined buffer=64k flush=1s;" if access_log else "access_log off;"
    settings = GatewaySettings(
        prefix=directory / "gateway",
        listen=(f"127.0.0.1:{port}",),
        status_listen=f"127.0.0.1:{status_port}",
        worker_processes=1,
        access_log=access_log,
    )
    masters = []
    process = NginxProcess(settings)
    try:
        masters.append(start_plain(directory / "upstreams", upstream_servers(upstreams), "access_log off;"))
        masters.append(start_plain(directory / "plain", proxy_server(plain_port, upstreams), log))
        await process.start_or_adopt()
        await push_routes(settings, upstreams)
        state = await process.state()
        assert state is not None
        ours, url = state.workers[0].pid, f"http://127.0.0.1:{port}/"
        plain = [Subject(f"plain_{name}", f"http://127.0.0.1:{plain_port}/", worker_of(masters[1])) for name in LIMITS]
        subjects = [Subject(name, url, ours, host=f"{name.replace('_', '-')}.test") for name in LIMITS]
        for subject in (*plain, *subjects):  # the first requests open connections and compile Lua
            measure(subject, 1)
            subject.microseconds.clear()
            subject.p99_milliseconds.clear()
        for pair in range(pairs):
            for ones in zip(plain, subjects, strict=True):
                for subject in ones if pair % 2 else reversed(ones):
                    measure(subject, seconds)
            now = ", ".join(
                f"{one.name} {ratios(one, other)[-1]:.3f}" for one, other in zip(subjects, plain, strict=True)
            )
            print(f"pair {pair + 1} of {pairs}: {now}", flush=True)
    finally:
        await process.stop(5)
        for master in masters:
            os.kill(master, 15)
    bars = [
        Bar(
            name=f"{subject.name}_ratio",
            value=statistics.median(ratios(subject, other)),
            unit="x",
            limit=LIMITS[subject.name],
            better="lower",
            samples=pairs,
        )
        for subject, other in zip(subjects, plain, strict=True)
    ]
    peers = {
        one.name: {
            "microseconds_per_request": round(statistics.median(one.microseconds), 2),
            "p99_milliseconds": round(statistics.median(one.p99_milliseconds), 3),
        }
        for one in (*plain, *subjects)
    }
    return report(bars, peers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--access-log", action="store_true")
    arguments = parser.parse_args()
    with reachable_directory() as directory:
        return asyncio.run(run(directory, arguments.pairs, arguments.seconds, arguments.access_log))


if __name__ == "__main__":
    raise SystemExit(main())
