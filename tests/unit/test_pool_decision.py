"""Addresses and blocks of pools, and which pools there may be."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.pool import block_at, block_count, block_of, contains, default_block_length, problems
from coldchain.model.node import Node
from coldchain.model.pool import Pool

NODES = [Node(name="n1", address="10.10.3.5/24", address6="fd00:3::5/64"), Node(name="n2", address="10.10.50.7/24")]
POOLS = [Pool(name="online", cidr="10.200.0.0/16"), Pool(name="six", cidr="fd00:200::/64", block_length=122)]


@pytest.mark.parametrize(
    ("cidr", "length", "said"),
    [
        ("10.201.0.0/16", 26, []),
        ("10.201.0.0/26", 26, []),
        ("10.201.0.0/30", 32, []),
        ("fd00:201::/64", 122, []),
        ("10.200.128.0/24", 26, ["/cidr: overlaps pool online (10.200.0.0/16)"]),
        ("fd00::/16", 122, ["/cidr: overlaps pool six", "/cidr: overlaps the machines' own network: node n1 has fd00"]),
        (
            "10.0.0.0/8",
            26,
            ["/cidr: overlaps pool online", "node n1 has 10.10.3.5/24", "node n2 has 10.10.50.7/24"],
        ),
        ("10.10.3.128/25", 26, ["/cidr: overlaps the machines' own network: node n1 has 10.10.3.5/24"]),
        ("10.201.0.0/16", 15, ["/blockLength: must be 20 to 32 in 10.201.0.0/16"]),
        ("10.201.0.0/16", 33, ["/blockLength: must be 20 to 32"]),
        ("10.201.0.0/28", 26, ["/blockLength: must be 28 to 32"]),
        ("fd00:201::/64", 26, ["/blockLength: must be 116 to 128"]),
        ("10.201.0.1/16", 26, ["'10.201.0.1/16' has bits set behind its length (did you mean '10.201.0.0/16'?)"]),
        ("10.201.0.0/33", 26, ["'10.201.0.0/33' is no network: write it as 10.200.0.0/16 or fd00:200::/64"]),
        ("", 26, ["'' is no network"]),
        ("169.254.0.0/16", 26, ["no container can have an address of 169.254.0.0/16"]),
        ("127.0.0.0/24", 12, ["no container can have an address of 127.0.0.0/8", "/blockLength"]),
        ("0.0.0.0/0", 26, ["no container can have an address of 0.0.0.0/8"]),
        ("fe80::/64", 122, ["no container can have an address of fe80::/10"]),
    ],
)
def test_all_that_is_wrong_with_a_pool_is_said(cidr: str, length: int, said: list[str]) -> None:
    found = [str(one) for one in problems(Pool(name="new", cidr=cidr, block_length=length), POOLS, NODES)]
    assert len(found) == len(said), found
    assert all(words in one for words, one in zip(said, found, strict=True)), found


@given(st.sampled_from([*POOLS, Pool(name="p", cidr="10.0.0.0/24", block_length=28)]), st.integers(0, 2**64))
def test_every_address_is_in_the_block_that_it_is_said_to_be_in(pool: Pool, number: int) -> None:
    network = ipaddress.ip_network(pool.cidr)
    address = str(network[number % network.num_addresses])
    found = block_of(pool, address)
    assert contains(found, address)
    assert contains(pool.cidr, found.partition("/")[0])
    assert found in {block_at(pool, (number % network.num_addresses) // (network.num_addresses // block_count(pool)))}


def test_blocks_are_of_64_addresses_or_the_whole_of_a_small_pool() -> None:
    assert [default_block_length(one) for one in ("10.0.0.0/16", "10.0.0.0/30", "fd00::/64")] == [26, 30, 122]
    assert not contains("10.0.0.0/8", "fd00::1")
    assert not contains("10.0.0.0/8", "words")
