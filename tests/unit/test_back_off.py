"""Who got no answer asks again later and later, and not all at one moment."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coldchain.clients.back_off import FIRST_SECONDS, LAST_SECONDS, back_off_seconds

WINDOW_SECONDS = 1.0


@given(st.text(), st.integers(0, 10_000))
def test_it_doubles_up_to_a_limit_and_is_never_less_than_half(who: str, attempt: int) -> None:
    longest = min(LAST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, 10))
    assert longest / 2 <= back_off_seconds(who, attempt) <= longest
    assert back_off_seconds(who, attempt) == back_off_seconds(who, attempt)


def test_many_who_lost_it_at_one_moment_do_not_come_back_at_one_moment() -> None:
    names = [f"controller-{number} 17 /v1/health/service/shop" for number in range(300)]
    moments = dict.fromkeys(names, 0.0)
    for attempt in range(8):
        moments = {who: at + back_off_seconds(who, attempt) for who, at in moments.items()}
    ordered = sorted(moments.values())
    most = max(sum(at <= other < at + WINDOW_SECONDS for other in ordered) for at in ordered)
    assert most < len(names) / 10
    # Nor do any two of them go on side by side.
    first, second = (sorted(names, key=lambda who: back_off_seconds(who, attempt)) for attempt in (0, 1))
    together = sum(second.index(one) - second.index(other) in (-1, 1) for one, other in pairwise(first))
    assert together < len(names) / 10
