"""Engine and gateways that lose replies, fall silent and come back; what the platform does meanwhile, and after."""

import asyncio

import pytest

from coldchain.control.rotation import LEASE_MARGIN_SECONDS, LEASE_SECONDS
from coldchain.decisions.explanation import explain
from coldchain.model.offer import Offer
from coldchain.model.rotation import Rotation
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app, image, run, to

SEEDS = range(5)


async def started(platform: Platform, **fields: object) -> set[str]:
    """An app of which all instances serve, on a controller that has waited for whatever gateways there may be."""
    await platform.ended(await platform.controller.operations.create(example_app(**fields), "test"))
    await platform.clock.sleep(LEASE_SECONDS + LEASE_MARGIN_SECONDS)
    return {one.id for one in platform.serving()}


async def replaced(platform: Platform, **fields: object) -> float:
    """Roll out another image; how long it took, and that nothing but it was made."""
    began, created = platform.clock.monotonic(), platform.engine.created["/shop"]
    count = len(platform.serving())
    edit = to(container=image("v2"), **fields)
    ended = await platform.ended(await platform.controller.operations.change("/shop", edit, "test", force=False))
    assert ended.state == "succeeded", ended.reason
    assert platform.engine.created["/shop"] - created == count
    return platform.clock.monotonic() - began


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("operation", ["prepare", "launch", "kill", "forget"])
def test_lost_replies_of_the_engine_repeat_nothing(seed: int, operation: str) -> None:
    async def program(platform: Platform) -> None:
        in_a_row = 0

        def loses(asked: str) -> bool:
            """Half of them, and never more in a row than are tried again within the deployment's time limit."""
            nonlocal in_a_row
            if asked == operation:
                in_a_row = in_a_row + 1 if in_a_row < 4 and platform.clock.random() >= 0.5 else 0
            return asked == operation and in_a_row > 0

        platform.engine.loses_reply = loses
        await started(platform, instances=3)
        await replaced(platform)
        await platform.until(lambda: len(platform.engine.held) == len(platform.controller.state.instances) == 3)
        assert platform.engine.deleted["/shop"] == 3

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_updates_are_made_up_for_by_listings(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.engine.loses_update = lambda status: platform.clock.random() < 0.7
        await started(platform, instances=3)
        await replaced(platform)
        await platform.until(lambda: len(platform.engine.held) == 3)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("seconds", [3.0, 120.0])
def test_an_engine_that_does_not_answer_has_not_lost_its_tasks(seed: int, seconds: float) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform)
        platform.engine.available = False
        await platform.clock.sleep(seconds)
        assert {one.id for one in platform.serving()} == before
        for name in before:
            assert platform.gateways[0].routes_to(name)
        platform.engine.available = True
        await platform.clock.sleep(30.0)
        assert {one.id for one in platform.instances()} == before
        assert platform.engine.created["/shop"] == 2

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_controller_that_starts_while_the_engine_is_away_decides_nothing(seed: int) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform)
        await platform.kill()
        platform.engine.available = False
        await platform.start()
        await platform.clock.sleep(60.0)
        assert {one.id for one in platform.serving()} == before
        for task_id in list(platform.engine.held):
            platform.engine.vanish(task_id)
        platform.engine.available = True
        await platform.until(lambda: len(platform.serving()) == 2 and not before & {i.id for i in platform.serving()})

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_done_twice_when_the_engine_falls_silent_in_a_rollout(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await started(platform, instances=3)
        operations = platform.controller.operations
        deployment = await operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.clock.sleep(0.05 * (seed + 1))
        platform.engine.available = False
        await platform.clock.sleep(20.0)
        platform.engine.available = True
        assert (await platform.ended(deployment)).state == "succeeded"
        assert platform.engine.created["/shop"] == 6

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_order_that_is_never_answered_ends_by_its_limit(seed: int) -> None:
    async def program(platform: Platform) -> None:
        launch, asked = platform.engine.launch, 0

        async def hangs_once(spec: object) -> None:
            nonlocal asked
            asked += 1
            if asked == 1:
                await asyncio.Event().wait()
            await launch(spec)  # type: ignore[arg-type]

        platform.engine.launch = hangs_once  # type: ignore[method-assign]
        operations = platform.controller.operations
        deployment = await operations.create(example_app(instances=1, deadline_seconds=3600.0), "test")
        assert (await platform.ended(deployment, within=1000.0)).state == "succeeded"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_refused_launch_backs_off_and_says_why(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.engine.life = lambda spec: Life(rejected="port 80 is taken on the agent")
        app = example_app(instances=1, backoff_seconds=2.0, backoff_factor=2.0, deadline_seconds=20.0)
        deployment = await platform.controller.operations.create(app, "test")
        ended = await platform.ended(deployment)
        assert ended.state == "failed"
        assert "port 80 is taken on the agent" in ended.reason
        assert "failed tasks in a row" in ended.reason
        stopped = platform.controller.state.backoffs["/shop"].failures
        assert 3 <= stopped <= 5, "2 s, 4 s, 8 s, 16 s"
        platform.engine.life = lambda spec: Life()
        await platform.until(lambda: len(platform.serving()) == 1)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_fits_nowhere_says_so_and_goes_on_when_an_agent_comes(seed: int) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        deployment = await operations.create(example_app(cpus=1000.0, deadline_seconds=10.0), "test")
        ended = await platform.ended(deployment)
        assert "too few cpus on 1" in ended.reason
        platform.engine.add_agent(
            Offer(agent="large", target="cluster", hostname="large", cpus=4000.0, mem=9999.0, disk=9999.0)
        )
        await platform.until(lambda: {one.agent for one in platform.instances()} == {"large"})

    run(program, seed)


# Gateways


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gateway_away_for_less_than_its_lease_is_waited_for(seed: int) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform)
        platform.gateways[1].refuses = True
        asyncio.get_running_loop().call_later(3.0, lambda: setattr(platform.gateways[1], "refuses", False))
        assert 3.0 <= await replaced(platform) < 5.0
        assert not before & {one.id for one in platform.instances()}

    run(program, seed, gateways=2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gateway_away_for_longer_holds_up_a_rollout_until_its_lease_is_over(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await started(platform)
        platform.gateways[1].refuses = True
        assert LEASE_SECONDS <= await replaced(platform) < LEASE_SECONDS + 4.0
        platform.gateways[1].refuses = False
        await platform.until(lambda: all(platform.gateways[1].routes_to(one.id) for one in platform.serving()))

    run(program, seed, gateways=2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gateway_that_falls_silent_in_mid_rollout_is_named_in_the_explanation(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await started(platform)
        platform.gateways[1].refuses = True
        await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.until(lambda: any(one.phase == "entering" for one in platform.instances()))
        await platform.clock.sleep(1.0)
        view = platform.controller.reconciler.view("/shop")
        words = explain(view, list(view.instances), platform.clock.now())
        assert "gateway gateway-1 has not applied it" in words, words

    run(program, seed, gateways=2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gateway_that_lost_its_state_gets_the_whole(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await started(platform)
        for delay in (0.05, 0.2, 0.4, 0.6, 1.0):

            def lose() -> None:
                platform.gateways[0].rotation = Rotation()

            asyncio.get_running_loop().call_later(delay, lose)
        await replaced(platform)
        whole = platform.controller.publisher.rotation
        await platform.until(lambda: platform.gateways[0].rotation == whole == platform.gateways[1].rotation)

    run(program, seed, gateways=2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_store_restored_from_older_data_still_leads_the_gateways(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await started(platform)
        gateway = platform.gateways[0]
        gateway.rotation = Rotation(revision=99 << 32, services=gateway.rotation.services, routes={})
        await platform.until(lambda: gateway.rotation == platform.controller.publisher.rotation)
        assert platform.controller.publisher.rotation.revision > 99 << 32
        await replaced(platform)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_any_gateway_a_rollout_goes_on(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await started(platform)
        assert await replaced(platform) < 5.0

    run(program, seed, gateways=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_silent_store_stops_all_decisions_and_no_app(seed: int) -> None:
    async def program(platform: Platform) -> None:
        before = await started(platform)
        platform.store.silent = True
        platform.engine.crash(platform.serving()[0].task_id)
        await platform.clock.sleep(30.0)
        assert platform.engine.created["/shop"] == 2
        assert all(platform.gateways[0].routes_to(name) for name in before)
        platform.store.silent = False
        await platform.until(lambda: len(platform.serving()) == 2 and {i.id for i in platform.serving()} != before)
        assert platform.engine.created["/shop"] == 3

    run(program, seed)
