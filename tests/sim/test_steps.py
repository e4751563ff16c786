"""Rollouts that go by steps, on the real control loops in virtual time."""

import asyncio

import pytest

from coldchain.model.app import App, Rollout, RolloutStep
from coldchain.model.deployment import Deployment
from coldchain.model.errors import Conflict
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app, image, run, to

PLAN = Rollout(steps=(RolloutStep(instances=1), RolloutStep(share=0.5, pause_seconds=60.0)))


async def begun(platform: Platform, rollout: Rollout = PLAN, instances: int = 4, **fields: object) -> Deployment:
    """A rollout of a new version over one that serves."""
    operations = platform.controller.operations
    await platform.ended(await operations.create(example_app(instances=instances, **fields), "test"))
    edit = to(container=image("v2"), rollout=rollout)
    return await operations.change("/shop", edit, "test", force=False)


def running(platform: Platform) -> Deployment:
    return platform.controller.state.running["/shop"]


def mix(platform: Platform) -> tuple[int, int]:
    """(old, new) instances in rotation."""
    wanted = platform.controller.state.wanted("/shop")
    assert wanted is not None
    new = sum(one.version_id == wanted.config_id for one in platform.serving())
    return len(platform.serving()) - new, new


async def paused(platform: Platform, steps_done: int) -> None:
    """Wait until it pauses by plan in that step and what left is gone."""
    await platform.until(lambda: running(platform).paused_by == "plan" and running(platform).steps_done == steps_done)
    await asyncio.sleep(20)


@pytest.mark.parametrize("seed", range(5))
def test_each_step_waits_as_long_as_planned_and_the_time_limit_stands_still(seed: int) -> None:
    async def program(platform: Platform) -> None:
        rollout = await begun(platform)
        await paused(platform, 1)
        assert mix(platform) == (3, 1)
        await asyncio.sleep(600)
        assert mix(platform) == (3, 1)
        await platform.controller.operations.resume("/shop")
        await platform.until(lambda: running(platform).steps_done == 2)
        assert running(platform).resumes_at == pytest.approx(platform.clock.now() + 60, abs=1)
        await asyncio.sleep(50)
        assert mix(platform) == (2, 2)
        ended = await platform.ended(rollout, within=30)
        assert (ended.state, mix(platform)) == ("succeeded", (0, 4))

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_promote_passes_all_steps(seed: int) -> None:
    async def program(platform: Platform) -> None:
        rollout = await begun(platform)
        await paused(platform, 1)
        assert (await platform.controller.operations.promote("/shop")).paused_by is None
        ended = await platform.ended(rollout, within=30)
        assert (ended.state, mix(platform)) == ("succeeded", (0, 4))
        again = await platform.controller.operations.restart("/shop", "test", force=False)
        await platform.controller.operations.promote(again.id)
        assert (await platform.ended(again, within=30)).state == "succeeded"

    run(program, seed)


