"""Pools and networks of the store: what may be, what is in use, and what is found wrong and put right."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from coldchain.control.container_networks import ContainerNetworks
from coldchain.control.network_check import CONFIRM_SECONDS, NetworkCheck
from coldchain.control.pools import Pools, records
from coldchain.documents import keys, stored
from coldchain.documents.keys import NetworkRecord
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.errors import ColdchainError, Conflict, InvalidDocument, NotFound
from coldchain.model.node import Node
from coldchain.model.pool import Block, Holding, Pool
from coldchain.ports.store import Change, Guard
from coldchain.store.memory import MemoryStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

ONLINE = Pool(name="online", cidr="10.200.0.0/24")
SIX = Pool(name="six", cidr="fd00:200::/64", block_length=122)
NET = ContainerNetwork(name="online_net", pool="online", pool6="six")


class Bench:
    """The store with what the leader asks of it. `before_write` runs before each write, as somebody else's would."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop)
        self.store = HinderedStore()
        self.apps: list[str] = []
        self.pools = Pools(self.store)
        self.networks = ContainerNetworks(self.store, lambda name: self.apps)
        self.check = NetworkCheck(self.store, self.clock, self.pools)

    async def put(self, *written: NetworkRecord) -> None:
        await self.store.write([Change(key=keys.network_key_of(one), value=stored.encode(one)) for one in written])

    async def found(self) -> list[tuple[str, str]]:
        return [(one.kind, one.subject) for one in await self.check.look()]


