"""Whether a new version is clearly worse: what must stop a rollout, and what must never."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.decisions.acceptance import Interval, Observed, describe, judge, latency, total
from coldchain.model.app import Acceptance
from coldchain.model.traffic import LATENCY_BOUNDS_SECONDS, Traffic

CLASSES = len(LATENCY_BOUNDS_SECONDS) + 1
USUAL = Acceptance()


def counts(requests: int, errors: int = 0, **classes: int) -> Traffic:
    """`c3=10`: ten requests in latency class 3."""
    latencies = [0] * CLASSES
    for name, number in classes.items():
        latencies[int(name[1:])] = number
    return Traffic(requests=requests, errors=errors, latencies=tuple(latencies) if classes else ())


def observed(*pairs: tuple[Traffic, Traffic], before: Traffic | None = None) -> Observed:
    """(new, old) of each second."""
    intervals = tuple(Interval(at=float(second), new=new, old=old) for second, (new, old) in enumerate(pairs))
    return Observed(intervals=intervals, before=before or total(old for _, old in pairs))


def rejected(found: Observed, acceptance: Acceptance = USUAL, *, alone: bool = True) -> str:
    return judge(acceptance, found, alone=alone)


def binomial(draw: random.Random, number: int, share: float) -> int:
    return sum(draw.random() < share for _ in range(number))


def test_a_version_that_fails_a_part_of_its_requests_is_rejected_with_the_numbers() -> None:
    reason = rejected(observed(*[(counts(20, 3), counts(60, 0))] * 10))
    expected = "15.00% of 200 requests failed of the new version, 0.00% of 600 requests failed of the old one"
    assert reason == f"{expected}; 2.00% more are tolerated"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (observed(), "nothing was seen"),
        (observed(*[(counts(9, 9), counts(100))] * 10), "too few requests to the new one"),
        (observed(*[(counts(100, 50), counts(9))] * 10), "too few requests to the old one"),
        (observed(*[(counts(100, 50), counts(0))] * 5, *[(counts(100), counts(10))] * 5), "not at the same time"),
        (observed(*[(counts(100), counts(100))] * 9, (counts(500, 500), counts(500))), "one short burst"),
        (observed(*[(counts(1000, 15), counts(1000))] * 10), "as much as is tolerated"),
        (observed(*[(counts(10, 1), counts(10, 0))] * 12), "chance"),
        (observed(*[(counts(100, 30), counts(100, 30))] * 10), "both are equally bad"),
        (observed(*[(counts(100, 0), counts(100, 90))] * 10), "the new one is better"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_enough_to_reject(found: Observed, why: str) -> None:
    assert rejected(found) == ""


def test_it_can_be_switched_off_and_tuned() -> None:
    bad = observed(*[(counts(100, 10), counts(100, 0))] * 10)
    assert rejected(bad)
    assert not rejected(bad, Acceptance(enabled=False))
    assert not rejected(bad, Acceptance(error_share_increase_max=0.2))
    assert not rejected(bad, Acceptance(requests_min=5000))


def test_a_common_fault_is_no_reason_whoever_had_the_traffic_just_then() -> None:
    """The new version began when the fault did: over the whole window it fails far more often."""
    calm = [(counts(0), counts(300, 0))] * 50
    fault = [(counts(150, 75), counts(150, 75))] * 8
    assert rejected(observed(*calm, *fault)) == ""


@settings(max_examples=150)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.floats(0, 1)), min_size=1, max_size=60),
)
def test_versions_that_are_equally_bad_are_never_told_apart(seed: int, moments: list[tuple[int, int, float]]) -> None:
    """However the share of errors and of the traffic changes from second to second: errors and latencies alike."""
    draw = random.Random(seed)
    pairs = []
    for new, old, share in moments:
        sides = []
        for number in (new, old):
            wrong = binomial(draw, number, share)
            slow = binomial(draw, number, share)
            sides.append(counts(number, wrong, c2=number - slow, c9=slow))
        pairs.append((sides[0], sides[1]))
    assert rejected(observed(*pairs), alone=False) == ""


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.floats(0, 0.3), st.integers(20, 200), st.integers(20, 200))
def test_a_version_that_is_much_worse_is_always_found(seed: int, share: float, new: int, old: int) -> None:
    draw = random.Random(seed)
    pairs = [
        (counts(new, binomial(draw, new, min(1.0, share + 0.3))), counts(old, binomial(draw, old, share)))
        for _ in range(60)
    ]
    assert "requests failed of the new version" in rejected(observed(*pairs))


def test_alone_it_is_judged_by_its_errors_only_and_only_where_that_is_asked_for() -> None:
    bad = observed(*[(counts(50, 40, c9=50), counts(0))] * 11)
    assert "no old one to compare it with; 50.00% are tolerated" in rejected(bad)
    assert not rejected(bad, alone=False)
    assert not rejected(observed(*[(counts(50, 24, c9=50), counts(0))] * 11))
    assert not rejected(observed(*[(counts(50, 27), counts(0))] * 11)), "not certain"
    burst = [(counts(500, 500), counts(0))] * 10
    assert not rejected(observed(*[(counts(50), counts(0))] * 9, *burst)), "too short"


def test_alone_it_may_be_as_bad_as_the_old_one_was() -> None:
    now = [(counts(50, 40), counts(0))] * 11
    assert not rejected(observed(*now, before=counts(1000, 800)))
    assert rejected(observed(*now, before=counts(1000, 500)))
    assert rejected(observed(*now, before=counts(50, 40))), "too few to say how the old one was"


@pytest.mark.parametrize(
    ("new", "old", "slow"),
    [
        ({"c7": 50}, {"c4": 50}, True),  # 0.5–1 s instead of 50–100 ms
        ({"c5": 50}, {"c4": 50}, False),  # the next class is no three times as long
        ({"c4": 44, "c8": 6}, {"c4": 50}, True),  # 12 % of 1–2.5 s: the long ones are longer
        ({"c4": 49, "c8": 1}, {"c4": 50}, False),
        ({"c12": 50}, {"c11": 50}, False),  # beyond what is measured
        ({"c4": 50}, {"c9": 50}, False),  # faster
    ],
)
def test_latency_is_compared_by_what_is_usual_and_what_is_long(
    new: dict[str, int], old: dict[str, int], slow: bool
) -> None:
    reason = rejected(observed(*[(counts(50, **new), counts(50, **old))] * 10))
    assert bool(reason) == slow
    assert not slow or "took more than" in reason


def test_quantiles_and_words() -> None:
    assert latency(counts(4, c0=2, c3=2), 0.5) == 0.005
    assert latency(counts(4, c0=1, c3=3), 0.5) == 0.05
    assert latency(counts(1, c12=1), 0.5) == float("inf")
    assert latency(counts(1), 0.5) is None
    assert describe(Observed()) == ""
    assert describe(observed((counts(4, 1, c3=4), counts(2)))) == (
        "gateways saw in 60 s of the new version: 25.00% of 4 requests failed, half of them in 0.05 s,"
        " of the old version: 0.00% of 2 requests failed"
    )
