"""Providers of Dubbo enter and leave by what ZooKeeper says of them: consumers never meet one that is gone, whoever
dies at whatever moment."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from coldchain.model.app import App, Container, Docker, Dubbo, DubboQos, PortMapping
from coldchain.model.dubbo import Announcement, Export
from coldchain.model.errors import Rejected
from coldchain.testing.crashes import Crashes
from coldchain.testing.fake_dubbo_providers import FakeDubboProviders
from coldchain.testing.platform import Platform, example_app, image, run, to

SEEDS = range(3)
SETTLE_SECONDS = 2.0
WHERE = "zk://zookeeper.test:2181/dubbo"
Program = Callable[[Platform, FakeDubboProviders], Awaitable[None]]


def provider(**fields: object) -> App:
    given = {"routes": (), "dubbo": Dubbo(registry=WHERE), "settle_seconds": SETTLE_SECONDS, "drain_seconds": 4.0}
    return example_app(**(given | fields))


def beside(program: Program, seed: int) -> None:
    """Run it with providers and consumers beside."""
    found: list[FakeDubboProviders] = []

    async def whole(platform: Platform) -> None:
        running = asyncio.create_task(found[0].run())
        try:
            await program(platform, found[0])
        finally:
            running.cancel()

    run(whole, seed, prepare=lambda platform: found.append(FakeDubboProviders(platform, SETTLE_SECONDS)))


async def begin(platform: Platform, **fields: object) -> None:
    """Until all is announced: of the first one nobody knows what there has to be."""
    started = await platform.controller.operations.create(provider(**fields), "test")
    assert (await platform.ended(started)).state == "succeeded"
    found = platform.dubbo
    assert found is not None
    await platform.until(lambda: len(found.providers) == 2 * len(platform.serving()))


async def deploy(platform: Platform, **fields: object) -> str:
    started = await platform.controller.operations.change("/shop", to(**fields), "test", force=False)
    return (await platform.ended(started)).state


BY_QOS = Dubbo(registry=WHERE, qos=DubboQos(port_name="qos"))


def with_qos(tag: str) -> Container:
    """The example app's container with another image and a port for QoS."""
    ports = (PortMapping(container_port=8080), PortMapping(container_port=22222, name="qos"))
    return Container(docker=Docker(image=f"shop:{tag}"), port_mappings=ports)


async def begin_by_qos(platform: Platform) -> None:
    await begin(platform, dubbo=BY_QOS, container=with_qos("v1"))


def troubles(platform: Platform) -> set[str]:
    return {seen.trouble for seen in platform.controller.reconciler.view("/shop").seen.values()}


