"""pools: added, disabled, removed; and what a removed node held of them is taken back.

All by compare-and-swap on the store that nodes write too: whoever was quicker makes the other look again.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from coldchain.decisions.block import without_node
from coldchain.decisions.pool import problems
from coldchain.documents import keys, stored
from coldchain.model.base import Noun
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.errors import Conflict, InvalidDocument, NotFound
from coldchain.model.node import Node
from coldchain.model.pool import Block, Pool
from coldchain.ports.store import ABSENT, Change, Entry, Guard, LostUpdate, Store

TRIES = 20
N = TypeVar("N", bound=Noun)


class Pools:
    """The pools of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self) -> Sequence[Pool]:
        """In the order of their names."""
        return list((await records(self._store, keys.POOL, Pool)).values())

    async def get(self, name: str) -> Pool:
        """Raises NotFound."""
        return (await self._entry(name))[1]

    async def blocks(self) -> Sequence[Block]:
        """Of all pools."""
        return list((await records(self._store, keys.BLOCK, Block)).values())

    async def add(self, pool: Pool) -> Pool:
        """Raises InvalidDocument with all that is wrong with it, Conflict for a name that there is already."""
        for _ in range(TRIES):
            turn = await turn_of(self._store)
            pools = await self.list()
            if any(one.name == pool.name for one in pools):
                raise Conflict(
                    f"Pool '{pool.name}' exists already",
                    todo="Its addresses cannot be changed: add another pool, and networks that use that.",
                )
            nodes = await records(self._store, keys.NODE, Node)
            if found := problems(pool, pools, nodes.values()):
                raise InvalidDocument(found)
            added = Change(key=keys.pool(pool.name), value=stored.encode(pool), expected=ABSENT)
            try:
                await self._store.write([added, turn])
            except LostUpdate:
                continue
            return pool
        raise busy(pool.name)

    async def change(self, name: str, *, disabled: bool | None = None, nat_outgoing: bool | None = None) -> Pool:
        """Raises NotFound."""
        for _ in range(TRIES):
            entry, pool = await self._entry(name)
            after = msgspec.structs.replace(
                pool,
                disabled=pool.disabled if disabled is None else disabled,
                nat_outgoing=pool.nat_outgoing if nat_outgoing is None else nat_outgoing,
            )
            try:
                await self._store.write([Change(key=entry.key, value=stored.encode(after), expected=entry.revision)])
            except LostUpdate:
                continue
            return after
        raise busy(name)

    async def remove(self, name: str) -> None:
        """Raises NotFound, Conflict where a network uses it or a node holds an address of it."""
        for _ in range(TRIES):
            turn = await turn_of(self._store)
            entry, pool = await self._entry(name)
            networks = await records(self._store, keys.CONTAINER_NETWORK, ContainerNetwork)
            if users := sorted(one.name for one in networks.values() if name in (one.pool, one.pool6)):
                todo = "Remove them first: `coldchain network remove NAME`."
                raise Conflict(f"Pool '{name}' is used by {_networks(users)}", todo=todo)
            blocks = await self._store.list(keys.blocks(name))
            _check_free(pool, [stored.decode(one.value, Block) for one in blocks.entries])
            gone = [Change(key=one.key, value=None, expected=one.revision) for one in (entry, *blocks.entries)]
            try:
                await self._store.write([*gone, turn])
            except LostUpdate:
                continue
            return
        raise busy(name)

    async def reclaim(self, node: str) -> int:
        """Take back what a node holds, once its own record is gone: without that it takes nothing any more. For a
        machine that is off or has left: what its containers have, others get. What it held rests with whoever takes
        it next. Returns how many addresses it were. To be asked again after Unavailable: the rest is done then.
        Raises Conflict for a node that is there."""
        count = 0
        listing = await self._store.list(keys.BLOCK)
        for entry in listing.entries:
            count += await self._reclaim_block(entry, node)
        attachments = await self._store.list(keys.attachments(node))
        for entry in attachments.entries:
            await self._store.write([Change(key=entry.key, value=None)])
        return count

    async def _reclaim_block(self, seen: Entry, node: str) -> int:
        entry: Entry | None = seen
        for _ in range(TRIES):
            if entry is None:
                return 0
            block = stored.decode(entry.value, Block)
            after = without_node(block, node)
            if after == block:
                return 0
            value = stored.encode(after) if after is not None else None
            gone = Guard(key=keys.node(node), revision=ABSENT)
            try:
                await self._store.write([Change(key=entry.key, value=value, expected=entry.revision)], [gone])
            except LostUpdate:
                if await self._store.get(gone.key) is not None:
                    raise Conflict(f"Node {node} is there", todo="Remove it first: `coldchain node remove`.") from None
                entry = await self._store.get(seen.key)
                continue
            return sum(one.node == node for one in block.held.values())
        raise busy(seen.key)

    async def _entry(self, name: str) -> tuple[Entry, Pool]:
        entry = await self._store.get(keys.pool(name))
        if entry is None:
            raise NotFound(f"Pool '{name}' does not exist", todo="`coldchain pool list` has all.")
        return entry, stored.decode(entry.value, Pool)


async def turn_of(store: Store) -> Change:
    """To be read before what a change of pools and networks is judged by, and written with it."""
    entry = await store.get(keys.POOLS_CHANGED)
    return Change(key=keys.POOLS_CHANGED, value=b"", expected=entry.revision if entry is not None else ABSENT)


async def records(store: Store, prefix: str, kind: type[N]) -> Mapping[str, N]:
    """What there is of a kind, by key, in order."""
    listing = await store.list(prefix)
    return {entry.key: stored.decode(entry.value, kind) for entry in listing.entries}


def _check_free(pool: Pool, blocks: Sequence[Block]) -> None:
    held = [one for block in blocks for one in block.held.values() if one.node]
    if not held:
        return
    given = sum(bool(one.attachment) for one in held)
    nodes = ", ".join(sorted({one.node for one in held})[:5])
    todo = (
        "Stop them or move them to another network first."
        if given
        else f"`coldchain pool disable {pool.name}`, then remove it once the nodes have let go, within some seconds."
    )
    raise Conflict(f"Pool '{pool.name}' is in use: {len(held)} addresses, {given} of containers, on {nodes}", todo=todo)


def _networks(names: Sequence[str]) -> str:
    return f"network {names[0]}" if len(names) == 1 else f"networks {', '.join(names)}"


def busy(name: str) -> Conflict:
    """Whoever else writes is always quicker."""
    return Conflict(f"{name} is changed by others all the time", todo="Try again.")
