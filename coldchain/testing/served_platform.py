"""A platform behind its API, in one process and in real time: the real controller and server on a fake engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import ClientSession

from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.control.gateway import feed_gateway
from coldchain.decisions.admission import Policy
from coldchain.model.offer import Offer
from coldchain.model.task import TaskSpec
from coldchain.ports.cipher import Cipher
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_cipher import FakeCipher
from coldchain.testing.fake_engine import ONE_AGENT, FakeEngine, Life
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.fake_prober import FakeProber, answers_of
from coldchain.testing.fake_registry import FakeRegistry


class ServedPlatform:
    """`start` and `stop` may follow each other: store, engine and gateway stay, as does the port."""

    def __init__(
        self,
        settings: ApiSettings | None = None,
        policy: Policy | None = None,
        agents: Sequence[Offer] = (ONE_AGENT,),
    ) -> None:
        self.policy = policy
        self.cipher: Cipher = FakeCipher()
        self.clock = SystemClock()
        self.store = MemoryStore()
        self.engine = FakeEngine(self.clock, agents=agents)
        self.engine.life = self.life
        self.prober = FakeProber(self.clock, answers_of(self.engine))
        self.registry = FakeRegistry(self.clock)
        self.gateway = FakeGateway("gateway-0", self.clock)
        self.settings = replace(settings or ApiSettings(), clock=self.clock)
        self.port = 0
        self._tasks: list[asyncio.Task[None]] = []

    def life(self, spec: TaskSpec) -> Life:
        """Tasks start at once, write two lines, and do what their definition's variables say: `HEALTH`, `EXIT`."""
        env = spec.app.env
        return Life(
            start_seconds=0.01,
            stop_seconds=0.01,
            healthy=env.get("HEALTH") != "never",
            ends_after_seconds=0.05 if "EXIT" in env else None,
            exit_status=int(env.get("EXIT", 0)),
            output=b"started\nlistening on 8080\n",
        )

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start controller, gateway and API."""
        parts = (self.store, self.engine, self.prober, self.clock, self.registry)
        self.controller = Controller(*parts, self.policy, self.cipher)
        await self.controller.start()
        # Its store was never restored from older data and knows all gateways: nobody waits a lease for others of them.
        self.controller.publisher._all_heard_at = 0.0
        self.server = ApiServer(self.controller, "127.0.0.1", self.port, self.settings)
        await self.server.start()
        self.port = self.server.port
        self._tasks = [
            asyncio.create_task(self.controller.run()),
            asyncio.create_task(feed_gateway(self.gateway, self.controller.publisher, self.clock)),
        ]

    async def deployed(self, session: ClientSession, app: dict[str, Any]) -> dict[str, Any]:
        """Create an app through the API and wait until it serves; the answer to its creation."""
        async with session.post("/v2/apps", json=app) as answer:
            created: dict[str, Any] = await answer.json()
        for deployment in created["deployments"]:
            await self.ended(session, deployment["id"])
        return created

    async def ended(self, session: ClientSession, name: str) -> dict[str, Any]:
        """Wait for the end of a deployment; it, as the API shows it."""
        committed = asyncio.Event()
        self.controller.state.on_commit(lambda pairs: committed.set())
        while True:
            async with session.get(f"/v1/deployments/{name}") as answer:
                found: dict[str, Any] = await answer.json()
            if found["state"] != "running":
                return found
            await committed.wait()
            committed.clear()

    async def hold(self) -> None:
        """From now on nothing is carried out any more, only written."""
        self._tasks[0].cancel()
        await asyncio.gather(self._tasks[0], return_exceptions=True)

    async def stop(self) -> None:
        """End the API and the controller, as a crash would; tasks and gateway go on."""
        await self.server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def served_platform(
    settings: ApiSettings | None = None, policy: Policy | None = None
) -> AsyncIterator[ServedPlatform]:
    """Started, and stopped at the end."""
    platform = ServedPlatform(settings, policy)
    await platform.start()
    try:
        yield platform
    finally:
        await platform.stop()
        await platform.engine.close()
