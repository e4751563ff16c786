"""pool: the arithmetic of addresses and blocks, and which pools there may be beside each other."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from coldchain.model.errors import Problem
from coldchain.model.node import Node
from coldchain.model.pool import Pool

BLOCK_BITS_MAX = 12
"""A block is one document of the store: it has 4096 addresses at most."""
BLOCK_BITS = 6
"""Of a pool for which nothing is said: 64 addresses, `/26` and `/122`."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNFIT = tuple(
    map(
        ipaddress.ip_network,
        ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"),
    )
)
"""No container can have an address of these, whoever uses them."""


@lru_cache(maxsize=4096)
def network_of(cidr: str) -> Network:
    """Raises ValueError for what is none, or has bits set behind its length."""
    return ipaddress.ip_network(cidr)


def address_of(text: str) -> Address | None:
    """None for what is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def contains(cidr: str, address: str) -> bool:
    """Whether the address is in it."""
    found, network = address_of(address), network_of(cidr)
    return found is not None and found.version == network.version and found in network


def overlapping(cidr: str, other: str) -> bool:
    """Whether they have an address in common; `other` may be a node's own, with the length of its segment."""
    try:
        network = ipaddress.ip_network(other, strict=False)
    except ValueError:
        return False
    return network.version == network_of(cidr).version and network.overlaps(network_of(cidr))


def block_size(pool: Pool) -> int:
    """How many addresses a block of the pool has."""
    return 1 << (network_of(pool.cidr).max_prefixlen - pool.block_length)


def block_count(pool: Pool) -> int:
    """How many blocks the pool has."""
    return network_of(pool.cidr).num_addresses // block_size(pool)


def block_at(pool: Pool, index: int) -> str:
    """The block with this number, from 0."""
    network = network_of(pool.cidr)
    first = network.network_address + index * block_size(pool)
    return f"{first}/{pool.block_length}"


def block_of(pool: Pool, address: str) -> str:
    """The block that an address of the pool is in."""
    offset = int(ipaddress.ip_address(address)) - int(network_of(pool.cidr).network_address)
    return block_at(pool, offset // block_size(pool))


def default_block_length(cidr: str) -> int:
    """64 addresses, or all of a pool that has fewer."""
    network = network_of(cidr)
    return max(network.prefixlen, network.max_prefixlen - BLOCK_BITS)


def problems_of_form(pool: Pool) -> list[Problem]:
    """What is wrong with a pool whatever else there is."""
    try:
        network = network_of(pool.cidr)
    except ValueError:
        return [Problem(path="/cidr", reason=_no_network(pool.cidr), suggestion=_meant(pool.cidr))]
    found = []
    if unfit := next((one for one in _UNFIT if one.version == network.version and one.overlaps(network)), None):
        reason = f"no container can have an address of {unfit}: take a private one, such as 10.200.0.0/16"
        found.append(Problem(path="/cidr", reason=reason))
    least = max(network.prefixlen, network.max_prefixlen - BLOCK_BITS_MAX)
    if not least <= pool.block_length <= network.max_prefixlen:
        reason = f"must be {least} to {network.max_prefixlen} in {pool.cidr}: a block is a part of the pool, and small"
        found.append(Problem(path="/blockLength", reason=reason))
    return found


def problems(pool: Pool, pools: Iterable[Pool], nodes: Iterable[Node]) -> list[Problem]:
    """What is wrong with adding the pool: all of it, before anything is changed."""
    if found := problems_of_form(pool):
        return found
    for other in pools:
        if overlapping(pool.cidr, other.cidr):
            reason = f"overlaps pool {other.name} ({other.cidr}): an address would be given twice"
            found.append(Problem(path="/cidr", reason=reason))
    for node in nodes:
        for own in filter(None, (node.address, node.address6)):
            if overlapping(pool.cidr, own):
                reason = f"overlaps the machines' own network: node {node.name} has {own}"
                found.append(Problem(path="/cidr", reason=reason))
    return found


def _no_network(cidr: str) -> str:
    if _meant(cidr):
        return f"{cidr!r} has bits set behind its length"
    return f"{cidr!r} is no network: write it as 10.200.0.0/16 or fd00:200::/64"


def _meant(cidr: str) -> str | None:
    try:
        return str(ipaddress.ip_network(cidr, strict=False))
    except ValueError:
        return None
