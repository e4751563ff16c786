"""The registry follows the rotation: in it when serving, marked before the drain, gone at the end; silence stops, and
empties nothing."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from coldchain.control.belief import DOUBT_SECONDS
from coldchain.control.registry import LISTING_SECONDS, RECOVERED_AT_ONCE, RECOVERY_SECONDS
from coldchain.model.app import App, Rollout
from coldchain.model.errors import Rejected
from coldchain.model.gateway_resource import GrayRelease
from coldchain.model.gray import GrayPlan
from coldchain.model.registration import EndpointStatus, Registration, ServiceEndpoint
from coldchain.testing.fake_engine import ONE_AGENT
from coldchain.testing.platform import LEGACY, Platform, example_app, image, run, to

SEEDS = range(5)
Program = Callable[[Platform], Awaitable[None]]


async def deploy(platform: Platform, **fields: object) -> None:
    started = await platform.controller.operations.change("/shop", to(**fields), "test", force=False)
    assert (await platform.ended(started)).state == "succeeded"


async def begin(platform: Platform, **fields: object) -> None:
    started = await platform.controller.operations.create(example_app(**fields), "test")
    assert (await platform.ended(started)).state == "succeeded"


def in_service(platform: Platform) -> set[str]:
    return {one.meta["instance"] for one in platform.registry.held.values() if not one.out_of_service}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rollout_registers_marks_and_removes(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform, labels={"public": "tag", "team": "web"}, settle_seconds=2.0, service="shop")
        old = in_service(platform)
        assert old == {one.id for one in platform.serving()}
        [first, *_] = platform.registry.held.values()
        assert (first.service, first.tags, first.meta["app"]) == ("shop", ("public",), "/shop")
        await deploy(platform, container=image("v2"))
        await platform.until(lambda: len(platform.registry.held) == 2)
        assert in_service(platform) == {one.id for one in platform.serving()}
        assert in_service(platform).isdisjoint(old)
        for instance in old:
            words = [word for word, name in platform.registry.told if name.endswith(instance)]
            assert words == ["in", "out", "gone"]

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_silent_registry_stops_a_rollout_and_empties_nothing(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform)
        old = in_service(platform)
        platform.registry.silent = True
        started = await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.until(lambda: any(one.phase == "entering" for one in platform.instances()))
        await platform.clock.sleep(20)
        assert {one.id for one in platform.serving()} == old
        assert any("registry" in view.trouble for view in platform.controller.reconciler.view("/shop").seen.values())
        platform.registry.silent = False
        assert (await platform.ended(started)).state == "succeeded"
        await platform.until(lambda: in_service(platform) == {one.id for one in platform.serving()})

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reply_that_was_lost_is_made_good(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.registry.silent = platform.registry.loses_replies = True
        started = await platform.controller.operations.create(example_app(), "test")
        await platform.until(lambda: any(one.phase == "entering" for one in platform.instances()))
        await platform.clock.sleep(5)
        platform.registry.silent = False
        assert (await platform.ended(started)).state == "succeeded"
        assert in_service(platform) == {one.id for one in platform.serving()}

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crashed_task_leaves_the_registry_and_a_failing_one_is_marked(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform, instances=3)
        lost, failing, _ = platform.serving()
        platform.engine.crash(lost.task_id)
        await platform.until(lambda: lost.id not in {one.meta["instance"] for one in platform.registry.held.values()})
        platform.prober.failing = lambda probe: probe.instance_id == failing.id
        await platform.until(
            lambda: any(
                one.meta["instance"] == failing.id and one.out_of_service == "its probes fail"
                for one in platform.registry.held.values()
            )
        )

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_another_controller_tells_nothing_that_is_known(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform)
        ghost = Registration(id="ghost", service="gone", address="10.0.0.9", port=1, meta={"instance": "", "app": "/x"})
        told = list(platform.registry.told)
        await platform.kill()
        platform.registry.held["ghost"] = ghost
        await platform.start()
        await platform.until(lambda: "ghost" not in platform.registry.held)
        await platform.clock.sleep(60)
        assert platform.registry.told == [*told, ("gone", "ghost")]

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_others_took_away_is_registered_again(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform)
        held = dict(platform.registry.held)
        platform.registry.held.clear()
        await platform.until(lambda: platform.registry.held == held)
        # Without waiting for the next listing where it is seen that it lost them.
        platform.registry.lose()
        await platform.until(lambda: platform.registry.held == held, within=1.0)

    run(program, seed)


def test_one_that_is_refused_does_not_hold_up_the_others() -> None:
    async def program(platform: Platform) -> None:
        register = platform.registry.register

        async def refuse_one(registration: Registration) -> None:
            if registration.service == "poor":
                raise Rejected("no such name here")
            await register(registration)

        platform.registry.register = refuse_one  # type: ignore[method-assign]
        poor = example_app(id="/poor", service="poor", routes=())
        started = await platform.controller.operations.create(poor, "test")
        await begin(platform)
        view = platform.controller.reconciler.view("/poor")
        assert any("no such name here" in seen.trouble for seen in view.seen.values())
        platform.registry.register = register  # type: ignore[method-assign]
        assert (await platform.ended(started)).state == "succeeded"

    run(program, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_killed_on_the_word_of_a_registry_that_shows_nothing(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform)
        old = in_service(platform)
        platform.registry.blind = True
        await platform.clock.sleep(LISTING_SECONDS + 1)
        told = len(platform.registry.told)
        await deploy(platform, container=image("v2"))
        assert old.isdisjoint(in_service(platform))
        for instance in old:
            assert "out" in [word for word, name in platform.registry.told[told:] if name.endswith(instance)]
        platform.registry.blind = False
        await platform.until(lambda: in_service(platform) == {one.id for one in platform.serving()})
        await platform.until(lambda: len(platform.registry.held) == len(platform.serving()))

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_leaves_is_marked_though_a_registry_that_comes_back_does_not_show_him(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begin(platform)
        platform.registry.silent = True
        started = await platform.controller.operations.change("/shop", to(instances=1), "test", force=False)
        await platform.clock.sleep(20)
        assert len(in_service(platform)) == 2
        platform.registry.blind, platform.registry.silent = True, False
        assert (await platform.ended(started)).state == "succeeded"
        await platform.until(lambda: in_service(platform) == {one.id for one in platform.serving()})

    run(program, seed)


def test_what_a_registry_lost_is_given_back_without_a_burst() -> None:
    async def program(platform: Platform) -> None:
        await begin(platform, instances=60, cpus=0.01, mem=1.0)
        registry, moments = platform.registry, []
        register = registry.register

        async def timed(registration: Registration) -> None:
            moments.append((platform.clock.monotonic(), bool(registration.out_of_service)))
            await register(registration)

        registry.register = timed  # type: ignore[method-assign]
        registry.held.clear()
        await platform.until(lambda: moments)
        await platform.controller.operations.change("/shop", to(instances=59), "test", force=False)
        await platform.until(lambda: len(in_service(platform)) == 59)
        began = moments[0][0]
        within = [at for at, _ in moments if at < began + 0.19]
        assert len(within) <= RECOVERED_AT_ONCE + 1
        assert moments[-1][0] - began > RECOVERY_SECONDS * 2
        # Who waits for his mark does not wait for all of them.
        assert next(number for number, (_, out) in enumerate(moments) if out) < 59

    run(program, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_another_one_stands_in_for_an_agent_that_does_not_answer(seed: int) -> None:
    async def program(platform: Platform) -> None:
        agent = ONE_AGENT.agent
        registry = platform.registry
        registry.agents = {agent}
        await begin(platform)
        assert {one.place for one in registry.held.values()} == {agent}
        registry.away = {agent}
        await platform.until(lambda: {one.place for one in registry.held.values()} == {""})
        assert agent in platform.controller.registrar.trouble
        assert in_service(platform) == {one.id for one in platform.serving()}
        registry.away = set()
        told = len(registry.told)
        await platform.until(lambda: {one.place for one in registry.held.values()} == {agent})
        # There before it leaves the other place.
        words = [word for word, _ in registry.told[told:]]
        assert words == sorted(words, key=["in", "gone"].index)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_agent_says_itself_where_its_instances_are_registered(seed: int) -> None:
    async def program(platform: Platform) -> None:
        named = msgspec.structs.replace(ONE_AGENT, attributes={"coldchain_consul": "10.0.0.7:8500"})
        platform.engine.add_agent(named)
        await begin(platform)
        await platform.until(lambda: {one.place for one in platform.registry.held.values()} == {"10.0.0.7:8500"})
        assert in_service(platform) == {one.id for one in platform.serving()}
        # Another word of it moves them.
        platform.engine.add_agent(ONE_AGENT)
        await platform.until(lambda: {one.place for one in platform.registry.held.values()} == {""})
        assert in_service(platform) == {one.id for one in platform.serving()}

    run(program, seed)


def outsider(number: int, status: EndpointStatus = "passing", **fields: object) -> ServiceEndpoint:
    given: dict[str, object] = {"id": f"old-{number}", "address": f"10.9.9.{number}", "port": 81, "status": status}
    return ServiceEndpoint(**(given | fields))  # type: ignore[arg-type]


def weights(platform: Platform) -> dict[str, int]:
    service = platform.gateways[0].rotation.services.get("legacy")
    return {one.address: one.weight for one in service.endpoints} if service else {}


@pytest.mark.parametrize("seed", SEEDS)
def test_routes_lead_to_what_others_registered(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.prober.passed |= {f"registry/old-{number}" for number in range(1, 6)}
        platform.registry.set_others("legacy", outsider(1), outsider(2, "critical"), outsider(3, "maintenance"))
        ended = await platform.ended(await platform.controller.operations.create(LEGACY, "test"))
        assert ended.state == "succeeded"
        await platform.until(lambda: weights(platform) == {"10.9.9.1": 1, "10.9.9.2": 0, "10.9.9.3": 0})
        assert platform.gateways[0].rotation.routes["old.test"][0].service == "legacy"
        # One place known twice is one endpoint; more failing than half serve all the same.
        again = outsider(5, address="10.9.9.1")
        platform.registry.set_others("legacy", again, outsider(1, "critical"), outsider(2, "critical"), outsider(4))
        await platform.until(lambda: weights(platform) == {"10.9.9.1": 1, "10.9.9.2": 0, "10.9.9.4": 1})
        platform.registry.set_others("legacy", outsider(1, "critical"), outsider(2, "critical"))
        await platform.until(lambda: weights(platform) == {"10.9.9.1": 1, "10.9.9.2": 1})
        assert platform.registry.held == {}

    run(program, seed)


def test_a_service_that_others_run_has_versions_and_shares_its_requests_among_them() -> None:
    def legacy(share: float) -> App:
        plan = GrayPlan(version="v2", share=share)
        return msgspec.structs.replace(LEGACY, rollout=Rollout(gray=plan))

    async def program(platform: Platform) -> None:
        platform.prober.passed |= {"registry/old-1", "registry/old-2"}
        platform.registry.set_others("legacy", outsider(1, version="v1"), outsider(2, version="v2"))
        operations, gateway = platform.controller.operations, platform.gateways[0]

        def told() -> GrayRelease | None:
            found = gateway.rotation.resources.get("gray/legacy")
            return found if isinstance(found, GrayRelease) else None

        await platform.ended(await operations.create(legacy(0), "test"))
        await platform.until(lambda: told() is not None and len(weights(platform)) == 2)
        versions = {one.address: one.version for one in gateway.rotation.services["legacy"].endpoints}
        assert versions == {"10.9.9.1": "v1", "10.9.9.2": "v2"}
        await platform.ended(await operations.change(LEGACY.id, lambda _: legacy(0.1), "test", force=False))
        await platform.until(lambda: (one := told()) is not None and (one.version, one.share) == ("v2", 1000))
        await platform.ended(await operations.change(LEGACY.id, lambda _: LEGACY, "test", force=False))
        await platform.until(lambda: told() is None)
        assert len(weights(platform)) == 2

    run(program, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_controller_that_starts_while_the_registry_is_silent_keeps_what_others_registered(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.prober.passed |= {"registry/old-1", "registry/old-2"}
        platform.registry.set_others("legacy", outsider(1))
        await platform.ended(await platform.controller.operations.create(LEGACY, "test"))
        await platform.until(lambda: weights(platform) == {"10.9.9.1": 1})
        await platform.kill()
        platform.registry.silent = True
        await platform.start()
        await platform.clock.sleep(30)
        assert weights(platform) == {"10.9.9.1": 1}
        platform.registry.silent = False
        platform.registry.set_others("legacy", outsider(2))
        # What it may only have lost stays for a while; what is taken away before its eyes goes.
        await platform.until(lambda: weights(platform) == {"10.9.9.1": 1, "10.9.9.2": 1})
        await platform.clock.sleep(DOUBT_SECONDS + 1)
        await platform.until(lambda: weights(platform) == {"10.9.9.2": 1})
        platform.registry.set_others("legacy")
        await platform.until(lambda: weights(platform) == {})
        await platform.ended(await platform.controller.operations.delete("/legacy", "test", force=False))
        await platform.until(lambda: not platform.controller.state.externals)
        assert "old.test" not in platform.gateways[0].rotation.routes

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_registry_that_shows_nothing_empties_no_service_that_others_run(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.prober.passed |= {"registry/old-1", "registry/old-2", "registry/old-3"}
        platform.registry.set_others("legacy", outsider(1), outsider(2))
        await platform.ended(await platform.controller.operations.create(LEGACY, "test"))
        await platform.until(lambda: weights(platform) == {"10.9.9.1": 1, "10.9.9.2": 1})
        platform.registry.blind = True
        platform.registry.look_again()
        await platform.clock.sleep(DOUBT_SECONDS / 2)
        assert weights(platform) == {"10.9.9.1": 1, "10.9.9.2": 1}
        # They come back one by one, by their own heartbeats; nobody gets the load of all.
        platform.registry.blind = False
        platform.registry.set_others("legacy", outsider(3), outsider(1))
        await platform.until(lambda: weights(platform) == {"10.9.9.1": 1, "10.9.9.2": 1, "10.9.9.3": 1})
        await platform.clock.sleep(DOUBT_SECONDS + 1)
        await platform.until(lambda: weights(platform) == {"10.9.9.1": 1, "10.9.9.3": 1})

    run(program, seed)
