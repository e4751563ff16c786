"""Several controllers of one store, each behind its API and with a gateway, in one process and in real time, on one
fake engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp

from coldchain.api.passed import Passed, controller_headers
from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.control.candidate import Candidate
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.control.fence import Authority, FencedEngine, FencedRegistry
from coldchain.control.gateway import feed_gateway
from coldchain.control.standby import NoEngine
from coldchain.decisions.leadership import Timing
from coldchain.gateway.remote_feed import RemoteFeed
from coldchain.model.caller import LOCAL
from coldchain.model.leader import Leader
from coldchain.model.task import TaskSpec
from coldchain.ports.clock import Clock
from coldchain.ports.rotation_feed import RotationFeed
from coldchain.ports.store import Store
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeEngine, Life
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.fake_prober import FakeProber, answers_of
from coldchain.testing.fake_registry import FakeRegistry

TIMING = Timing(lease_seconds=2.0, renew_seconds=0.2, margin_seconds=0.2, rest_seconds=1.0)
"""A lease so short that no test waits long for the end of one, and so long that no busy machine ends it."""


class Served:
    """One of them, with a gateway of its own."""

    def __init__(self, candidate: Candidate, server: ApiServer, gateway: FakeGateway, clock: Clock) -> None:
        self.candidate = candidate
        self.server = server
        self.gateway = gateway
        self.running = asyncio.create_task(candidate.run())
        self.feeding = asyncio.create_task(feed_gateway(gateway, candidate, clock))

    @property
    def url(self) -> str:
        return self.candidate.me.url


class ServedCandidates:
    """`start` starts one more. Store, engine and registry are common to all."""

    def __init__(self, connections: aiohttp.ClientSession, leader_wait_seconds: float) -> None:
        self._connections = connections
        self.clock = SystemClock()
        self.store = MemoryStore()
        self.engine = FakeEngine(self.clock)
        self.engine.life = self.life
        self.prober = FakeProber(self.clock, answers_of(self.engine))
        self.registry = FakeRegistry(self.clock)
        self.settings = ApiSettings(clock=self.clock, leader_wait_seconds=leader_wait_seconds)
        self.all: list[Served] = []

    def life(self, spec: TaskSpec) -> Life:
        """Tasks start and end at once."""
        return Life(start_seconds=0.01, stop_seconds=0.01)

    async def start(self) -> Served:
        """One more, which stands by until it is its turn."""

        @contextlib.asynccontextmanager
        async def opening(store: Store, authority: Authority) -> AsyncIterator[Controller]:
            engine, registry = FencedEngine(self.engine, authority), FencedRegistry(self.registry, authority)
            yield Controller(store, engine, FakeProber(self.clock, answers_of(self.engine)), self.clock, registry)

        def standing_by(store: Store) -> Controller:
            return Controller(store, NoEngine(), self.prober, self.clock)

        number = len(self.all)
        name = f"candidate-{number}"
        me = Leader(name=name, url="", secret=f"secret of {name}")
        candidate = Candidate(self.store, self.clock, me, opening, standing_by, TIMING, self._feed_of)
        server = ApiServer(candidate, "127.0.0.1", 0, self.settings)
        await server.start()
        candidate.reached_at(f"http://{server.address}")
        self.all.append(Served(candidate, server, FakeGateway(f"gateway-{number}", self.clock), self.clock))
        return self.all[-1]

    def _feed_of(self, leader: Leader) -> RotationFeed:
        headers = controller_headers(leader, Passed(caller=LOCAL, asked=True))
        return RemoteFeed(self._connections, leader.url, headers)

    def leader(self) -> Served | None:
        """The one that leads."""
        return next((one for one in self.all if one.candidate.leads), None)

    async def led(self) -> Served:
        """Wait until one leads, and all others know it."""
        while True:
            leader = self.leader()
            if leader is not None and all(one.candidate.leadership.leader == leader.candidate.me for one in self.all):
                return leader
            await asyncio.sleep(0.01)

    async def kill(self, served: Served) -> None:
        """It is gone, and nothing is given up in order: its lease stays until it ends."""
        served.candidate.leadership.forsake()
        self.all.remove(served)
        served.running.cancel()
        served.feeding.cancel()
        await asyncio.gather(served.running, served.feeding, return_exceptions=True)
        await served.server.stop()


@contextlib.asynccontextmanager
async def served_candidates(count: int = 2, leader_wait_seconds: float = 6.0) -> AsyncIterator[ServedCandidates]:
    """So many, of which one leads; stopped at the end."""
    async with aiohttp.ClientSession() as connections:
        served = ServedCandidates(connections, leader_wait_seconds)
        try:
            for _ in range(count):
                await served.start()
            await served.led()
            yield served
        finally:
            for one in served.all:
                await one.server.stop()
                one.running.cancel()
                one.feeding.cancel()
            tasks = [task for one in served.all for task in (one.running, one.feeding)]
            await asyncio.gather(*tasks, return_exceptions=True)
            await served.engine.close()
