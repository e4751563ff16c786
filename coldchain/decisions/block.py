"""block: which addresses a node holds: taken ahead from its blocks, given, rested, let go; and borrowed from others'
where no block is left.

The store says who holds an address, the node's journal what was given. A node writes its journal before an address is
used, and after the store has given it; it forgets an address before it tells the store so. So whatever it was doing
when it ended, the journal never has more than the store, and what the store has more was never given.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from coldchain.decisions.pool import address_of, block_at, block_count, block_of, block_size, network_of
from coldchain.model.base import Noun
from coldchain.model.kept_address import KeptAddress
from coldchain.model.pool import Block, Holding, Pool

RESERVE_MAX = 32
"""Ahead of use: so many containers start while the store is away."""
RESERVE_SCARCE_MAX = 4
"""While all blocks of the pool are taken: others need to borrow."""


class Claim(Noun, frozen=True, kw_only=True):
    """What a node takes by one write of one block: `block` as it is then, `held` what is new in it. `rests`: those
    that a removed node had, which may still be asked for by whoever knew them there."""

    block: Block
    held: tuple[str, ...] = ()
    rests: tuple[str, ...] = ()


class Settled(Noun, frozen=True, kw_only=True):
    """A block as the journal says it has to be. `block` None: its key goes. `adopted`: what the store says the node
    holds and its journal does not know. `dropped`: what it may not give any more. `doubled`: what it gave and another
    node holds, by address. `write`: the store has to be told, and what is adopted is so only once it was."""

    block: Block | None
    adopted: tuple[KeptAddress, ...] = ()
    dropped: tuple[str, ...] = ()
    doubled: dict[str, str] = {}
    write: bool = False


def reserve_wanted(pool: Pool, *, scarce: bool) -> int:
    """How many addresses a node holds ahead. `scarce`: no block of the pool is left."""
    if pool.disabled:
        return 0
    return max(1, min(block_size(pool) // 2, RESERVE_SCARCE_MAX if scarce else RESERVE_MAX))


def missing(usable: int, wanted: int) -> int:
    """How many to take so that not every start of a container asks the store."""
    return wanted - usable if usable <= wanted // 2 else 0


def choose(usable: Iterable[KeptAddress]) -> KeptAddress | None:
    """The one to give: never given first, then the one that rests the longest."""
    return min(usable, key=lambda one: (one.fixed, one.released, _number(one.address)), default=None)


def leaving(usable: Sequence[KeptAddress], wanted: int, ours: Collection[str], used: Mapping[str, int]) -> list[str]:
    """What of the reserve is let go: all that was asked for by name; and of too many the borrowed first, then those of
    the blocks least used, so that blocks become free as a whole. `ours`: the node's own blocks; `used`: given, by
    block."""
    gone = [one.address for one in usable if one.fixed]
    rest = [one for one in usable if not one.fixed]
    if len(rest) > 2 * wanted:
        rest.sort(key=lambda one: (one.block in ours, used.get(one.block, 0), one.block, -_number(one.address)))
        gone += [one.address for one in rest[: len(rest) - wanted]]
    return gone


def claim(pool: Pool, blocks: Sequence[Block], node: str, count: int) -> Claim | None:
    """The next write by which the node comes to more addresses, `count` at most; None: the pool has none left.

    First of its own blocks, then one that a removed node left, then a new one, then what others have not taken.
    """
    free = {one.cidr: _free(one) for one in blocks}
    own = next((one for one in blocks if one.node == node and free[one.cidr]), None)
    if own is not None:
        return _taken(own, node, count)
    left = next((one for one in blocks if not one.node and (free[one.cidr] or _nobodys(one))), None)
    if left is not None:
        return _taken(msgspec.structs.replace(left, node=node), node, count)
    fresh = next_block(pool, {one.cidr for one in blocks}, node)
    if fresh is not None:
        return _taken(Block(pool=pool.name, cidr=fresh, node=node), node, count)
    lenders = [one for one in blocks if free[one.cidr] or _nobodys(one)]
    if not lenders:
        return None
    lender = max(lenders, key=lambda one: (free[one.cidr], _spread(node + one.cidr)))
    return _taken(lender, node, min(count, RESERVE_SCARCE_MAX))


def next_block(pool: Pool, taken: Collection[str], node: str) -> str | None:
    """The first one free, each node looking from a place of its own: of many that start at once few meet."""
    total = block_count(pool)
    if len(taken) >= total:
        return None
    start = _spread(node) % total
    for step in range(len(taken) + 1):
        cidr = block_at(pool, (start + step) % total)
        if cidr not in taken:
            return cidr
    return None


def claim_address(pool: Pool, block: Block | None, node: str, address: str) -> Claim | None:
    """The write by which the node comes to this one address; None: somebody else holds it."""
    found = block or Block(pool=pool.name, cidr=block_of(pool, address), node=node)
    holding = found.held.get(address)
    if holding is not None and holding.node not in ("", node):
        return None
    owner = found.node or node
    held = {**found.held, address: Holding(node=node)}
    return Claim(block=msgspec.structs.replace(found, node=owner, held=held), held=(address,))


def settle(
    block: Block | None,
    pool: str,
    cidr: str,
    node: str,
    kept: Mapping[str, KeptAddress],
    *,
    joined: bool,
    leave: Collection[str] = (),
) -> Settled:
    """A block of the store compared with what the node's journal has of it. `joined` False: the node may tell and let
    go, and take nothing. `leave`: what has left the journal just now, to be free."""
    before = block.held if block is not None else {}
    held = {address: one for address, one in before.items() if address not in leave or one != Holding(node=node)}
    adopted, dropped, doubled = [], [], {}
    for address, one in kept.items():
        holding = held.get(address)
        if holding is not None and holding.node == node:
            held[address] = Holding(node=node, attachment=one.attachment if one.given else "")
        elif holding is not None and holding.node:
            if one.given:
                doubled[address] = holding.node
            else:
                dropped.append(address)
        elif one.given and joined:
            held[address] = Holding(node=node, attachment=one.attachment)
        elif not one.given:
            dropped.append(address)
    owner = (block.node if block is not None else "") or (node if joined and _holds(held, node) else "")
    for address, holding in list(held.items()):
        unknown = address not in kept and holding.node == node
        if unknown or (not holding.node and owner == node and joined):
            held[address] = Holding(node=node, attachment=holding.attachment)
            adopted.append(_adopted(address, pool, cidr, holding.attachment))
    after = Block(pool=pool, cidr=cidr, node=owner, held=held)
    result = after if held or owner not in ("", node) else None
    return Settled(
        block=result,
        adopted=tuple(adopted),
        dropped=tuple(dropped),
        doubled=doubled,
        write=bool(adopted) or result != block,
    )


def let_go(block: Block, node: str, addresses: Collection[str]) -> list[str]:
    """Those of them that the store has as not given: what it knows as given it is told of first."""
    return [one for one in addresses if block.held.get(one) == Holding(node=node)]


def without_node(block: Block, node: str) -> Block | None:
    """A block once a node is removed: what it held is nobody's, and rests with whoever takes it over. None: nobody
    holds anything of it."""
    owner = "" if block.node == node else block.node
    held = {address: Holding(node="") if one.node == node else one for address, one in block.held.items()}
    after = msgspec.structs.replace(block, node=owner, held=held)
    return after if owner or held else None


def given_to(one: KeptAddress, attachment: str, *, fixed: bool = False) -> KeptAddress:
    """Once it is given."""
    fixed = fixed or one.fixed
    return msgspec.structs.replace(one, given=True, attachment=attachment, resting=False, fixed=fixed)


def released_as(one: KeptAddress, number: int) -> KeptAddress:
    """Once it is released, as the release with this number."""
    return msgspec.structs.replace(one, given=False, attachment="", resting=True, released=number)


def _taken(block: Block, node: str, count: int) -> Claim:
    """With up to `count` more of its free addresses, and all that is nobody's."""
    held, new = dict(block.held), list[str]()
    rests = tuple(address for address, one in held.items() if not one.node)
    held.update((address, Holding(node=node)) for address in rests)
    for address in _addresses(block):
        if len(new) >= count:
            break
        if address not in held:
            held[address] = Holding(node=node)
            new.append(address)
    return Claim(block=msgspec.structs.replace(block, held=held), held=tuple(new), rests=rests)


def _adopted(address: str, pool: str, cidr: str, attachment: str) -> KeptAddress:
    """As given, where the store says so; else it rests, since nobody here knows what was done with it."""
    given = bool(attachment)
    return KeptAddress(address=address, pool=pool, block=cidr, given=given, attachment=attachment, resting=not given)


def _addresses(block: Block) -> Iterator[str]:
    return map(str, network_of(block.cidr))


def _free(block: Block) -> int:
    return network_of(block.cidr).num_addresses - len(block.held)


def _nobodys(block: Block) -> bool:
    return any(not one.node for one in block.held.values())


def _holds(held: Mapping[str, Holding], node: str) -> bool:
    return any(one.node == node for one in held.values())


def _number(address: str) -> int:
    found = address_of(address)
    return int(found) if found is not None else 0


def _spread(text: str) -> int:
    return zlib.crc32(text.encode())
