"""Which addresses a node holds, gives and lets go."""

import ipaddress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.decisions.block import (
    RESERVE_MAX,
    RESERVE_SCARCE_MAX,
    choose,
    claim,
    claim_address,
    leaving,
    let_go,
    missing,
    next_block,
    reserve_wanted,
    settle,
    without_node,
)
from coldchain.decisions.pool import block_at, block_count, block_of
from coldchain.model.kept_address import KeptAddress
from coldchain.model.pool import Block, Holding, Pool

POOL = Pool(name="p", cidr="10.200.0.0/28", block_length=30)
CIDRS = [block_at(POOL, index) for index in range(4)]
NODES = ("a", "b", "c")


def kept(address: str, **fields: object) -> KeptAddress:
    made = KeptAddress(address=address, pool="p", block=block_of(POOL, address))
    return msgspec.structs.replace(made, **fields)


def block(cidr: str, node: str, **held: str) -> Block:
    """`held`: `_5="a"` or `_5="a:attachment"`."""
    holdings = {}
    for name, holder in held.items():
        who, _, attachment = holder.partition(":")
        holdings[f"10.200.0.{name[1:]}"] = Holding(node=who, attachment=attachment)
    return Block(pool="p", cidr=cidr, node=node, held=holdings)


def test_a_node_holds_half_a_block_ahead_and_less_where_blocks_are_scarce() -> None:
    large = Pool(name="p", cidr="10.0.0.0/16")
    assert reserve_wanted(large, scarce=False) == RESERVE_MAX == 32
    assert reserve_wanted(large, scarce=True) == RESERVE_SCARCE_MAX
    assert reserve_wanted(POOL, scarce=False) == 2
    assert reserve_wanted(Pool(name="p", cidr="10.0.0.0/24", block_length=32), scarce=False) == 1
    assert reserve_wanted(Pool(name="p", cidr="fd00::/64", block_length=122), scarce=False) == 32
    assert reserve_wanted(msgspec.structs.replace(large, disabled=True), scarce=False) == 0


@pytest.mark.parametrize(("usable", "wanted", "taken"), [(32, 32, 0), (17, 32, 0), (16, 32, 16), (0, 1, 1), (1, 1, 0)])
def test_the_store_is_asked_once_for_many_starts(usable: int, wanted: int, taken: int) -> None:
    assert missing(usable, wanted) == taken


def test_given_is_what_never_was_then_what_rests_the_longest_then_what_was_asked_for_by_name() -> None:
    fixed, new = kept("10.200.0.0", fixed=True), kept("10.200.0.9")
    early, late = kept("10.200.0.10", released=3), kept("10.200.0.1", released=4)
    order = []
    left = [late, fixed, early, new]
    while (one := choose(left)) is not None:
        order.append(one)
        left.remove(one)
    assert order == [new, early, late, fixed]


def test_a_claim_takes_own_blocks_then_one_left_then_a_new_one_then_borrows() -> None:
    own = block(CIDRS[0], "a", _0="a", _1="b")
    left = block(CIDRS[1], "", _4="", _5="b")
    other = block(CIDRS[2], "b", _8="b:x")
    found = claim(POOL, [own, left, other], "a", 9)
    assert found is not None
    assert (found.block.cidr, found.held, found.rests) == (CIDRS[0], ("10.200.0.2", "10.200.0.3"), ())
    full = found.block
    found = claim(POOL, [full, left, other], "a", 1)
    assert found is not None
    assert (found.block.node, found.held, found.rests) == ("a", ("10.200.0.6",), ("10.200.0.4",))
    assert found.block.held["10.200.0.5"] == Holding(node="b")
    full_too = claim(POOL, [full, found.block, other], "a", 1)
    assert full_too is not None
    assert full_too.held == ("10.200.0.7",)
    found = claim(POOL, [full, full_too.block, other], "a", 4)
    assert found is not None
    assert (found.block.cidr, found.block.node, len(found.held)) == (CIDRS[3], "a", 4)
    found = claim(POOL, [full, full_too.block, other, found.block], "a", 9)
    assert found is not None
    assert (found.block.cidr, found.block.node) == (CIDRS[2], "b")
    assert found.held == ("10.200.0.9", "10.200.0.10", "10.200.0.11")
    assert found.block.held["10.200.0.8"] == Holding(node="b", attachment="x")


