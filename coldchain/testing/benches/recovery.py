"""recovery: a container is killed; how long until its replacement gets requests? The controller is; until it works?

The app has one instance, and an observer asks for it through the proxy, every 5 ms: from SIGKILL for the container's
process until the replacement's first answer with status 200. In turns, on one engine: Coldchain; Docker Swarm with
restart-delay 0, the same check at the same interval, and a script that rewrites nginx's list by Docker's events; the
same without any check, which takes a task for good as soon as it has started.
The controller is killed, started again at once, and asked to change an app until it accepts.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from coldchain.clients.docker import DockerClient
from coldchain.testing.application.image import ensure_image
from coldchain.testing.bench import Bar, report
from coldchain.testing.driven import StepFailed
from coldchain.testing.gateway_lab import reachable_directory
from coldchain.testing.peers.nginx_list import NginxList
from coldchain.testing.peers.swarm import ListKeeper, Swarm
from coldchain.testing.ports import free_ports
from coldchain.testing.sandbox import DockerDaemon
from coldchain.testing.stage import Stage, make_stage

IMAGE = "coldchain/shop:v1"
HOST = "shop.localhost"
CHECK_SECONDS = 1.0
POLL_SECONDS = 0.005
PATIENCE_SECONDS = 60.0
REST_SECONDS = 1.0
"""Between two kills: what the last one left to do, such as removing the dead container, shall not count."""
RATIO_LIMIT = 1.0
CONTROLLER_LIMIT_SECONDS = 5.0

SHOP: dict[str, Any] = {
    "id": "/shop",
    "instances": 1,
    "cpus": 0.1,
    "mem": 32,
    "backoffSeconds": 0,
    "container": {
        "type": "DOCKER",
        "docker": {"image": IMAGE},
        "portMappings": [{"containerPort": 8080, "name": "http"}],
    },
    "env": {"PORT": "8080"},
    "healthChecks": [
        {"protocol": "HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": CHECK_SECONDS, "timeoutSeconds": 2}
    ],
    "routes": [{"domains": [HOST], "path": "/"}],
}
NOTE: dict[str, Any] = {"id": "/note", "cmd": "true", "instances": 0, "cpus": 0.1, "mem": 16}


class Side(Protocol):
    """One way to keep an app alive. `label` (`key=value`) finds its container, `port` is its proxy's."""

    name: str
    label: str
    port: int


class PlatformSide:
    """The whole of Coldchain."""

    name = "coldchain"
    label = "coldchain.app=/shop"

    def __init__(self, stage: Stage) -> None:
        self.port = stage.gateway_port


class SwarmSide:
    """Docker Swarm with nginx before it."""

    def __init__(self, name: str, service: str, port: int) -> None:
        self.name = name
        self.label = f"com.docker.swarm.service.name={service}"
        self.port = port


class Observer:
    """Kills from outside, and asks through the proxy."""

    def __init__(self, socket: str) -> None:
        self._client = DockerClient(socket)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=2))

    async def recovery_seconds(self, side: Side) -> float:
        """SIGKILL for the container, and how long the app was not there or not the new one."""
        before = await self.until_served(side, not_by="")
        (pid,) = [
            found["State"]["Pid"]
            for row in await self._client.containers([side.label])
            if (found := await self._client.inspect_container(row["Id"]))["State"]["Running"]
        ]
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        await self.until_served(side, not_by=before)
        return time.perf_counter() - began

    async def until_served(self, side: Side, *, not_by: str) -> str:
        """Ask until another instance than this one answers; the name of that."""
        url = f"http://127.0.0.1:{side.port}/"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with self._http.get(url, headers={"Host": HOST}) as answer:
                        instance = answer.headers.get("X-Instance", "")
                        if answer.status == 200 and instance != not_by:
                            return instance
                await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        await self._client.close()
        await self._http.close()


