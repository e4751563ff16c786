"""`bin/bench launch`: what Coldchain adds to the time that the Docker Engine itself needs to start containers.

Both sides start the same containers (image, network, limits, eight starts at once), one side by the bare Engine API,
the other through Coldchain, in turns. Both are timed by the same observer: from the first request sent until every
container has answered HTTP 200, asked every 10 ms from the moment the engine says it started.
"""

import argparse
import asyncio
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

import aiohttp
import msgspec

from coldchain.clients.docker import DockerClient
from coldchain.documents.application import encode_app
from coldchain.model.app import App, Container, Docker, PortMapping
from coldchain.model.task import TaskSpec
from coldchain.runners.docker import DockerRunner, DockerSettings
from coldchain.runners.docker.specification import ADDRESS, CONTROLLER, PORTS, container_document, container_name
from coldchain.testing.application.image import ensure_image
from coldchain.testing.bench import Bar, report
from coldchain.testing.sandbox import DockerDaemon
from coldchain.testing.stage import Stage, make_stage

LIMIT = 1.15
POLL_SECONDS = 0.01
STARTS_AT_ONCE = 8
PATIENCE_SECONDS = 180.0

APP = App(
    id="/bench",
    cpus=0.1,
    mem=32,
    container=Container(
        docker=Docker(image="coldchain/shop:v1"), port_mappings=(PortMapping(container_port=8080, name="http"),)
    ),
    env={"PORT": "8080"},
)


class Side(Protocol):
    """One way to start containers. All carry Coldchain's labels; by `label` (`key=value`) the observer follows them."""

    name: str
    label: str

    async def start(self, count: int) -> None:
        """Ask for that many containers; what is timed begins with this call."""
        ...

    async def clear(self) -> None:
        """Remove them all; not timed."""
        ...

    def cpu_seconds(self) -> float:
        """What the side itself has used so far, without the Docker Engine."""
        ...

    async def close(self) -> None: ...


def make_specs(count: int, image: str, subnet: str) -> list[TaskSpec]:
    """Tasks with addresses of their own, away from the gateway's and from Docker's own choices."""
    prefix = subnet.rsplit(".", 2)[0]
    run = uuid.uuid4().hex[:8]
    return [
        TaskSpec(
            task_id=f"bench.instance-{run}-{number}._app.1",
            instance_id=f"bench.instance-{run}-{number}",
            app_id=APP.id,
            version_id="V1",
            target="cluster",
            agent="bench",
            app=APP,
            image=image,
            address=f"{prefix}.{1 + number // 200}.{1 + number % 200}",
            host_ports=(0,),
        )
        for number in range(count)
    ]


class BareSide:
    """The Engine API: create and start, and nothing else."""

    name = "engine"

    def __init__(self, socket: str, image: str, subnet: str) -> None:
        self.label = f"{CONTROLLER}=bench-engine"
        self._client = DockerClient(socket)
        self._image = image
        self._subnet = subnet

    async def start(self, count: int) -> None:
        slots = asyncio.Semaphore(STARTS_AT_ONCE)
        settings = DockerSettings()

        async def one(spec: TaskSpec) -> None:
            name, document = container_name(spec.task_id), container_document(spec, "bench-engine", settings)
            async with slots:
                await self._client.create_container(name, document)
                await self._client.start_container(name)

        await asyncio.gather(*(one(spec) for spec in make_specs(count, self._image, self._subnet)))

    async def clear(self) -> None:
        slots = asyncio.Semaphore(STARTS_AT_ONCE)

        async def remove(container: str) -> None:
            async with slots:
                await self._client.remove_container(container, force=True)

        rows = await self._client.containers([self.label])
        await asyncio.gather(*(remove(row["Id"]) for row in rows))

    def cpu_seconds(self) -> float:
        return time.process_time()

    async def close(self) -> None:
        await self._client.close()


