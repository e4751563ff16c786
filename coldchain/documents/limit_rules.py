"""The rules of limits and of ejection that concern several fields."""

from collections.abc import Iterator, Sequence

from coldchain.documents.findings import Finding, Path
from coldchain.model.limit import Ejection, Limit


def limit_findings(limits: Sequence[Limit], where: Path) -> Iterator[Finding]:
    """Everything wrong with the limits of a route."""
    first: dict[tuple[object, ...], Path] = {}
    for number, limit in enumerate(limits):
        here = (*where, number)
        if (limit.rate is None) == (limit.concurrency is None):
            yield Finding(here, "give either `rate` or `concurrency`")
            continue
        if limit.concurrency is not None and (limit.burst is not None or limit.per_seconds != 1.0):
            yield Finding(here, "`burst` and `perSeconds` are of a `rate`")
        if limit.concurrency is not None and limit.show_remaining:
            yield Finding((*here, "showRemaining"), "only of a `rate` something remains")
        if limit.rate is not None and limit.queue is not None:
            yield Finding((*here, "queue"), "requests wait only for a `concurrency`")
        kind = (limit.by, limit.rate is None, limit.per_seconds)
        before = first.setdefault(kind, here)
        if before != here:
            what = "concurrency" if limit.rate is None else f"rate per {limit.per_seconds:g} s"
            yield Finding(here, f"a {what} by {limit.by} is given twice", needs=(before,))


def ejection_findings(ejection: Ejection, where: Path) -> Iterator[Finding]:
    """Everything wrong with when instances are left alone."""
    if ejection.seconds_max < ejection.seconds:
        yield Finding((*where, "secondsMax"), f"is less than the {ejection.seconds:g} s of the first time")
