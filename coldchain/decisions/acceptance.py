"""acceptance: whether the gateways see that a new version serves clearly worse than the old one.

Compared is only what the same gateway counted of both in the same moments, so that a fault which both share weighs on
both alike, whichever of them had more of the traffic just then (the test of Cochran, Mantel and Haenszel). What is
called worse must be more than tolerated, beyond what chance does, and last.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from coldchain.model.app import Acceptance
from coldchain.model.base import Noun
from coldchain.model.traffic import LATENCY_BOUNDS_SECONDS, Traffic

WINDOW_SECONDS = 60.0
"""How far back is looked: long enough for many requests, short enough that a recovery counts."""
WARM_SECONDS = 30.0
"""The latency of an instance does not count so long after its first request: caches and compilers are still cold."""
LASTING_SECONDS = 3.0
"""What goes wrong in one shorter burst is no property of a version."""
ALONE_SECONDS = 10.0
"""The same where there is no old version to compare with: a fault of something that all need looks alike."""
DEVIATIONS = 5.0
"""Standard deviations from what chance does: it is looked at each second of many rollouts, and must never err."""
QUANTILES = (0.5, 0.95)
"""Of the latency: what usual requests take, and what long ones take."""


class Interval(Noun, frozen=True, kw_only=True):
    """What one gateway counted from one report to the next, of the instances of the new version and of all others.
    `at`: seconds on the controller's monotonic clock. `latencies` are those of warm instances only."""

    at: float
    new: Traffic = Traffic()
    old: Traffic = Traffic()


class Observed(Noun, frozen=True, kw_only=True):
    """What was counted within the window, of all gateways; and `before`: of the old version since the deployment
    began."""

    intervals: tuple[Interval, ...] = ()
    before: Traffic = Traffic()


class _Excess(Noun, frozen=True, kw_only=True):
    """How much more often something happened to requests of the new version than to those of the old: in `share`,
    and in standard deviations. `fewest`: requests of the version that had fewer. `lasted`: seconds."""

    share: float
    deviations: float
    fewest: int
    lasted: float


def total(counts: Iterable[Traffic]) -> Traffic:
    """The sum."""
    requests = errors = 0
    latencies = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
    for one in counts:
        requests += one.requests
        errors += one.errors
        for place, count in enumerate(one.latencies):
            latencies[place] += count
    return Traffic(requests=requests, errors=errors, latencies=tuple(latencies) if any(latencies) else ())


def judge(acceptance: Acceptance, observed: Observed, *, alone: bool) -> str:
    """Why the new version is not accepted, in words; empty when it is, or when too little is known.

    `alone`: it may be judged by itself while the old version gets no requests.
    """
    if not acceptance.enabled:
        return ""
    old = total(one.old for one in observed.intervals)
    if not old.requests:
        return _judged_alone(acceptance, observed) if alone else ""
    new = total(one.new for one in observed.intervals)
    errors = _excess(observed.intervals, lambda counts: (counts.errors, counts.requests))
    if _clear(errors, acceptance, acceptance.error_share_increase_max):
        return (
            f"{_failed(new)} of the new version, {_failed(old)} of the old one;"
            f" {acceptance.error_share_increase_max:.2%} more are tolerated"
        )
    return next(_slower(acceptance, observed.intervals, new, old), "")


def _judged_alone(acceptance: Acceptance, observed: Observed) -> str:
    """By the share of its errors: with certainty above what is tolerated, and above what the old version had."""
    new, before = total(one.new for one in observed.intervals), observed.before
    tolerated = acceptance.error_share_max
    if before.requests >= acceptance.requests_min:
        tolerated = max(tolerated, before.errors / before.requests + acceptance.error_share_increase_max)
    wrong = [one.at for one in observed.intervals if one.new.errors > tolerated * one.new.requests]
    if new.requests < acceptance.requests_min or _span(wrong) < ALONE_SECONDS or _at_least(new) <= tolerated:
        return ""
    return f"{_failed(new)} of the new version, with no old one to compare it with; {tolerated:.2%} are tolerated"


