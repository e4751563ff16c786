"""Apps that register themselves: in rotation with their own registration and not before, out of it with their last
heartbeat, marked before they end; silence stops, and empties nothing."""

from collections.abc import Awaitable, Callable

import pytest

from coldchain.control.belief import DOUBT_SECONDS
from coldchain.decisions.registration import registration_id
from coldchain.decisions.self_registration import CANNOT
from coldchain.engines.fake import Life
from coldchain.model.app import Network
from coldchain.model.instance import Instance
from coldchain.model.registration import EndpointStatus, ServiceEndpoint
from coldchain.testing.platform import Platform, example_app, image, run, to

SEEDS = range(5)
Program = Callable[[Platform], Awaitable[None]]
APP = example_app(service="shop", registration="self", settle_seconds=2.0, health_checks=())


def own(one: Instance, status: EndpointStatus = "passing", name: str = "") -> ServiceEndpoint:
    found = name or registration_id("shop", one.id)
    return ServiceEndpoint(id=found, address=one.address or "", port=one.ports[0], status=status)


def register(platform: Platform, *endpoints: ServiceEndpoint) -> None:
    """These register or say how they are, beside those that are there."""
    known = {one.id: one for one in platform.registry.others.get("shop", ())}
    platform.registry.set_others("shop", *(known | {one.id: one for one in endpoints}).values())


def weights(platform: Platform) -> dict[str, int]:
    service = platform.gateways[0].rotation.services.get("shop")
    return {one.instance_id: one.weight for one in service.endpoints} if service else {}


async def up(platform: Platform, count: int = 2) -> list[Instance]:
    """The instances that run and are not registered yet."""
    return await platform.until(
        lambda: (
            [one for one in platform.instances() if one.phase == "starting"][:count]
            if sum(one.phase == "starting" for one in platform.instances()) >= count
            else []
        )
    )


async def begin(platform: Platform, **fields: object) -> list[Instance]:
    app = to(**fields)(APP)
    started = await platform.controller.operations.create(app, "test")
    instances = await up(platform, app.instances)
    platform.prober.passed |= {one.id for one in instances}  # what the platform's watcher takes for asked
    register(platform, *map(own, instances))
    assert (await platform.ended(started)).state == "succeeded"
    return instances


@pytest.mark.parametrize("seed", SEEDS)
def test_an_instance_enters_with_its_own_registration_and_never_twice(seed: int) -> None:
    async def program(platform: Platform) -> None:
        started = await platform.controller.operations.create(APP, "test")
        first, second = await up(platform)
        await platform.clock.sleep(10)
        assert not platform.serving()
        platform.prober.passed |= {first.id, second.id}
        register(platform, own(first, "critical"), own(second, name="by-its-place"))
        await platform.until(lambda: [one.id for one in platform.serving()] == [second.id])
        await platform.clock.sleep(5)
        assert len(platform.serving()) == 1
        register(platform, own(first))
        assert (await platform.ended(started)).state == "succeeded"
        await platform.until(lambda: weights(platform) == {first.id: 1, second.id: 1})
        assert platform.registry.held == {}
        [view] = [await platform.controller.registrar.services()]  # type: ignore[union-attr]
        assert [len(one.endpoints) for one in view] == [2]
        owners = platform.controller.registered.owners("shop")  # type: ignore[union-attr]
        assert {name: one.id for name, one in owners.items()} == {own(first).id: first.id, "by-its-place": second.id}

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_forgets_his_heartbeat_leaves_and_comes_back_and_half_stay(seed: int) -> None:
    async def program(platform: Platform) -> None:
        first, second, third = await begin(platform, instances=3)
        register(platform, own(first, "critical"))
        await platform.until(lambda: weights(platform)[first.id] == 0)
        assert platform.controller.reconciler.lapsed_since.keys() == {first.id}
        # When more than half say nothing, the fault is likely one that they share.
        register(platform, own(second, "critical"))
        await platform.until(lambda: set(weights(platform).values()) == {1})
        register(platform, own(third, "critical"))
        await platform.until(lambda: platform.controller.reconciler.brake.holds)
        register(platform, own(second), own(third))
        await platform.until(lambda: weights(platform) == {first.id: 0, second.id: 1, third.id: 1})
        register(platform, own(first))
        await platform.until(lambda: set(weights(platform).values()) == {1})
        register(platform, own(second, "maintenance"), own(third, "maintenance"))
        await platform.until(lambda: weights(platform) == {first.id: 1, second.id: 0, third.id: 0})
        assert {one.id for one in platform.instances()} == {first.id, second.id, third.id}

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rollout_marks_before_the_end_and_the_settle_time_follows(seed: int) -> None:
    async def program(platform: Platform) -> None:
        old = await begin(platform)
        await platform.clock.sleep(10)  # every gateway was heard: nothing else is waited for
        marked_at: dict[str, float] = {}
        killed_at: dict[str, float] = {}
        maintain, kill = platform.registry.maintain, platform.engine.kill

        async def noted(registration: str, reason: str) -> None:
            await platform.clock.sleep(3.0)  # longer than the settle time
            await maintain(registration, reason)
            marked_at.setdefault(registration, platform.clock.monotonic())

        async def killed(task_id: str, grace_seconds: float) -> None:
            killed_at.setdefault(task_id, platform.clock.monotonic())
            await kill(task_id, grace_seconds)

        platform.registry.maintain = noted  # type: ignore[method-assign]
        platform.engine.kill = killed  # type: ignore[method-assign]
        started = await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)
        new = await up(platform)
        platform.prober.passed |= {one.id for one in new}
        register(platform, *map(own, new))
        assert (await platform.ended(started)).state == "succeeded"
        assert marked_at.keys() == {registration_id("shop", one.id) for one in old}
        for one in old:
            assert killed_at[one.task_id] >= marked_at[registration_id("shop", one.id)] + APP.settle_seconds - 0.01

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_silent_registry_stops_a_scale_down_and_a_restart_takes_nobody_out(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform)
        await platform.kill()
        platform.registry.silent = True
        await platform.start()
        await platform.clock.sleep(20)
        assert len(platform.serving()) == 2
        assert sorted(weights(platform).values()) == [1, 1]
        started = await platform.controller.operations.change("/shop", to(instances=1), "test", force=False)
        await platform.clock.sleep(20)
        [leaving] = [one for one in platform.instances() if one.phase == "draining"]
        view = platform.controller.reconciler.view("/shop")
        assert "the registry" in view.seen[leaving.id].trouble
        platform.registry.silent = False
        assert (await platform.ended(started)).state == "succeeded"
        assert ("marked", registration_id("shop", leaving.id)) in platform.registry.told

    run(program, seed)


