"""Several controllers of one store, each behind its API, in one process and in real time, on one fake engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.control.candidate import Candidate
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.control.fence import Authority, FencedEngine, FencedRegistry
from coldchain.control.gateway import feed_gateway
from coldchain.control.standby import NoEngine
from coldchain.decisions.leadership import Timing
from coldchain.model.errors import Unavailable
from coldchain.model.leader import Leader
from coldchain.model.rotation import GatewayReport, RotationUpdate
from coldchain.model.task import TaskSpec
from coldchain.ports.store import Store
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeEngine, Life
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.fake_prober import FakeProber, answers_of
from coldchain.testing.fake_registry import FakeRegistry

TIMING = Timing(lease_seconds=2.0, renew_seconds=0.2, margin_seconds=0.2, rest_seconds=1.0)
"""A lease so short that no test waits long for the end of one, and so long that no busy machine ends it."""


class Served:
    """One of them."""

    def __init__(self, candidate: Candidate, server: ApiServer) -> None:
        self.candidate = candidate
        self.server = server
        self.running = asyncio.create_task(candidate.run())

    @property
    def url(self) -> str:
        return self.candidate.me.url


class ServedCandidates:
    """`start` starts one more. Store, engine, registry and gateway are common to all."""

    def __init__(self, leader_wait_seconds: float) -> None:
        self.clock = SystemClock()
        self.store = MemoryStore()
        self.engine = FakeEngine(self.clock)
        self.engine.life = self.life
        self.prober = FakeProber(self.clock, answers_of(self.engine))
        self.registry = FakeRegistry(self.clock)
        self.gateway = FakeGateway("gateway-0", self.clock)
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
        candidate = Candidate(self.store, self.clock, me, opening, standing_by, TIMING)
        server = ApiServer(candidate, "127.0.0.1", 0, self.settings)
        await server.start()
        candidate.reached_at(f"http://{server.address}")
        self.all.append(Served(candidate, server))
        return self.all[-1]

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
        await asyncio.gather(served.running, return_exceptions=True)
        await served.server.stop()

    @property
    def lease_seconds(self) -> float:
        return 5.0

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        """The gateway's way to who leads."""
        leader = self.leader()
        if leader is None:
            raise Unavailable("nobody leads")
        return await leader.candidate.exchange(report, wait_seconds)


@contextlib.asynccontextmanager
async def served_candidates(count: int = 2, leader_wait_seconds: float = 6.0) -> AsyncIterator[ServedCandidates]:
    """So many, of which one leads; stopped at the end."""
    served = ServedCandidates(leader_wait_seconds)
    feeding = asyncio.create_task(feed_gateway(served.gateway, served, served.clock))
    try:
        for _ in range(count):
            await served.start()
        await served.led()
        yield served
    finally:
        feeding.cancel()
        for one in served.all:
            await one.server.stop()
            one.running.cancel()
        await asyncio.gather(feeding, *(one.running for one in served.all), return_exceptions=True)
        await served.engine.close()
