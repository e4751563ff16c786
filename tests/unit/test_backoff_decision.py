"""How long a configuration that fails has to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.backoff import STABLE_SECONDS, after_failure, launch_allowed_at
from coldchain.model.app import App
from coldchain.model.backoff import Backoff

SHOP = App(id="/shop", backoff_seconds=2.0, backoff_factor=2.0, max_launch_delay_seconds=60.0)


def fail(before: Backoff | None, *, served: bool = False, served_seconds: float = 0.0, version: str = "1") -> Backoff:
    return after_failure(before, SHOP, "/shop", version, served=served, served_seconds=served_seconds, now=100.0)


def test_delays_grow_to_their_limit() -> None:
    delays, backoff = [], None
    for _ in range(7):
        backoff = fail(backoff)
        delays.append(backoff.until - 100.0)
    assert delays == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_what_served_is_replaced_at_once_and_then_waited_for() -> None:
    first = fail(None, served=True, served_seconds=5.0)
    assert first.until == 100.0
    assert fail(first, served=True, served_seconds=5.0).until == 102.0


@pytest.mark.parametrize(("seconds", "failures"), [(STABLE_SECONDS - 1, 6), (STABLE_SECONDS, 1)])
def test_a_task_that_served_long_clears_the_record(seconds: float, failures: int) -> None:
    before = Backoff(app_id="/shop", target="cluster", version_id="1", failures=5, until=500.0)
    assert fail(before, served=True, served_seconds=seconds).failures == failures


def test_another_configuration_begins_anew() -> None:
    before = Backoff(app_id="/shop", target="cluster", version_id="1", failures=5, until=500.0)
    assert fail(before, version="2").failures == 1
    assert launch_allowed_at(before, "2") == 0.0
    assert launch_allowed_at(before, "1") == 500.0


@given(st.integers(0, 10**6), st.floats(1, 1000), st.floats(0, 10**7))
def test_no_delay_is_above_the_limit(failures: int, factor: float, seconds: float) -> None:
    app = App(id="/shop", backoff_seconds=seconds, backoff_factor=factor, max_launch_delay_seconds=60.0)
    before = Backoff(app_id="/shop", target="cluster", version_id="1", failures=failures)
    after = after_failure(before, app, "/shop", "1", served=False, served_seconds=0.0, now=0.0)
    assert 0.0 <= after.until <= 60.0