def test_what_the_registry_does_not_let_us_mark_is_left_to_the_app() -> None:
    async def program(platform: Platform) -> None:
        await begin(platform)
        maintain = platform.registry.maintain

        async def refused(registration: str, reason: str) -> None:
            await maintain("of-another-agent", reason)

        platform.registry.maintain = refused  # type: ignore[method-assign]
        started = await platform.controller.operations.change("/shop", to(instances=1), "test", force=False)
        assert (await platform.ended(started)).state == "succeeded"
        assert not [words for words, _ in platform.registry.told if words == "marked"]

    run(program, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_does_not_come_back_to_a_registry_that_lost_all_gets_nothing_after_a_while(seed: int) -> None:
    async def program(platform: Platform) -> None:
        first, second, third = await begin(platform, instances=3)
        platform.registry.silent = True
        platform.registry.look_again()
        await platform.clock.sleep(2)
        platform.registry.others.clear()
        platform.registry.silent = False
        await platform.clock.sleep(DOUBT_SECONDS / 2)
        assert set(weights(platform).values()) == {1}
        register(platform, own(first), own(second))  # the heart of the third is dead, and its app lives
        await platform.clock.sleep(DOUBT_SECONDS / 4)
        assert set(weights(platform).values()) == {1}
        await platform.until(lambda: weights(platform)[third.id] == 0, 2 * DOUBT_SECONDS)
        assert {first.id: 1, second.id: 1}.items() <= weights(platform).items()
        register(platform, own(third))
        await platform.until(lambda: set(weights(platform).values()) == {1})

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_registry_that_shows_nothing_for_long_takes_nobody_out(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform)
        platform.registry.blind = True
        platform.registry.look_again()
        await platform.clock.sleep(3 * DOUBT_SECONDS)
        assert list(weights(platform).values()) == [1, 1]

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_says_that_he_cannot_register_himself_is_registered_by_the_platform(seed: int) -> None:
    async def program(platform: Platform) -> None:
        app = to(health_checks=example_app().health_checks)(APP)
        mute = Life(output=CANNOT + b" here is no curl\n")
        platform.engine.life = lambda spec: mute
        started = await platform.controller.operations.create(app, "test")
        assert (await platform.ended(started)).state == "succeeded"
        before = {one.id for one in platform.serving()}
        assert {one.meta["instance"] for one in platform.registry.held.values()} == before
        assert weights(platform) == dict.fromkeys(before, 1)
        # Who reads nothing any more knows it all the same.
        await platform.kill()
        platform.engine.life = lambda spec: Life()
        await platform.start()
        await platform.clock.sleep(30)
        assert weights(platform) == dict.fromkeys(before, 1)
        # The next image can: nothing is registered for it, and it waits for its own.
        again = await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)
        new = await up(platform)
        await platform.clock.sleep(10)
        assert {one.id for one in platform.serving()} == before
        register(platform, *map(own, new))
        assert (await platform.ended(again)).state == "succeeded"
        await platform.until(lambda: not platform.registry.held)
        assert ("out", registration_id("shop", min(before))) in platform.registry.told

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_registered_where_it_was_thought_to_start_lets_it_in_no_more(seed: int) -> None:
    async def program(platform: Platform) -> None:
        app = to(instances=1, networks=(Network(name="online_net"),))(APP)
        started = await platform.controller.operations.create(app, "test")
        [one] = await up(platform, 1)
        await platform.clock.sleep(1)
        register(platform, own(one, name="of-another"))
        platform.engine.move(one.task_id, "10.210.9.9")
        await platform.until(lambda: platform.instances()[0].address == "10.210.9.9")
        platform.prober.passed.add(one.id)
        await platform.clock.sleep(10)
        [there] = platform.instances()
        assert (there.id, there.phase) == (one.id, "starting")
        register(platform, own(there, name="by-its-place"))
        assert (await platform.ended(started)).state == "succeeded"

    run(program, seed)
