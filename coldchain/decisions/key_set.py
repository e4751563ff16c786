"""key_set: which sets of public keys are to be fetched now, and what becomes of one when it could not be.

A set that was once read stays in use until another one is: who issues tokens may be away for as long as he likes."""

from collections.abc import Collection, Iterable, Mapping

from coldchain.model.app import App
from coldchain.model.key_set import KeySetState

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 5.0
"""After the first failure; twice as long after each further one, and never longer than between two refreshes."""


def wanted(apps: Iterable[App]) -> frozenset[str]:
    """The addresses that routes name."""
    return frozenset(
        route.filters.authentication.jwt.keys
        for app in apps
        for route in app.routes
        if route.filters is not None
        and route.filters.authentication is not None
        and route.filters.authentication.jwt is not None
        and route.filters.authentication.jwt.keys is not None
    )


def next_at(state: KeySetState | None) -> float:
    """When it is to be fetched, in seconds of the monotonic clock; one that nobody tried yet at once."""
    if state is None:
        return float("-inf")
    if not state.failures:
        return state.tried_at + REFRESH_SECONDS
    return state.tried_at + min(REFRESH_SECONDS, RETRY_SECONDS * 2.0 ** min(state.failures - 1, 10))


def due(addresses: Collection[str], known: Mapping[str, KeySetState], now: float) -> list[str]:
    """Those that are to be fetched now, in their order."""
    return [one for one in sorted(addresses) if next_at(known.get(one)) <= now]


def wait_seconds(addresses: Collection[str], known: Mapping[str, KeySetState], now: float) -> float | None:
    """How long nothing is to be done; None: until somebody wants something."""
    times = [next_at(known.get(one)) for one in addresses]
    return max(0.0, min(times) - now) if times else None


def tried(before: KeySetState | None, now: float, problem: str = "", fetched_at: float | None = None) -> KeySetState:
    """What is known after a try that ended at `now`; `fetched_at`: of a good one, by the clock on the wall."""
    if not problem:
        return KeySetState(tried_at=now, fetched_at=fetched_at)
    failures = before.failures if before is not None else 0
    last = before.fetched_at if before is not None else None
    return KeySetState(tried_at=now, fetched_at=last, failures=failures + 1, problem=problem)
