"""The fake gateway's faults do what they say (its normal conduct is in the contract)."""

import pytest

from coldchain.model.errors import Unavailable
from coldchain.model.rotation import Endpoint, RotationUpdate, ServiceRotation
from coldchain.testing.fake_gateway import FakeGateway


class ManualClock:
    seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def random(self) -> float:
        return 0.5

    def unique(self) -> str:
        return "0" * 32


WHOLE = RotationUpdate(
    base=0,
    revision=7,
    services={"shop": ServiceRotation(endpoints=(Endpoint(instance_id="a", address="10.0.0.1", port=80),))},
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gateway(clock: ManualClock) -> FakeGateway:
    return FakeGateway("one", clock)


async def test_a_refusing_gateway_takes_nothing(gateway: FakeGateway) -> None:
    gateway.refuses = True
    for call in (gateway.apply(WHOLE), gateway.report(), gateway.renew(10)):
        with pytest.raises(Unavailable):
            await call
    assert gateway.rotation.revision == 0
    assert not gateway.ready


async def test_a_lost_reply_is_lost_after_the_work(gateway: FakeGateway) -> None:
    gateway.replies_lost = 1
    with pytest.raises(Unavailable):
        await gateway.apply(WHOLE)
    assert (await gateway.report()).applied == 7
    assert not gateway.routes_to("a"), "it is not ready"
    await gateway.renew(10)
    assert gateway.routes_to("a")


async def test_a_lease_counts_from_its_sending(gateway: FakeGateway, clock: ManualClock) -> None:
    gateway.delay_seconds = 3.0
    await gateway.renew(10)
    clock.seconds = 9.9
    assert gateway.ready
    clock.seconds = 10.0
    assert not gateway.ready


async def test_a_gateway_that_forgot_has_nothing(gateway: FakeGateway) -> None:
    await gateway.apply(WHOLE)
    await gateway.renew(10)
    gateway.forget()
    assert (await gateway.report()).applied == 0
    assert not gateway.ready
    assert not gateway.routes_to("a")