@pytest.mark.parametrize("reannounces", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_rollout_has_new_ones_announced_and_old_ones_left_first(seed: int, reannounces: bool) -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        providers.reannounces = reannounces
        await begin(platform)
        old = {(one.address, one.ports[0]) for one in platform.serving()}
        assert providers.callable() == old
        assert await deploy(platform, container=image("v2")) == "succeeded"
        assert providers.callable().isdisjoint(old)
        assert len(providers.callable()) == 2
        off = [one for word, one in providers.registry.told if word == "off"]
        assert {(one.place, one.export.interface) for one in off} == {
            (place, name) for place in old for name in providers.usual
        }
        await platform.until(lambda: not providers.registry.switched_off)
        await platform.until(lambda: len(platform.controller.state.instances) == 2)

    beside(program, seed)


@pytest.mark.parametrize("as_whole", [(True,), (False, True)])
@pytest.mark.parametrize("seed", SEEDS)
def test_processes_that_are_announced_as_a_whole_are_left_too(seed: int, as_whole: tuple[bool, ...]) -> None:
    """Consumers of Dubbo 3 follow these, and no configurator at an interface."""

    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        providers.as_whole = as_whole
        started = await platform.controller.operations.create(provider(), "test")
        assert (await platform.ended(started)).state == "succeeded"
        await platform.until(lambda: len(providers.registry.providers) == 4 * len(as_whole))
        old = {(one.address, one.ports[0]) for one in platform.serving()}
        seen: list[int] = []

        async def count(when: str) -> None:
            wholes = {one.place for one in providers.registry.providers if one.process}
            seen.append(len(wholes - old))

        providers.registry.around = count
        assert await deploy(platform, container=image("v2")) == "succeeded"
        assert seen[0] == 2, "an old one left before both new ones were announced as a whole"
        assert providers.callable().isdisjoint(old)
        assert {one.process for word, one in providers.registry.told if word == "off"} <= {""}
        await platform.until(lambda: not providers.registry.switched_off)

    beside(program, seed)


@pytest.mark.parametrize(("connections", "least", "most"), [(0, 2.0, 3.9), (1, 4.0, 5.0), (None, 4.0, 5.0)])
def test_who_leaves_is_stopped_when_no_connection_is_left_else_at_the_drain_deadline(
    connections: int | None, least: float, most: float
) -> None:
    def prepare(platform: Platform) -> None:
        made.append(FakeDubboProviders(platform, SETTLE_SECONDS))
        platform.connections = lambda instance, place: connections

    made: list[FakeDubboProviders] = []

    async def program(platform: Platform) -> None:
        running = asyncio.create_task(made[0].run())
        await begin(platform, instances=1)
        [one] = platform.serving()
        started = await platform.controller.operations.change("/shop", to(instances=0), "test", force=False)
        await platform.ended(started)
        at = {step.phase: step.at for step in platform.controller.state.instances[one.id].history}
        assert least <= at["stopping"] - at["closing"] <= most
        running.cancel()

    run(program, 1, prepare=prepare)


def test_a_new_version_that_lacks_an_interface_never_takes_over() -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin(platform)
        old = providers.callable()
        providers.interfaces["sha256:shop:v2"] = ("shop.Basket",)
        started = await platform.controller.operations.change(
            "/shop", to(container=image("v2"), deadline_seconds=10.0), "test", force=False
        )
        await platform.until(lambda: "it has not announced shop.Prices in ZooKeeper" in troubles(platform))
        ended = await platform.ended(started)
        assert ended.state == "failed"
        assert "it has not announced shop.Prices in ZooKeeper" in ended.reason
        await platform.until(lambda: not platform.controller.state.running)
        assert providers.callable() >= old
        # On purpose: the definition says what there has to be.
        dubbo = Dubbo(registry=WHERE, interfaces=("shop.Basket",))
        assert await deploy(platform, container=image("v2"), dubbo=dubbo, deadline_seconds=60.0) == "succeeded"

    beside(program, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_while_zookeeper_is_silent_nobody_enters_and_nobody_leaves(seed: int) -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin(platform)
        old = {one.id for one in platform.serving()}
        providers.registry.silent = True
        started = await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.until(lambda: any(one.phase == "entering" for one in platform.instances()))
        await platform.clock.sleep(20)
        assert {one.id for one in platform.serving()} == old
        assert "Dubbo's ZooKeeper is not known: ZooKeeper does not answer" in troubles(platform)
        providers.registry.silent = False
        assert (await platform.ended(started)).state == "succeeded"

    beside(program, seed)


def test_who_is_refused_says_so_and_the_old_ones_stay() -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin(platform)

        async def refuse(when: str) -> None:
            raise Rejected("NoAuth")

        providers.registry.around = refuse
        await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)
        waits = "ZooKeeper still sends consumers there for shop.Basket, shop.Prices: NoAuth"
        await platform.until(lambda: waits in troubles(platform))
        await platform.clock.sleep(20)
        assert any(one.phase == "draining" for one in platform.instances())

    beside(program, 1)


def test_a_bug_that_ends_the_following_is_not_its_end() -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin(platform)
        old = providers.callable()

        async def broken(when: str) -> None:
            providers.registry.around = lambda when: asyncio.sleep(0)
            raise KeyError("a bug")

        providers.registry.around = broken
        assert await deploy(platform, container=image("v2")) == "succeeded"
        assert providers.callable().isdisjoint(old)

    beside(program, 1)


def test_what_somebody_left_over_is_taken_away_and_what_others_switched_off_is_not_seen() -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin(platform)
        stray = min(providers.registry.providers, key=lambda one: one.place)
        gone = Announcement(export=Export(interface="shop.Old"), host="10.9.9.9", port=1, started="before")
        providers.registry.switched_off |= {stray, gone}
        await platform.kill()
        await platform.start()
        await platform.until(lambda: not providers.registry.switched_off)

    beside(program, 1)


def test_a_deleted_app_leaves_nothing_behind() -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin(platform)
        providers.lingers_seconds, providers.reannounces = 40.0, True
        ended = await platform.ended(await platform.controller.operations.delete("/shop", "test", force=False))
        assert ended.state == "succeeded"
        await platform.until(lambda: not platform.controller.state.instances, within=200)
        assert not providers.registry.switched_off
        assert not providers.registry.providers

    beside(program, 1)


MOMENTS = [(number, when) for number in range(1, 13) for when in ("before", "after")]
"""A rollout of two instances with two interfaces each has twelve words."""


@pytest.mark.parametrize(("number", "when"), MOMENTS)
def test_killed_at_any_word_to_zookeeper_it_ends_as_if_nothing_had_happened(number: int, when: str) -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin(platform)
        count, struck, never = 0, asyncio.Event(), asyncio.Event()

        async def strike(moment: str) -> None:
            nonlocal count
            count += moment == when
            if count == number and moment == when:
                struck.set()
                await never.wait()

        providers.registry.around = strike
        started = await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)
        await platform.until(struck.is_set)
        await platform.clock.sleep(0.05)
        await platform.kill()
        await platform.clock.sleep(1.0)
        await platform.start()
        assert (await platform.ended(started)).state == "succeeded"
        await platform.until(lambda: not providers.registry.switched_off)
        assert len(providers.callable()) == 2
        assert platform.engine.created["/shop"] == 4

    beside(program, number)