class PlatformSide:
    """The whole of Coldchain: a running `coldchain up`, asked through its API for an app of so many instances."""

    name = "coldchain"

    def __init__(self, stage: Stage, socket: str) -> None:
        self.label = f"coldchain.app={APP.id}"
        self._stage = stage
        self._client = DockerClient(socket)

    async def start(self, count: int) -> None:
        await self._stage.call("POST", "/v2/apps", encode_app(msgspec.structs.replace(APP, instances=count)))

    async def clear(self) -> None:
        await self._stage.deploy("DELETE", f"/v2/apps{APP.id}?force=true")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._client.containers([self.label]):
                await asyncio.sleep(0.1)

    def cpu_seconds(self) -> float:
        return self._stage.cpu_seconds()

    async def close(self) -> None:
        await self._client.close()
        await self._stage.down()
        await self._stage.close()


class Observer:
    """Times a side from outside."""

    def __init__(self, socket: str) -> None:
        self._client = DockerClient(socket)
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))

    async def time(self, side: Side, count: int) -> float:
        """Seconds from the first request until `count` containers have answered."""
        filters = {"type": ["container"], "event": ["start"], "label": [side.label]}
        events = self._client.events(filters, since=time.time())
        following = asyncio.create_task(self._all_answer(events, count))
        began = time.perf_counter()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await side.start(count)
            ended = await following
        return ended - began

    async def _all_answer(self, events: Any, count: int) -> float:
        asking: list[asyncio.Task[float]] = []
        async with aclosing(events):
            async for event in events:
                labels = event["Actor"]["Attributes"]
                asking.append(asyncio.create_task(self._ask(f"http://{labels[ADDRESS]}:{labels[PORTS]}/")))
                if len(asking) == count:
                    break
        return max(await asyncio.gather(*asking))

    async def _ask(self, url: str) -> float:
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with self._http.get(url) as response:
                    if response.status == 200:
                        return time.perf_counter()
            await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        await self._client.close()
        await self._http.close()


async def measure(socket: str, pairs: int, containers: int) -> int:
    image = await ensure_image(socket)
    client = DockerClient(socket)
    runner = DockerRunner(client, "bench", "bench", DockerSettings())
    subnet = await runner.subnet()
    await runner.close()
    stage = make_stage(socket)
    await stage.start()
    sides: Sequence[Side] = (BareSide(socket, image, subnet), PlatformSide(stage, socket))
    observer = Observer(socket)
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    cpu_seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    try:
        for number in range(-1, pairs):  # the first pair warms up
            for side in sides if number % 2 else reversed(sides):
                cpu_began = side.cpu_seconds()
                took = await observer.time(side, containers)
                cpu_took = side.cpu_seconds() - cpu_began
                await side.clear()
                if number >= 0:
                    seconds[side.name].append(took)
                    cpu_seconds[side.name].append(cpu_took)
                print(f"pair {number + 1}: {side.name:8} {took:6.2f} s, {cpu_took:5.2f} s of its own CPU", flush=True)
    finally:
        await observer.close()
        for side in sides:
            await side.close()
    bare, ours = (seconds[side.name] for side in sides)
    ratios = [mine / its for mine, its in zip(ours, bare, strict=True)]
    bar = Bar(
        name="launch_ratio",
        value=statistics.median(ratios),
        unit="x",
        limit=LIMIT,
        better="lower",
        samples=len(ratios),
    )
    peers = {
        "containers": containers,
        "seconds": {name: round(statistics.median(values), 3) for name, values in seconds.items()},
        "cpu_seconds": {name: round(statistics.median(values), 3) for name, values in cpu_seconds.items()},
        "ratios": [round(ratio, 3) for ratio in ratios],
    }
    return report([bar], peers)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench launch", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--containers", type=int, default=30)
    options = parser.parse_args()
    with DockerDaemon() as daemon:
        return asyncio.run(measure(str(daemon.socket), options.pairs, options.containers))


if __name__ == "__main__":
    sys.exit(main())
