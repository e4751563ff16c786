"""The packet filter follows policy, networks and containers, over faults of the store, of nft and of who cleans up."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from coldchain.control.netd.policy import AGAIN_SECONDS, KEEP_SECONDS, KEPT, LOOK_SECONDS, RETRY_SECONDS, PolicyLoop
from coldchain.documents import stored
from coldchain.documents.keys import POLICY, network_key_of
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.node import Node
from coldchain.model.policy import Peers, Policy, Rule
from coldchain.model.pool import Pool
from coldchain.model.ruleset import Connection, Ruleset
from coldchain.ports.store import Change
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_journal import FakeJournal
from coldchain.testing.fake_packet_filter import FakePacketFilter
from coldchain.testing.faulty_store import FaultyStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

WEB = Attachment(id="1" * 64, node="node-1", network="online_net", address="10.200.0.1", app_id="/shop/web")
WEB_2 = Attachment(id="2" * 64, node="node-2", network="online_net", address="10.200.0.2", app_id="/shop/web")
THERE = (
    Pool(name="online", cidr="10.200.0.0/16"),
    ContainerNetwork(name="online_net", pool="online"),
    Node(name="node-1", address="10.10.0.1/24"),
    WEB,
)
NO_WEB = Rule(name="no-web", verdict="deny", source=Peers(app="/shop/web"))


class Bench:
    """One machine's filter, and the store."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.store = FaultyStore(MemoryStore())
        self.filter = FakePacketFilter()
        self.journal = FakeJournal()
        self.start_anew()

    def start_anew(self) -> None:
        """netd, from what is on the disk and in the kernel."""
        self.loop = PolicyLoop(self.store, self.filter, "node-1", self.clock, self.journal)

    async def put(self, *records: Pool | ContainerNetwork | Node | Attachment) -> None:
        await self.store.write([Change(key=network_key_of(one), value=stored.encode(one)) for one in records])

    async def remove(self, record: Attachment) -> None:
        await self.store.write([Change(key=network_key_of(record), value=None)])

    async def set_policy(self, *rules: Rule, cut: bool = False) -> None:
        await self.store.write([Change(key=POLICY, value=stored.encode(Policy(rules=rules, cut=cut)))])

    def web(self) -> tuple[str, ...]:
        """The addresses that rules about the app mean."""
        assert self.filter.applied is not None
        (found,) = [one for one in self.filter.applied.sets if one.name.startswith("selected_") and one.family == "4"]
        return found.addresses


def tell(story: Callable[[Bench], Awaitable[None]], seed: int = 1) -> None:
    loop = SimulatedLoop(seed)

    async def program() -> None:
        bench = Bench(SimulatedClock(loop))
        await bench.put(*THERE)
        running = asyncio.create_task(bench.loop.run())
        await bench.clock.sleep(0.5)
        try:
            await story(bench)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    simulate(program(), loop)


def test_containers_are_known_in_the_kernel_soon_after_they_are_known_in_the_store() -> None:
    async def story(bench: Bench) -> None:
        await bench.set_policy(NO_WEB)
        await bench.clock.sleep(0.2)
        assert bench.web() == ("10.200.0.1",)
        await bench.put(WEB_2)
        await bench.clock.sleep(0.2)
        assert bench.web() == ("10.200.0.1", "10.200.0.2")
        await bench.remove(WEB)
        await bench.clock.sleep(0.2)
        assert bench.web() == ("10.200.0.2",)
        assert (bench.loop.status.rules, bench.loop.status.attachments) == (1, 1)

    tell(story)


def test_many_changes_at_once_go_to_the_kernel_as_few() -> None:
    async def story(bench: Bench) -> None:
        await bench.set_policy(NO_WEB)
        await bench.clock.sleep(0.2)
        before = bench.filter.times
        for number in range(50):
            await bench.put(
                Attachment(
                    id=f"{number:064x}",
                    node="node-1",
                    network="online_net",
                    address=f"10.200.1.{number}",
                    app_id="/shop/web",
                )
            )
        await bench.clock.sleep(0.2)
        assert len(bench.web()) == 51
        assert bench.filter.times - before <= 3

    tell(story)


def test_before_the_store_was_heard_the_kernel_keeps_what_it_has() -> None:
    loop = SimulatedLoop(1)

    async def program() -> None:
        bench = Bench(SimulatedClock(loop))
        await bench.put(*THERE)
        bench.store.silent = True
        running = asyncio.create_task(bench.loop.run())
        await bench.clock.sleep(30.0)
        assert bench.filter.applied is None
        assert "does not answer" in bench.loop.status.trouble
        bench.store.silent = False
        await bench.clock.sleep(2 * RETRY_SECONDS)
        assert bench.filter.applied is not None
        assert bench.loop.status.trouble == ""
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    simulate(program(), loop)


