"""The publisher against gateways that lose replies and restart: any sequence of exchanges ends in the whole."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.control.rotation import (
    LEASE_MARGIN_SECONDS,
    LEASE_SECONDS,
    OUT_OF_TOUCH_SECONDS,
    UPDATES_KEPT,
    Publisher,
)
from coldchain.control.state import State
from coldchain.decisions.rotation import apply
from coldchain.model.app import App, Container, Docker, PortMapping, Route
from coldchain.model.gateway_resource import Consumer, resource_key
from coldchain.model.instance import Instance
from coldchain.model.rotation import GatewayReport, Rotation
from coldchain.model.version import AppRecord, Version
from coldchain.store.memory import MemoryStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate


def app(name: str, domain: str) -> App:
    container = Container(docker=Docker(image="shop"), port_mappings=(PortMapping(container_port=80),))
    return App(id=name, container=container, routes=(Route(domains=(domain,)),))


def instance(app_id: str, number: int, phase: str = "serving", version: str = "1") -> Instance:
    return Instance(
        id=f"{app_id[1:]}-{number}",
        app_id=app_id,
        version_id=version,
        target="cluster",
        task_id=f"t{number}",
        phase=phase,  # type: ignore[arg-type]
        since=0.0,
        created_at=0.0,
        address=f"10.0.0.{number}",
        ports=(80,),
    )


class Bench:
    """A publisher on records that a test writes."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop)
        self.state = State(MemoryStore())
        self.marked: list[set[str]] = []
        self.consumers: dict[str, Consumer] = {}

    async def start(self, term: int = 1) -> None:
        await self.state.load()
        self.publisher = Publisher(self.state, self.clock, term, lambda apps: self.marked.append(set(apps)))
        self.publisher.resources = lambda: {resource_key(one): one for one in self.consumers.values()}
        self.publisher.start()

    def know(self, name: str, group: str) -> None:
        """A consumer in this group; nobody of this name any more without one."""
        if group:
            self.consumers[name] = Consumer(name=name, groups=(group,))
        else:
            self.consumers.pop(name, None)
        self.publisher.refresh_resources()

    async def want(self, name: str, domain: str) -> None:
        record = AppRecord(app_id=name, version_id="1", target="cluster", cause="test")
        await self.state.commit([Version(app=app(name, domain), id="1", config_id="1"), record])
        self.publisher.refresh([name], {})

    async def forget(self, name: str) -> None:
        if name in self.state.apps:
            await self.state.commit((), [self.state.apps[name]])
        self.publisher.refresh([name], {})

    async def put(self, *instances: Instance) -> None:
        await self.state.commit(instances)
        self.publisher.refresh({one.app_id for one in instances}, {})

    async def report(self, applied: int, name: str = "g", **in_flight: int) -> None:
        named = {key.replace("_", "-"): count for key, count in in_flight.items()}
        self.publisher._given[name] = min(applied, self.publisher.rotation.revision)  # it has it from here
        await self.publisher.exchange(GatewayReport(gateway=name, applied=applied, in_flight=named), 0.0)


def simulated(program: Callable[[Bench], Awaitable[None]]) -> None:
    loop = SimulatedLoop(0)

    async def whole() -> None:
        bench = Bench(loop)
        await bench.start()
        await program(bench)

    simulate(whole(), loop)


names = st.sampled_from(["/a", "/b", "/c"])
deeds = st.one_of(
    st.tuples(st.just("want"), names, st.sampled_from(["x.test", "y.test"])),
    st.tuples(st.just("forget"), names, st.just("")),
    st.tuples(st.just("put"), names, st.sampled_from(["entering", "serving", "draining", "stopped"])),
    st.tuples(st.just("know"), st.sampled_from(["ann", "bob"]), st.sampled_from(["gold", "silver", ""])),
    st.tuples(st.just("exchange"), st.just("g"), st.sampled_from(["", "", "reply lost", "restarted"])),
)


