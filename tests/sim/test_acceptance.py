"""Rollouts that are stopped by what the gateways see, on the real control loops in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from coldchain.decisions.acceptance import describe
from coldchain.model.app import Acceptance, Rollout, RolloutStep, UpgradeStrategy
from coldchain.model.deployment import Deployment
from coldchain.model.traffic import LATENCY_BOUNDS_SECONDS, Traffic
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.platform import Platform, example_app, image, run, to

STEP = Rollout(steps=(RolloutStep(instances=1, pause_seconds=120.0),))
TICK_SECONDS = 0.5
REQUESTS = 15
USUAL, LONG = 4, 9
"""Latency classes."""


class Load:
    """Consumers: each gateway sends each endpoint so many requests a tick. `bad`: the share that fails, `slow`: whether
    they take long; by the tag of the image, at this moment."""

    def __init__(
        self,
        platform: Platform,
        bad: Callable[[str], float] = lambda tag: 0.0,
        slow: Callable[[str], bool] = lambda tag: False,
    ) -> None:
        self._platform = platform
        self.bad, self.slow = bad, slow
        self._owed: Counter[str] = Counter()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            for gateway in self._platform.gateways:
                for service in gateway.rotation.services.values():
                    for endpoint in service.endpoints:
                        if endpoint.weight:
                            self._send(gateway, endpoint.instance_id)
            await asyncio.sleep(TICK_SECONDS)

    def _send(self, gateway: FakeGateway, name: str) -> None:
        state = self._platform.controller.state
        app = state.app_of(state.instances[name])
        assert app.container is not None
        tag = app.container.docker.image.partition(":")[2]
        self._owed[name] += round(1000 * REQUESTS * self.bad(tag))
        errors, self._owed[name] = divmod(self._owed[name], 1000)
        known = gateway.counts.get(name, Traffic(latencies=(0,) * (len(LATENCY_BOUNDS_SECONDS) + 1)))
        latencies = list(known.latencies)
        latencies[LONG if self.slow(tag) else USUAL] += REQUESTS
        gateway.counts[name] = Traffic(
            requests=known.requests + REQUESTS, errors=known.errors + errors, latencies=tuple(latencies)
        )


async def begun(platform: Platform, rollout: Rollout = STEP, **fields: object) -> Deployment:
    """A rollout of a new version over one that serves."""
    operations = platform.controller.operations
    await platform.ended(await operations.create(example_app(instances=4, rollout=rollout, **fields), "test"))
    await asyncio.sleep(20)
    return await operations.change("/shop", to(container=image("v2")), "test", force=False)


async def rolled_back(platform: Platform, failed: Deployment) -> None:
    back = next(one for one in platform.controller.state.deployments.values() if one.rollback_of == failed.id)
    assert (await platform.ended(back)).state == "succeeded"
    assert len(platform.serving()) == 4
    assert {one.version_id for one in platform.serving()} == {min(platform.controller.state.versions["/shop"])}


def only_v2(share: float) -> Callable[[str], float]:
    return lambda tag: share if tag == "v2" else 0.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gateways", [1, 2])
def test_a_new_version_that_answers_with_errors_is_stopped_and_rolled_back(seed: int, gateways: int) -> None:
    async def program(platform: Platform) -> None:
        Load(platform, only_v2(0.1))
        rollout = await begun(platform)
        ended = await platform.ended(rollout, within=30)
        assert ended.state == "failed"
        assert ended.reason.startswith("stopped by what the gateways see: ")
        assert "requests failed of the new version, 0.00% of " in ended.reason
        await rolled_back(platform, ended)
        assert platform.engine.created["/shop"] == 6
        assert "deployment_failed" in {event.type for event in platform.controller.events.kept()}

    run(program, seed, gateways=gateways)


@pytest.mark.parametrize("seed", range(4))
def test_a_rollout_without_steps_is_stopped_too(seed: int) -> None:
    async def program(platform: Platform) -> None:
        Load(platform, only_v2(0.5))
        one_by_one = UpgradeStrategy(minimum_health_capacity=1.0, maximum_over_capacity=0.0)
        rollout = await begun(
            platform, Rollout(), upgrade_strategy=one_by_one, service="shop", settle_seconds=4.0, drain_seconds=5.0
        )
        ended = await platform.ended(rollout, within=60)
        assert ended.state == "failed"
        await rolled_back(platform, ended)

    run(program, seed)


@pytest.mark.parametrize("seed", range(4))
def test_without_rollback_it_stops_with_the_old_ones_kept(seed: int) -> None:
    async def program(platform: Platform) -> None:
        Load(platform, only_v2(0.5))
        ended = await platform.ended(await begun(platform, rollback_on_failure=False), within=30)
        assert ended.state == "failed"
        await asyncio.sleep(60)
        old = min(platform.controller.state.versions["/shop"])
        assert sum(one.version_id == old for one in platform.serving()) == 3
        assert len(platform.serving()) == 4

    run(program, seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fault", ["always", "from the middle on", "coming and going"])
def test_a_fault_that_both_versions_have_stops_nothing(seed: int, fault: str) -> None:
    async def program(platform: Platform) -> None:
        load = Load(platform)
        began = platform.clock.monotonic()

        def bad(tag: str) -> float:
            seconds = platform.clock.monotonic() - began
            return {"always": 0.4, "from the middle on": 0.4 * (seconds > 40)}.get(fault, 0.8 * (seconds % 20 < 6))

        load.bad = bad
        assert (await platform.ended(await begun(platform))).state == "succeeded"

    run(program, seed, gateways=2)


@pytest.mark.parametrize("seed", range(3))
def test_a_new_version_that_is_slow_only_at_first_is_not_stopped(seed: int) -> None:
    async def program(platform: Platform) -> None:
        load = Load(platform)
        rollout = await begun(platform)
        load.slow = lambda tag: tag == "v2"
        await asyncio.sleep(20)
        load.slow = lambda tag: False
        assert (await platform.ended(rollout)).state == "succeeded"

    run(program, seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_new_version_that_stays_slow_is_stopped(seed: int) -> None:
    async def program(platform: Platform) -> None:
        Load(platform, slow=lambda tag: tag == "v2")
        ended = await platform.ended(await begun(platform), within=90)
        assert ended.state == "failed"
        assert "took more than 0.5 s" in ended.reason
        await rolled_back(platform, ended)

    run(program, seed)


def test_while_an_operator_holds_it_he_decides_and_then_it_is_stopped() -> None:
    async def program(platform: Platform) -> None:
        load = Load(platform)
        rollout = await begun(platform)
        await platform.until(lambda: platform.controller.state.running["/shop"].paused_by == "plan")
        await platform.controller.operations.pause("/shop")
        load.bad = only_v2(0.5)
        await asyncio.sleep(60)
        assert "50.00%" in describe(platform.controller.traffic.observed("/shop"))
        assert platform.controller.state.running["/shop"].id == rollout.id
        await platform.controller.operations.resume("/shop")
        assert (await platform.ended(rollout, within=30)).state == "failed"

    run(program, 1)


def test_switched_off_it_stops_nothing_and_a_rollback_is_never_stopped() -> None:
    async def program(platform: Platform) -> None:
        Load(platform, only_v2(0.5))
        off = Rollout(steps=STEP.steps, acceptance=Acceptance(enabled=False))
        assert (await platform.ended(await begun(platform, off))).state == "succeeded"
        old = min(platform.controller.state.versions["/shop"])
        back = await platform.controller.operations.roll_back("/shop", old, "test", force=False)
        assert (await platform.ended(back)).state == "succeeded"

    run(program, 1)


@pytest.mark.parametrize("seed", range(3))
def test_counts_begin_anew_with_a_gateway_and_the_window_with_a_controller(seed: int) -> None:
    async def program(platform: Platform) -> None:
        load = Load(platform)
        rollout = await begun(platform)
        await platform.until(lambda: platform.controller.state.running["/shop"].paused_by == "plan")
        for _ in range(3):
            await asyncio.sleep(10)
            platform.gateways[0].counts.clear()
        await platform.kill()
        await platform.start()
        assert platform.controller.traffic.observed("/shop").intervals == ()
        await asyncio.sleep(10)
        assert sum(one.new.requests for one in platform.controller.traffic.observed("/shop").intervals) < 20 * REQUESTS
        load.bad = only_v2(0.3)
        assert (await platform.ended(rollout, within=60)).state == "failed"

    run(program, seed)