def test_what_nft_refuses_or_does_not_hear_is_told_anew_and_whole() -> None:
    async def story(bench: Bench) -> None:
        bench.filter.refuses = "out of memory"
        await bench.set_policy(NO_WEB)
        await bench.clock.sleep(0.2)
        assert "out of memory" in bench.loop.status.filter_trouble
        await bench.clock.sleep(2 * RETRY_SECONDS)
        assert bench.loop.status.filter_trouble == ""
        bench.filter.away = True
        await bench.put(WEB_2)
        await bench.clock.sleep(5.0)
        assert bench.web() == ("10.200.0.1",)
        bench.filter.away = False
        await bench.clock.sleep(2 * RETRY_SECONDS)
        assert bench.web() == ("10.200.0.1", "10.200.0.2")

    tell(story)


def test_rules_that_somebody_removed_are_made_again_and_docker_is_told_again() -> None:
    async def story(bench: Bench) -> None:
        told = bench.filter.docker_forwards
        bench.filter.applied = None
        await bench.clock.sleep(2 * AGAIN_SECONDS)
        assert bench.filter.applied is not None
        assert bench.filter.docker_forwards > told

    tell(story)


def test_what_others_do_to_the_packet_filter_is_seen_at_once_and_not_too_often() -> None:
    async def story(bench: Bench) -> None:
        await bench.clock.sleep(2 * LOOK_SECONDS)
        told = bench.filter.docker_forwards
        bench.filter.touch()
        await bench.clock.sleep(0.2)
        assert bench.filter.docker_forwards == told + 1
        bench.filter.applied = None
        bench.filter.touch()
        await bench.clock.sleep(2 * LOOK_SECONDS)
        assert bench.filter.applied is not None
        told = bench.filter.docker_forwards
        for _ in range(100):
            bench.filter.touch()
            await bench.clock.sleep(0.05)
        assert bench.filter.docker_forwards - told <= 5.0 / LOOK_SECONDS + 2

    tell(story)


def test_trouble_is_told_as_long_as_it_lasts() -> None:
    async def story(bench: Bench) -> None:
        bench.filter.away = True
        await bench.clock.sleep(AGAIN_SECONDS + 1.0)
        for _ in range(int(2 * AGAIN_SECONDS)):
            await bench.clock.sleep(RETRY_SECONDS)
            assert "cannot be run" in bench.loop.status.filter_trouble
        bench.filter.away = False
        await bench.clock.sleep(2 * RETRY_SECONDS)
        assert bench.loop.status.filter_trouble == ""

    tell(story)


STANDS = Connection(protocol="tcp", source="10.10.0.1", destination="10.200.0.1", destination_port=80)
FALLS = Connection(protocol="tcp", source="10.200.0.1", destination="192.0.2.7", destination_port=443)


def test_connections_that_stand_are_cut_only_when_that_is_asked_for() -> None:
    async def story(bench: Bench) -> None:
        bench.filter.standing = [STANDS, FALLS]
        await bench.set_policy(NO_WEB)
        await bench.clock.sleep(0.2)
        assert bench.filter.standing == [STANDS, FALLS]
        await bench.set_policy(NO_WEB, cut=True)
        await bench.clock.sleep(0.2)
        assert bench.filter.standing == [STANDS]
        assert bench.loop.status.cut == 1

    tell(story)


def test_a_start_cuts_nothing() -> None:
    loop = SimulatedLoop(1)

    async def program() -> None:
        bench = Bench(SimulatedClock(loop))
        await bench.put(*THERE)
        await bench.set_policy(NO_WEB, cut=True)
        bench.filter.standing = [FALLS]
        running = asyncio.create_task(bench.loop.run())
        await bench.clock.sleep(1.0)
        assert bench.filter.applied is not None
        assert bench.filter.standing == [FALLS]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    simulate(program(), loop)


@pytest.mark.parametrize("lost", ["connections", "cut"])
def test_a_cut_that_failed_is_made_up_for_and_the_rest_is_told_meanwhile(lost: str) -> None:
    async def story(bench: Bench) -> None:
        falls = [replace(FALLS, source_port=port) for port in (40000, 40001, 40002)]
        bench.filter.standing = [STANDS, *falls]
        bench.filter.lost = {lost}
        await bench.set_policy(NO_WEB, cut=True)
        await bench.clock.sleep(0.2)
        assert set(falls) & set(bench.filter.standing)
        assert (bench.loop.status.rules, bench.loop.status.cut) == (1, 0)
        assert "busy" in bench.loop.status.filter_trouble
        await bench.clock.sleep(2 * RETRY_SECONDS)
        assert bench.filter.standing == [STANDS]
        assert bench.loop.status.filter_trouble == ""
        bench.filter.standing = [FALLS]
        await bench.clock.sleep(2 * AGAIN_SECONDS)
        assert bench.filter.standing == [FALLS], "one change cuts once"

    tell(story)


