"""addresses: what this node holds of the pools, and to whom it gave it. The rules are in `decisions/block.py`.

What is given, bound or released is a matter of this machine (`kept`); the store is told afterwards. In the store this
node takes addresses before they are in its journal, and lets them go after they have left it.
"""

import asyncio
from collections.abc import Mapping

import structlog

from coldchain.control.netd.following import follow
from coldchain.control.netd.kept import Kept, plain
from coldchain.control.netd.waiting import until_set
from coldchain.control.rotation import QUARANTINE_SECONDS
from coldchain.decisions import block as blocks
from coldchain.decisions.pool import block_count, block_of, contains, network_of
from coldchain.documents import keys, stored
from coldchain.model.errors import ColdchainError, Conflict, Rejected, Unavailable
from coldchain.model.kept_address import AddressStatus, KeptAddress
from coldchain.model.node import Node
from coldchain.model.pool import Block, Pool
from coldchain.ports.clock import Clock
from coldchain.ports.network import Journal
from coldchain.ports.store import ABSENT, Change, Entry, Guard, LostUpdate, Store

SETTLE_SECONDS = 10.0
"""The blocks of this node are compared with the journal this often even if nothing was heard."""
SCAN_SECONDS = 120.0
"""All blocks are looked through this often: what the store says this node holds and nobody here knows of."""
RETRY_SECONDS = 1.0
FIRST_SECONDS = 3.0
"""So long the first containers after a start wait for the store to say that what the journal has is still so: this node
may have been removed meanwhile. If the store does not answer, the journal is believed."""
TRIES = 20
"""So often one block is written again because another node was quicker."""

log = structlog.get_logger(__name__)


