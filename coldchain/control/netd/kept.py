"""kept: the addresses that this node holds, in its journal and in memory: given, bound, released, at rest.

Each change is in the journal before anybody hears of it, one at a time, and goes to its end also where who asked for
it has given up.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from coldchain.decisions import block as blocks
from coldchain.decisions.pool import address_of
from coldchain.documents import stored
from coldchain.model.errors import Conflict, Rejected
from coldchain.model.kept_address import KeptAddress, PoolStanding
from coldchain.model.pool import Block, Pool
from coldchain.ports.clock import Clock
from coldchain.ports.network import Journal

ADDRESS, POOL = "address/", "pool/"

T = TypeVar("T")


class Kept:
    """`rest_seconds`: how long a released address is given to nobody, counted from the release, or from when netd
    started if that was later."""

    def __init__(self, journal: Journal, clock: Clock, rest_seconds: float) -> None:
        self._journal = journal
        self._clock = clock
        self._rest_seconds = rest_seconds
        self._addresses: dict[str, KeptAddress] = {}
        self._rests_until: dict[str, float] = {}
        self._forgotten: set[str] = set()
        self._doubted: set[str] = set()
        self._started = False
        self._lock = asyncio.Lock()
        self._unbroken: set[asyncio.Task[Any]] = set()
        self.pools: Mapping[str, Pool] = {}
        self.changed = asyncio.Event()
        """Set by whatever the store is to be told of."""

    async def start(self) -> None:
        """Read the journal, once."""
        if self._started:
            return
        async with self._lock:
            if self._started:
                return
            read = await self._journal.read()
            pools = [stored.decode(value, Pool) for name, value in read.items() if name.startswith(POOL)]
            self.pools = {pool.name: pool for pool in pools}
            self._remember(
                stored.decode(value, KeptAddress) for name, value in read.items() if name.startswith(ADDRESS)
            )
            self._started = True

    def __contains__(self, address: str) -> bool:
        return address in self._addresses

    def __iter__(self) -> Iterator[KeptAddress]:
        return iter(list(self._addresses.values()))

    def of_block(self, pool: str, cidr: str) -> dict[str, KeptAddress]:
        """What is kept of one block, by address."""
        return {one.address: one for one in self if (one.pool, one.block) == (pool, cidr)}

    def usable(self, pool: str) -> list[KeptAddress]:
        """What could be given now."""
        now = self._clock.monotonic()
        return [one for one in self if one.pool == pool and not one.given and not self._rests(one, now)]

    def standing(self, ours: Iterable[tuple[str, str]]) -> dict[str, PoolStanding]:
        """What this node has of each pool. `ours`: its own blocks."""
        own, now = set(ours), self._clock.monotonic()
        found: dict[str, PoolStanding] = {}
        for pool in sorted({*self.pools, *(one.pool for one in self)}):
            of_pool = [one for one in self if one.pool == pool]
            found[pool] = PoolStanding(
                given=sum(one.given for one in of_pool),
                reserve=len(self.usable(pool)),
                resting=sum(not one.given and self._rests(one, now) for one in of_pool),
                blocks=sum(name == pool for name, _ in own),
                borrowed=sum((one.pool, one.block) not in own for one in of_pool),
            )
        return found

    async def give(self, pool: str, attachment: str) -> str | None:
        """One that is usable; None where none is. The same again for an attachment that has one."""
        return await self._whole(self._give(pool, attachment))

    async def give_wanted(self, wanted: str, attachment: str) -> None:
        """This very one, also while it rests: who asks for it by name is who had it, started again. Raises Conflict."""
        await self._whole(self._give_wanted(wanted, attachment))

    async def bind(self, address: str, attachment: str) -> None:
        """Name the attachment of an address that was given. Raises Conflict."""
        await self._whole(self._bind(address, attachment))

    async def release(self, address: str, attachment: str | None) -> None:
        """It rests. Raises Conflict where another attachment has it."""
        await self._whole(self._release(address, attachment))

    async def add(self, new: Iterable[KeptAddress]) -> None:
        """What the store says is held here, but for what is known already."""
        async with self._lock:
            await self._keep(one for one in new if one.address not in self._addresses)

    async def drop(self, addresses: Iterable[str]) -> None:
        """Forget what is not given; it is given no more."""
        async with self._lock:
            await self._drop(addresses)

    async def drop_too_many(
        self, block: Block, node: str, wanted: int, ours: Iterable[tuple[str, str]]
    ) -> Sequence[str]:
        """Forget what of the reserve of the block's pool is above what is wanted and stands in this block. Returns
        what is forgotten now, for the store to be told."""
        async with self._lock:
            used: dict[str, int] = {}
            for one in self:
                used[one.block] = used.get(one.block, 0) + one.given
            own = {cidr for pool, cidr in ours if pool == block.pool}
            gone = blocks.leaving(self.usable(block.pool), wanted, own, used)
            here = blocks.let_go(block, node, [one for one in gone if one in block.held])
            await self._drop(here)
            return here

    async def drop_reserve(self) -> None:
        """Forget all that is not given."""
        async with self._lock:
            await self._drop([one.address for one in self if not one.given])

    async def end_rests(self) -> None:
        """Write down which rests are over, so that they do not begin anew with the next start; and what a failing disk
        has not taken yet, or may have taken and not said so."""
        async with self._lock:
            self._forgotten |= self._doubted - self._addresses.keys()
            await self._drop(())
            await self._keep([self._addresses[one] for one in sorted(self._doubted)])
            now = self._clock.monotonic()
            over = [one for one in self if one.resting and not self._rests(one, now)]
            await self._keep(msgspec.structs.replace(one, resting=False) for one in over)

    async def set_pools(self, pools: Mapping[str, Pool]) -> None:
        """For the time when the store is away."""
        if pools == self.pools:
            return
        async with self._lock:
            changes: dict[str, bytes | None] = {POOL + name: None for name in self.pools.keys() - pools.keys()}
            changes |= {POOL + one.name: stored.encode(one) for one in pools.values()}
            await self._journal.write(changes)
            self.pools = pools

    async def _give(self, pool: str, attachment: str) -> str | None:
        async with self._lock:
            if attachment:
                for one in self:
                    if one.given and (one.pool, one.attachment) == (pool, attachment):
                        return one.address
            chosen = blocks.choose(self.usable(pool))
            if chosen is None:
                return None
            await self._keep([blocks.given_to(chosen, attachment)])
            self.changed.set()
            return chosen.address

    async def _give_wanted(self, wanted: str, attachment: str) -> None:
        async with self._lock:
            one = self._addresses.get(wanted)
            if one is None:
                raise Conflict(f"{wanted} was let go at this moment", todo="Ask again.")
            if one.given and (not attachment or one.attachment != attachment):
                raise Conflict(
                    f"{wanted} is taken on this machine, by attachment {_named(one)}",
                    todo="Ask for another address, or stop the container that has it.",
                )
            if not one.given:
                await self._keep([blocks.given_to(one, attachment, fixed=True)])
                self.changed.set()

    async def _bind(self, address: str, attachment: str) -> None:
        async with self._lock:
            one = self._addresses.get(address)
            if one is None or not one.given:
                raise Conflict(f"{address} was not given by this machine", todo="Let Coldchain give addresses (IPAM).")
            if one.attachment not in ("", attachment):
                raise Conflict(f"{address} is attachment {one.attachment}'s", todo="Ask for another address.")
            if one.attachment != attachment:
                await self._keep([blocks.given_to(one, attachment)])
                self.changed.set()

    async def _release(self, address: str, attachment: str | None) -> None:
        async with self._lock:
            one = self._addresses.get(address)
            if one is None or not one.given:
                return
            if attachment is not None and one.attachment != attachment:
                raise Conflict(f"{address} is attachment {_named(one)}'s, not {attachment}'s")
            await self._keep([blocks.released_as(one, self._releases() + 1)])
            self.changed.set()

    async def _keep(self, changed: Iterable[KeptAddress]) -> None:
        """To the journal, then to memory."""
        new = list(changed)
        if new:
            names = {one.address for one in new}
            self._doubted |= names
            await self._journal.write({ADDRESS + one.address: stored.encode(one) for one in new})
            self._doubted -= names
            self._forgotten -= names
            self._remember(new)

    async def _drop(self, addresses: Iterable[str]) -> None:
        """From memory first: whatever becomes of the write, it is not given any more."""
        gone = [one for one in addresses if one in self._addresses and not self._addresses[one].given]
        for address in gone:
            del self._addresses[address]
            self._rests_until.pop(address, None)
        self._forgotten.update(gone)
        if self._forgotten:
            await self._journal.write(dict.fromkeys((ADDRESS + one for one in self._forgotten), None))
            self._doubted -= self._forgotten
            self._forgotten.clear()

    def _remember(self, changed: Iterable[KeptAddress]) -> None:
        now = self._clock.monotonic()
        for one in changed:
            self._addresses[one.address] = one
            if one.resting:
                self._rests_until.setdefault(one.address, now + self._rest_seconds)
            else:
                self._rests_until.pop(one.address, None)

    def _rests(self, one: KeptAddress, now: float) -> bool:
        return one.resting and now < self._rests_until[one.address]

    def _releases(self) -> int:
        return max((one.released for one in self), default=0)

    async def _whole(self, program: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(program)
        self._unbroken.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._unbroken.discard(task)
        if not task.cancelled():
            task.exception()  # raised where somebody still waits, and for nobody else


def plain(address: str) -> str:
    """Without a length, and written in the one way. Raises Rejected."""
    found = address_of(address.partition("/")[0])
    if found is None:
        raise Rejected(f"{address!r} is no address", todo="Write it as 10.200.3.7 or fd00:200::7.")
    return str(found)


def _named(one: KeptAddress) -> str:
    return one.attachment or "(not named yet)"