async def settled(platform: Platform) -> dict[str, object]:
    state, registry = platform.controller.state, platform.dubbo
    assert registry is not None

    def at_rest() -> bool:
        quiet = not state.running and not state.in_doubt and not registry.switched_off
        return quiet and all(one.in_rotation or not one.live for one in state.instances.values())

    await platform.until(at_rest, within=600.0, every=0.1)
    return {"created": platform.engine.created["/shop"], "serving": len(platform.serving())}


@pytest.mark.parametrize("by", ["configurators", "qos"])
@pytest.mark.parametrize("move", ["rollout", "scale down"])
def test_killed_at_any_write_consumers_meet_nobody_who_is_gone(move: str, by: str) -> None:
    running: list[asyncio.Task[None]] = []
    made: list[FakeDubboProviders] = []
    of = with_qos if by == "qos" else image

    async def begun(platform: Platform) -> int:
        running.append(asyncio.create_task(made[-1].run()))
        await begin(platform, **({"dubbo": BY_QOS, "container": of("v1")} if by == "qos" else {}))
        return platform.store.writes

    async def moved(platform: Platform) -> object:
        fields = {"container": of("v2")} if move == "rollout" else {"instances": 1}
        return await platform.controller.operations.change("/shop", to(**fields), "test", force=False)

    async def ended(platform: Platform) -> dict[str, object]:
        found = await settled(platform)
        running.pop().cancel()
        return found

    Crashes(
        begin=begun,
        settled=ended,
        recorded=lambda platform: platform.controller.state.deployments,
        prepare=lambda platform: made.append(FakeDubboProviders(platform, SETTLE_SECONDS)),
    ).killed_at_each_write(moved)


