"""What a candidate does next: it claims what is free, renews in time, and stops before anybody else can begin."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from coldchain.decisions.leadership import (
    Candidacy,
    Timing,
    doubted,
    leased,
    looked,
    next_step,
    stepped_down,
    taken,
)
from coldchain.model.leader import Leader

TIMING = Timing()
ME = Leader(name="me", url="http://10.0.0.1:8080", secret="mine")
OTHER = Leader(name="other", url="http://10.0.0.2:8080", secret="theirs")
NOBODY = looked(Candidacy(name="me"), None, 7)
LEASED = leased(NOBODY, 100.0, 3.0, TIMING)
LEADING = taken(looked(LEASED, ME, 8))


@pytest.mark.parametrize(
    ("seen", "now", "kind"),
    [
        (Candidacy(name="me"), 100.0, "look"),
        (NOBODY, 100.0, "open lease"),
        (LEASED, 100.1, "claim"),
        (LEASED, 102.5, "open lease"),
        (doubted(LEASED), 100.1, "look"),
        (looked(LEASED, OTHER, 8), 100.1, "wait"),
        (looked(LEASED, ME, 8), 100.1, "take"),
        (looked(LEASED, ME, 8), 102.6, "wait"),
        (msgspec.structs.replace(NOBODY, rests_until=101.0), 100.0, "wait"),
        (LEADING, 100.1, "wait"),
        (LEADING, 100.8, "renew"),
        (LEADING, 102.6, "step down"),
        (looked(LEADING, OTHER, 9), 100.1, "step down"),
        (looked(LEADING, None, 9), 100.1, "step down"),
        (looked(LEADING, None, 6), 100.1, "wait"),
        (msgspec.structs.replace(LEADING, why="it was asked to"), 100.1, "step down"),
    ],
)
def test_what_is_done_next(seen: Candidacy, now: float, kind: str) -> None:
    assert next_step(seen, now, TIMING).kind == kind


def test_who_abdicated_lets_others_go_first() -> None:
    seen = looked(stepped_down(msgspec.structs.replace(LEADING, why="asked"), 101.0, TIMING), None, 9)
    assert next_step(seen, 101.0, TIMING).until == 101.0 + TIMING.rest_seconds
    assert next_step(seen, 104.1, TIMING).kind == "open lease"


def test_who_lost_the_lease_may_try_again_at_once() -> None:
    assert next_step(looked(stepped_down(LEADING, 103.0, TIMING), None, 9), 103.0, TIMING).kind == "open lease"


@given(
    asked_at=some.floats(0, 1e6),
    on_the_way=some.floats(0, 100),
    granted=some.floats(1.0, 60.0),
    rate=some.floats(0.99, 1.01),
)
def test_a_leader_stops_before_its_lease_can_end(
    asked_at: float, on_the_way: float, granted: float, rate: float
) -> None:
    """`rate`: how fast the leader's clock goes against the store's, which counts from when it was asked."""
    until = TIMING.sure_until(asked_at, granted)
    passed_for_the_store = (until - asked_at) / rate
    assert passed_for_the_store + TIMING.margin_seconds / 2 < on_the_way + granted


@given(some.lists(some.tuples(some.sampled_from([None, ME, OTHER]), some.integers(1, 20)), max_size=20))
def test_the_latest_that_was_heard_counts_in_whatever_order_it_comes(heard: list[tuple[Leader | None, int]]) -> None:
    seen = Candidacy(name="me")
    for leader, revision in heard:
        seen = looked(seen, leader, revision)
    assert seen.revision == max((revision for _, revision in heard), default=0)