def test_of_an_exhausted_pool_there_is_no_claim() -> None:
    every = [claim(POOL, [Block(pool="p", cidr=cidr, node="b")], "b", 4) for cidr in CIDRS]
    blocks = [one.block for one in every if one is not None]
    assert len(blocks) == 4
    assert claim(POOL, blocks, "a", 1) is None


@given(st.sets(st.sampled_from(CIDRS)), st.text(max_size=5))
def test_the_next_block_is_a_free_one_of_the_pool(taken: set[str], node: str) -> None:
    found = next_block(POOL, taken, node)
    assert (found is None) == (len(taken) == block_count(POOL))
    assert found not in taken
    assert found is None or found in CIDRS


def test_nodes_look_for_blocks_from_places_of_their_own_also_in_a_huge_pool() -> None:
    huge = Pool(name="p", cidr="fd00:200::/64", block_length=122)
    found = {next_block(huge, (), f"node-{number}") for number in range(100)}
    assert len(found) == 100


def test_a_wanted_address_is_taken_where_nobody_holds_it() -> None:
    found = claim_address(POOL, None, "a", "10.200.0.5")
    assert found is not None
    assert found.block == block(CIDRS[1], "a", _5="a")
    found = claim_address(POOL, block(CIDRS[1], "b", _4="b"), "a", "10.200.0.5")
    assert found is not None
    assert found.block == block(CIDRS[1], "b", _4="b", _5="a")
    assert claim_address(POOL, block(CIDRS[1], "b", _5="b"), "a", "10.200.0.5") is None


def test_too_many_leave_from_borrowed_ones_and_blocks_of_little_use() -> None:
    usable = [kept(f"10.200.0.{number}") for number in range(12)]
    gone = leaving(usable, 3, {CIDRS[0], CIDRS[1]}, {CIDRS[0]: 0, CIDRS[1]: 2})
    assert {block_of(POOL, one) for one in gone[:4]} == {CIDRS[2]}
    assert {block_of(POOL, one) for one in gone[4:8]} == {CIDRS[0]}
    assert len(gone) == 9
    assert leaving(usable[:6], 3, (), {}) == []
    assert leaving([kept("10.200.0.1", fixed=True)], 3, {CIDRS[0]}, {}) == ["10.200.0.1"]


def test_only_what_the_store_has_as_not_given_is_let_go() -> None:
    there = block(CIDRS[0], "a", _0="a", _1="a:x", _2="b")
    assert let_go(there, "a", [f"10.200.0.{number}" for number in range(4)]) == ["10.200.0.0"]


def test_the_store_is_told_what_was_given_and_nothing_where_it_knows() -> None:
    mine = {"10.200.0.0": kept("10.200.0.0", given=True, attachment="x"), "10.200.0.1": kept("10.200.0.1")}
    told = settle(block(CIDRS[0], "a", _0="a", _1="a:gone"), "p", CIDRS[0], "a", mine, joined=True)
    assert told.block == block(CIDRS[0], "a", _0="a:x", _1="a")
    assert told.write
    assert not settle(told.block, "p", CIDRS[0], "a", mine, joined=True).write


def test_what_the_store_has_more_than_the_journal_is_adopted_by_a_write_even_of_the_same() -> None:
    there = block(CIDRS[0], "a", _0="a", _1="a:x")
    found = settle(there, "p", CIDRS[0], "a", {}, joined=True)
    assert (found.block, found.write) == (there, True)
    assert found.adopted == (
        kept("10.200.0.0", resting=True),
        kept("10.200.0.1", given=True, attachment="x"),
    )
    left = settle(there, "p", CIDRS[0], "a", {}, joined=True, leave=["10.200.0.0", "10.200.0.1"])
    assert left.block == block(CIDRS[0], "a", _1="a:x")


