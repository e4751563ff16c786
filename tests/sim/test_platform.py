"""The real control loops on fakes, in virtual time."""

import pytest

from coldchain.model.instance import Instance
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app, image, run, to


@pytest.mark.parametrize("seed", range(5))
def test_an_app_is_started_and_enters_rotation(seed: int) -> None:
    async def program(platform: Platform) -> None:
        deployment = await platform.controller.operations.create(example_app(), "test")
        assert (await platform.ended(deployment)).state == "succeeded"
        assert len(platform.serving()) == 2
        for instance in platform.serving():
            assert platform.gateways[0].routes_to(instance.id)

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_scale_up_and_down(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(instances=4), "test"))
        first = {one.id for one in platform.serving()}
        await platform.ended(await operations.change("/shop", to(instances=6), "test", force=False))
        assert first < {one.id for one in platform.serving()}
        await platform.ended(await operations.change("/shop", to(instances=3), "test", force=False))
        assert len(platform.instances()) == 3
        assert platform.engine.created["/shop"] == 6

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("instances", [1, 4])
def test_a_rollout_never_goes_below_its_minimum(seed: int, instances: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(instances=instances), "test"))

        def enough(pairs: object) -> None:
            if len(platform.serving()) < instances:
                platform.violations.append(f"only {len(platform.serving())} in rotation")

        platform.controller.state.on_commit(enough)
        ended = await platform.ended(await operations.change("/shop", to(container=image("v2")), "test", force=False))
        assert ended.state == "succeeded"
        assert {one.version_id for one in platform.instances()} == {ended.to_version}

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_version_that_never_gets_healthy_is_rolled_back_once(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(), "test"))
        before = {one.id for one in platform.serving()}
        platform.engine.life = lambda spec: Life(healthy="bad" not in (spec.image or ""))
        failed = await platform.ended(
            await operations.change("/shop", to(container=image("bad"), deadline_seconds=8.0), "test", force=False)
        )
        assert failed.state == "failed"
        assert "deadline of 8 s passed: 0 of 2 instances of the new version in rotation" in failed.reason
        assert "status 503" in failed.reason
        rollback = await platform.until(
            lambda: next(
                (d for d in platform.controller.state.deployments.values() if d.rollback_of == failed.id), None
            )
        )
        assert (await platform.ended(rollback)).state == "succeeded"
        assert {one.id for one in platform.instances()} == before
        assert len(platform.controller.state.deployments) == 3

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_is_replaced_and_open_requests_hold_up_a_stop(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(), "test"))
        gone = platform.serving()[0]
        platform.engine.crash(gone.task_id)
        await platform.until(lambda: len(platform.serving()) == 2 and gone.id not in {i.id for i in platform.serving()})
        assert platform.controller.state.failures["/shop"].exit_status == 137
        youngest = max(platform.serving(), key=lambda one: one.created_at)
        platform.gateways[0].open_requests[youngest.id] = 1
        deployment = await operations.change("/shop", to(instances=1), "test", force=False)
        began = platform.clock.monotonic()
        await platform.ended(deployment)
        assert platform.clock.monotonic() - began >= 5.0, "the drain deadline was not waited for"

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("killed", [False, True], ids=["", "and the controller is killed"])
def test_streams_are_ended_at_the_drain_deadline_and_no_sooner(seed: int, killed: bool) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(), "test"))
        youngest = max(platform.serving(), key=lambda one: one.created_at)
        first, *others = platform.gateways
        first.open_requests[youngest.id], first.open_streams[youngest.id] = 3, 2
        await operations.change("/shop", to(instances=1), "test", force=False)
        began = platform.clock.monotonic()
        await platform.until(lambda: first.cut)
        assert first.cut == {youngest.id: 2}
        assert platform.clock.monotonic() - began >= 5.0
        assert all(not one.cut for one in others)
        if killed:
            await platform.kill()
            await platform.start()
        story = await platform.until(lambda: ended(platform, youngest.id))
        assert story.history[-2].cause == "drain deadline of 5 s passed, requests in flight: 1, streams cut: 2"
        assert story.streams_cut == 2

    def ended(platform: Platform, name: str) -> Instance | None:
        one = platform.controller.state.instances[name]
        return one if one.phase == "stopped" else None

    run(program, seed)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.5, 1.0])
def test_a_controller_killed_in_mid_rollout_goes_on(seed: int, after: float) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(instances=3), "test"))
        deployment = await operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.clock.sleep(after)
        await platform.kill()
        await platform.start()
        assert (await platform.ended(deployment)).state == "succeeded"
        assert platform.engine.created["/shop"] == 6
        assert len(platform.instances()) == 3

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_after_a_reboot_everything_comes_back(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await platform.ended(await platform.controller.operations.create(example_app(), "test"))
        await platform.kill()
        for task_id in list(platform.engine.held):
            platform.engine.vanish(task_id)
        await platform.start()
        await platform.until(lambda: len(platform.serving()) == 2 and len(platform.engine.held) == 2)

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_delete_stops_all_and_leaves_nothing(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(), "test"))
        await platform.ended(await operations.delete("/shop", "test", force=False))
        state = platform.controller.state
        await platform.until(lambda: not state.instances and not state.versions)
        assert not platform.engine.held
        await platform.until(lambda: platform.gateways[0].rotation.services == {})
        assert platform.gateways[0].rotation.routes == {}

    run(program, seed)
