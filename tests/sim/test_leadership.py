"""Several controllers of one store, whose processes crash and stand still, are cut off and slow: one leads."""

from collections.abc import Callable, Iterable

import pytest

from coldchain.testing.simulation.leadership import PLANTED, find, live

LIVES = 12
LIVES_LONG = 1500
ONCE_FAILED = (317, 387, 784)
"""A write of a lead that had ended came back, and who had made it took itself for one that shall not lead; a lead that
ended while it was taken up went on."""
FOUND_BY = {
    "no guard": 31,
    "acts until it is told to stop": 14,
    "counts its lease from too late": 27,
    "loops go on after stepping down": 0,
    "waits for one gateway alone": 1,
}
"""The seed that found it first, when the search began at 0."""
FROM_THERE = 100
"""Another Python runs a seed in another order, and finds the bug by a later one."""

Tell = Callable[[str, object], None]


def _live(seeds: Iterable[int]) -> None:
    for seed in seeds:
        life = live(seed)
        assert not life.violations, f"life {seed}: {life.violations[0]}\nfaults: {life.strikes}"


def test_one_leads_at_a_time_and_nothing_is_lost_or_restarted() -> None:
    _live([*range(LIVES), *ONCE_FAILED])


@pytest.mark.long
@pytest.mark.timeout(0)
def test_one_leads_at_a_time_in_many_lives(first_seed: int) -> None:
    _live(range(first_seed, first_seed + LIVES_LONG))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, record_property: Tell) -> None:
    life = find(name, range(FOUND_BY[name], FOUND_BY[name] + FROM_THERE))
    assert life is not None, f"{name}: not found in {FROM_THERE} lives"
    record_property("planted bug", f"{name}: found by life {life.seed}: {life.violations[0]}")