def _slower(acceptance: Acceptance, intervals: Sequence[Interval], new: Traffic, old: Traffic) -> Iterator[str]:
    """Where so many requests take longer than the factor times the old version's quantile that the new version's is
    beyond that, too."""
    for quantile in QUANTILES:
        usual = latency(old, quantile)
        limit = _class_above(usual * acceptance.latency_factor_max) if usual is not None else None
        if limit is None:
            continue
        excess = _excess(intervals, lambda counts, limit=limit: _slow(counts, limit))  # type: ignore[misc]
        if _clear(excess, acceptance, 1.0 - quantile):
            bound = LATENCY_BOUNDS_SECONDS[limit]
            slow, counted = _slow(new, limit)
            yield (
                f"{slow / counted:.1%} of {counted} requests to the new version took more than {bound:g} s;"
                f" {quantile:.0%} of {sum(old.latencies)} to the old one take at most {usual:g} s,"
                f" {acceptance.latency_factor_max:g} times that is tolerated"
            )


def latency(counts: Traffic, quantile: float) -> float | None:
    """The upper bound of the class in which this quantile of the latencies lies, in seconds; None where there are no
    latencies, and infinity where it is in the open class."""
    counted, seen = sum(counts.latencies), 0
    for place, count in enumerate(counts.latencies):
        seen += count
        if count and seen >= quantile * counted:
            return LATENCY_BOUNDS_SECONDS[place] if place < len(LATENCY_BOUNDS_SECONDS) else math.inf
    return None


def describe(observed: Observed) -> str:
    """What was seen of both versions, in words; empty when nothing was."""
    said = []
    for name, counts in (
        ("new version", total(one.new for one in observed.intervals)),
        ("old version", total(one.old for one in observed.intervals)),
    ):
        usual = latency(counts, 0.5)
        took = f", half of them in {usual:g} s" if usual is not None else ""
        if counts.requests:
            said.append(f"{name}: {_failed(counts)}{took}")
    return f"gateways saw in {WINDOW_SECONDS:g} s of the {', of the '.join(said)}" if said else ""


def _excess(intervals: Sequence[Interval], counted: Callable[[Traffic], tuple[int, int]]) -> _Excess:
    """`counted`: to how many it happened, and of how many. Only intervals with requests to both versions count."""
    surplus = variance = difference = weight = 0.0
    requests_new = requests_old = 0
    worse: list[float] = []
    for interval in intervals:
        hit_new, new = counted(interval.new)
        hit_old, old = counted(interval.old)
        if not new or not old:
            continue
        both, hit = new + old, min(hit_new, new) + min(hit_old, old)
        expected = hit * new / both
        requests_new, requests_old = requests_new + new, requests_old + old
        surplus += min(hit_new, new) - expected
        variance += new * old * hit * (both - hit) / (both * both * (both - 1))
        difference += (min(hit_new, new) * old - min(hit_old, old) * new) / both
        weight += new * old / both
        if hit_new > expected:
            worse.append(interval.at)
    return _Excess(
        share=difference / weight if weight else 0.0,
        deviations=surplus / math.sqrt(variance) if variance else 0.0,
        fewest=min(requests_new, requests_old),
        lasted=_span(worse),
    )


def _clear(excess: _Excess, acceptance: Acceptance, tolerated: float) -> bool:
    return (
        excess.fewest >= acceptance.requests_min
        and excess.share > tolerated
        and excess.deviations > DEVIATIONS
        and excess.lasted >= LASTING_SECONDS
    )


def _span(moments: Sequence[float]) -> float:
    return max(moments) - min(moments) if moments else 0.0


def _at_least(counts: Traffic) -> float:
    """The share of errors that is certain (the lower end of Wilson's interval)."""
    number, share, deviations = counts.requests, min(1.0, counts.errors / counts.requests), DEVIATIONS
    middle = share + deviations**2 / (2 * number)
    spread = deviations * math.sqrt(share * (1 - share) / number + deviations**2 / (4 * number**2))
    return (middle - spread) / (1 + deviations**2 / number)


def _class_above(seconds: float) -> int | None:
    """The first latency class whose upper bound is at least that; None beyond the last bound."""
    return next((place for place, bound in enumerate(LATENCY_BOUNDS_SECONDS) if bound >= seconds), None)


def _slow(counts: Traffic, limit: int) -> tuple[int, int]:
    """(requests that took longer than this class's upper bound, all of known latency)."""
    return sum(counts.latencies[limit + 1 :]), sum(counts.latencies)


def _failed(counts: Traffic) -> str:
    return f"{counts.errors / counts.requests:.2%} of {counts.requests} requests failed"
