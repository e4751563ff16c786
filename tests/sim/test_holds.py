"""Brake, pause and resume, on the real control loops in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from coldchain.model.app import App, Container, Docker, PortMapping
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app
from coldchain.testing.simulated_loop import SimulatedLoop, simulate

V2 = Container(docker=Docker(image="shop:v2"), port_mappings=(PortMapping(container_port=8080),))


def run(program: Callable[[Platform], Awaitable[None]], seed: int) -> None:
    loop = SimulatedLoop(seed)

    async def whole() -> None:
        platform = Platform(loop)
        await platform.start()
        await program(platform)
        assert platform.violations == []

    simulate(whole(), loop)


def to(**fields: object) -> Callable[[App | None], App]:
    return lambda app: msgspec.structs.replace(app, **fields)


@pytest.mark.parametrize("seed", range(5))
def test_when_all_checks_fail_nothing_is_killed_or_replaced_and_it_says_so(seed: int) -> None:
    async def program(platform: Platform) -> None:
        controller = platform.controller
        await platform.ended(await controller.operations.create(example_app(instances=4), "test"))
        tasks = set(platform.engine.held)
        platform.prober.failing = lambda probe: True
        await platform.until(lambda: controller.reconciler.brake.holds)
        await asyncio.sleep(300)
        assert controller.reconciler.brake.reason.startswith("3 of 4 instances went bad")
        assert len(platform.serving()) == 4
        assert all(platform.gateways[0].routes_to(one.id) for one in platform.serving())
        platform.prober.failing = lambda probe: False
        await platform.until(lambda: not controller.reconciler.brake.holds)
        await asyncio.sleep(60)
        assert set(platform.engine.held) == tasks
        assert {event.type for event in controller.events.kept()} >= {"brake_changed_event"}

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_an_operator_overrules_the_brake(seed: int) -> None:
    async def program(platform: Platform) -> None:
        controller = platform.controller
        await platform.ended(await controller.operations.create(example_app(instances=4), "test"))
        sick = set(platform.engine.held)
        platform.prober.failing = lambda probe: f"shop.instance-{probe.instance_id}._app.1" in sick
        await platform.until(lambda: controller.reconciler.brake.holds)
        await asyncio.sleep(30)
        assert set(platform.engine.held) == sick
        assert controller.reconciler.release_brake()
        await platform.until(lambda: not sick & {one.task_id for one in platform.instances()}, within=120)
        await platform.until(lambda: len(platform.serving()) == 4)

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_container_that_dies_is_replaced_while_the_brake_holds(seed: int) -> None:
    async def program(platform: Platform) -> None:
        controller = platform.controller
        await platform.ended(await controller.operations.create(example_app(instances=4), "test"))
        old = set(platform.engine.held)
        platform.prober.failing = lambda probe: f"shop.instance-{probe.instance_id}._app.1" in old
        await platform.until(lambda: controller.reconciler.brake.holds)
        platform.engine.crash(platform.serving()[0].task_id)
        await platform.until(lambda: platform.engine.created["/shop"] == 5)

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_paused_rollout_stays_as_it_is_and_its_time_stands_still(seed: int) -> None:
    async def program(platform: Platform) -> None:
        controller = platform.controller
        operations = controller.operations
        strategy = msgspec.structs.replace(example_app().upgrade_strategy, maximum_over_capacity=0.25)
        app = example_app(instances=4, upgrade_strategy=strategy, deadline_seconds=30.0)
        await platform.ended(await operations.create(app, "test"))
        platform.engine.life = lambda spec: Life(warm_seconds=1.0)
        rollout = await operations.change("/shop", to(container=V2), "test", force=False)
        await platform.until(lambda: any(one.version_id == rollout.to_version for one in platform.serving()))
        paused = await operations.pause("/shop")
        assert (paused.paused_by, (await operations.pause(rollout.id)).paused_at) == ("operator", paused.paused_at)
        await asyncio.sleep(20)
        before = {one.id for one in platform.instances()}
        assert len({one.version_id for one in platform.serving()}) == 2
        await asyncio.sleep(100)
        assert {one.id for one in platform.instances()} == before
        await platform.kill()
        await platform.start()
        await asyncio.sleep(100)
        assert {one.id for one in platform.instances()} == before
        resumed = await platform.controller.operations.resume("/shop")
        assert resumed.deadline_at > platform.clock.now()
        assert (await platform.ended(rollout)).state == "succeeded"
        assert {one.version_id for one in platform.instances()} == {rollout.to_version}

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_rollout_that_the_brake_held_goes_on_by_itself(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(instances=4, deadline_seconds=30.0), "test"))
        platform.prober.failing = lambda probe: True
        await platform.until(lambda: platform.controller.reconciler.brake.holds)
        rollout = await operations.change("/shop", to(container=V2), "test", force=False)
        await asyncio.sleep(100)
        assert platform.controller.state.deployments[rollout.id].paused_by == "brake"
        assert platform.engine.created["/shop"] == 4
        platform.prober.failing = lambda probe: False
        assert (await platform.ended(rollout)).state == "succeeded"

    run(program, seed)
