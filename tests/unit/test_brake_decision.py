"""The brake: what goes bad together is neither killed nor replaced."""

import pytest

from coldchain.decisions.brake import Brake, judge, release


def bad(count: int, at: float = 100.0) -> dict[str, float]:
    return {f"instance-{number}": at for number in range(count)}


@pytest.mark.parametrize(
    ("count", "total", "holds"),
    [(0, 10, False), (1, 4, False), (2, 2, False), (2, 10, False), (3, 15, False), (3, 14, True), (4, 5, True)],
)
def test_it_holds_when_more_than_a_fifth_and_at_least_three_go_bad(count: int, total: int, holds: bool) -> None:
    assert judge(Brake(), bad(count), total, 110.0).holds is holds


def test_what_went_bad_long_ago_was_not_together() -> None:
    spread = {"a": 100.0, "b": 165.0, "c": 225.0}
    assert not judge(Brake(), spread, 5, 226.0).holds


def test_it_holds_on_beyond_the_window_until_no_longer_too_many_are_bad() -> None:
    brake = judge(Brake(), bad(4), 5, 101.0)
    assert judge(brake, bad(4), 5, 10_000.0) == brake
    calm = judge(brake, bad(1), 5, 10_001.0)
    assert calm.holds
    assert judge(calm, bad(1), 5, 10_030.0).holds
    assert not judge(calm, bad(1), 5, 10_031.0).holds


def test_a_relapse_begins_the_wait_anew() -> None:
    calm = judge(judge(Brake(), bad(4), 5, 101.0), bad(1), 5, 200.0)
    relapsed = judge(calm, bad(4), 5, 220.0)
    assert judge(judge(relapsed, bad(1), 5, 221.0), bad(1), 5, 231.0).holds


def test_an_operators_word_counts_until_the_fault_is_over() -> None:
    brake = release(judge(Brake(), bad(4), 5, 101.0))
    assert not judge(brake, bad(4), 5, 102.0).holds
    over = judge(judge(brake, bad(0), 5, 103.0), bad(0), 5, 140.0)
    assert judge(over, bad(4, at=144.0), 5, 145.0).holds


def test_there_is_nothing_to_release_while_it_does_not_hold() -> None:
    assert release(Brake()) == Brake()
