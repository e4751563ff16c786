"""Whatever befalls the registry: who lives and passes keeps his requests, and in the end everything is as it is."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from coldchain.control.belief import DOUBT_SECONDS
from coldchain.model.registration import ServiceEndpoint
from coldchain.testing.platform import LEGACY, Platform, example_app, run

STEPS = 25
LOOK_SECONDS = 0.25
NUMBERS = range(1, 7)


class Others:
    """Who is not on the platform: `alive`, and of them `failing`. They are registered as long as the registry is well;
    when it has lost them they come back one by one."""

    def __init__(self, platform: Platform, chance: random.Random) -> None:
        self._platform = platform
        self._chance = chance
        self.alive: set[int] = set()
        self.failing: set[int] = set()
        self.proven: set[int] = set()
        """Who gets requests, and must go on doing so."""
        self.lost: list[str] = []

    def tell(self, numbers: Sequence[int] | None = None) -> None:
        """The registry has these of them, or all."""
        listed = sorted(self.alive if numbers is None else numbers)
        self._platform.registry.set_others("legacy", *map(self._endpoint, listed))

    def _endpoint(self, number: int) -> ServiceEndpoint:
        status = "critical" if number in self.failing else "passing"
        return ServiceEndpoint(id=f"old-{number}", address=f"10.9.9.{number}", port=81, status=status)

    def weights(self) -> dict[int, int]:
        service = self._platform.gateways[0].rotation.services.get("legacy")
        return {int(one.address.rpartition(".")[2]): one.weight for one in service.endpoints} if service else {}

    async def watch(self) -> None:
        """For ever: nobody who gets requests and passes may be without."""
        while True:
            weights = self.weights()
            for number in sorted(self.proven - {number for number, weight in weights.items() if weight}):
                self.lost.append(f"{number} at {self._platform.clock.monotonic():.1f}: {weights}")
                self.proven.discard(number)
            well = self.alive - self.failing
            self.proven |= {number for number, weight in weights.items() if weight and number in well}
            if len(self._platform.serving()) < 2:
                self.lost.append("an instance of our own")
            await self._platform.clock.sleep(LOOK_SECONDS)

    async def change(self) -> None:
        """One of them comes, goes, fails or passes, and the registry is well."""
        number = self._chance.choice(NUMBERS)
        if number not in self.alive:
            self.alive.add(number)
        elif number in self.failing:
            self.failing.discard(number)
        else:
            self.proven.discard(number)
            (self.failing.add if self._chance.random() < 0.5 else self.alive.discard)(number)
        self.tell()

    async def silence(self) -> None:
        """It does not answer, or answers 500."""
        registry = self._platform.registry
        registry.silent, registry.loses_replies = True, self._chance.random() < 0.5
        registry.look_again()
        await self._platform.clock.sleep(self._chance.uniform(1.1, 90))
        registry.silent = registry.loses_replies = False

    async def blindness(self) -> None:
        """It answers, and shows nothing."""
        registry = self._platform.registry
        registry.blind = True
        registry.look_again()
        await self._platform.clock.sleep(self._chance.uniform(0, 3 * DOUBT_SECONDS))
        registry.blind = False
        registry.look_again()

    async def loss(self) -> None:
        """It was restarted, and its data is gone."""
        registry = self._platform.registry
        registry.silent = True
        registry.look_again()
        await self._platform.clock.sleep(self._chance.uniform(1.1, 20))
        registry.held.clear()
        registry.others.clear()
        registry.silent = False
        back: list[int] = []
        for number in self._chance.sample(sorted(self.alive), len(self.alive)):
            await self._platform.clock.sleep(self._chance.uniform(0, 15))
            back.append(number)
            self.tell(back)

    async def restart(self) -> None:
        """Of the controller."""
        await self._platform.kill()
        await self._platform.clock.sleep(self._chance.uniform(0, 3))
        await self._platform.start()


@pytest.mark.parametrize("seed", range(8))
def test_no_fault_of_the_registry_takes_requests_from_who_lives(seed: int) -> None:
    async def program(platform: Platform) -> None:
        chance = random.Random(seed)
        platform.prober.passed |= {f"registry/old-{number}" for number in NUMBERS}
        others = Others(platform, chance)
        others.alive |= {1, 2, 3}
        others.tell()
        for app in (LEGACY, example_app()):
            await platform.ended(await platform.controller.operations.create(app, "test"))
        await platform.until(lambda: others.weights() == {1: 1, 2: 1, 3: 1})
        watching = asyncio.create_task(others.watch())
        for _ in range(STEPS):
            await platform.clock.sleep(chance.uniform(0, 10))
            await chance.choice([others.change] * 4 + [others.silence, others.blindness, others.loss, others.restart])()
        assert not watching.done(), watching.exception()
        watching.cancel()
        assert others.lost == []
        others.tell()
        wanted = others.alive if len(others.failing) * 2 > len(others.alive) else others.alive - others.failing
        await platform.until(
            lambda: {number for number, weight in others.weights().items() if weight} == wanted, 3 * DOUBT_SECONDS
        )
        await platform.until(
            lambda: (
                {one.meta["instance"] for one in platform.registry.held.values()}
                == {one.id for one in platform.serving()}
            )
        )

    run(program, seed)


def test_who_does_not_come_back_to_a_registry_that_lost_all_is_gone_once_somebody_is_there_again() -> None:
    async def program(platform: Platform) -> None:
        platform.prober.passed |= {f"registry/old-{number}" for number in NUMBERS}
        others = Others(platform, random.Random(0))
        others.alive |= {1, 2}
        others.tell()
        await platform.ended(await platform.controller.operations.create(LEGACY, "test"))
        await platform.until(lambda: others.weights() == {1: 1, 2: 1})
        platform.registry.silent = True
        platform.registry.look_again()
        await platform.clock.sleep(2)
        platform.registry.others.clear()
        platform.registry.silent = False
        await platform.clock.sleep(2.5 * DOUBT_SECONDS)
        assert others.weights() == {1: 1, 2: 1}
        others.tell([3])
        await platform.until(lambda: others.weights() == {1: 1, 2: 1, 3: 1})
        await platform.until(lambda: others.weights() == {3: 1}, DOUBT_SECONDS + 1)

    run(program, 0)