class HinderedStore(MemoryStore):
    """Somebody else writes first, once."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Callable[[], Awaitable[Any]] | None = None

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        first, self.first = self.first, None
        if first is not None:
            await first()
        return await super().write(changes, guards)


def simulated(program: Callable[[Bench], Awaitable[None]]) -> None:
    loop = SimulatedLoop(1)

    async def whole() -> None:
        await program(Bench(loop))

    simulate(whole(), loop)


async def refused(asked: Awaitable[object], kind: type[ColdchainError], words: str) -> None:
    with pytest.raises(kind, match=words):
        await asked


def holding(cidr: str, node: str, **held: str) -> Block:
    holdings = {}
    for name, holder in held.items():
        who, _, attachment = holder.partition(":")
        holdings[f"10.200.0.{name[1:]}"] = Holding(node=who, attachment=attachment)
    return Block(pool="online", cidr=cidr, node=node, held=holdings)


def test_a_pool_is_added_changed_and_removed() -> None:
    async def program(bench: Bench) -> None:
        await bench.pools.add(SIX)
        await bench.pools.add(ONLINE)
        assert list(await bench.pools.list()) == [ONLINE, SIX]
        await refused(bench.pools.add(ONLINE), Conflict, "Pool 'online' exists already")
        await bench.put(Node(name="n", address="10.10.3.5/24"))
        await refused(bench.pools.add(Pool(name="x", cidr="10.0.0.0/8")), InvalidDocument, "pool online.*node n has")
        changed = await bench.pools.change("online", disabled=True)
        assert changed.disabled
        changed = await bench.pools.change("online", nat_outgoing=True)
        assert (changed.disabled, changed.nat_outgoing) == (True, True)
        await refused(bench.pools.change("none"), NotFound, "Pool 'none' does not exist")
        await bench.pools.remove("online")
        await refused(bench.pools.get("online"), NotFound, "'online' does not exist")
        await refused(bench.pools.remove("online"), NotFound, "does not exist")

    simulated(program)


def test_of_two_pools_that_overlap_added_at_once_one_is_refused() -> None:
    async def program(bench: Bench) -> None:
        bench.store.first = lambda: bench.pools.add(Pool(name="quicker", cidr="10.200.0.0/16"))
        await refused(bench.pools.add(ONLINE), InvalidDocument, "overlaps pool quicker")
        assert [one.name for one in await bench.pools.list()] == ["quicker"]

    simulated(program)


def test_a_pool_in_use_is_not_removed() -> None:
    async def program(bench: Bench) -> None:
        for pool in (ONLINE, SIX):
            await bench.pools.add(pool)
        await bench.networks.create(NET)
        for name in ("online", "six"):
            await refused(bench.pools.remove(name), Conflict, f"Pool '{name}' is used by network online_net")
        await bench.networks.remove("online_net")
        await bench.put(holding("10.200.0.0/26", "a", _0="a", _1="b:x", _2=""))
        words = "Pool 'online' is in use: 2 addresses, 1 of containers, on a, b"
        await refused(bench.pools.remove("online"), Conflict, words)
        await bench.put(holding("10.200.0.0/26", "", _2=""))
        await bench.pools.remove("online")
        assert await records(bench.store, keys.BLOCK, Block) == {}

    simulated(program)


def test_a_block_taken_or_a_network_created_meanwhile_keeps_the_pool() -> None:
    async def program(bench: Bench) -> None:
        for pool in (ONLINE, SIX):
            await bench.pools.add(pool)
        await bench.put(holding("10.200.0.0/26", "", _2=""))
        bench.store.first = lambda: bench.put(holding("10.200.0.0/26", "a", _2="a"))
        await refused(bench.pools.remove("online"), Conflict, "in use: 1 addresses, 0 of containers, on a")
        await bench.put(holding("10.200.0.0/26", ""))
        bench.store.first = lambda: bench.networks.create(NET)
        await refused(bench.pools.remove("online"), Conflict, "used by network online_net")

    simulated(program)


def test_a_network_needs_pools_that_are_there_of_the_right_kind_and_enabled() -> None:
    async def program(bench: Bench) -> None:
        await refused(
            bench.networks.create(NET), InvalidDocument, "/pool: there is no pool 'online': `coldchain pool ad"
        )
        for pool in (ONLINE, SIX):
            await bench.pools.add(pool)
        wrong = ContainerNetwork(name="x", pool="six", pool6="online")
        await refused(bench.networks.create(wrong), InvalidDocument, "/pool: pool six has .*IPv6.*/pool6: pool online")
        await bench.pools.change("six", disabled=True)
        await refused(bench.networks.create(NET), InvalidDocument, "/pool6: pool six is disabled")
        await bench.pools.change("six", disabled=False)
        await bench.networks.create(NET)
        await refused(bench.networks.create(NET), Conflict, "Network 'online_net' exists already")
        assert await bench.networks.get("online_net") == NET
        assert list(await bench.networks.list()) == [NET]

    simulated(program)


def test_a_network_with_somebody_in_it_is_not_removed() -> None:
    async def program(bench: Bench) -> None:
        for pool in (ONLINE, SIX):
            await bench.pools.add(pool)
        await bench.networks.create(NET)
        bench.apps = ["/shop"]
        await refused(bench.networks.remove("online_net"), Conflict, "Network 'online_net' is used by /shop")
        bench.apps = []
        await bench.put(Attachment(id="x", node="a", network="online_net", address="10.200.0.1"))
        await refused(bench.networks.remove("online_net"), Conflict, "1 containers are in network 'online_net', on a")
        await bench.store.write([Change(key=keys.attachments("a") + "x", value=None)])
        await bench.networks.remove("online_net")
        await refused(bench.networks.remove("online_net"), NotFound, "Network 'online_net' does not exist")

    simulated(program)


def test_what_a_removed_node_had_is_taken_back_and_what_others_had_stays() -> None:
    async def program(bench: Bench) -> None:
        await bench.pools.add(ONLINE)
        await bench.put(
            Node(name="a", address="10.10.3.1/24"),
            Node(name="b", address="10.10.3.2/24"),
            holding("10.200.0.0/26", "a", _0="a:x", _1="b:y"),
            holding("10.200.0.64/26", "b", _64="a", _65="b:z"),
            Attachment(id="x", node="a", network="n", address="10.200.0.0"),
            Attachment(id="y", node="b", network="n", address="10.200.0.1"),
            Attachment(id="z", node="b", network="n", address="10.200.0.65"),
        )
        await refused(bench.pools.reclaim("a"), Conflict, "Node a is there")
        assert await bench.found() == []
        await bench.store.write([Change(key=keys.node("a"), value=None)])
        [finding] = await bench.check.look()
        assert (finding.kind, finding.says) == ("removed node", "there is no node a, and it holds 2 addresses")
        assert [one.subject for one in await bench.check.repair()] == ["a"]
        blocks = list((await records(bench.store, keys.BLOCK, Block)).values())
        assert blocks == [
            holding("10.200.0.0/26", "", _0="", _1="b:y"),
            holding("10.200.0.64/26", "b", _64="", _65="b:z"),
        ]
        assert [one.id for one in (await records(bench.store, keys.ATTACHMENT, Attachment)).values()] == ["y", "z"]
        assert await bench.found() == []
        assert list(await bench.check.repair()) == []

    simulated(program)


def test_a_node_that_joins_while_it_is_taken_back_keeps_what_it_has() -> None:
    async def program(bench: Bench) -> None:
        await bench.put(holding("10.200.0.0/26", "a", _0="a:x"))
        bench.store.first = lambda: bench.put(Node(name="a", address="10.10.3.1/24"))
        await refused(bench.pools.reclaim("a"), Conflict, "Node a is there")
        assert list((await records(bench.store, keys.BLOCK, Block)).values()) == [
            holding("10.200.0.0/26", "a", _0="a:x")
        ]

    simulated(program)


def test_everything_that_can_be_wrong_is_found() -> None:
    async def program(bench: Bench) -> None:
        await bench.pools.add(ONLINE)
        await bench.put(
            Node(name="a", address="10.10.3.1/24"),
            Node(name="b", address="10.200.0.200/30"),
            ContainerNetwork(name="lost", pool="none"),
            holding("10.200.0.0/26", "a", _0="a:x", _1="b:y", _2="a:gone", _3="a"),
            Block(pool="none", cidr="10.9.0.0/26", node="a"),
            Block(pool="online", cidr="10.200.0.96/27", node="a"),
            Attachment(id="x", node="a", network="n", address="10.200.0.0"),
            Attachment(id="x2", node="b", network="n", address="10.200.0.0", app_id="/shop"),
            Attachment(id="y", node="b", network="n", address="10.200.0.1"),
            Attachment(id="free", node="a", network="n", address="10.200.0.9"),
            Attachment(id="elsewhere", node="a", network="n", address="10.8.0.1"),
        )
        before = bench.clock.monotonic()
        assert await bench.found() == [
            ("overlap", "online"),
            ("lost pool", "lost"),
            ("lost block", "10.9.0.0/26"),
            ("lost block", "10.200.0.96/27"),
            ("address not held", "10.200.0.9"),
            ("doubled address", "10.200.0.0"),
            ("doubled address", "10.200.0.0"),
            ("address not attached", "10.200.0.2"),
        ]
        assert bench.clock.monotonic() == before + CONFIRM_SECONDS
        assert [one.subject for one in await bench.check.repair()] == ["10.9.0.0/26"]
        assert ("lost block", "10.9.0.0/26") not in await bench.found()

    simulated(program)


def test_what_passes_by_itself_is_not_told() -> None:
    async def program(bench: Bench) -> None:
        await bench.pools.add(ONLINE)
        await bench.put(Node(name="a", address="10.10.3.1/24"), holding("10.200.0.0/26", "a", _0="a:x"))
        looking = asyncio.ensure_future(bench.check.look())
        await bench.clock.sleep(CONFIRM_SECONDS / 2)
        await bench.put(holding("10.200.0.0/26", "a", _0="a", _1="a:y"))
        assert list(await looking) == []
        assert await bench.found() == [("address not attached", "10.200.0.1")]

    simulated(program)
