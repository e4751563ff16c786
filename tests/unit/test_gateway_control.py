"""The gateway process's loop tells the controller what was counted: changes only, seldom, and never lost for good."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from coldchain.control.gateway import feed_gateway
from coldchain.model.errors import Unavailable
from coldchain.model.limit import LimitUse
from coldchain.model.rotation import Endpoint, GatewayReport, RotationUpdate, ServiceRotation
from coldchain.model.traffic import Traffic
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

ENDPOINTS = tuple(
    Endpoint(instance_id=name, address="10.0.0.1", port=80, weight=weight) for name, weight in (("a", 1), ("b", 0))
)


class Controller:
    """Implements `ports.rotation_feed.RotationFeed`. `heard`: the time and counts of each report that told any.

    `away`: no report arrives any more, and no reply to one that did.
    """

    lease_seconds = 5.0

    def __init__(self, clock: SimulatedClock) -> None:
        self.heard: list[tuple[float, dict[str, Traffic]]] = []
        self.exchanges = 0
        self.given_shares: dict[str, float] = {}
        self.away = False
        self.update: RotationUpdate | None = None
        self._clock = clock

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        if self.away:
            raise Unavailable("the controller does not answer")
        self.exchanges += 1
        if report.traffic:
            self.heard.append((self._clock.monotonic(), report.traffic))
        update, self.update = self.update, None
        if update is None:
            await self._clock.sleep(wait_seconds)
        if self.away:
            raise Unavailable("the reply was lost")
        return update

    def shares(self, gateway: str) -> dict[str, float]:
        assert gateway == "one"
        return self.given_shares

    async def hears(self, count: int) -> dict[str, Traffic]:
        """What the report told that is the `count`th to tell any."""
        async with asyncio.timeout(60):
            while len(self.heard) < count:
                await asyncio.sleep(0.01)
        return self.heard[count - 1][1]


Program = Callable[[FakeGateway, Controller], Awaitable[None]]


@pytest.fixture(params=range(3))
def run(request: pytest.FixtureRequest) -> Callable[[Program], None]:
    """Runs a program beside the loop, in virtual time; the gateway has its endpoints already."""
    loop = SimulatedLoop(request.param)

    async def whole(program: Program) -> None:
        clock = SimulatedClock(loop)
        gateway, controller = FakeGateway("one", clock), Controller(clock)
        await gateway.apply(RotationUpdate(base=0, revision=1, services={"shop": ServiceRotation(endpoints=ENDPOINTS)}))
        feed = asyncio.create_task(feed_gateway(gateway, controller, clock))
        try:
            await program(gateway, controller)
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)

    return lambda program: simulate(whole(program), loop)


def test_each_change_is_told_once(run: Callable[[Program], None]) -> None:
    async def program(gateway: FakeGateway, controller: Controller) -> None:
        gateway.counts["a"] = Traffic(requests=1)
        assert await controller.hears(1) == {"a": Traffic(requests=1)}
        gateway.counts["b"] = Traffic(requests=7, errors=7)
        assert await controller.hears(2) == {"b": Traffic(requests=7, errors=7)}
        gateway.counts["a"] = Traffic(requests=2)
        assert await controller.hears(3) == {"a": Traffic(requests=2)}
        await asyncio.sleep(30.0)
        assert len(controller.heard) == 3

    run(program)


def test_at_most_once_a_second_while_a_drain_asks_often(run: Callable[[Program], None]) -> None:
    async def program(gateway: FakeGateway, controller: Controller) -> None:
        gateway.open_requests["b"] = 1
        for number in range(500):
            gateway.counts["a"] = Traffic(requests=number + 1)
            await asyncio.sleep(0.01)
        assert controller.exchanges >= 80
        times = [at for at, _ in controller.heard]
        assert 4 <= len(times) <= 6
        assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(times))

    run(program)


@pytest.mark.parametrize("answered_seconds", [0.0, 3.0], ids=["reply lost", "another one since"])
def test_what_a_controller_may_not_have_heard_is_told_again(
    run: Callable[[Program], None], answered_seconds: float
) -> None:
    async def program(gateway: FakeGateway, controller: Controller) -> None:
        await asyncio.sleep(5.0)
        gateway.counts["a"] = Traffic(requests=1)
        await controller.hears(1)
        await asyncio.sleep(answered_seconds)
        controller.away = True
        await asyncio.sleep(3.0)
        controller.away = False
        assert await controller.hears(2) == {"a": Traffic(requests=1)}
        await asyncio.sleep(30.0)
        assert len(controller.heard) == 2

    run(program)


def test_another_controller_is_told_all(run: Callable[[Program], None]) -> None:
    async def program(gateway: FakeGateway, controller: Controller) -> None:
        gateway.counts |= {"a": Traffic(requests=1), "b": Traffic(requests=2)}
        known = await controller.hears(1)
        await asyncio.sleep(5.0)
        controller.update = RotationUpdate(base=0, revision=9, services={"shop": ServiceRotation(endpoints=ENDPOINTS)})
        assert await controller.hears(2) == known == {"a": Traffic(requests=1), "b": Traffic(requests=2)}

    run(program)


def test_a_gateway_that_began_anew_tells_its_new_counts(run: Callable[[Program], None]) -> None:
    async def program(gateway: FakeGateway, controller: Controller) -> None:
        gateway.counts["a"] = Traffic(requests=5)
        await controller.hears(1)
        gateway.forget()
        controller.update = RotationUpdate(base=0, revision=9, services={"shop": ServiceRotation(endpoints=ENDPOINTS)})
        async with asyncio.timeout(60):
            while not gateway.rotation.services:
                await asyncio.sleep(0.01)
        gateway.counts["a"] = Traffic(requests=5)
        assert await controller.hears(2) == {"a": Traffic(requests=5)}

    run(program)


def test_shares_are_in_force_before_the_rotation_and_again_after_a_fresh_start(
    run: Callable[[Program], None],
) -> None:
    async def program(gateway: FakeGateway, controller: Controller) -> None:
        seen: list[dict[str, float]] = []
        gateway.applied = lambda one: seen.append(one.shares)
        gateway.uses = {"limit": LimitUse(most=5, rate=True)}
        controller.given_shares = {"limit": 0.25}
        await asyncio.sleep(2.5)
        assert gateway.shares == {"limit": 0.25}
        controller.update = RotationUpdate(base=0, revision=9, services={"shop": ServiceRotation(endpoints=ENDPOINTS)})
        controller.given_shares = {"limit": 0.5}
        await asyncio.sleep(2.5)
        assert seen[-1] == {"limit": 0.5}
        gateway.forget()
        await asyncio.sleep(2.5)
        assert gateway.shares == {"limit": 0.5}
        controller.away = True
        await asyncio.sleep(60.0)
        assert gateway.shares == {"limit": 0.5}

    run(program)