class AddressBook:
    """What the driver asks for addresses, and the loop behind it. `node`: the name of this one. `rest_seconds`: how
    long a released address is given to nobody."""

    def __init__(
        self, store: Store, journal: Journal, node: str, clock: Clock, *, rest_seconds: float = QUARANTINE_SECONDS
    ) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._kept = Kept(journal, clock, rest_seconds)
        self._ours: set[tuple[str, str]] = set()
        self._scarce: set[str] = set()
        self._doubled: dict[str, str] = {}
        self._membership: Guard | None = None
        self._scanned_at: float | None = None
        self._trouble = ""
        self._claims = asyncio.Lock()
        self._compared: asyncio.Event | None = None

    async def start(self) -> None:
        """Read the journal: from then on addresses are given, with or without the store."""
        await self._kept.start()

    async def renounce(self) -> None:
        """Forget the reserve. To be called before the record of this node is written where the store has none: it was
        removed, and others have what it held."""
        await self.start()
        await self._kept.drop_reserve()

    async def give(self, pool: str, attachment: str, wanted: str | None = None) -> str:
        """An address of the pool, without a length; `wanted` for this very one. `attachment` may be empty, for one
        that is named by `bind` later; one that has an address of the pool already gets the same.

        Raises Rejected where there is none, Conflict where the wanted one is taken, Unavailable where the store would
        have to be asked and does not answer."""
        await self.start()
        if self._compared is not None:
            await until_set(self._compared, self._clock, FIRST_SECONDS)
        known = await self._known_pool(pool)
        if wanted:
            address = plain(wanted)
            if not contains(known.cidr, address):
                raise Rejected(f"{address} is not in pool {pool} ({known.cidr})", todo="Ask for an address that is.")
            if address not in self._kept:
                await self._take_wanted(known, address)
            await self._kept.give_wanted(address, attachment)
            return address
        for _ in range(TRIES):
            given = await self._kept.give(pool, attachment)
            if given is not None:
                return given
            await self._take_asked(known)
        raise Unavailable(f"Too many containers start at once for pool {pool}", todo="Start this one again.")

    async def bind(self, address: str, attachment: str) -> None:
        """From now on the address is this attachment's. Raises Conflict where it is another's, or not given here."""
        await self.start()
        await self._kept.bind(plain(address), attachment)

    async def release(self, address: str, attachment: str | None = None) -> None:
        """It rests, and is given again later. Nothing happens for an address that was not given here. Raises Conflict
        where another attachment has it; `attachment` None: whoever does, as this machine's Docker says it."""
        await self.start()
        address = plain(address)
        await self._kept.release(address, attachment)
        if address in self._doubled:
            # Another node holds it since this one was removed: it is not rested for here, where the store may be away
            # when the rest is over.
            await self._kept.drop([address])

    def pool_of(self, cidr: str) -> Pool | None:
        """The pool with these addresses, as last heard of, also while the store is away."""
        try:
            network = network_of(cidr)
        except ValueError:
            return None
        return next((pool for pool in self._kept.pools.values() if network_of(pool.cidr) == network), None)

    async def known(self) -> Mapping[str, str]:
        """What was given: attachment by address; empty for one that is not bound yet."""
        await self.start()
        return {one.address: one.attachment for one in self._kept if one.given}

    @property
    def status(self) -> AddressStatus:
        """How it stands, for `network doctor` and metrics."""
        return AddressStatus(
            joined=self._membership is not None,
            trouble=self._trouble,
            pools=self._kept.standing(self._ours),
            doubled=dict(self._doubled),
        )

    async def run(self) -> None:
        """For ever."""
        self._compared = asyncio.Event()
        await self.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(keys.POOL))
            group.create_task(self._follow(keys.node(self._node)))
            group.create_task(self._settle_always(self._compared))

    async def settle(self) -> None:
        """Tell the store what was given, take over what it has more than the journal, let go what is too much, and
        fill the reserve. Raises Unavailable, Conflict."""
        await self.start()
        async with self._claims:
            await self._learn()
            for pool, cidr in await self._concerned():
                await self._settle_block(pool, cidr)
            for known in list(self._kept.pools.values()):
                await self._fill(known)

    async def _settle_always(self, compared: asyncio.Event) -> None:
        while True:
            self._kept.changed.clear()
            try:
                await self._kept.end_rests()
                await self.settle()
            except ColdchainError as error:
                if str(error) != self._trouble:
                    log.warning("the store is not told of addresses", error=str(error))
                self._trouble = str(error)
                self._scanned_at = None
                compared.set()
                await self._clock.sleep(RETRY_SECONDS)
                continue
            self._trouble = ""
            compared.set()
            await until_set(self._kept.changed, self._clock, SETTLE_SECONDS)

    async def _follow(self, prefix: str) -> None:
        """A pool that is disabled, or this node removed, is seen at once, not only at the next turn."""

        def look(found: object) -> None:
            self._kept.changed.set()

        await follow(self._store, prefix, self._clock, whole=look, change=look, trouble=lambda error: None)

    async def _learn(self) -> None:
        """The pools, and whether this node may hold addresses of them."""
        listing = await self._store.list(keys.POOL)
        pools = [stored.decode(entry.value, Pool) for entry in listing.entries]
        await self._learn_membership()
        await self._kept.set_pools({pool.name: pool for pool in pools})

    async def _learn_membership(self) -> None:
        entry = await self._store.get(keys.node(self._node))
        joined = entry is not None and stored.decode(entry.value, Node).containers
        self._membership = Guard(key=entry.key, revision=entry.revision) if entry is not None and joined else None

    async def _concerned(self) -> list[tuple[str, str]]:
        """Blocks of this node, and those of which it has something; now and then all are looked through."""
        now = self._clock.monotonic()
        if self._scanned_at is None or now >= self._scanned_at + SCAN_SECONDS:
            listing = await self._store.list(keys.BLOCK)
            every = [stored.decode(entry.value, Block) for entry in listing.entries]
            self._ours = {(one.pool, one.cidr) for one in every if self._is_in(one)}
            self._scarce = {
                pool.name
                for pool in self._kept.pools.values()
                if sum(one.pool == pool.name for one in every) >= block_count(pool)
            }
            self._scanned_at = now
        return sorted({(one.pool, one.block) for one in self._kept} | self._ours)

    def _is_in(self, block: Block) -> bool:
        return block.node == self._node or any(one.node == self._node for one in block.held.values())

    async def _settle_block(self, pool: str, cidr: str) -> None:
        leave: set[str] = set()
        for _ in range(TRIES):
            entry = await self._store.get(keys.block(pool, cidr))
            block = stored.decode(entry.value, Block) if entry is not None else None
            self._note_owner(pool, cidr, block)
            if block is not None:
                leave.update(await self._kept.drop_too_many(block, self._node, self._wanted(pool), self._ours))
            kept, joined = self._kept.of_block(pool, cidr), self._membership is not None
            settled = blocks.settle(block, pool, cidr, self._node, kept, joined=joined, leave=leave)
            if settled.write:
                try:
                    await self._put(entry, keys.block(pool, cidr), settled.block)
                except LostUpdate:
                    await self._learn_membership()
                    continue
            await self._kept.add(settled.adopted)
            await self._kept.drop(settled.dropped)
            self._note_owner(pool, cidr, settled.block)
            self._note_doubled(cidr, settled.doubled)
            return
        raise Conflict(f"block {cidr} is written by others all the time")

    def _note_owner(self, pool: str, cidr: str, block: Block | None) -> None:
        if block is not None and block.node == self._node:
            self._ours.add((pool, cidr))
        else:
            self._ours.discard((pool, cidr))

    def _note_doubled(self, cidr: str, doubled: Mapping[str, str]) -> None:
        for address, other in doubled.items():
            if self._doubled.get(address) != other:
                log.error("an address of a container here is held by another node", address=address, other=other)
        others = {address: other for address, other in self._doubled.items() if not contains(cidr, address)}
        self._doubled = others | dict(doubled)

    async def _put(self, entry: Entry | None, key: str, block: Block | None) -> None:
        """Held to this node's own record, so that one that was removed takes nothing any more."""
        expected = entry.revision if entry is not None else ABSENT
        value = stored.encode(block) if block is not None else None
        guards = [self._membership] if self._membership is not None else []
        await self._store.write([Change(key=key, value=value, expected=expected)], guards)

    def _wanted(self, pool: str) -> int:
        known = self._kept.pools.get(pool)
        if known is None or self._membership is None:
            return 0
        return blocks.reserve_wanted(known, scarce=pool in self._scarce)

    async def _fill(self, pool: Pool, *, at_least: int = 0) -> None:
        """Take what is missing in the reserve. Under `_claims`."""
        for _ in range(TRIES):
            wanted = max(self._wanted(pool.name), at_least)
            count = blocks.missing(len(self._kept.usable(pool.name)), wanted)
            if not count or self._membership is None:
                return
            listing = await self._store.list(keys.blocks(pool.name))
            entries = {entry.key: entry for entry in listing.entries}
            every = [stored.decode(entry.value, Block) for entry in entries.values()]
            claim = blocks.claim(pool, every, self._node, count)
            if claim is None:
                self._scarce.add(pool.name)
                return
            await self._claim(entries.get(keys.network_key_of(claim.block)), claim)

    async def _claim(self, entry: Entry | None, claim: blocks.Claim) -> None:
        """Nothing of it is done where somebody else was quicker."""
        block = claim.block
        try:
            await self._put(entry, keys.network_key_of(block), block)
        except LostUpdate:
            await self._learn_membership()
            return
        self._note_owner(block.pool, block.cidr, block)
        await self._kept.add(
            KeptAddress(address=one, pool=block.pool, block=block.cidr, resting=one in claim.rests)
            for one in (*claim.held, *claim.rests)
        )

    async def _known_pool(self, name: str) -> Pool:
        """A pool that was added at this moment is asked for."""
        if name not in self._kept.pools:
            async with self._claims:
                await self._learn()
        pool = self._kept.pools.get(name)
        if pool is None:
            raise Rejected(f"There is no pool {name}", todo="`coldchain pool list` has all that there are.")
        if pool.disabled:
            raise Rejected(f"Pool {name} is disabled", todo=f"`coldchain pool enable {name}` lets it be used again.")
        return pool

    async def _take_asked(self, pool: Pool) -> None:
        """A container waits, and the reserve is used up."""
        async with self._claims:
            if self._kept.usable(pool.name):
                return
            try:
                await self._learn()
                await self._fill(pool, at_least=1)
            except Unavailable as error:
                self._scanned_at = None
                raise Unavailable(
                    f"This machine has no address of pool {pool.name} left, and more are not to be had: {error}",
                    todo="Start the container again once the store answers; those that run have their addresses.",
                ) from error
            if not self._kept.usable(pool.name):
                self._check_member()
                raise self._exhausted(pool)

    async def _take_wanted(self, pool: Pool, wanted: str) -> None:
        key = keys.block(pool.name, block_of(pool, wanted))
        async with self._claims:
            for _ in range(TRIES):
                await self._learn_membership()
                self._check_member()
                entry = await self._store.get(key)
                block = stored.decode(entry.value, Block) if entry is not None else None
                claim = blocks.claim_address(pool, block, self._node, wanted)
                if claim is None:
                    raise _held_elsewhere(wanted, block)
                await self._claim(entry, claim)
                if wanted in self._kept:
                    return
        raise Unavailable(f"{wanted} could not be taken: others write its block all the time", todo="Ask again.")

    def _check_member(self) -> None:
        if self._membership is None:
            raise Rejected(
                f"{self._node} is no node of the container network that runs containers",
                todo="`coldchain node join` makes it one; `coldchain node list` has all.",
            )

    def _exhausted(self, pool: Pool) -> Rejected:
        resting = self._kept.standing(self._ours)[pool.name].resting
        rest = f"; {resting} of them rest here for some seconds more" if resting else ""
        return Rejected(
            f"Pool {pool.name} ({pool.cidr}) is exhausted: all of its {network_of(pool.cidr).num_addresses} addresses "
            f"are held{rest}",
            todo="`coldchain network check` finds those that were lost; a network with a larger pool has more.",
        )


def _held_elsewhere(wanted: str, block: Block | None) -> Conflict:
    holding = block.held.get(wanted) if block is not None else None
    who = f"machine {holding.node}" if holding is not None else "another machine"
    how = "for a container" if holding is not None and holding.attachment else "in its reserve, or at rest"
    return Conflict(
        f"{wanted} is held by {who}, {how}",
        todo="Ask for another address, or start the container there.",
    )
