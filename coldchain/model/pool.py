"""pool: the addresses that containers get, and who may give which of them."""

from coldchain.model.base import Noun


class Pool(Noun, frozen=True, kw_only=True):
    """Addresses for containers, `cidr` of IPv4 or IPv6. Nodes take blocks of `block_length` bits out of it.

    `nat_outgoing`: what leaves for an address outside all pools and nodes leaves with the node's own address.
    `disabled`: no new address is given from it; those given stay.
    """

    name: str
    cidr: str
    block_length: int = 26
    nat_outgoing: bool = False
    disabled: bool = False


class Holding(Noun, frozen=True, kw_only=True):
    """One address of a block that somebody holds. Only `node` may give it to a container; no other node does so before
    it is taken back. `attachment`: to which it was given as far as the store knows, empty while the node keeps it in
    reserve or lets it rest. `node` empty: it was removed, and whoever takes the address over lets it rest first."""

    node: str
    attachment: str = ""


class Block(Noun, frozen=True, kw_only=True):
    """A node's part of a pool: it announces the route for all of `cidr`. Another node that borrows an address of it
    holds that one and announces it alone. `held` by address; what is not in it is free, to be held by one
    compare-and-swap of the whole block. `node` empty: its node was removed, and what others hold of it goes on."""

    pool: str
    cidr: str
    node: str
    held: dict[str, Holding] = {}
