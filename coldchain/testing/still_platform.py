"""A platform in which nothing moves: the real API and controller on records made by hand, at one moment of time, so
that whole answers are known beforehand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from aiohttp.test_utils import TestClient, TestServer

from coldchain.api.context import CONTEXT
from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.control.controller import Controller
from coldchain.control.state import State
from coldchain.documents.answers import InstanceView
from coldchain.documents.keys import Record
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_prober import FakeProber, answers_of


class FixedClock:
    """Implements ports.clock.Clock: it is always the same moment, and who sleeps never wakes. Ids are counted."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._ids = 0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.get_running_loop().create_future()

    def random(self) -> float:
        return 0.0

    def unique(self) -> str:
        self._ids += 1
        return f"unique-{self._ids}"


class StillPlatform:
    """`client` asks the API; the controller's loops do not run. `address` is where the API says that it listens."""

    def __init__(self, controller: Controller, client: TestClient) -> None:  # type: ignore[type-arg]
        self.controller = controller
        self.client = client


@contextlib.asynccontextmanager
async def still_platform(
    now: float, records: Sequence[Record], views: Sequence[InstanceView], address: str
) -> AsyncIterator[StillPlatform]:
    """With these records, and the instances of `views`, with what probes said of them."""
    clock, store = FixedClock(now), MemoryStore()
    state = State(store)
    await state.load()
    await state.commit([*records, *(one.instance for one in views)])
    engine = FakeEngine(clock)
    controller = Controller(store, engine, FakeProber(clock, answers_of(engine)), clock)
    await controller.start()
    controller.health.health.update({one.instance.id: one.health for one in views if one.health})
    server = ApiServer(controller, "127.0.0.1", 0, ApiSettings(clock=clock))
    server.application[CONTEXT].address = address
    try:
        async with TestClient(TestServer(server.application)) as client:
            yield StillPlatform(controller, client)
    finally:
        await controller.health.stop()
