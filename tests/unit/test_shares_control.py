"""Shares over time: gateways that join, die, are started afresh and lose answers never work by more than the whole and
the minimum, and a limit's unused part finds its way."""

import random
from dataclasses import dataclass, field

import pytest

from coldchain.control.shares import ShareKeeper
from coldchain.decisions.share import least, share_of
from coldchain.model.limit import LimitUse
from coldchain.model.rotation import GatewayReport

LIMIT = "shop.test/ rate/1s by route"
MOST = 100.0
GATEWAYS_MAX = 6


class StandingClock:
    """`ports.clock.Clock` as far as shares ask for it."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)

    def random(self) -> float:
        return 0.5

    def unique(self) -> str:
        return "0" * 32


@dataclass
class Gateway:
    name: str
    share: float = 1.0
    rate: float = 0.0
    asked: float = 0.0
    knows: bool = False  # has a rotation with the limit


@dataclass
class Scene:
    clock: StandingClock = field(default_factory=StandingClock)
    gateways: dict[str, Gateway] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keeper = ShareKeeper(self.clock, lambda: self.gateways.keys())

    def join(self, name: str) -> Gateway:
        self.gateways[name] = Gateway(name)
        return self.gateways[name]

    def exchange(self, gateway: Gateway, lost: bool = False) -> None:
        """A report, and the answer unless it is lost."""
        use = LimitUse(most=MOST, rate=True, asked=int(gateway.asked), share=gateway.share)
        limits = {LIMIT: use} if gateway.knows else {}
        self.keeper.reported(GatewayReport(gateway=gateway.name, applied=1, limits=limits))
        shares = self.keeper.shares(gateway.name)
        if not lost:
            gateway.share, gateway.knows = share_of(shares, LIMIT), True

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.clock.at += 1.0
            for gateway in self.gateways.values():
                gateway.asked += gateway.rate
                self.exchange(gateway)

    def given(self) -> float:
        return sum(gateway.share for gateway in self.gateways.values() if gateway.knows)


def test_a_gateway_alone_has_all_of_it_also_when_the_others_are_gone() -> None:
    scene = Scene()
    scene.join("a")
    scene.seconds(3)
    assert scene.gateways["a"].share == 1.0
    scene.join("b")
    scene.seconds(5)
    assert [one.share for one in scene.gateways.values()] == [0.5, 0.5]
    del scene.gateways["a"]
    scene.seconds(1)
    assert scene.gateways["b"].share == 1.0


def test_what_one_does_not_need_goes_to_the_other_within_seconds() -> None:
    scene = Scene()
    scene.join("a").rate, scene.join("b").rate = 80.0, 10.0
    scene.seconds(15)
    a, b = (scene.gateways[name].share for name in "ab")
    assert a >= 0.8
    assert b >= 0.1
    assert a + b <= 1.0
    scene.gateways["a"].rate, scene.gateways["b"].rate = 300.0, 300.0
    scene.seconds(15)
    assert [one.share for one in scene.gateways.values()] == pytest.approx([0.5, 0.5], abs=0.011)


def test_a_controller_that_was_just_started_leaves_what_there_is() -> None:
    scene = Scene()
    for name, share in (("a", 0.7), ("b", 0.3)):
        scene.join(name).share = share
        scene.gateways[name].knows = True
    scene.exchange(scene.gateways["a"])
    assert scene.gateways["a"].share == 0.7


@pytest.mark.parametrize("seed", range(40))
def test_never_more_than_the_whole_and_the_minimum_of_who_joined_is_in_force(seed: int) -> None:
    chance = random.Random(seed)
    scene = Scene()
    for step in range(300):
        scene.clock.at += chance.choice((0.01, 0.3, 1.0))
        what = chance.random()
        if what < 0.04 and len(scene.gateways) < GATEWAYS_MAX:
            scene.join(f"g{step}")
        elif what < 0.06 and len(scene.gateways) > 1:
            del scene.gateways[chance.choice(sorted(scene.gateways))]  # its lease ended
        elif scene.gateways:
            gateway = scene.gateways[chance.choice(sorted(scene.gateways))]
            gateway.rate = chance.choice((gateway.rate, 0.0, 5.0, 100.0, 1000.0))
            gateway.asked += gateway.rate
            scene.exchange(gateway, lost=chance.random() < 0.2)
        assert scene.given() <= 1.0 + sum(least(count) for count in range(2, GATEWAYS_MAX + 1)) + 1e-9
        assert all(one.share > 0 for one in scene.gateways.values())
