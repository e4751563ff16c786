"""What the driver is told of addresses, with and without the store, and after a new start."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import pytest

from coldchain.control.netd.addresses import SCAN_SECONDS, SETTLE_SECONDS, AddressBook
from coldchain.control.pools import Pools, records
from coldchain.control.rotation import QUARANTINE_SECONDS
from coldchain.documents import keys, stored
from coldchain.model.errors import ColdchainError, Conflict, Rejected, Unavailable
from coldchain.model.node import Node
from coldchain.model.pool import Block, Holding, Pool
from coldchain.ports.store import Change
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_journal import FakeJournal
from coldchain.testing.faulty_store import FaultyStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

POOL = Pool(name="online", cidr="10.200.0.0/24")
SMALL = Pool(name="small", cidr="10.201.0.0/29", block_length=30)
SIX = Pool(name="six", cidr="fd00:200::/64", block_length=122)


class Bench:
    """Nodes on one store. `store` can fail for `a`."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop)
        self.real = MemoryStore()
        self.store = FaultyStore(self.real)
        self.pools = Pools(self.real)
        self.journals = {name: FakeJournal() for name in "abc"}
        self.loops: dict[str, asyncio.Task[None]] = {}

    async def join(self, name: str, *, containers: bool = True) -> None:
        node = Node(name=name, address="10.10.3.1/24", containers=containers)
        await self.real.write([Change(key=keys.node(name), value=stored.encode(node))])

    def book(self, name: str) -> AddressBook:
        """Without its loop."""
        store = self.store if name == "a" else self.real
        return AddressBook(store, self.journals[name], name, self.clock)

    async def started(self, name: str) -> AddressBook:
        """With its loop, settled once; in place of the one before."""
        if name in self.loops:
            self.loops.pop(name).cancel()
        book = self.book(name)
        self.loops[name] = asyncio.ensure_future(book.run())
        await self.clock.sleep(0.01)
        return book

    async def held(self) -> dict[str, Holding]:
        found = (await records(self.real, keys.BLOCK, Block)).values()
        return {address: one for block in found for address, one in block.held.items()}


def simulated(program: Callable[[Bench], Awaitable[None]]) -> None:
    loop = SimulatedLoop(1)

    async def whole() -> None:
        bench = Bench(loop)
        for pool in (POOL, SMALL, SIX):
            await bench.pools.add(pool)
        await bench.join("a")
        await bench.join("b")
        await program(bench)

    simulate(whole(), loop)


async def refused(asked: Coroutine[None, None, object], kind: type[ColdchainError], words: str) -> None:
    with pytest.raises(kind, match=words):
        await asked


def test_an_address_is_given_from_the_reserve_and_the_store_told_afterwards() -> None:
    async def program(bench: Bench) -> None:
        book = await bench.started("a")
        assert (book.status.joined, book.status.pools["online"].reserve) == (True, 32)
        writes = bench.store.writes
        address = await book.give("online", "")
        assert bench.store.writes == writes
        await book.bind(address, "x")
        assert await book.known() == {address: "x"}
        await bench.clock.sleep(0.01)
        assert (await bench.held())[address] == Holding(node="a", attachment="x")
        assert await book.give("online", "x") == address
        await book.release(address, "x")
        await bench.clock.sleep(0.01)
        assert (await bench.held())[address] == Holding(node="a")
        assert await book.known() == {}

    simulated(program)


def test_without_the_store_there_are_addresses_until_the_reserve_is_used_up_also_after_a_new_start() -> None:
    async def program(bench: Bench) -> None:
        book = await bench.started("a")
        bench.store.silent = True
        given = [await book.give("online", f"x{number}") for number in range(16)]
        book = await bench.started("a")
        assert book.pool_of("10.200.0.0/24") == POOL
        given += [await book.give("online", f"y{number}") for number in range(16)]
        assert len(set(given)) == 32
        words = "This machine has no address of pool online left, and more are not to be had: the store does not answer"
        await refused(book.give("online", "z"), Unavailable, words)
        assert "the store does not answer" in book.status.trouble
        bench.store.silent = False
        await bench.clock.sleep(2.0)
        assert await book.give("online", "z") not in given
        await bench.clock.sleep(0.01)
        assert sum(bool(one.attachment) for one in (await bench.held()).values()) == 33
        assert book.status.trouble == ""

    simulated(program)


def test_a_released_address_rests_also_over_a_new_start_and_then_the_longest_rested_comes_first() -> None:
    async def program(bench: Bench) -> None:
        await bench.join("b", containers=False)
        book = await bench.started("a")
        every = [await book.give("small", f"x{number}") for number in range(8)]
        await refused(book.give("small", "y"), Rejected, r"Pool small \(10.201.0.0/29\) is exhausted: all of its 8 add")
        order = [every[5], every[2]]
        for address in order:
            await book.release(address)
        await refused(book.give("small", "y"), Rejected, "are held; 2 of them rest here for some seconds more")
        await bench.clock.sleep(QUARANTINE_SECONDS - 1)
        book = await bench.started("a")
        await bench.clock.sleep(QUARANTINE_SECONDS - 1)
        await refused(book.give("small", "y"), Rejected, "2 of them rest here")
        await bench.clock.sleep(2)
        assert [await book.give("small", f"z{number}") for number in range(2)] == order

    simulated(program)


def test_a_release_is_taken_from_who_has_the_address_alone() -> None:
    async def program(bench: Bench) -> None:
        first, second = await bench.started("a"), await bench.started("b")
        address = await first.give("online", "x")
        await second.release(address)
        await refused(first.release(address, "other"), Conflict, f"{address} is attachment x's, not other's")
        await refused(first.bind(address, "other"), Conflict, f"{address} is attachment x's")
        await refused(second.bind(address, "other"), Conflict, "was not given by this machine")
        assert await first.known() == {address: "x"}
        await first.release(address, "x")
        await first.release(address, "x")

    simulated(program)


