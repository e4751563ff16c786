"""Servers of Consul's API for tests: the embedded one on a free port, and a real one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from coldchain.control.clock import SystemClock
from coldchain.ports.prober import Prober
from coldchain.ports.store import Store
from coldchain.registry.server.embedded import EmbeddedRegistry, local_node
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_prober import FakeProber

LOOPBACK = ("127.0.0.1", 0)
SERVERS = ("embedded", "consul")


@contextlib.asynccontextmanager
async def embedded_registry(
    store: Store | None = None, prober: Prober | None = None, port: int = 0
) -> AsyncIterator[EmbeddedRegistry]:
    """Started on a port of loopback, 0: a free one, with its loops; stopped at the end."""
    clock = SystemClock()
    node = local_node("machine", "controller", "127.0.0.1")
    http = (LOOPBACK[0], port)
    registry = EmbeddedRegistry(store or MemoryStore(), prober or FakeProber(clock), clock, node, http, LOOPBACK)
    await registry.start()
    running = asyncio.create_task(registry.run())
    try:
        yield registry
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await registry.stop()


@dataclass(frozen=True)
class Places:
    """Where one of SERVERS answers: HOST:PORT of its HTTP API, port of its DNS, name of its node."""

    address: str
    dns_port: int
    node: str


@contextlib.asynccontextmanager
async def consul_places(request: pytest.FixtureRequest) -> AsyncIterator[Places]:
    """Of the server that a fixture is asked for; started if it is ours, else all tests share one."""
    if request.param == "consul":
        real = request.getfixturevalue("shared_consul")
        yield Places(real.address, real.dns_port, real.name)
        return
    async with embedded_registry() as registry:
        yield Places(registry.server.address, registry.dns.port, "machine")


class Asked:
    """An answer: `status`, `headers`, `text`, and `json` where it is some."""

    def __init__(self, status: int, headers: Any, text: str, json: Any) -> None:
        self.status, self.headers, self.text, self.json = status, headers, text, json

    @property
    def index(self) -> int:
        return int(self.headers["X-Consul-Index"])


class Asker:
    """Asks a server of Consul's API, without any client between."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._url = f"http://{address}"

    async def __call__(self, method: str, path: str, body: object = None, data: bytes | None = None) -> Asked:
        async with self._session.request(method, self._url + path, json=body, data=data) as response:
            text = await response.text()
            json = await response.json() if response.content_type == "application/json" else None
            return Asked(response.status, response.headers, text, json)


async def seen(ask: Asker, path: str, wanted: Any) -> Any:
    """The answer once it is as wanted: a real agent brings what it was told to its server a moment later."""
    index = 0
    while True:
        separator = "&" if "?" in path else "?"
        answer = await ask("GET", f"{path}{separator}index={index}&wait=5s" if index else path)
        if wanted(answer.json):
            return answer
        assert not index or answer.index >= index, answer.json
        index = answer.index
