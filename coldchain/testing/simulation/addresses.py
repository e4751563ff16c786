"""addresses: lives of several nodes that give addresses of one pool, while netd and machines crash at any moment, the
store and disks fail, writes arrive late, and nodes are removed and come back.

At every step: no address is with two containers, none is given again before its rest is over. At the end, once all
faults are over: the store, the journals and the containers say the same, and nothing is lost.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

import structlog.testing

from coldchain.control.netd.addresses import AddressBook
from coldchain.control.netd.kept import ADDRESS
from coldchain.control.pools import Pools, records
from coldchain.control.rotation import QUARANTINE_SECONDS
from coldchain.decisions.block import reserve_wanted
from coldchain.documents import keys, stored
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.kept_address import KeptAddress
from coldchain.model.node import Node
from coldchain.model.pool import Block, Holding, Pool
from coldchain.ports.store import Change, Changed, Entry, Guard, Lease, Listing
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_journal import FakeJournal
from coldchain.testing.freezing_loop import PROCESS, FreezingLoop, Process
from coldchain.testing.simulated_loop import SimulatedClock, simulate

T = TypeVar("T")
POOL = Pool(name="online", cidr="10.200.0.0/26", block_length=29)
"""Eight blocks of eight for four nodes: blocks run out, addresses are borrowed, and the pool is exhausted at times."""
NODES = 4
FAULTY_SECONDS = 400.0
CALM_SECONDS = 400.0
CONTAINERS_MAX = 14
START_SECONDS_MAX = 30.0
KINDS_OF_FAULT = (
    "netd crashes",
    "netd crashes",
    "machine crashes",
    "store away",
    "disk full",
    "removed",
    "forced away",
)
LATE, VERY_LATE = 0.05, 0.7
"""How many writes are heard of by nobody, and arrive later or not at all; before a removal most do, after it."""
WANTED = ("10.200.0.9", "10.200.0.33")


class Strike(Noun, frozen=True, kw_only=True):
    """A fault of one machine, at that moment, for so long (seconds)."""

    kind: str
    at: float
    machine: int
    seconds: float


class Life(Noun, frozen=True, kw_only=True):
    """What came of a seed. `given`: how often an address was."""

    seed: int
    violations: tuple[str, ...]
    given: int
    borrowed: int
    strikes: tuple[Strike, ...]


def strikes_of(seed: int) -> tuple[Strike, ...]:
    """The faults of a seed."""
    draw = random.Random(f"strikes {seed}")
    found = [
        Strike(
            kind=draw.choice(KINDS_OF_FAULT),
            at=round(draw.uniform(5.0, FAULTY_SECONDS - 60.0), 3),
            machine=draw.randrange(NODES),
            seconds=round(draw.choice((0.1, 2.0, 15.0, 60.0)) * draw.uniform(0.5, 1.5), 3),
        )
        for _ in range(draw.randint(6, 20))
    ]
    return tuple(sorted(found, key=lambda one: one.at))


class FarStore:
    """Implements ports.store.Store: the world's, as one machine reaches it. What was asked arrives after a while, and
    that also if who asked has ended since; a write of which nothing is heard may still arrive later."""

    def __init__(self, world: "World", machine: "Machine | None") -> None:
        self._world = world
        self._machine = machine

    async def _way(self) -> None:
        if self._machine is not None:
            self._machine.step()
        await self._world.clock.sleep(self._world.draw.uniform(0.0, 0.02))
        if self._machine is not None and self._machine.store_away:
            raise Unavailable("the store does not answer")

    async def get(self, key: str) -> Entry | None:
        await self._way()
        entry = await self._world.store.get(key)
        await self._way()
        return entry

    async def list(self, prefix: str) -> Listing:
        await self._way()
        listing = await self._world.store.list(prefix)
        await self._way()
        return listing

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        await self._way()
        late = self._machine.late if self._machine is not None and self._world.faulty else 0.0
        if self._world.draw.random() < late:
            self._world.later(self._arrive(changes, guards))
            raise Unavailable("the store does not answer")
        revision = await self._world.store.write(changes, guards)
        await self._way()
        return revision

    async def _arrive(self, changes: Sequence[Change], guards: Sequence[Guard]) -> None:
        await self._world.clock.sleep(self._world.draw.choice((0.0, 0.05, 2.0, 20.0)))
        while self._machine is not None and self._machine.late == VERY_LATE:
            await self._world.clock.sleep(0.5)
        if self._world.draw.random() < 0.8:
            with suppress(ColdchainError):
                await self._world.store.write(changes, guards)

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        return self._world.store.watch(prefix, after)

    async def lease(self, seconds: float) -> Lease:
        raise NotImplementedError

    async def close(self) -> None:
        """It is the world's."""