def test_what_a_removed_node_gave_is_taken_again_or_is_doubled_and_its_reserve_is_dropped() -> None:
    mine = {
        "10.200.0.0": kept("10.200.0.0", given=True, attachment="x"),
        "10.200.0.1": kept("10.200.0.1", given=True, attachment="y"),
        "10.200.0.2": kept("10.200.0.2"),
        "10.200.0.3": kept("10.200.0.3"),
    }
    found = settle(block(CIDRS[0], "b", _1="b", _2="b"), "p", CIDRS[0], "a", mine, joined=True)
    assert found.block == block(CIDRS[0], "b", _0="a:x", _1="b", _2="b")
    assert found.doubled == {"10.200.0.1": "b"}
    assert found.dropped == ("10.200.0.2", "10.200.0.3")
    none = settle(None, "p", CIDRS[0], "a", mine, joined=True)
    assert none.block == block(CIDRS[0], "a", _0="a:x", _1="a:y")
    away = settle(None, "p", CIDRS[0], "a", mine, joined=False)
    assert (away.block, away.write, len(away.dropped)) == (None, False, 2)


def test_what_is_nobodys_in_an_own_block_rests_here_and_an_empty_block_goes() -> None:
    found = settle(block(CIDRS[0], "a", _0=""), "p", CIDRS[0], "a", {}, joined=True)
    assert found.block == block(CIDRS[0], "a", _0="a")
    assert found.adopted == (kept("10.200.0.0", resting=True),)
    assert settle(block(CIDRS[0], "a"), "p", CIDRS[0], "a", {}, joined=True).block is None
    foreign = block(CIDRS[0], "b", _0="")
    assert not settle(foreign, "p", CIDRS[0], "a", {}, joined=True).write


def test_of_a_removed_node_the_borrowed_stays_with_its_owner_and_the_held_is_nobodys() -> None:
    assert without_node(block(CIDRS[0], "a", _0="a:x", _1="b"), "a") == block(CIDRS[0], "", _0="", _1="b")
    assert without_node(block(CIDRS[0], "b", _0="a"), "a") == block(CIDRS[0], "b", _0="")
    assert without_node(block(CIDRS[0], "a"), "a") is None
    assert without_node(block(CIDRS[0], "b", _0="b"), "a") == block(CIDRS[0], "b", _0="b")


HOLDINGS = st.builds(Holding, node=st.sampled_from(("", *NODES)), attachment=st.sampled_from(("", "x", "y")))
ADDRESSES = [str(one) for one in ipaddress.ip_network(CIDRS[0])]
BLOCKS = st.none() | st.builds(
    Block,
    pool=st.just("p"),
    cidr=st.just(CIDRS[0]),
    node=st.sampled_from(("", *NODES)),
    held=st.dictionaries(st.sampled_from(ADDRESSES), HOLDINGS),
)
KEPT = st.dictionaries(st.sampled_from(ADDRESSES), st.tuples(st.booleans(), st.sampled_from(("", "x", "y"))))


@settings(max_examples=300)
@given(BLOCKS, KEPT, st.booleans(), st.sets(st.sampled_from(ADDRESSES)))
def test_settling_takes_nothing_of_others_and_comes_to_rest(
    there: Block | None, states: dict[str, tuple[bool, str]], joined: bool, leave: set[str]
) -> None:
    mine = {one: kept(one, given=given, attachment=to if given else "") for one, (given, to) in states.items()}
    found = settle(there, "p", CIDRS[0], "a", mine, joined=joined, leave=leave - mine.keys())
    before = there.held if there is not None else {}
    after = found.block.held if found.block is not None else {}
    for address in ADDRESSES:
        holder = before.get(address, Holding(node="")).node
        if holder not in ("", "a"):
            assert after[address] == before[address]
        elif holder == "" and not joined:
            assert after.get(address) == before.get(address)
    owner = there.node if there is not None else ""
    assert found.block is None or found.block.node in (owner, "a" if joined and not owner else owner)
    # What the journal has afterwards, and the store, say the same; and a second look finds nothing to do.
    now = {one: state for one, state in mine.items() if one not in found.dropped}
    now |= {one.address: one for one in found.adopted}
    assert all(after.get(one) and after[one].node == "a" for one in now if one not in found.doubled and joined)
    again = settle(found.block, "p", CIDRS[0], "a", now, joined=joined)
    assert (again.block, again.adopted, again.dropped, again.write) == (found.block, (), (), False)