@pytest.mark.parametrize("reannounces", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_who_has_qos_leaves_by_it_and_nothing_is_written_to_zookeeper(seed: int, reannounces: bool) -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        providers.reannounces = reannounces
        await begin_by_qos(platform)
        old = {(one.address, one.ports[-1]) for one in platform.serving()}
        assert await deploy(platform, container=with_qos("v2")) == "succeeded"
        assert [word for word, _ in providers.qos.told] == ["offline", "offline"]
        assert {place for _, place in providers.qos.told} == old
        assert not providers.registry.told
        assert len(providers.callable()) == 2

    beside(program, seed)


@pytest.mark.parametrize("trouble", ["silent", "loses replies", "foreign", "nobody there", "lies"])
def test_where_qos_does_not_do_it_configurators_do(trouble: str) -> None:
    words = {
        "silent": "gave no answer in 3 s",
        "foreign": "foreign addresses are not permitted. Permit them",
        "nobody there": "Connection refused",
        "lies": "it says that it is offline, and is announced all the same",
    }

    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin_by_qos(platform)
        providers.qos.silent = trouble in ("silent", "loses replies")
        providers.qos.loses_replies = trouble == "loses replies"
        providers.qos.foreign = trouble == "foreign"
        providers.qos.lies = trouble == "lies"
        if trouble == "nobody there":
            providers.has_qos = False
        seen: set[str] = set()
        if trouble in words:
            # Kept from doing it, so that what it says can be read.
            async def refuse(when: str) -> None:
                raise Rejected("NoAuth")

            providers.registry.around = refuse
        started = await platform.controller.operations.change(
            "/shop", to(container=with_qos("v2")), "test", force=False
        )
        if trouble in words:
            await platform.until(lambda: seen.update(troubles(platform)) or any(words[trouble] in one for one in seen))
            await platform.until(lambda: any("no help" in one and words[trouble] in one for one in troubles(platform)))
            providers.registry.around = lambda when: asyncio.sleep(0)
        assert (await platform.ended(started)).state == "succeeded"
        assert bool(providers.registry.told) == (trouble in words)
        await platform.until(lambda: not providers.registry.switched_off)
        assert len(providers.callable()) == 2

    beside(program, 1)


QOS_MOMENTS = [(number, when) for number in (1, 2) for when in ("before", "after")]


@pytest.mark.parametrize(("number", "when"), QOS_MOMENTS)
def test_killed_at_any_word_to_qos_it_ends_as_if_nothing_had_happened(number: int, when: str) -> None:
    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin_by_qos(platform)
        count, struck, never = 0, asyncio.Event(), asyncio.Event()

        async def strike(moment: str) -> None:
            nonlocal count
            count += moment == when
            if count == number and moment == when:
                struck.set()
                await never.wait()

        providers.qos.around = strike
        started = await platform.controller.operations.change(
            "/shop", to(container=with_qos("v2")), "test", force=False
        )
        await platform.until(struck.is_set)
        await platform.clock.sleep(0.05)
        await platform.kill()
        await platform.clock.sleep(1.0)
        await platform.start()
        assert (await platform.ended(started)).state == "succeeded"
        assert not providers.registry.told
        assert len(providers.callable()) == 2
        assert platform.engine.created["/shop"] == 4

    beside(program, number)


@pytest.mark.parametrize("trouble", ["", "silent", "killed"])
def test_who_stays_and_was_switched_off_is_put_online_again(trouble: str) -> None:
    """As when the store was brought back from before the drain: what was withdrawn does not come back by itself."""

    async def program(platform: Platform, providers: FakeDubboProviders) -> None:
        await begin_by_qos(platform)
        [one, _] = platform.serving()
        mark = next(
            each for each in providers.registry.providers if each.host == one.address and each.port in one.ports
        )
        await platform.kill()
        providers.qos.offline_at.add((one.address or "", one.ports[-1]))
        providers.registry.switched_off.add(mark)
        await platform.until(lambda: mark not in providers.registry.providers)
        providers.qos.silent = trouble == "silent"
        struck, never = asyncio.Event(), asyncio.Event()
        if trouble == "killed":

            async def strike(moment: str) -> None:
                struck.set()
                await never.wait()

            providers.qos.around = strike
        await platform.start()
        if trouble == "killed":
            await platform.until(struck.is_set)
            await platform.kill()
            providers.qos.around = lambda when: asyncio.sleep(0)
            await platform.start()
        await platform.until(lambda: not providers.registry.switched_off)
        await platform.clock.sleep(1.0)
        assert (mark in providers.registry.providers) == (trouble != "silent")
        assert [word for word, _ in providers.qos.told] == ["online"] * (trouble != "silent")

    beside(program, 1)