@given(st.lists(deeds, max_size=25), st.booleans())
def test_any_sequence_of_exchanges_ends_in_the_whole(sequence: list[tuple[str, str, str]], crowded: bool) -> None:
    async def program(bench: Bench) -> None:
        if crowded:  # so many updates at once that the gateway must get the whole
            bench.publisher._updates.clear()
        held = Rotation()

        async def exchange() -> None:
            nonlocal held
            update = await bench.publisher.exchange(GatewayReport(gateway="g", applied=held.revision), 0.0)
            if update is not None:
                assert update.base in (0, held.revision), "a gateway would refuse it"
                held = apply(held, update)

        for deed, name, detail in sequence:
            if deed == "want":
                await bench.want(name, detail)
            elif deed == "forget":
                await bench.forget(name)
            elif deed == "know":
                bench.know(name, detail)
            elif deed == "put":
                known = name in bench.state.versions
                if known:
                    await bench.put(instance(name, len(detail), detail))
            elif detail == "reply lost":
                await bench.publisher.exchange(GatewayReport(gateway="g", applied=held.revision), 0.0)
            elif detail == "restarted":
                held = Rotation()
            else:
                await exchange()
        await exchange()
        assert held == bench.publisher.rotation
        assert {one.name for one in held.resources.values()} == bench.consumers.keys()
        everything = await bench.publisher.exchange(GatewayReport(gateway="other", applied=0), 0.0)
        assert everything is not None
        assert apply(Rotation(), everything) == held

    simulated(program)


def test_a_mark_is_acknowledged_once_published_and_applied_and_not_before() -> None:
    async def program(bench: Bench) -> None:
        await bench.want("/a", "x.test")
        await bench.put(instance("/a", 1), instance("/a", 2))
        await bench.report(bench.publisher.rotation.revision)
        leaving = instance("/a", 1, "draining")
        await bench.state.commit([leaving])
        assert not bench.publisher.acknowledged(leaving, 0), "the mark is not published yet"
        bench.publisher.refresh(["/a"], {})
        assert not bench.publisher.acknowledged(leaving, 0), "no gateway applied it"
        assert "gateway g" in bench.publisher.waits_for(leaving, 0)
        await bench.report(bench.publisher.rotation.revision, a_1=3)
        assert "have not reported since the start" in bench.publisher.waits_for(leaving, 0)
        await bench.clock.sleep(LEASE_SECONDS + LEASE_MARGIN_SECONDS)
        await bench.report(bench.publisher.rotation.revision, a_1=3)
        assert bench.publisher.acknowledged(leaving, 0)
        assert bench.publisher.in_flight(leaving) == 3
        assert {"/a"} in bench.marked

    simulated(program)


def test_a_gateway_that_was_away_is_out_of_touch_until_it_works_by_what_changed_meanwhile() -> None:
    async def program(bench: Bench) -> None:
        await bench.want("/a", "x.test")
        await bench.put(instance("/a", 1))
        before = bench.publisher.rotation.revision
        await bench.report(before)
        assert bench.publisher.out_of_touch() == []
        await bench.clock.sleep(LEASE_SECONDS + LEASE_MARGIN_SECONDS)
        assert bench.publisher.out_of_touch() == ["g"]
        await bench.put(instance("/a", 2))
        await bench.report(before)
        assert bench.publisher.out_of_touch() == ["g"]
        await bench.report(bench.publisher.rotation.revision)
        assert bench.publisher.out_of_touch() == []
        await bench.start(2)  # another leader does not know what it has
        assert bench.publisher.out_of_touch() == ["g"]
        await bench.report(bench.publisher.rotation.revision)
        assert bench.publisher.out_of_touch() == []
        await bench.clock.sleep(LEASE_SECONDS + LEASE_MARGIN_SECONDS)
        assert bench.publisher.out_of_touch() == ["g"]
        await bench.clock.sleep(OUT_OF_TOUCH_SECONDS)
        assert bench.publisher.out_of_touch() == []

    simulated(program)