def test_a_restart_goes_by_steps_and_what_has_none_cannot_be_promoted() -> None:
    async def program(platform: Platform) -> None:
        await begun(platform, Rollout())
        with pytest.raises(Conflict, match="does not go by steps"):
            await platform.controller.operations.promote("/shop")
        await platform.ended(running(platform))
        changed = await platform.controller.operations.change("/shop", to(rollout=PLAN), "test", force=False)
        await platform.ended(changed, within=5)
        await platform.controller.operations.restart("/shop", "test", force=False)
        await paused(platform, 1)
        assert mix(platform) == (3, 1)

    run(program, 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_rollback_and_a_cancel_do_not_wait_for_steps(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        rollout = await begun(platform, rollout=PLAN)
        await paused(platform, 1)
        back = await operations.cancel(rollout.id, "test", force=False)
        assert back is not None
        assert (await platform.ended(back, within=30)).state == "succeeded"
        assert {one.version_id for one in platform.serving()} == {platform.controller.state.wanted("/shop").config_id}  # type: ignore[union-attr]
        assert platform.engine.created["/shop"] == 6

    run(program, seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_scale_is_done_at_once_and_is_no_way_around_the_plan(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await begun(platform)
        await paused(platform, 1)
        await operations.change("/shop", to(instances=6), "test", force=True)
        await paused(platform, 1)
        assert mix(platform) == (3, 3)
        await operations.change("/shop", to(instances=2), "test", force=True)
        await paused(platform, 1)
        old, new = mix(platform)
        assert old + new == 2
        assert new >= 1

    run(program, seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_newer_version_begins_with_the_first_step_over_what_serves(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        await paused(platform, 1)
        await platform.controller.operations.change("/shop", to(container=image("v3")), "test", force=True)
        await paused(platform, 1)
        assert mix(platform) == (3, 1)
        assert {one.version_id for one in platform.serving()} >= {min(platform.controller.state.versions["/shop"])}

    run(program, seed)


@pytest.mark.parametrize("seed", range(3))
def test_an_operator_takes_over_a_planned_pause_and_his_resume_passes_the_step(seed: int) -> None:
    async def program(platform: Platform) -> None:
        plan = Rollout(steps=(RolloutStep(share=0.25, pause_seconds=30.0), RolloutStep(share=0.5)))
        await begun(platform, plan)
        await platform.until(lambda: running(platform).paused_by == "plan")
        await platform.controller.operations.pause("/shop")
        await asyncio.sleep(300)
        assert mix(platform) == (3, 1)
        await platform.controller.operations.resume("/shop")
        await paused(platform, 2)
        assert mix(platform) == (2, 2)

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_step_that_does_not_stand_any_more_is_made_good_within_the_time_limit(seed: int) -> None:
    async def program(platform: Platform) -> None:
        rollout = await begun(platform)
        await paused(platform, 1)
        new = max(platform.serving(), key=lambda one: one.version_id)
        platform.engine.crash(new.task_id)
        await platform.until(lambda: running(platform).paused_by is None)
        await paused(platform, 1)
        assert mix(platform) == (3, 1)
        platform.engine.life = lambda spec: Life(healthy=spec.version_id != new.version_id)
        platform.engine.crash(max(platform.serving(), key=lambda one: one.version_id).task_id)
        ended = await platform.ended(rollout, within=120)
        assert ended.state == "failed"
        assert ended.reason.startswith("deadline of 60 s passed: step 1 of 2: 1 of 4 instances to be of the new")
        await platform.until(lambda: "/shop" not in platform.controller.state.running and len(platform.serving()) == 4)

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_controller_that_restarts_goes_on_in_the_same_step(seed: int) -> None:
    async def program(platform: Platform) -> None:
        rollout = await begun(platform)
        await paused(platform, 1)
        await platform.kill()
        await platform.start()
        await asyncio.sleep(30)
        assert (running(platform).paused_by, running(platform).steps_done) == ("plan", 1)
        await platform.controller.operations.resume("/shop")
        await paused(platform, 2)
        await platform.kill()
        await platform.start()
        assert running(platform).resumes_at == pytest.approx(platform.clock.now() + 60, abs=1)
        assert (await platform.ended(rollout)).state == "succeeded"
        assert platform.engine.created["/shop"] == 8

    run(program, seed)


def test_what_dies_while_it_waits_is_replaced_though_only_by_the_new_version() -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        await paused(platform, 1)
        platform.engine.crash(min(platform.serving(), key=lambda one: one.version_id).task_id)
        await platform.until(lambda: mix(platform) == (2, 2))

    run(program, 1)


def test_more_instances_in_the_same_change_come_by_steps_too() -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(instances=2), "test"))

        def edit(app: App | None) -> App:
            return to(container=image("v2"), rollout=PLAN, instances=8)(app)

        await operations.change("/shop", edit, "test", force=False)
        await paused(platform, 1)
        assert mix(platform) == (2, 1)
        await operations.resume("/shop")
        await paused(platform, 2)
        assert mix(platform) == (2, 4)

    run(program, 1)


def test_a_last_step_of_all_instances_is_watched_before_the_rollout_ends() -> None:
    async def program(platform: Platform) -> None:
        rollout = await begun(platform, Rollout(steps=(RolloutStep(share=1.0, pause_seconds=120.0),)))
        await paused(platform, 1)
        assert mix(platform) == (0, 4)
        assert rollout.id in {one.id for one in platform.controller.state.running.values()}
        await asyncio.sleep(90)
        assert rollout.id in {one.id for one in platform.controller.state.running.values()}
        assert (await platform.ended(rollout, within=30)).state == "succeeded"

    run(program, 1)