class Machine:
    """A node with its disk, its containers and at times a netd."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.name = f"node-{number}"
        self.store_away = False
        self.late = LATE
        self.steps, self.crash_at = 0, 0
        self.off = False
        self.outages = 0
        self.journal = FakeJournal()
        self.new_disk()
        self.process: Process | None = None
        self.book: AddressBook | None = None
        self.containers: dict[str, str] = {}

    def new_disk(self) -> None:
        self.journal = FakeJournal()
        self.journal.wait = self._disk_wait  # type: ignore[method-assign]

    async def renounce(self) -> None:
        """As netd does before it writes the record of its node where there is none."""
        book = AddressBook(FarStore(self.world, self), self.journal, self.name, self.world.clock)
        while True:
            try:
                return await book.renounce()
            except ColdchainError:
                await self.world.clock.sleep(1.0)

    def step(self) -> None:
        """Something of the disk or the store is about to begin, or has ended."""
        self.steps += 1
        if self.steps == self.crash_at:
            self.crash_netd()
            self.world.later(self._again())

    async def _again(self) -> None:
        await self.world.clock.sleep(1.0)
        self.start_netd()

    async def _disk_wait(self) -> None:
        self.step()
        await self.world.clock.sleep(self.world.draw.uniform(0.0, 0.005))

    def start_netd(self) -> None:
        """Where none runs: its journal is one process's alone."""
        if self.off or self.book is not None:
            return
        self.process = Process(self.world.loop)
        self.book = AddressBook(FarStore(self.world, self), self.journal, self.name, self.world.clock)
        self.world.running.append((self.process, self.process.start(self.book.run())))

    def crash_netd(self) -> None:
        if self.process is not None:
            self.process.frozen = True
        self.process = self.book = None

    def crash(self) -> int:
        """All containers end with it. Its outage has a number: who ends one leaves it off where another has begun."""
        self.off = True
        self.outages += 1
        self.crash_netd()
        for address in list(self.containers):
            self.ended(address)
        return self.outages

    async def asked(self, question: Callable[[AddressBook], Coroutine[Any, Any, T]]) -> T:
        """As Docker asks netd. Raises Unavailable where nothing is heard."""
        if self.process is None or self.book is None:
            raise Unavailable("netd does not answer")
        task = self.process.start(question(self.book))
        await asyncio.wait({task}, timeout=START_SECONDS_MAX)
        if not task.done():
            self.world.unheard.append(task)
            raise Unavailable("netd does not answer")
        return task.result()

    async def start_container(self, name: str, wanted: str | None) -> None:
        address = await self.asked(lambda book: book.give(POOL.name, "", wanted))
        self.world.given(self, address, name, wanted)
        if self.off:
            self.ended(address)
            return
        try:
            await self.asked(lambda book: book.bind(address, name))
        except ColdchainError:
            self.ended(address)
            with suppress(ColdchainError):
                await self.asked(lambda book: book.release(address))

    async def stop_container(self, address: str, name: str) -> None:
        if self.containers.get(address) != name:
            return
        self.ended(address)
        with suppress(ColdchainError):
            await self.asked(lambda book: book.release(address, name))

    async def force_away(self, address: str) -> None:
        """Docker of another machine releases what it never had."""
        for other in self.world.machines:
            if other is not self and not other.off:
                with suppress(ColdchainError):
                    await other.asked(lambda book: book.release(address))

    def ended(self, address: str) -> None:
        if self.containers.pop(address, None) is not None:
            self.world.released_at[address] = self.world.clock.monotonic()

    async def users(self) -> None:
        """Containers come and go."""
        draw = random.Random(f"{self.world.seed} {self.name}")
        count = 0
        while self.world.busy:
            await self.world.clock.sleep(draw.expovariate(0.5))
            if self.off:
                continue
            running = list(self.containers.items())
            if running and draw.random() < len(running) / CONTAINERS_MAX:
                await self.stop_container(*draw.choice(running))
            else:
                count += 1
                wanted = draw.choice(WANTED) if draw.random() < 0.1 else None
                with suppress(ColdchainError):
                    await self.start_container(f"{self.name}-{count}", wanted)

    async def compare(self) -> None:
        """As the driver does: what was given and no container has, twice in a row, is given back."""
        doubtful: dict[str, str] = {}
        while True:
            await self.world.clock.sleep(20.0)
            with suppress(ColdchainError):
                known = await self.asked(lambda book: book.known())
                left = {address: owner for address, owner in known.items() if address not in self.containers}
                for address, owner in left.items():
                    if doubtful.get(address) == owner:
                        await self.give_back(address, owner)
                doubtful = left

    async def give_back(self, address: str, owner: str) -> None:
        await self.asked(lambda book: book.release(address, owner))