@contextlib.asynccontextmanager
async def swarm_sides(socket: str, directory: Path) -> AsyncIterator[Sequence[Side]]:
    """Both services, serving."""
    async with Swarm(socket) as swarm, contextlib.AsyncExitStack() as stack:
        sides = []
        for service, check_seconds, port in zip(
            ("checked", "unchecked"), (CHECK_SECONDS, None), free_ports(2), strict=True
        ):
            nginx = NginxList(directory / service, port)
            nginx.start()
            stack.callback(nginx.stop)
            keeper = ListKeeper(socket, service, nginx, checked=check_seconds is not None)
            keeping = asyncio.create_task(keeper.run())
            stack.push_async_callback(_cancelled, keeping)
            await swarm.create(service, IMAGE, 1, check_seconds=check_seconds)
            stack.push_async_callback(swarm.remove, service)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await keeper.until(1)
            sides.append(SwarmSide(f"swarm_{service}", service, port))
        yield sides


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def controller_recovery_seconds(stage: Stage, number: int) -> float:
    """SIGKILL for the controller, a new one at once, and how long until a change of an app was accepted."""
    stage.kill()
    began = time.perf_counter()
    starting = asyncio.create_task(stage.start())
    try:
        while True:
            with contextlib.suppress(aiohttp.ClientError, StepFailed):
                await stage.call("PUT", "/v2/apps/note?force=true", {"env": {"NUMBER": str(number)}})
                return time.perf_counter() - began
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await starting


async def measure(socket: str, directory: Path, pairs: int) -> int:
    await ensure_image(socket)
    stage = make_stage(socket)
    observer = Observer(socket)
    await stage.start()
    seconds: dict[str, list[float]] = {}
    controller: list[float] = []
    try:
        await stage.create(SHOP)
        await stage.create(NOTE)
        async with swarm_sides(socket, directory) as swarm:
            sides = (PlatformSide(stage), *swarm)
            for number in range(-1, pairs):  # the first round warms up
                for side in sides if number % 2 else reversed(sides):
                    took = await observer.recovery_seconds(side)
                    if number >= 0:
                        seconds.setdefault(side.name, []).append(took)
                    print(f"round {number + 1}: {side.name:15} {took:6.3f} s", flush=True)
                    await asyncio.sleep(REST_SECONDS)
        for number in range(pairs):
            controller.append(await controller_recovery_seconds(stage, number))
            print(f"controller {number + 1}: {controller[-1]:6.3f} s until a write was accepted", flush=True)
    finally:
        await observer.close()
        await stage.down()
        await stage.close()
    return report(*_judge(seconds, controller))


def _judge(seconds: dict[str, list[float]], controller: list[float]) -> tuple[list[Bar], dict[str, Any]]:
    ours = seconds.pop("coldchain")
    ratios = {name: [mine / its for mine, its in zip(ours, theirs, strict=True)] for name, theirs in seconds.items()}
    bars = [
        Bar(
            name=bar,
            value=statistics.median(ratios[peer]),
            unit="x",
            limit=RATIO_LIMIT,
            better="lower",
            samples=len(ours),
        )
        for bar, peer in (("recovery_ratio", "swarm_checked"), ("recovery_ratio_unchecked", "swarm_unchecked"))
    ]
    bars += [
        Bar(
            name="controller_recovery_seconds",
            value=statistics.median(controller),
            unit="s",
            limit=CONTROLLER_LIMIT_SECONDS,
            better="lower",
            samples=len(controller),
        ),
    ]
    peers = {
        "seconds": {
            name: round(statistics.median(values), 3) for name, values in (("coldchain", ours), *seconds.items())
        },
        "ratios": {name: [round(ratio, 3) for ratio in values] for name, values in ratios.items()},
        "controller_seconds_worst": round(max(controller), 3),
    }
    return bars, peers


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench recovery", description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    options = parser.parse_args()
    with reachable_directory() as directory, DockerDaemon() as daemon:
        return asyncio.run(measure(str(daemon.socket), directory, options.pairs))


if __name__ == "__main__":
    sys.exit(main())
