"""What failing probes may do, and what not."""

import pytest

from coldchain.model.app import HealthCheck, Network, UpgradeStrategy
from coldchain.model.health import Probe
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app, image, run, to

SEEDS = range(5)
CHECK = HealthCheck(path="/health", interval_seconds=1.0, timeout_seconds=0.5, grace_period_seconds=5.0)


async def started(platform: Platform, **fields: object) -> set[str]:
    app = example_app(**({"health_checks": (CHECK,)} | fields))
    await platform.ended(await platform.controller.operations.create(app, "test"))
    return {one.id for one in platform.serving()}


def watch(platform: Platform) -> dict[str, int]:
    """The fewest endpoints with traffic, and the most tasks alive at once, from now on."""
    seen = {"fewest": 10**6, "most": 0}

    def look(pairs: object) -> None:
        weights = [e.weight for s in platform.gateways[0].rotation.services.values() for e in s.endpoints]
        seen["fewest"] = min(seen["fewest"], sum(weights))
        seen["most"] = max(seen["most"], len(platform.instances()))

    platform.gateways[0].applied = look
    platform.controller.state.on_commit(look)
    return seen


@pytest.mark.parametrize("seed", SEEDS)
def test_when_all_probes_fail_all_serve_on_and_one_at_a_time_is_tried_anew(seed: int) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform, instances=4)
        seen = watch(platform)
        platform.prober.failing = lambda probe: True
        await platform.clock.sleep(120.0)
        assert before == {one.id for one in platform.serving()}
        assert seen["fewest"] >= 2, "probes took more than half out"
        assert seen["most"] <= 5, "more than one replacement at a time"
        platform.prober.failing = lambda probe: False
        await platform.until(lambda: len(platform.instances()) == len(platform.serving()) == 4)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sick_one_leaves_only_with_its_replacement_in_rotation(seed: int) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform, instances=3)
        sick = sorted(before)[0]
        seen = watch(platform)
        platform.prober.failing = lambda probe: probe.instance_id == sick
        await platform.until(lambda: len(platform.serving()) == 3 and sick not in {i.id for i in platform.instances()})
        assert seen == {"fewest": 2, "most": 4}
        assert platform.engine.created["/shop"] == 4

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("instances", "minimum"), [(1, 0.0), (4, 0.5)])
def test_a_sick_one_without_room_beside_it_is_replaced(seed: int, instances: int, minimum: float) -> None:
    async def program(platform: Platform) -> None:
        strategy = UpgradeStrategy(minimum_health_capacity=minimum, maximum_over_capacity=0.0)
        before = await started(platform, instances=instances, upgrade_strategy=strategy)
        sick = sorted(before)[0]
        platform.prober.failing = lambda probe: probe.instance_id == sick
        await platform.until(
            lambda: len(platform.serving()) == instances and sick not in {one.id for one in platform.serving()}
        )
        assert platform.engine.created["/shop"] == instances + 1

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rollout_that_mends_the_check_never_empties_the_service(seed: int) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform, instances=3)
        platform.prober.failing = lambda probe: probe.path == "/health"
        await platform.clock.sleep(2.5)
        seen = watch(platform)
        mended = HealthCheck(path="/mended", interval_seconds=1.0, timeout_seconds=0.5)
        edit = to(health_checks=(mended,), container=image("v2"))
        mending = await platform.controller.operations.change("/shop", edit, "test", force=False)
        await platform.until(lambda: platform.controller.reconciler.release_brake())
        assert (await platform.ended(mending)).state == "succeeded"
        assert seen["fewest"] >= 2
        assert not before & {one.id for one in platform.instances()}

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_restart_unknown_is_not_unhealthy(seed: int) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform)
        await platform.kill()
        seen = watch(platform)

        def failing(probe: Probe) -> bool:
            return platform.clock.monotonic() < 2.5

        platform.prober.failing = failing
        await platform.start()
        await platform.clock.sleep(30.0)
        assert {one.id for one in platform.instances()} == before
        assert seen["fewest"] >= 1

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_loop_backs_off_and_keeps_its_reason(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.engine.life = lambda spec: Life(ends_after_seconds=0.5, healthy=False, output=b"no database\n")
        app = example_app(instances=1, backoff_factor=2.0, max_launch_delay_seconds=60.0, deadline_seconds=100.0)
        ended = await platform.ended(await platform.controller.operations.create(app, "test"))
        assert ended.state == "failed"
        assert "the last one: exit status 1" in ended.reason
        assert platform.controller.state.failures["/shop"].log_tail == ("no database",)
        assert platform.engine.created["/shop"] <= 8

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_old_crashes_in_a_rollout_do_not_reset_the_backoff_of_the_new(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await started(platform, instances=2)
        platform.engine.life = lambda spec: (
            Life(healthy=False, ends_after_seconds=0.2) if "bad" in (spec.image or "") else Life(healthy=True)
        )
        edit = to(container=image("bad"), backoff_seconds=10.0, rollback_on_failure=False)
        operations = platform.controller.operations
        await operations.change("/shop", edit, "test", force=False)
        backoffs = platform.controller.state.backoffs
        await platform.until(lambda: "/shop" in backoffs)
        wanted = platform.controller.state.wanted("/shop")
        platform.engine.crash(platform.serving()[0].task_id)
        await platform.clock.sleep(1.0)
        assert wanted is not None
        assert backoffs["/shop"].version_id == wanted.config_id

    run(program, seed)


def test_a_probe_that_breaks_ends_no_questions_and_says_nothing_of_the_instance() -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform, instances=2)

        def broken(probe: Probe) -> bool:
            raise ZeroDivisionError

        platform.prober.failing = broken
        await platform.clock.sleep(60.0)
        assert before == {one.id for one in platform.serving()}
        platform.prober.failing = lambda probe: True
        health = platform.controller.health.health
        await platform.until(lambda: all(check.failed_in_a_row for one in health.values() for check in one.checks))

    run(program, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_starts_at_another_address_than_was_told_first_is_asked_there_alone(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.prober.failing = lambda probe: True
        app = example_app(instances=1, health_checks=(CHECK,), networks=(Network(name="online_net"),))
        deployment = await platform.controller.operations.create(app, "test")
        [one] = await platform.until(lambda: [one for one in platform.instances() if one.phase == "starting"])
        await platform.clock.sleep(4.5)
        platform.engine.move(one.task_id, "10.210.9.9")
        platform.prober.failing = lambda probe: probe.address == "10.210.9.9"
        await platform.clock.sleep(4.5)
        [there] = platform.instances()
        assert (there.id, there.phase, there.address) == (one.id, "starting", "10.210.9.9")
        [check] = platform.controller.health.health[one.id].checks
        assert (check.passed_in_a_row, check.failed_in_a_row) == (0, 0), "its grace began anew"
        platform.prober.failing = lambda probe: False
        assert (await platform.ended(deployment)).state == "succeeded"
        assert [e.address for e in platform.gateways[0].rotation.services["shop"].endpoints] == ["10.210.9.9"]

    run(program, seed)