def test_a_fixed_address_is_given_wherever_nobody_holds_it_and_again_at_once() -> None:
    async def program(bench: Bench) -> None:
        first, second = await bench.started("a"), await bench.started("b")
        held = await bench.held()
        free = next(f"10.200.0.{number}" for number in range(256) if f"10.200.0.{number}" not in held)
        assert await first.give("online", "x", f"{free}/32") == free
        await refused(first.give("online", "y", free), Conflict, f"{free} is taken on this machine, by attachment x")
        await bench.clock.sleep(0.01)
        await refused(second.give("online", "y", free), Conflict, f"{free} is held by machine a, for a container")
        await first.release(free)
        assert await first.give("online", "z", free) == free
        await first.release(free)
        await bench.clock.sleep(0.01)
        await refused(second.give("online", "y", free), Conflict, "held by machine a, in its reserve, or at rest")
        await bench.clock.sleep(QUARANTINE_SECONDS + SETTLE_SECONDS)
        assert await second.give("online", "y", free) == free
        await refused(
            first.give("online", "y", "10.9.0.1"), Rejected, r"10.9.0.1 is not in pool online \(10.200.0.0/24"
        )
        await refused(first.give("online", "y", "words"), Rejected, "'words' is no address")

    simulated(program)


def test_what_no_pool_or_no_node_has_is_refused_in_words() -> None:
    async def program(bench: Bench) -> None:
        book = await bench.started("a")
        await refused(book.give("none", "x"), Rejected, "There is no pool none")
        await bench.pools.add(Pool(name="later", cidr="10.202.0.0/24"))
        assert (await book.give("later", "x")).startswith("10.202.0.")
        address = await book.give("online", "x")
        await bench.pools.change("online", disabled=True)
        await bench.clock.sleep(0.01)
        await refused(book.give("online", "y"), Rejected, "Pool online is disabled")
        held = [one for one in await bench.held() if one.startswith("10.200.")]
        assert held == [address]
        await bench.pools.change("online", disabled=False)
        await bench.clock.sleep(0.01)
        assert await book.give("online", "y")
        stranger = await bench.started("c")
        await refused(stranger.give("online", "x"), Rejected, "c is no node of the container network that runs")
        assert book.pool_of("10.9.0.0/24") is None
        assert book.pool_of("words") is None

    simulated(program)


def test_addresses_of_ipv6_are_given_in_the_same_way() -> None:
    async def program(bench: Bench) -> None:
        book = await bench.started("a")
        address = await book.give("six", "x")
        assert address.startswith("fd00:200::")
        wanted = await book.give("six", "y", "fd00:0200:0000:0000:0000:0000:00aa:0007/128")
        assert wanted == "fd00:200::aa:7"
        await book.release("fd00:200:0::aa:7", "y")
        assert await book.known() == {address: "x"}
        assert book.pool_of("fd00:200::/64") == SIX

    simulated(program)


def test_with_a_new_disk_a_node_learns_from_the_store_what_it_gave() -> None:
    async def program(bench: Bench) -> None:
        book = await bench.started("a")
        address = await book.give("online", "x")
        await bench.clock.sleep(0.01)
        bench.journals["a"] = FakeJournal()
        book = await bench.started("a")
        assert await book.known() == {address: "x"}
        assert book.status.pools["online"].resting == 31

    simulated(program)


def test_what_a_removed_node_held_rests_with_who_takes_it_over() -> None:
    async def program(bench: Bench) -> None:
        first = await bench.started("a")
        given = [await first.give("small", f"x{number}") for number in range(8)]
        await bench.clock.sleep(0.01)
        bench.loops.pop("a").cancel()
        await bench.real.write([Change(key=keys.node("a"), value=None)])
        assert await bench.pools.reclaim("a") == 8 + 32 + 32
        second = await bench.started("b")
        await refused(second.give("small", "y"), Rejected, "exhausted.* rest here for some seconds more")
        await bench.clock.sleep(QUARANTINE_SECONDS)
        assert await second.give("small", "y") in given
        returned = await bench.started("a")
        await refused(returned.give("online", "x"), Rejected, "a is no node of the container network")
        held = await bench.held()
        assert returned.status.doubled == {one: "b" for one in given if one in held and held[one].node == "b"} != {}

    simulated(program)


def test_idle_blocks_go_back_and_others_find_room() -> None:
    async def program(bench: Bench) -> None:
        book = await bench.started("a")
        given = [await book.give("online", f"x{number}") for number in range(150)]
        await bench.clock.sleep(0.01)
        assert book.status.pools["online"].blocks >= 3
        for address in given:
            await book.release(address)
        await bench.clock.sleep(QUARANTINE_SECONDS + 2 * SETTLE_SECONDS + SCAN_SECONDS)
        standing = book.status.pools["online"]
        assert (standing.given, standing.blocks) == (0, 1)
        assert standing.reserve <= 64

    simulated(program)


def test_what_a_disk_wrote_and_did_not_say_is_written_as_it_is() -> None:
    """Else the journal goes on saying that an address was given which nobody got."""

    async def program(bench: Bench) -> None:
        book, journal = await bench.started("a"), bench.journals["a"]
        before = await journal.read()
        journal.fault = lambda number: "lost reply"
        await refused(book.give("online", ""), Unavailable, "the disk does not answer")
        assert await journal.read() != before
        assert await book.known() == {}
        journal.fault = lambda number: None
        await bench.clock.sleep(SETTLE_SECONDS)
        assert await journal.read() == before

    simulated(program)