def test_a_gateway_counts_until_its_lease_is_over_and_a_known_one_after_a_start() -> None:
    async def program(bench: Bench) -> None:
        await bench.want("/a", "x.test")
        await bench.put(instance("/a", 1))
        await bench.report(0)
        one = instance("/a", 1)
        for term in (2, 3):
            assert not bench.publisher.acknowledged(one, 1)
            await bench.clock.sleep(LEASE_SECONDS + LEASE_MARGIN_SECONDS - 0.1)
            assert not bench.publisher.acknowledged(one, 1)
            await bench.clock.sleep(0.2)
            assert bench.publisher.acknowledged(one, 1)
            await bench.start(term)

    simulated(program)


def test_revisions_grow_over_restarts_and_above_a_gateway_that_is_ahead() -> None:
    async def program(bench: Bench) -> None:
        await bench.want("/a", "x.test")
        await bench.put(instance("/a", 1))
        first = bench.publisher.rotation.revision
        await bench.start(2)
        assert bench.publisher.rotation.revision > first
        ahead = 77 << 32
        await bench.report(ahead)
        assert bench.publisher.rotation.revision > ahead
        assert not bench.publisher.acknowledged(instance("/a", 1), 1), "what it applied was another rotation"
        assert not bench.publisher.in_step()
        await bench.clock.sleep(LEASE_SECONDS + LEASE_MARGIN_SECONDS)
        await bench.report(bench.publisher.rotation.revision)
        assert bench.publisher.acknowledged(instance("/a", 1), 1)
        assert bench.publisher.in_step()

    simulated(program)


def test_an_exchange_waits_for_news_and_no_longer_than_asked() -> None:
    async def program(bench: Bench) -> None:
        report = GatewayReport(gateway="g", applied=bench.publisher.rotation.revision)
        await bench.report(report.applied)
        began = bench.clock.monotonic()
        assert await bench.publisher.exchange(report, 1.0) is None
        assert bench.clock.monotonic() - began == pytest.approx(1.0)
        waiting = asyncio.create_task(bench.publisher.exchange(report, 1000.0))
        await bench.clock.sleep(1.0)
        await bench.want("/a", "x.test")
        update = await waiting
        assert update is not None
        assert list(update.routes) == ["x.test"]
        assert bench.clock.monotonic() - began < 3.0

    simulated(program)


def test_more_than_half_failing_is_overruled_and_said() -> None:
    async def program(bench: Bench) -> None:
        await bench.want("/a", "x.test")
        await bench.put(*(instance("/a", number) for number in (1, 2, 3)))
        bench.publisher.refresh(["/a"], {"/a": frozenset({"a-1"})})
        assert not bench.publisher.overruled(instance("/a", 1))
        bench.publisher.refresh(["/a"], {"/a": frozenset({"a-1", "a-2"})})
        assert bench.publisher.overruled(instance("/a", 1))
        assert not bench.publisher.overruled(instance("/a", 3))

    simulated(program)


def test_an_instance_of_a_definition_without_service_enters_and_leaves_alone() -> None:
    async def program(bench: Bench) -> None:
        plain = Version(app=msgspec.structs.replace(app("/a", "x.test"), routes=()), id="0", config_id="0")
        await bench.state.commit([plain])
        await bench.want("/a", "x.test")
        former = instance("/a", 9, version="0")
        await bench.put(former)
        assert bench.publisher.acknowledged(former, 1)
        assert bench.publisher.in_flight(former) == 0
        assert bench.publisher.acknowledged(former, 0)

    simulated(program)


def test_updates_are_kept_only_so_long() -> None:
    async def program(bench: Bench) -> None:
        await bench.want("/a", "x.test")
        behind = bench.publisher.rotation.revision
        for number in range(UPDATES_KEPT + 1):
            bench.publisher.refresh(["/a"], {})
            await bench.put(instance("/a", 1, "serving" if number % 2 else "draining"))
        update = await bench.publisher.exchange(GatewayReport(gateway="g", applied=behind), 0.0)
        assert update is not None
        assert update.base == 0

    simulated(program)
