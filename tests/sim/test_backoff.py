"""Backoff is of a configuration: a scale keeps it, a restart and another configuration begin anew."""

import asyncio

import pytest

from coldchain.model.task import TaskSpec
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app, image, run, to

SEEDS = range(3)


def failing(spec: TaskSpec) -> Life:
    """What version `v1` does."""
    return Life(ends_after_seconds=0.05) if str(spec.image).endswith("v1") else Life()


async def delayed(platform: Platform) -> None:
    """An app of which the next launch waits for more than a hundred seconds."""
    platform.engine.life = failing
    app = example_app(instances=1, health_checks=(), routes=(), backoff_seconds=200.0, deadline_seconds=3000.0)
    await platform.controller.operations.create(app, "test")
    await platform.until(lambda: platform.controller.state.backoffs)
    await platform.until(lambda: platform.controller.state.backoffs["/shop"].until > platform.clock.now() + 100)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scale_keeps_the_delay(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await delayed(platform)
        before, created = platform.controller.state.backoffs["/shop"], platform.engine.created["/shop"]
        await platform.controller.operations.change("/shop", to(instances=3), "test", force=True)
        await asyncio.sleep(50)
        assert platform.controller.state.backoffs["/shop"] == before
        assert platform.engine.created["/shop"] == created, "launched before its time"
        await platform.until(lambda: platform.engine.created["/shop"] > created, within=250.0)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_begins_anew(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await delayed(platform)
        failures, created = platform.controller.state.backoffs["/shop"].failures, platform.engine.created["/shop"]
        await platform.controller.operations.restart("/shop", "test", force=True)
        assert platform.controller.state.backoffs == {}
        await platform.until(lambda: platform.engine.created["/shop"] > created, within=5.0)
        await platform.until(lambda: platform.controller.state.backoffs, within=5.0)
        assert platform.controller.state.backoffs["/shop"].failures <= failures

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_another_configuration_does_not_wait_for_the_failures_of_the_last(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await delayed(platform)
        deployment = await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=True)
        assert (await platform.ended(deployment, within=20.0)).state == "succeeded"

    run(program, seed)
