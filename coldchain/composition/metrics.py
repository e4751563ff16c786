"""metrics: what the composition layer counts: requests and steps, how they ended and how long they took."""

from bisect import bisect_left
from collections import Counter

from coldchain.documents.metrics import Distribution, Histogram, Labels, Metric
from coldchain.model.traffic import LATENCY_BOUNDS_SECONDS

NOBODY = "none"
"""The composition of requests that no composition answers."""


class _Latencies:
    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(LATENCY_BOUNDS_SECONDS, seconds)] += 1
        self.total += seconds


class Meter:
    """Names come from the file alone, never from a request: there are no more of them than were declared."""

    def __init__(self) -> None:
        self._requests: Counter[Labels] = Counter()
        self._partial: Counter[Labels] = Counter()
        self._steps: Counter[Labels] = Counter()
        self._request_seconds: dict[Labels, _Latencies] = {}
        self._step_seconds: dict[Labels, _Latencies] = {}
        self.reloads: Counter[str] = Counter()
        """By outcome: taken, refused."""

    def request_ended(self, title: str, status: int, seconds: float, *, partial: bool = False) -> None:
        labels = (("composition", title),)
        self._requests[*labels, ("code", str(status))] += 1
        self._request_seconds.setdefault(labels, _Latencies()).add(seconds)
        if partial:
            self._partial[labels] += 1

    def step_ended(self, title: str, step: str, outcome: str, seconds: float) -> None:
        labels = (("composition", title), ("step", step))
        self._steps[*labels, ("outcome", outcome)] += 1
        if outcome != "skipped":
            self._step_seconds.setdefault(labels, _Latencies()).add(seconds)

    def collect(self, requests_open: int, compositions: int, calls_open: Counter[str]) -> list[Metric | Histogram]:
        """The numbers of this moment."""
        name = "coldchain_composition"
        return [
            Metric(f"{name}_declared", "gauge", "Compositions that are served.", {(): float(compositions)}),
            Metric(f"{name}_requests_open", "gauge", "Requests without an answer yet.", {(): float(requests_open)}),
            Metric(f"{name}_requests_total", "counter", "Requests by composition and status.", self._requests),
            Metric(f"{name}_partial_total", "counter", "Answers that lack an optional step.", self._partial),
            _histogram(f"{name}_request_seconds", "Until the whole answer.", self._request_seconds),
            Metric(f"{name}_steps_total", "counter", "Steps by how they ended.", self._steps),
            _histogram(f"{name}_step_seconds", "Of one step with all its tries.", self._step_seconds),
            Metric(
                f"{name}_calls_open",
                "gauge",
                "Calls without an answer yet, by service.",
                {(("service", service),): float(count) for service, count in sorted(calls_open.items())},
            ),
            Metric(
                f"{name}_reloads_total",
                "counter",
                "Files read anew, by whether they were taken or refused.",
                {(("outcome", outcome),): self.reloads[outcome] for outcome in ("taken", "refused")},
            ),
        ]


def _histogram(name: str, words: str, latencies: dict[Labels, _Latencies]) -> Histogram:
    samples = {labels: Distribution(tuple(one.counts), one.total) for labels, one in latencies.items()}
    return Histogram(name, words, LATENCY_BOUNDS_SECONDS, samples)
