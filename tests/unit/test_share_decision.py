"""How a limit is divided among gateways: never more than the whole, nobody without anything, and to those in need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.share import MINIMUM, allowed, divide, least, smoothed, wanted
from coldchain.model.limit import LimitUse

WISHES = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.floats(0, 50), min_size=1, max_size=12)


@given(WISHES, st.booleans())
def test_no_more_than_the_whole_and_a_minimum_for_each(wishes: dict[str, float], single: bool) -> None:
    shares = divide(wishes, single)
    assert shares.keys() == wishes.keys()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share >= least(len(wishes)) - 1e-9 for share in shares.values())


@given(WISHES)
def test_who_asks_for_little_gets_it_and_the_rest_goes_to_those_in_need(wishes: dict[str, float]) -> None:
    shares = divide(wishes, single=True)
    rest = 1.0 - MINIMUM
    enough = sum(wishes.values()) <= rest
    for name, wish in wishes.items():
        if enough or wish <= rest / len(wishes):
            assert shares[name] >= min(wish, rest / len(wishes)) - 1e-9
        if enough:
            assert shares[name] >= wish - 1e-9
    short = [name for name, wish in wishes.items() if shares[name] - least(len(wishes)) < wish - 1e-9]
    if short:
        assert max(shares[name] for name in short) == pytest.approx(min(shares[name] for name in short))
        assert max(shares.values()) == pytest.approx(max(shares[name] for name in short))


def test_where_addresses_are_counted_apart_shares_follow_the_requests() -> None:
    assert divide({"a": 30.0, "b": 10.0}, single=False) == pytest.approx({"a": 0.05 + 0.675, "b": 0.05 + 0.225})
    assert divide({"a": 0.0, "b": 0.0}, single=False) == pytest.approx({"a": 0.5, "b": 0.5})


def test_what_a_gateway_wants() -> None:
    before = LimitUse(most=10, rate=True, asked=100, refused=0)
    assert wanted(LimitUse(most=10, rate=True, asked=130, refused=20), before, 2.0) == pytest.approx(1.5)
    assert wanted(LimitUse(most=10, rate=True, asked=130, refused=20), None, 2.0) == 0
    assert wanted(LimitUse(most=10, rate=True, asked=5), before, 2.0) == 0  # started afresh
    assert wanted(LimitUse(most=10, rate=True, single=False, asked=130), before, 2.0) == pytest.approx(15)
    held = LimitUse(most=10, asked=10, held=4, waiting=2, refused=0)
    assert wanted(LimitUse(most=10, asked=30, held=4, waiting=2, refused=8), held, 2.0) == pytest.approx(1.0)


def test_a_moment_is_not_all() -> None:
    assert smoothed(None, 4.0) == 4.0
    assert smoothed(2.0, 4.0) == 3.0


def test_what_another_one_may_still_work_by_is_not_given_away() -> None:
    assert allowed(0.8, 0.5, 0.5, 2) == 0.5
    assert allowed(0.8, 0.5, 0.2, 2) == 0.8
    assert allowed(0.3, 0.5, 0.9, 2) == 0.1 - 1e-4 or allowed(0.3, 0.5, 0.9, 2) == 0.1
    assert allowed(0.3, None, 1.0, 2) == least(2)
    assert allowed(0.505, 0.5, 0.4, 2) == 0.5  # not worth a word
