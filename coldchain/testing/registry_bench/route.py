"""route: from a change in the registry to the gateway's routing by it.

The whole of `coldchain up` with its own registry and nginx. A service of two endpoints that others run; one of them
fails its check and passes again, in turns, told to the registry over HTTP. Somebody asks the gateway all the time over
one connection: timed from the moment the registry is told until the end of the first answer after which no other
comes from the endpoint that failed, or until the first from the one that is back.

Against it a platform of the same kind whose registry answers only at ticks. The interval of 1 s is measured; those of
5 s and 30 s are computed: evenly spread moments of change, and the rest of the path as measured with 1 s.
"""

import asyncio
import contextlib
import random
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.testing.bench import Bar
from coldchain.testing.registry_bench import Part, percentile
from coldchain.testing.registry_bench.polled import Polled, polled, polling_ms
from coldchain.testing.sandbox import DockerDaemon
from coldchain.testing.stage import Stage, make_stage

LIMIT_MS = 100.0
STABLE, CHANGED = b"stable", b"changed"
ALIKE = 12
"""So many answers in a row from the other endpoint: the failed one is out of the turns."""
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.001
"""Between two questions: who asks shall not take the core from those who are measured."""
REST_SECONDS = 0.3
"""After a change, at the most: changes come at any moment of the platform's own rhythms."""
POLLED_SECONDS, COMPUTED_SECONDS, PHASES = 1.0, (5.0, 30.0), 1000
HOST = "old.localhost"
APP = {"id": "/legacy", "service": "legacy", "instances": 0, "routes": [{"domains": [HOST]}]}


class Answering(asyncio.Protocol):
    """A server that says its name to whatever it is asked."""

    def __init__(self, name: bytes) -> None:
        self._reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is not None and data.endswith(b"\r\n\r\n"):
            self._transport.write(self._reply)


class Observer:
    """Changes the registry, and sees when the gateway has followed."""

    def __init__(self, session: aiohttp.ClientSession, registry_port: int, gateway_port: int) -> None:
        self._session = session
        self._registry = f"http://127.0.0.1:{registry_port}/v1/agent"
        self._gateway = f"http://127.0.0.1:{gateway_port}/"

    async def register(self, name: str, port: int) -> None:
        """An endpoint of the service, with a check that passes until somebody says otherwise."""
        check = {"TTL": "1h", "Status": "passing"}
        body = {"ID": name, "Name": "legacy", "Address": "127.0.0.1", "Port": port, "Check": check}
        await self._tell("service/register", body)

    async def _tell(self, path: str, body: object = None) -> None:
        async with self._session.put(f"{self._registry}/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def _ask(self) -> bytes:
        async with self._session.get(self._gateway, headers={"Host": HOST}) as answer:
            return await answer.read()

    async def ready(self) -> None:
        """Both endpoints get requests."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for name in (STABLE, CHANGED):
                while await self._ask() != name:
                    await asyncio.sleep(0.01)

    async def change_ms(self, verb: str) -> float:
        """`fail` or `pass`: from the word to the registry until the gateway goes by it."""
        telling = asyncio.create_task(self._tell(f"check/{verb}/service:{CHANGED.decode()}"))
        began, followed, alike = time.perf_counter(), 0.0, 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while alike < (ALIKE if verb == "fail" else 1):
                if await self._ask() == (STABLE if verb == "fail" else CHANGED):
                    followed = followed if alike else time.perf_counter()
                    alike += 1
                else:
                    alike = 0
                await asyncio.sleep(PAUSE_SECONDS)
        await telling
        return (followed - began) * 1000


@contextlib.asynccontextmanager
async def endpoints() -> AsyncIterator[dict[str, int]]:
    """The two servers: their ports by name."""
    loop = asyncio.get_running_loop()

    def answering(name: bytes) -> Callable[[], Answering]:
        return lambda: Answering(name)

    names = (STABLE, CHANGED)
    servers = [await loop.create_server(answering(name), "127.0.0.1", 0) for name in names]
    try:
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        yield dict(zip(map(bytes.decode, names), ports, strict=True))
    finally:
        for server in servers:
            server.close()


@contextlib.asynccontextmanager
async def platform(socket: Path, registry: str = "") -> AsyncIterator[Stage]:
    """Started, with the app; ended at the end. `registry`: HOST:PORT of another one than its own."""
    stage = make_stage(socket)
    if registry:
        stage.options["--registry"] = f"consul://{registry}"
    try:
        await stage.start()
        await stage.create(APP)
        yield stage
    finally:
        await stage.down()
        await stage.close()
        shutil.rmtree(stage.data, ignore_errors=True)


async def changes(observer: Observer, count: int, tick: Polled | None = None) -> tuple[list[float], list[float]]:
    """Milliseconds of each change, and of them those until the next tick."""
    whole, waited = [], []
    for number in range(count):
        await asyncio.sleep(REST_SECONDS * random.random() + (tick.until_tick() * random.random() if tick else 0.0))
        waited.append(tick.until_tick() * 1000 if tick else 0.0)
        whole.append(await observer.change_ms("pass" if number % 2 else "fail"))
    return whole, waited


async def measure_route(socket: Path, count: int, polls: int) -> Part:
    """`count` changes of ours, `polls` of the one that is polled."""
    async with endpoints() as ports, aiohttp.ClientSession() as session, platform(socket) as ours:
        observer = Observer(session, ours.registry_port, ours.gateway_port)
        for name, port in ports.items():
            await observer.register(name, port)
        await observer.ready()
        await changes(observer, 10)  # warms up
        found, _ = await changes(observer, count)
        url = f"http://127.0.0.1:{ours.registry_port}"
        async with (
            polled(url, POLLED_SECONDS) as (tick, address),
            platform(socket, address) as peer,
        ):
            other = Observer(session, ours.registry_port, peer.gateway_port)
            await other.ready()
            whole, waited = await changes(other, polls, tick)
    path = [max(0.0, one - wait) for one, wait in zip(whole, waited, strict=True)]
    peers: dict[str, Any] = {"ours_ms": told(found), "polling_1_s_ms": told(whole)}
    for seconds in COMPUTED_SECONDS:
        peers[f"polling_{seconds:g}_s_ms_computed"] = told(polling_ms(seconds, path, PHASES))
    value = percentile(found, 0.99)
    bar = Bar(name="change_to_route_ms_p99", value=value, unit="ms", limit=LIMIT_MS, better="lower", samples=len(found))
    return Part(bars=[bar], peers=peers)


def told(values: list[float]) -> dict[str, float]:
    return {
        "p50": round(statistics.median(values), 1),
        "p99": round(percentile(values, 0.99), 1),
        "most": round(max(values), 1),
    }


async def measure() -> Part:
    """With a Docker Engine, which engine local asks for; nothing is started on it."""
    with DockerDaemon() as daemon:
        return await measure_route(daemon.socket, 300, 40)
