"""What users may ask for while something else is under way."""

import asyncio

import pytest

from coldchain.model.app import Route, UpgradeStrategy
from coldchain.model.errors import Conflict, InvalidDocument
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app, image, run, to

SEEDS = range(5)
TIMES = (0.01, 0.06, 0.12, 0.18, 0.25)


async def started(platform: Platform, **fields: object) -> set[str]:
    await platform.ended(await platform.controller.operations.create(example_app(**fields), "test"))
    return {one.id for one in platform.serving()}


def images(platform: Platform) -> set[str]:
    tasks = [one for one in platform.engine.held.values() if not one.status.terminal]
    return {str(one.spec.image).removeprefix("sha256:shop:") for one in tasks}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("after", TIMES)
def test_a_newer_version_supersedes_one_on_its_way(seed: int, after: float) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await started(platform, instances=3)
        first = await operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.clock.sleep(after)
        with pytest.raises(Conflict):
            await operations.change("/shop", to(container=image("v3")), "test", force=False)
        second = await operations.change("/shop", to(container=image("v3")), "test", force=True)
        launched_before = dict(platform.engine.held)
        assert (await platform.ended(second)).state == "succeeded"
        assert platform.controller.state.deployments[first.id].state == "superseded"
        assert images(platform) == {"v3"}
        later = [one for name, one in platform.engine.held.items() if name not in launched_before]
        assert {str(one.spec.image) for one in later} <= {"sha256:shop:v3"}, "a superseded version was launched"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("after", TIMES)