# A start while the store is away


def tell_of_a_start(before: Callable[[Bench], Awaitable[None]], after: Callable[[Bench], Awaitable[None]]) -> None:
    """netd carries a policy out and ends, and the store falls silent: then `before`, a start of netd, `after`."""
    loop = SimulatedLoop(1)

    async def program() -> None:
        bench = Bench(SimulatedClock(loop))
        await bench.put(*THERE)
        await bench.set_policy(NO_WEB)
        await _run_for(bench, 1.0)
        bench.store.silent = True
        await before(bench)
        bench.start_anew()
        await bench.loop.start()
        running = asyncio.create_task(bench.loop.run())
        await after(bench)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    simulate(program(), loop)


async def _run_for(bench: Bench, seconds: float) -> None:
    running = asyncio.create_task(bench.loop.run())
    await bench.clock.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def reboot(bench: Bench) -> None:
    bench.filter.applied = None


def test_after_a_reboot_the_kernel_has_the_rules_of_before_although_the_store_is_away() -> None:
    async def after(bench: Bench) -> None:
        assert bench.web() == ("10.200.0.1",), "before anything else is done"
        assert bench.loop.status.from_journal
        bench.filter.applied = None
        await bench.clock.sleep(2 * AGAIN_SECONDS)
        assert bench.web() == ("10.200.0.1",), "also where somebody removes them"
        bench.store.silent = False
        await bench.put(WEB_2)
        await bench.clock.sleep(2 * RETRY_SECONDS)
        assert bench.web() == ("10.200.0.1", "10.200.0.2")
        assert not bench.loop.status.from_journal

    tell_of_a_start(reboot, after)


def test_rules_that_the_kernel_still_has_are_not_replaced_by_older_ones() -> None:
    newer = Ruleset(sets=(), rules=(), between=(), to_machine=(), containers=())

    async def before(bench: Bench) -> None:
        bench.filter.applied = newer

    async def after(bench: Bench) -> None:
        await bench.clock.sleep(2 * AGAIN_SECONDS)
        assert bench.filter.applied == newer
        assert not bench.loop.status.from_journal

    tell_of_a_start(before, after)


def test_a_start_while_nft_does_not_answer_is_made_up_for() -> None:
    async def before(bench: Bench) -> None:
        bench.filter.applied = None
        bench.filter.away = True

    async def after(bench: Bench) -> None:
        assert "cannot be run" in bench.loop.status.filter_trouble
        bench.filter.away = False
        await bench.clock.sleep(2 * RETRY_SECONDS)
        assert bench.web() == ("10.200.0.1",)

    tell_of_a_start(before, after)


def test_rules_that_cannot_be_read_keep_nobody_from_starting() -> None:
    async def before(bench: Bench) -> None:
        bench.filter.applied = None
        await bench.journal.write({KEPT: b"{"})

    async def after(bench: Bench) -> None:
        assert bench.filter.applied is None
        assert "damaged" in bench.loop.status.journal_trouble
        bench.store.silent = False
        await bench.clock.sleep(2 * RETRY_SECONDS)
        assert bench.web() == ("10.200.0.1",)
        assert bench.loop.status.journal_trouble == ""

    tell_of_a_start(before, after)


def test_the_journal_is_written_now_and_then_and_a_full_disk_hinders_nothing_else() -> None:
    async def story(bench: Bench) -> None:
        await bench.set_policy(NO_WEB)
        before = bench.journal.writes
        for number in range(30):
            await bench.put(replace(WEB, id=f"{number:064x}", address=f"10.200.1.{number}"))
            await bench.clock.sleep(1.0)
        assert 1 <= bench.journal.writes - before <= 30 / KEEP_SECONDS + 1
        bench.journal.fault = lambda number: "unavailable"
        await bench.put(WEB_2)
        await bench.clock.sleep(KEEP_SECONDS + 1.0)
        assert "disk is full" in bench.loop.status.journal_trouble
        assert WEB_2.address in bench.web()
        bench.journal.fault = lambda number: None
        await bench.clock.sleep(2 * KEEP_SECONDS)
        assert bench.loop.status.journal_trouble == ""
        assert WEB_2.address.encode() in (await bench.journal.read())[KEPT]

    tell(story)
