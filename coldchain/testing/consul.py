"""Servers of Consul's API for tests: the embedded one on a free port, and a real one where an address is given."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from coldchain.control.clock import SystemClock
from coldchain.ports.prober import Prober
from coldchain.ports.store import Store
from coldchain.registry.server.embedded import EmbeddedRegistry, local_node
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_prober import FakeProber

REAL = os.environ.get("COLDCHAIN_TEST_CONSUL", "")
"""HOST:PORT of a Consul agent that tests may fill and empty."""
LOOPBACK = ("127.0.0.1", 0)
SERVERS = ("embedded", "consul") if REAL else ("embedded",)


@contextlib.asynccontextmanager
async def embedded_registry(
    store: Store | None = None, prober: Prober | None = None
) -> AsyncIterator[EmbeddedRegistry]:
    """Started on a free port of loopback, with its loops; stopped at the end."""
    clock = SystemClock()
    node = local_node("machine", "controller", "127.0.0.1")
    registry = EmbeddedRegistry(store or MemoryStore(), prober or FakeProber(clock), clock, node, LOOPBACK, LOOPBACK)
    await registry.start()
    running = asyncio.create_task(registry.run())
    try:
        yield registry
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await registry.stop()


@contextlib.asynccontextmanager
async def consul_address(server: str) -> AsyncIterator[str]:
    """HOST:PORT of one of SERVERS, started if it is ours."""
    if server == "consul":
        yield REAL
        return
    async with embedded_registry() as registry:
        yield registry.server.address


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
