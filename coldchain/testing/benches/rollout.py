"""rollout: what a release costs its users, by three ways, under the same load and with the same application.

300 requests/s, half of them POST, half over kept connections, 5 % taking a second, at four instances that need half a
second to start and end at once on SIGTERM, as many applications do. By Coldchain; by hand, with a list in nginx: stop
one, start its successor, wait until it is healthy, the next; by `docker service update`, start-first, with a script
that rewrites nginx's list by Docker's events. The latter once more with all care: a HEALTHCHECK, and an application
that finishes what it has on SIGTERM. Failed: no answer, or another status than 2xx. Doubled: a POST that the
applications recorded twice. Rollouts are repeated until so many requests were sent.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from coldchain.clients.docker import DockerClient
from coldchain.testing.application.image import ensure_image
from coldchain.testing.bench import Bar, report
from coldchain.testing.gateway_lab import reachable_directory
from coldchain.testing.load.accounting import reconcile_records
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.peers.nginx_list import NginxList
from coldchain.testing.peers.swarm import SECOND, ListKeeper, Swarm
from coldchain.testing.ports import free_ports
from coldchain.testing.sandbox import DockerDaemon
from coldchain.testing.stage import Stage, make_stage

INSTANCES = 4
START_MILLISECONDS = 500
GRACE_SECONDS = 15
CHECK_SECONDS = 1.0
QUIET_SECONDS = 12.0
"""Load after each rollout: nginx leaves out a server that failed for ten seconds, and each rollout is to be judged by
itself."""
WARM_SECONDS = 2.0
"""Load before the first one."""
PATIENCE_SECONDS = 60.0
HOST = "shop.localhost"
TAGS = ("v1", "v2")
ENVIRONMENT = {"TERM_MODE": "exit", "START_MS": str(START_MILLISECONDS), "RECORDS": "/records"}


class Way(Protocol):
    """One way to release; the first tag serves already. Requests come in at 127.0.0.1:`port`."""

    name: str
    port: int

    async def roll(self, tag: str) -> None:
        """Replace all instances; returns when that is complete."""
        ...


class Platform:
    """Coldchain."""

    name = "coldchain"

    def __init__(self, stage: Stage, records: Path) -> None:
        self.port = stage.gateway_port
        self._stage = stage
        self._records = records

    def app(self, tag: str) -> dict[str, Any]:
        return {
            "id": "/shop",
            "instances": INSTANCES,
            "cpus": 0.1,
            "mem": 32,
            "container": {
                "type": "DOCKER",
                "docker": {
                    "image": f"coldchain/shop:{tag}",
                    "parameters": [{"key": "volume", "value": f"{self._records}:/records"}],
                },
                "portMappings": [{"containerPort": 8080, "name": "http"}],
            },
            "env": ENVIRONMENT,
            "healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": CHECK_SECONDS}],
            "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.25},
            "taskKillGracePeriodSeconds": GRACE_SECONDS,
            "routes": [{"domains": [HOST], "path": "/"}],
        }

    async def roll(self, tag: str) -> None:
        await self._stage.deploy("PUT", "/v2/apps/shop", self.app(tag))


class StopAndStart:
    """By hand: containers at fixed ports of the machine, in a list that nobody changes."""

    name = "stop_and_start"

    def __init__(self, socket: str, port: int, records: Path) -> None:
        self.port = port
        self.ports = free_ports(INSTANCES)
        self._client = DockerClient(socket)
        self._records = records

    async def roll(self, tag: str) -> None:
        for port in self.ports:
            await self._client.stop_container(f"shop-{port}", GRACE_SECONDS)
            await self._client.remove_container(f"shop-{port}")
            await self.start(port, tag)

    async def start(self, port: int, tag: str) -> None:
        """A container, until it is healthy."""
        environment = ENVIRONMENT | {"PORT": str(port), "INSTANCE": f"shop-{port}"}
        document = {
            "Image": f"coldchain/shop:{tag}",
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "HostConfig": {"NetworkMode": "host", "Binds": [f"{self._records}:/records"]},
        }
        await self._client.create_container(f"shop-{port}", document)
        await self._client.start_container(f"shop-{port}")
        async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for port in self.ports:
            await self._client.remove_container(f"shop-{port}", force=True)
        await self._client.close()


class SwarmUpdate:
    """`docker service update`, start-first."""

    def __init__(self, name: str, swarm: Swarm, specification: dict[str, Any], port: int) -> None:
        self.name = name
        self.port = port
        self._swarm = swarm
        self._specification = specification

    async def roll(self, tag: str) -> None:
        self._specification["TaskTemplate"]["ContainerSpec"]["Image"] = f"coldchain/shop:{tag}"
        await self._swarm.update(self._specification)


@contextlib.asynccontextmanager
async def platform(socket: str, directory: Path, records: Path) -> AsyncIterator[Way]:
    stage = make_stage(socket)
    await stage.start()
    try:
        way = Platform(stage, records)
        await stage.create(way.app(TAGS[0]))
        yield way
    finally:
        await stage.down()
        await stage.close()


@contextlib.asynccontextmanager
async def stop_and_start(socket: str, directory: Path, records: Path) -> AsyncIterator[Way]:
    (port,) = free_ports(1)
    way = StopAndStart(socket, port, records)
    nginx = NginxList(directory / "nginx", port)
    nginx.start()
    try:
        for one in way.ports:
            await way.start(one, TAGS[0])
        nginx.set_servers(f"127.0.0.1:{one}" for one in way.ports)
        yield way
    finally:
        nginx.stop()
        await way.close()


@contextlib.asynccontextmanager
async def swarm_update(socket: str, directory: Path, records: Path, *, careful: bool) -> AsyncIterator[Way]:
    (port,) = free_ports(1)
    nginx = NginxList(directory / "nginx", port)
    nginx.start()
    keeper = ListKeeper(socket, "shop", nginx, checked=careful)
    keeping = asyncio.create_task(keeper.run())
    try:
        async with Swarm(socket) as swarm:
            environment = ENVIRONMENT | ({"TERM_MODE": "drain"} if careful else {})
            specification = await swarm.create(
                "shop",
                f"coldchain/shop:{TAGS[0]}",
                INSTANCES,
                check_seconds=CHECK_SECONDS if careful else None,
                Env=[f"{name}={value}" for name, value in environment.items()],
                Mounts=[{"Type": "bind", "Source": str(records), "Target": "/records"}],
                StopGracePeriod=GRACE_SECONDS * SECOND,
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                await keeper.until(INSTANCES)
            await asyncio.sleep(2 * START_MILLISECONDS / 1000)  # without a check nobody knows when it serves
            name = "swarm_start_first_careful" if careful else "swarm_start_first"
            yield SwarmUpdate(name, swarm, specification, port)
            await swarm.remove("shop")
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        nginx.stop()


async def measure(way: Way, records: Path, rate: float, requests: int) -> dict[str, Any]:
    """Rollouts to and fro, at least one, until so many requests were sent; what became of them."""
    plan = LoadPlan(address="127.0.0.1", port=way.port, rate=rate, targets=(Target(host=HOST),))
    rolled: list[float] = []
    async with Generator(plan) as generator:
        await asyncio.sleep(WARM_SECONDS)
        while not rolled or generator.counts.sent < requests:
            began = time.monotonic()
            await way.roll(TAGS[(len(rolled) + 1) % 2])
            rolled.append(round(time.monotonic() - began, 1))
            print(
                f"{way.name}: rollout {len(rolled)} took {rolled[-1]:.1f} s; "
                f"{generator.counts.failed} of {generator.counts.sent} requests failed so far",
                flush=True,
            )
            await asyncio.sleep(QUIET_SECONDS)
    total = generator.report().total
    recorded = reconcile_records(generator.outcomes, records)
    return {
        "rollouts": len(rolled),
        "rollout_seconds": rolled if len(rolled) < 10 else [min(rolled), max(rolled)],
        "requests": total.requests,
        "failed": total.failed,
        "failed_by_method": {name: group.failed for name, group in total.by_method.items()},
        "failed_by_kind": total.failed_by_kind,
        "lost": len(recorded.lost),
        "doubled": len(recorded.duplicated),
        "latency_ms_max_beyond_service": total.latency_ms_max_beyond_service,
    }


async def run(socket: str, directory: Path, rate: float, requests: int, peer_requests: int) -> int:
    for tag in TAGS:
        await ensure_image(socket, tag=tag)
    found: dict[str, dict[str, Any]] = {}
    ways: tuple[tuple[Callable[[str, Path, Path], AbstractAsyncContextManager[Way]], int], ...] = (
        (stop_and_start, peer_requests),
        (partial(swarm_update, careful=False), peer_requests),
        (partial(swarm_update, careful=True), peer_requests),
        (platform, requests),
    )
    for number, (make, wanted) in enumerate(ways):
        place = directory / str(number)
        records = place / "records"
        records.mkdir(parents=True)
        records.chmod(0o777)
        async with make(socket, place, records) as way:
            found[way.name] = await measure(way, records, rate, wanted)
    ours = found["coldchain"]
    sums = (("lost", ours["failed"] + ours["lost"]), ("doubled", ours["doubled"]))
    bars = [
        Bar(name=name, value=float(value), unit="requests", limit=0.0, better="lower", samples=ours["requests"])
        for name, value in sums
    ]
    return report(bars, found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench rollout", description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0, help="requests per second (300)")
    parser.add_argument("--requests", type=int, default=10_000, help="for Coldchain, at least (10,000)")
    parser.add_argument("--peer-requests", type=int, default=10_000, help="for each other way, at least (10,000)")
    options = parser.parse_args()
    with reachable_directory() as directory, DockerDaemon() as daemon:
        return asyncio.run(run(str(daemon.socket), directory, options.rate, options.requests, options.peer_requests))


if __name__ == "__main__":
    sys.exit(main())
