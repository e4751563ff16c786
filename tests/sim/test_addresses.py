"""Nodes that give addresses of one pool, under every fault: none is given twice or too early, and none is lost."""

from collections.abc import Callable, Iterable

import pytest

from coldchain.testing.simulation.address_crashes import crash
from coldchain.testing.simulation.addresses import live
from coldchain.testing.simulation.planted_addresses import PLANTED, find

LIVES = 12
LIVES_LONG = 1500
ONCE_FAILED = (0, 27, 38, 820007, 840224)
"""What was let go was taken back at once; what a failing disk did not forget stayed in the journal; a node that was
removed and came back gave from the journal of before; and so it did, while the store was away, with what a container of
before had released; what a failing disk wrote and did not say stayed in the journal."""
FOUND_BY = {
    "gives before it writes": 0,
    "does not rest": 0,
    "forgets rests when it ends": 7,
    "lets go what it may still give": 0,
    "writes over others": 0,
    "removed node goes on": 60,
    "removed node's addresses do not rest": 4,
    "releases what it never gave": 9,
    "does not renounce": 6,
    "keeps too many": 0,
}
"""The seed that found it first, when the search began at 0."""
FROM_THERE = 100
"""Another Python runs a seed in another order, and finds the bug by a later one."""

Tell = Callable[[str, object], None]


def _live(seeds: Iterable[int]) -> None:
    for seed in seeds:
        life = live(seed)
        assert not life.violations, f"life {seed}: {life.violations[0]}\nfaults: {life.strikes}"
        assert life.given > 100


def test_no_address_is_given_twice_or_too_early_and_none_is_lost() -> None:
    _live(sorted({*range(LIVES), *ONCE_FAILED}))


def test_netd_may_be_killed_at_every_step_of_what_it_does() -> None:
    whole = crash(0)
    assert (whole.violations, whole.steps > 100) == ((), True)
    for step in range(1, whole.steps + 1):
        assert crash(step).violations == (), f"killed at step {step}"


@pytest.mark.long
@pytest.mark.timeout(0)
def test_no_address_is_given_twice_in_many_lives(first_seed: int) -> None:
    _live(range(first_seed, first_seed + LIVES_LONG))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, record_property: Tell) -> None:
    life = find(name, range(FOUND_BY[name], FOUND_BY[name] + FROM_THERE))
    assert life is not None, f"{name}: not found in {FROM_THERE} lives"
    record_property("planted bug", f"{name}: found by life {life.seed}: {life.violations[0]}")
