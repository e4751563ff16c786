"""Instances that somebody wants gone: never cut off, replaced first where their app allows, and exactly those."""

import asyncio

import pytest

from coldchain.model.app import UpgradeStrategy
from coldchain.model.errors import Conflict, NotFound, Unavailable
from coldchain.testing.fake_engine import Life
from coldchain.testing.faulty_store import Fault
from coldchain.testing.platform import Platform, example_app, image, run, to
from coldchain.testing.simulated_loop import SimulatedLoop, simulate

SEEDS = range(5)


async def started(platform: Platform, **fields: object) -> list[str]:
    """The ids of what serves, the oldest first."""
    await platform.ended(await platform.controller.operations.create(example_app(**fields), "test"))
    return [one.id for one in sorted(platform.serving(), key=lambda one: (one.created_at, one.id))]


def serving(platform: Platform) -> set[str]:
    return {one.id for one in platform.serving()}


async def at_rest(platform: Platform, count: int) -> None:
    await platform.until(lambda: len(platform.serving()) == len(platform.instances()) == count)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_killed_is_replaced_first_and_drained(seed: int) -> None:
    async def program(platform: Platform) -> None:
        first, second, third = await started(platform, instances=3)
        fewest = [3]
        platform.controller.state.on_commit(lambda pairs: fewest.append(len(platform.serving())))
        await platform.controller.operations.kill([second, "nobody"], "somebody")
        await platform.until(lambda: second not in serving(platform))
        await at_rest(platform, 3)
        assert {first, third} < serving(platform)
        assert min(fewest) == 3, "its replacement serves before it leaves"
        story = [(step.phase, step.cause) for step in platform.controller.state.instances[second].history]
        assert [phase for phase, _ in story][-4:] == ["draining", "closing", "stopping", "stopped"]
        assert story[-4][1] == "somebody asked for it to be killed"
        assert len(platform.controller.state.deployments) == 1, "no deployment is made of it"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_of_an_app_are_killed_within_its_capacity(seed: int) -> None:
    async def program(platform: Platform) -> None:
        strategy = UpgradeStrategy(minimum_health_capacity=0.5, maximum_over_capacity=0.0)
        before = await started(platform, instances=4, upgrade_strategy=strategy)
        await platform.controller.operations.kill(before, "somebody")
        await platform.until(lambda: serving(platform).isdisjoint(before))
        await at_rest(platform, 4)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("killed", [False, True], ids=["", "and the controller is killed"])
def test_a_scale_takes_exactly_the_chosen(seed: int, killed: bool) -> None:
    async def program(platform: Platform) -> None:
        first, second, third, fourth = await started(platform, instances=4)
        operations = platform.controller.operations
        [deployment] = await operations.kill_and_scale([first, third], "somebody", force=False)
        if killed:
            await platform.kill()
            await platform.start()
        assert (await platform.ended(deployment)).state == "succeeded"
        assert serving(platform) == {second, fourth}
        assert sum(platform.engine.created.values()) == 4
        wanted = platform.controller.state.wanted("/shop")
        assert wanted is not None
        assert wanted.app.instances == 2

    run(program, seed)


def test_a_scale_that_is_refused_changes_nothing() -> None:
    async def program(platform: Platform) -> None:
        first, *_ = await started(platform, instances=2)
        operations = platform.controller.operations
        running = await operations.change("/shop", to(container=image("v2")), "test", force=False)
        before = dict(platform.controller.state.instances)
        with pytest.raises(Conflict) as refused:
            await operations.kill_and_scale([first], "somebody", force=False)
        assert refused.value.deployments == (running.id,)
        assert platform.controller.state.instances == before
        [forced] = await operations.kill_and_scale([first], "somebody", force=True)
        assert (await platform.ended(forced)).state == "succeeded"
        assert len(platform.serving()) == 1

    run(program, 0)


@pytest.mark.parametrize("fault", ["unavailable", "lost reply"])
def test_a_scale_is_written_whole_or_not_at_all(fault: Fault) -> None:
    """Else the number would fall and others leave, or the chosen be replaced."""

    async def program(platform: Platform) -> None:
        first, second = await started(platform, instances=2)
        struck = platform.store.writes + 1
        platform.store.fault = lambda number, changes: fault if number == struck else None
        with pytest.raises(Unavailable):
            await platform.controller.operations.kill_and_scale([first], "somebody", force=False)
        await platform.clock.sleep(30.0)
        assert serving(platform) == ({second} if fault == "lost reply" else {first, second})

    run(program, 0)


def test_a_paused_deployment_does_not_hold_who_is_killed() -> None:
    async def program(platform: Platform) -> None:
        first, second = await started(platform, instances=2)
        platform.engine.life = lambda spec: Life(healthy=not str(spec.image).endswith("v2"))
        await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.controller.operations.pause("/shop")
        platform.engine.life = lambda spec: Life()
        await platform.controller.operations.kill([first], "somebody")
        await platform.until(lambda: first not in serving(platform))
        await platform.until(lambda: len(platform.serving()) == 2)
        assert second in serving(platform)

    run(program, 0)


def test_what_waits_for_its_failures_is_launched_at_once_when_the_delay_is_reset() -> None:
    loop = SimulatedLoop(0)

    async def program() -> None:
        platform = Platform(loop)
        await platform.start()
        platform.engine.life = lambda spec: Life(ends_after_seconds=0.05)
        app = example_app(instances=1, health_checks=(), backoff_seconds=200.0, deadline_seconds=3000.0)
        await platform.controller.operations.create(app, "test")
        await platform.until(lambda: platform.controller.state.backoffs)
        await platform.until(lambda: platform.controller.state.backoffs["/shop"].until > platform.clock.now() + 100)
        platform.engine.life = lambda spec: Life()
        await asyncio.sleep(30)
        assert {one.phase for one in platform.instances()} <= {"scheduled"}
        with pytest.raises(NotFound):
            await platform.controller.operations.reset_delay("/other")
        await platform.controller.operations.reset_delay("/shop")
        await platform.until(platform.serving, within=5.0)

    simulate(program(), loop)
