"""Checkers of checkers: bugs planted on purpose are found."""

from collections.abc import Callable

import pytest

from coldchain.testing.simulation.planted import PLANTED, find, planted
from coldchain.testing.simulation.schedule import generate
from coldchain.testing.simulation.shrink import breaks, shrink

FOUND_BY = {
    "stop before acknowledgement": 2,
    "drain skipped": 0,
    "second launch after a lost reply": 9,
    "unready counted as capacity": 1,
    "superseded version launched": 3,
    "emptied when the engine errs": 4,
    "emptied when a gateway errs": 23,
    "panic threshold removed": 12,
    "action before the first reconciliation": 0,
    "lost compare-and-swap": 2,
    "stale gateway not waited for": 10,
    "rollback launched twice": 72,
    "brake removed": 57,
    "paused rollout goes on": 12,
    "steps left out": 11,
    "old version not kept beside a gray one": 1,
    "constraints left out": 2,
    "foreign container adopted": 0,
    "layers not waited for": 2,
    "waiting app scaled down": 85,
    "placed on a drained agent": 17,
    "drained before others serve": 24,
    "drain forgotten": 36,
    "orphan taken for gone": 6,
    "orphan forgotten": 6,
    "orphan killed before the gateways know": 24,
    "registration not waited for": 4,
    "silent one served": 9,
    "registration not marked": 9,
}
"""The seed that found it first, when the search began at 0. That of "placed on a drained agent" is the second: in the
life of seed 14 what is placed there is replaced there, again and again, for a minute of real time."""
FROM_THERE = 300
"""Another Python runs a seed in another order, and finds the bug by a later one."""
SCHEDULES = 1000


Tell = Callable[[str, object], None]


def search(name: str, seeds: range, tell: Tell) -> None:
    result = find(name, seeds)
    assert result is not None, f"{name}: not found in {len(seeds)} schedules from {seeds.start} on"
    assert "TypeError" not in result.violations[0].words, "the planted code does not fit the real one any more"
    tell("planted bug", f"{name}: found by schedule {result.schedule.seed - seeds.start + 1}: {result.violations[0]}")


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, record_property: Tell) -> None:
    search(name, range(FOUND_BY[name], FOUND_BY[name] + FROM_THERE), record_property)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_within_a_thousand_schedules(name: str, first_seed: int, record_property: Tell) -> None:
    search(name, range(first_seed, first_seed + SCHEDULES), record_property)


def test_a_failing_schedule_gets_smaller_and_fails_in_the_same_way() -> None:
    with planted("drain skipped"):
        before = generate(FOUND_BY["drain skipped"])
        after = shrink(before, breaks("drain"))
        assert breaks("drain")(after)
    assert len(after.operations) + len(after.injections) < len(before.operations) + len(before.injections)
    assert len(after.operations) <= 3
    assert after.injections == ()
