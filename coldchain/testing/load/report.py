"""report: outcomes as numbers. Failures are listed whole, never averaged away."""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from coldchain.testing.load.outcome import Outcome

FAILURES_LISTED = 20


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one method, mode or version."""

    requests: int
    failed: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that ended: requests = answered + failed.

    latency_ms: from the scheduled start to the end, failed ones included. `beyond_service`: less the service time that
    the request asked for. Times of failures: their ends, in seconds since the epoch. `by_version`: what X-Version said,
    `none` without one. `failed_by_kind`: kinds of error and statuses.
    """

    name: str
    seconds: float
    requests: int
    answered: int
    failed: int
    latency_ms_p50: float
    latency_ms_p99: float
    latency_ms_max: float
    latency_ms_p99_beyond_service: float
    latency_ms_max_beyond_service: float
    by_method: dict[str, Group]
    by_mode: dict[str, Group]
    by_version: dict[str, Group]
    failed_by_kind: dict[str, int]
    first_failure_at: float | None
    last_failure_at: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run: sent = total.answered + total.failed + in_flight. `failures`: the first twenty that ended."""

    sent: int
    in_flight: int
    total: Summary
    steps: tuple[Summary, ...]
    failures: tuple[Outcome, ...]


def summarize(name: str, seconds: float, outcomes: Sequence[Outcome]) -> Summary:
    """Adds the outcomes up. Latencies are 0 without any."""
    failures = [outcome for outcome in outcomes if outcome.failed]
    latencies = sorted(outcome.latency_seconds for outcome in outcomes)
    beyond = sorted(outcome.latency_seconds - outcome.service_seconds for outcome in outcomes)
    return Summary(
        name=name,
        seconds=round(seconds, 3),
        requests=len(outcomes),
        answered=len(outcomes) - len(failures),
        failed=len(failures),
        latency_ms_p50=_quantile_ms(latencies, 0.5),
        latency_ms_p99=_quantile_ms(latencies, 0.99),
        latency_ms_max=_quantile_ms(latencies, 1),
        latency_ms_p99_beyond_service=_quantile_ms(beyond, 0.99),
        latency_ms_max_beyond_service=_quantile_ms(beyond, 1),
        by_method=_groups([(outcome.method, outcome.failed) for outcome in outcomes]),
        by_mode=_groups([(outcome.mode, outcome.failed) for outcome in outcomes]),
        by_version=_groups([(outcome.version or "none", outcome.failed) for outcome in outcomes]),
        failed_by_kind=dict(sorted(Counter(outcome.kind for outcome in failures).items())),
        first_failure_at=min((outcome.ended_at for outcome in failures), default=None),
        last_failure_at=max((outcome.ended_at for outcome in failures), default=None),
    )


def first_failures(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Those that ended first, at most FAILURES_LISTED."""
    failures = sorted((outcome for outcome in outcomes if outcome.failed), key=lambda outcome: outcome.ended_at)
    return tuple(failures[:FAILURES_LISTED])


def _quantile_ms(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least `share` of all do not exceed."""
    if not ordered:
        return 0.0
    return round(ordered[max(math.ceil(share * len(ordered)), 1) - 1] * 1000, 3)


def _groups(pairs: Sequence[tuple[str, bool]]) -> dict[str, Group]:
    counts = Counter(pairs)
    return {
        name: Group(requests=counts[name, False] + counts[name, True], failed=counts[name, True])
        for name in sorted({name for name, _ in counts})
    }
