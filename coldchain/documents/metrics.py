"""metrics: numbers as text in Prometheus's form."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """One family. `samples`: value by labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Mapping[Labels, float]


class Distribution(NamedTuple):
    """`counts`: by class, of which the last is open; `total`: of all values."""

    counts: Sequence[int]
    total: float


class Histogram(NamedTuple):
    """One family. `bounds`: the upper ones of all classes but the last. `samples`: by labels."""

    name: str
    help: str
    bounds: Sequence[float]
    samples: Mapping[Labels, Distribution]


def render(metrics: Iterable[Metric | Histogram]) -> str:
    """The text exposition format 0.0.4."""
    lines = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {_escaped(metric.help)}")
        if isinstance(metric, Histogram):
            lines.append(f"# TYPE {metric.name} histogram")
            lines += _classes(metric)
            continue
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines += [_line(metric.name, labels, value) for labels, value in metric.samples.items()]
    return "\n".join(lines) + "\n"


def _classes(metric: Histogram) -> Iterator[str]:
    for labels, of in metric.samples.items():
        below = 0
        for bound, count in zip((*map(repr, metric.bounds), "+Inf"), of.counts, strict=True):
            below += count
            yield _line(f"{metric.name}_bucket", (*labels, ("le", bound)), below)
        yield _line(f"{metric.name}_sum", labels, of.total)
        yield _line(f"{metric.name}_count", labels, below)


def _line(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{label}="{_quoted(of)}"' for label, of in labels)
    return f"{name}{{{inner}}} {value!r}" if inner else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