class World:
    """All of one life."""

    def __init__(self, loop: FreezingLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.draw = random.Random(f"world {seed}")
        self.clock = SimulatedClock(loop)
        self.store = MemoryStore()
        self.pools = Pools(FarStore(self, None))
        self.machines = [Machine(self, number) for number in range(NODES)]
        self.running: list[tuple[Process, asyncio.Task[None]]] = []
        self.unheard: list[asyncio.Task[Any]] = []
        self.on_their_way: set[asyncio.Task[None]] = set()
        self.released_at: dict[str, float] = {}
        self.violations: list[str] = []
        self.faulty = self.busy = True
        self.count = self.borrowed = 0

    def later(self, program: Coroutine[Any, Any, None]) -> None:
        """Whatever becomes of the process that it comes from."""
        context = copy_context()
        context.run(PROCESS.set, None)
        task = self.loop.create_task(program, context=context)
        self.on_their_way.add(task)
        task.add_done_callback(self.on_their_way.discard)

    def violated(self, words: str) -> None:
        self.violations.append(f"{self.clock.monotonic():.3f} s: {words}")

    def given(self, machine: Machine, address: str, name: str, wanted: str | None) -> None:
        self.count += 1
        for other in self.machines:
            if address in other.containers:
                have = f"{other.containers[address]} on {other.name}"
                self.violated(f"{address} given to {name} on {machine.name} while {have} has it")
        since = self.clock.monotonic() - self.released_at.get(address, float("-inf"))
        if wanted is None and since < QUARANTINE_SECONDS:
            self.violated(f"{address} given to {name} on {machine.name} {since:.3f} s after its release")
        machine.containers[address] = name

    async def join(self, machine: Machine) -> None:
        node = Node(name=machine.name, address=f"10.10.3.{self.machines.index(machine) + 1}/24")
        await self.store.write([Change(key=keys.node(machine.name), value=stored.encode(node))])

    async def strike(self, strike: Strike) -> None:
        await self.clock.sleep(strike.at - self.clock.monotonic())
        machine = self.machines[strike.machine]
        if machine.off:
            return
        match strike.kind:
            case "netd crashes":
                machine.crash_netd()
                await self.clock.sleep(strike.seconds)
                if not machine.off and machine.book is None:
                    machine.start_netd()
            case "machine crashes":
                outage = machine.crash()
                await self.clock.sleep(strike.seconds)
                if machine.outages == outage:
                    machine.off = False
                    machine.start_netd()
            case "store away":
                machine.store_away = True
                await self.clock.sleep(strike.seconds)
                machine.store_away = False
            case "disk full":
                machine.journal.fault = lambda number: self.draw.choice((None, "unavailable", "lost reply"))
                await self.clock.sleep(strike.seconds)
                machine.journal.fault = lambda number: None
            case "removed":
                machine.late = VERY_LATE
                await self.clock.sleep(6.0)
                outage = machine.crash()
                await self.store.write([Change(key=keys.node(machine.name), value=None)])
                await self.pools.reclaim(machine.name)
                machine.late = LATE
                await self.clock.sleep(1.0 + strike.seconds)
                if machine.outages != outage:
                    return
                await self.removed(machine)
                machine.off = machine.store_away = False
                if self.draw.random() < 0.3:
                    machine.new_disk()
                await machine.renounce()
                await self.join(machine)
                machine.start_netd()
                machine.store_away = self.draw.random() < 0.5
                await self.clock.sleep(10.0)
                machine.store_away = False
            case "forced away":
                for address in list(machine.containers)[:1]:
                    await machine.force_away(address)

    async def removed(self, machine: Machine) -> None:
        """Nothing of it came in late."""
        for block in (await records(self.store, keys.BLOCK, Block)).values():
            if machine.name in (block.node, *(one.node for one in block.held.values())):
                self.violated(f"{machine.name} was removed and has something of {block.cidr}")

    async def at_the_end(self) -> None:
        """Whether all say the same."""
        found = await records(self.store, keys.BLOCK, Block)
        held: dict[str, Holding] = {}
        for block in found.values():
            if not block.node:
                self.violated(f"block {block.cidr} is nobody's")
            if not block.held:
                self.violated(f"block {block.cidr} of {block.node} is of no use to anybody")
            held.update(block.held)
            self.borrowed += sum(one.node != block.node for one in block.held.values())
        nodes: dict[str, Holding] = {}
        for machine in self.machines:
            read = await machine.journal.read()
            kept = [stored.decode(value, KeptAddress) for name, value in read.items() if name.startswith(ADDRESS)]
            nodes.update((one.address, Holding(node=machine.name, attachment=one.attachment)) for one in kept)
            given = {one.address: one.attachment for one in kept if one.given}
            if given != machine.containers:
                self.violated(f"{machine.name} gave {given}, and its containers have {machine.containers}")
            if len(kept) - len(given) > 2 * reserve_wanted(POOL, scarce=False):
                self.violated(f"{machine.name} keeps {len(kept) - len(given)} addresses that it has not given")
        if held != nodes:
            differences = sorted(set(held.items()) ^ set(nodes.items()), key=str)
            self.violated(f"the store and the journals differ: {differences}")

    async def over(self) -> None:
        """Clean up: what is dead goes on to its end."""
        for process, task in self.running:
            task.cancel()
            process.thaw()
        ending = [*(task for _, task in self.running), *self.unheard, *self.on_their_way]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _live(world: World, strikes: Sequence[Strike]) -> None:
    await world.pools.add(POOL)
    for machine in world.machines:
        await world.join(machine)
        machine.start_netd()
    users = [asyncio.ensure_future(machine.users()) for machine in world.machines]
    compares = [asyncio.ensure_future(machine.compare()) for machine in world.machines]
    faults = [asyncio.ensure_future(world.strike(one)) for one in strikes]
    await asyncio.gather(*faults)
    await world.clock.sleep(max(0.0, FAULTY_SECONDS - world.clock.monotonic()))
    world.faulty = world.busy = False
    await asyncio.gather(*users)
    await world.clock.sleep(CALM_SECONDS)
    await world.at_the_end()
    for task in compares:
        task.cancel()
    await world.over()


def live(seed: int) -> Life:
    """Live the life of a seed in virtual time."""
    loop = FreezingLoop(seed)
    found: list[World] = []
    strikes = strikes_of(seed)

    async def whole() -> None:
        world = World(loop, seed)
        found.append(world)
        await _live(world, strikes)

    with structlog.testing.capture_logs():
        simulate(whole(), loop)
    world = found[0]
    return Life(
        seed=seed, violations=tuple(world.violations), given=world.count, borrowed=world.borrowed, strikes=strikes
    )
