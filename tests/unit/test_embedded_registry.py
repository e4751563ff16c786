"""The embedded registry's content and checks in virtual time: what ends by mere time, and what a restart keeps."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from coldchain.decisions.key_value import Operation
from coldchain.model.catalog import CatalogCheck, CatalogNode, CatalogService, CatalogSession
from coldchain.model.errors import NotFound, Unavailable
from coldchain.registry.server.checks import CheckRunner
from coldchain.registry.server.content import Content
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_prober import FakeProber, ProbeAnswer
from coldchain.testing.faulty_store import FaultyStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

SERVICE = CatalogService(id="web-1", name="web", port=80)
NODE = CatalogNode(id="1", name="machine", address="127.0.0.1")


class World:
    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop)
        self.memory = MemoryStore()
        self.store = FaultyStore(self.memory)
        self.prober = FakeProber(self.clock)

    async def start(self) -> None:
        self.content = Content(self.store, self.clock, NODE)
        await self.content.load()
        self.runner = CheckRunner(self.content, self.prober, self.clock)
        self.runner.start()
        self.running = asyncio.create_task(self.runner.run())

    async def kill(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.runner.stop()

    async def register(self, **fields: object) -> None:
        check = {"id": "c", "name": "c", "kind": "ttl", "service_id": SERVICE.id, "ttl_seconds": 10.0, **fields}
        await self.content.register(SERVICE, [CatalogCheck(**check)], replace=False)  # type: ignore[arg-type]

    def status(self, check_id: str = "c") -> str:
        return self.content.checks[check_id].status

    async def revision(self) -> int:
        return (await self.memory.list("")).revision


def run(program: Callable[[World], Awaitable[None]]) -> None:
    loop = SimulatedLoop(1)

    async def whole() -> None:
        world = World(loop)
        await world.start()
        await program(world)
        await world.kill()

    simulate(whole(), loop)


def test_heartbeats_keep_a_check_passing_and_are_not_written() -> None:
    async def program(world: World) -> None:
        await world.register()
        await world.content.report("c", "passing", "well")
        before = await world.revision()
        for number in range(20):
            await world.clock.sleep(9)
            await world.content.report("c", "passing", f"beat {number}")
        assert await world.revision() == before
        assert world.status() == "passing"
        assert world.content.checks["c"].output == "beat 19"
        await world.clock.sleep(11)
        assert world.status() == "critical"
        assert world.content.checks["c"].output == "TTL expired (last output: beat 19)"
        assert await world.revision() == before + 1
        await world.clock.sleep(100)
        assert await world.revision() == before + 1

    run(program)


def test_what_is_said_is_said_since_a_moment_that_outlives_a_restart() -> None:
    async def program(world: World) -> None:
        await world.register()
        made = world.content.services["web-1"].since
        await world.clock.sleep(3)
        await world.content.report("c", "passing", "")
        passing = world.content.checks["c"].since
        assert passing == made + 3
        await world.clock.sleep(3)
        await world.content.report("c", "passing", "again")
        await world.register(name="another name")
        await world.kill()
        await world.start()
        assert world.content.services["web-1"].since == made
        assert (world.status(), world.content.checks["c"].since) == ("passing", passing)
        await world.clock.sleep(11)
        assert (world.status(), world.content.checks["c"].since) == ("critical", passing + 13)

    run(program)


def test_after_a_restart_checks_keep_their_state_for_one_whole_ttl() -> None:
    async def program(world: World) -> None:
        await world.register()
        await world.content.report("c", "passing", "")
        index = world.content.indices.newest
        await world.clock.sleep(9)
        await world.kill()
        await world.clock.sleep(1000)
        await world.start()
        assert world.status() == "passing"
        assert world.content.indices.of("service/web") >= index
        assert world.content.services["web-1"].create_index > 0
        await world.clock.sleep(9)
        assert world.status() == "passing"
        await world.clock.sleep(2)
        assert world.status() == "critical"

    run(program)


def test_who_was_held_up_begins_every_wait_anew() -> None:
    async def program(world: World) -> None:
        await world.register()
        await world.content.report("c", "passing", "")
        await world.clock.sleep(5)
        moment = world.clock.monotonic
        world.clock.monotonic = lambda: moment() + 3600  # type: ignore[method-assign]  # a machine that slept
        await world.clock.sleep(14)
        assert world.status() == "passing"
        await world.clock.sleep(2)
        assert world.status() == "critical"

    run(program)


def test_a_write_that_fails_changes_nothing_and_is_made_good() -> None:
    async def program(world: World) -> None:
        await world.register()
        await world.content.report("c", "passing", "")
        world.store.silent = True
        with pytest.raises(Unavailable):
            await world.content.report("c", "critical", "broken")
        assert world.status() == "passing"
        assert world.content.in_doubt
        await world.clock.sleep(30)
        assert world.status() == "passing"
        world.store.silent = False
        await world.clock.sleep(5)
        assert world.status() == "critical"  # its TTL is over long since
        assert not world.content.in_doubt

    run(program)


def test_a_question_of_ours_needs_as_many_answers_in_a_row_as_it_says() -> None:
    async def program(world: World) -> None:
        await world.register(
            kind="http", host="10.0.0.1", port=80, interval_seconds=5.0, failures_before_critical=1, ttl_seconds=0.0
        )
        await world.clock.sleep(2)
        assert world.status() == "passing"
        world.prober.answer = lambda probe: ProbeAnswer(status=302)
        await world.clock.sleep(5)
        assert world.status() == "passing"
        await world.clock.sleep(5)
        assert world.status() == "critical"
        world.prober.cut_off = True
        world.prober.answer = lambda probe: ProbeAnswer()
        await world.clock.sleep(10)
        assert world.status() == "critical"  # unknown counts neither for nor against
        world.prober.cut_off = False
        await world.clock.sleep(5)
        assert world.status() == "passing"
        await world.content.deregister("web-1")
        assert world.content.checks == {}

    run(program)


def test_a_service_that_stays_critical_is_taken_out_if_it_asked_for_that() -> None:
    async def program(world: World) -> None:
        await world.register(deregister_seconds=60.0)
        await world.clock.sleep(50)
        await world.content.report("c", "passing", "")
        await world.clock.sleep(65)
        assert "web-1" in world.content.services
        await world.clock.sleep(10)
        assert world.content.services == {}

    run(program)


def test_a_session_ends_after_its_ttl_and_its_lock_is_delayed() -> None:
    async def program(world: World) -> None:
        content = world.content
        await content.open_session(CatalogSession(id="s", ttl_seconds=10, lock_delay_seconds=15))
        await content.open_session(CatalogSession(id="t"))
        lock = Operation(verb="lock", key="k", session="s")
        assert await content.carry_out(lock)
        for _ in range(5):
            await world.clock.sleep(15)
            content.renew_session("s")
        await world.clock.sleep(21)
        assert "s" not in content.sessions
        assert content.keys["k"].session == ""
        with pytest.raises(NotFound):
            content.renew_session("s")
        other = Operation(verb="lock", key="k", session="t")
        assert not await content.carry_out(other)
        await world.clock.sleep(15)
        assert await content.carry_out(other)
        await world.kill()
        await world.start()
        assert world.content.keys["k"].session == "t"
        assert world.content.keys["k"].lock_index == 2

    run(program)


def test_names_that_are_gone_leave_no_index_behind() -> None:
    async def program(world: World) -> None:
        for number in range(50):
            service = CatalogService(id=f"s{number}", name=f"s{number}")
            await world.content.register(service, [], replace=False)
            before = world.content.indices.of(f"service/s{number}")
            await world.content.deregister(f"s{number}")
            assert world.content.indices.of(f"service/s{number}") > before
        assert not [topic for topic in world.content.indices._last if topic.startswith("service/")]

    run(program)