def test_a_cancelled_rollout_is_taken_back(seed: int, after: float) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await started(platform, instances=3)
        deployment = await operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.clock.sleep(after)
        back = await operations.cancel(deployment.id, "test", force=False)
        assert back is not None
        assert (await platform.ended(back)).state == "succeeded"
        assert images(platform) == {"v1"}
        assert len(platform.controller.state.deployments) == 3

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("after", TIMES)
def test_a_rollout_cancelled_by_force_leaves_those_that_serve(seed: int, after: float) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await started(platform, instances=4)
        deployment = await operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.clock.sleep(after)
        serving = {one.id for one in platform.serving()}
        created = platform.engine.created["/shop"]
        assert await operations.cancel(deployment.id, "test", force=True) is None
        await platform.clock.sleep(60.0)
        left = {one.id for one in platform.serving()}
        assert len(left) == 4
        assert len(left & serving) == 4, "one that served was replaced"
        assert platform.engine.created["/shop"] <= created + 4
        before = platform.store.writes
        await platform.clock.sleep(60.0)
        assert platform.store.writes == before

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_deploying_while_a_delete_runs(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        before = await started(platform)
        platform.gateways[0].open_requests = dict.fromkeys(before, 1)
        await operations.delete("/shop", "test", force=False)
        await platform.clock.sleep(0.5)
        with pytest.raises(Conflict):
            await operations.create(example_app(container=image("v2")), "test")
        deployment = await operations.change(
            "/shop", lambda app: example_app(container=image("v2")), "test", force=True
        )
        assert (await platform.ended(deployment)).state == "succeeded"
        assert images(platform) == {"v2"}
        versions = platform.controller.state.versions["/shop"]
        assert len({one.config_id for one in versions.values()}) == 2

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_service_name_is_not_given_away_while_instances_of_its_last_owner_stop(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        before = await started(platform, service="shop", id="/shop")
        platform.gateways[0].open_requests = dict.fromkeys(before, 1)
        deployment = await operations.delete("/shop", "test", force=False)
        heir = example_app(id="/heir", service="shop")
        with pytest.raises(InvalidDocument, match="instances are still running"):
            await operations.create(heir, "test")
        await platform.ended(deployment)
        assert (await platform.ended(await operations.create(heir, "test"))).state == "succeeded"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_renamed_service_serves_without_a_gap(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await started(platform, service="old-name", routes=(Route(domains=("shop.test",)),))
        gaps: list[float] = []

        def look(gateway: object) -> None:
            rotation = platform.gateways[0].rotation
            for rule in rotation.routes["shop.test"]:
                service = rotation.services.get(rule.service)
                if service is None or not any(one.weight for one in service.endpoints):
                    gaps.append(platform.clock.monotonic())

        platform.gateways[0].applied = look
        edit = to(service="new-name", container=image("v2"))
        assert (await platform.ended(await operations.change("/shop", edit, "test", force=False))).state == "succeeded"
        assert not gaps
        await platform.until(lambda: list(platform.gateways[0].rotation.services) == ["new-name"])

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_requests_are_waited_for_when_a_version_gives_up_its_routes(seed: int) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform, drain_seconds=20.0)
        platform.gateways[0].open_requests = dict.fromkeys(before, 1)
        began = platform.clock.monotonic()
        deployment = await platform.controller.operations.change("/shop", to(routes=()), "test", force=False)
        assert (await platform.ended(deployment)).state == "succeeded"
        assert platform.clock.monotonic() - began >= 20.0

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_scaling_by_force_while_the_image_is_fetched_gives_one_image_to_all(seed: int) -> None:
    async def program(platform: Platform) -> None:
        prepare = platform.engine.prepare

        async def slow(*given: object) -> str | None:
            await asyncio.sleep(5.0)
            return await prepare(*given)  # type: ignore[arg-type]

        platform.engine.prepare = slow  # type: ignore[method-assign]
        operations = platform.controller.operations
        await operations.create(example_app(), "test")
        await platform.clock.sleep(1.0)
        deployment = await operations.change("/shop", to(instances=3), "test", force=True)
        assert (await platform.ended(deployment)).state == "succeeded"
        assert images(platform) == {"v1"}
        assert platform.engine.prepared["/shop"] == 1

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_going_down_stops_all_and_starting_again_brings_all_back(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await started(platform)
        await platform.ended(await operations.create(example_app(id="/other", routes=()), "test"))
        await platform.controller.stop_everything()
        assert all(one.status.terminal for one in platform.engine.held.values())
        with pytest.raises(Conflict):
            await operations.restart("/shop", "test", force=False)
        await platform.kill()
        await platform.start()
        await platform.until(lambda: len(platform.serving()) == len(platform.serving("/other")) == 2)
        assert platform.engine.created["/shop"] == 4

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_zero_instances_and_back(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await started(platform)
        ended = await platform.ended(await operations.change("/shop", to(instances=0), "test", force=False))
        assert ended.state == "succeeded"
        assert platform.instances() == []
        await platform.until(lambda: platform.gateways[0].rotation.services["shop"].endpoints == ())
        assert "shop.test" in platform.gateways[0].rotation.routes, "its own route answers 503, nobody else's"
        edit = to(instances=2, container=image("v2"))
        assert (await platform.ended(await operations.change("/shop", edit, "test", force=False))).state == "succeeded"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("at", [3.0, 4.0, 4.1, 4.5])
def test_a_deadline_that_passes_during_a_restart_rolls_back_once(seed: int, at: float) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform)
        platform.engine.life = lambda spec: Life(healthy="bad" not in (spec.image or ""))
        operations = platform.controller.operations
        edit = to(container=image("bad"), deadline_seconds=4.0)
        deployment = await operations.change("/shop", edit, "test", force=False)
        await platform.clock.sleep(at)
        await platform.kill()
        await platform.clock.sleep(2.0)
        await platform.start()
        state = platform.controller.state
        await platform.until(lambda: len(state.deployments) == 3 and not state.running)
        assert state.deployments[deployment.id].state == "failed"
        assert [one.state for one in state.deployments.values() if one.rollback_of] == ["succeeded"]
        assert {one.id for one in platform.serving()} == before

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_neither_a_rollback_nor_a_cancelled_one_ever_causes_another(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await started(platform, deadline_seconds=5.0)
        platform.engine.life = lambda spec: Life(healthy=False)
        deployment = await operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.clock.sleep(0.5)
        for one in platform.serving():
            platform.engine.crash(one.task_id)
        back = await operations.cancel(deployment.id, "test", force=False)
        assert back is not None
        assert (await platform.ended(back)).state == "failed"
        await platform.clock.sleep(60.0)
        assert len(platform.controller.state.deployments) == 3

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_superseding_a_rollback_falls_back_to_what_it_aimed_at(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await started(platform, deadline_seconds=4.0)
        platform.engine.life = lambda spec: Life(healthy="bad" not in (spec.image or ""), stop_seconds=2.0)
        await platform.ended(await operations.change("/shop", to(container=image("bad")), "test", force=False))
        state = platform.controller.state
        await platform.until(lambda: "/shop" in state.running and state.running["/shop"].rollback_of)
        await operations.change("/shop", to(container=image("bad-too")), "test", force=True)
        await platform.until(lambda: not state.running, within=120.0)
        assert images(platform) == {"v1"}

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("minimum", "over"), [(1.0, 0.0), (0.0, 0.0), (0.5, 0.0), (1.0, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize("instances", [1, 2, 5])
def test_every_upgrade_strategy_gets_through(seed: int, minimum: float, over: float, instances: int) -> None:

    async def program(platform: Platform) -> None:
        strategy = UpgradeStrategy(minimum_health_capacity=minimum, maximum_over_capacity=over)
        await started(platform, instances=instances, upgrade_strategy=strategy)
        operations = platform.controller.operations
        ended = await platform.ended(await operations.change("/shop", to(container=image("v2")), "test", force=False))
        assert ended.state == "succeeded", ended.reason
        assert platform.engine.created["/shop"] == 2 * instances

    run(program, seed)
