"""orphan: tasks of a machine that no executor answers for: who may take them over, and when they are ended."""

from collections.abc import Collection, Iterable, Mapping

from coldchain.model.base import Noun
from coldchain.model.task import TaskStatus

SWEEPER = "sweeper"
"""Holder of what is being ended: it does not come back."""


class Claim(Noun, frozen=True, kw_only=True):
    """Who answers for a task of the machine: the name of an executor, or SWEEPER."""

    holder: str


class Sweep(Noun, frozen=True, kw_only=True):
    """`since`: when each orphan was first seen to be one. `ended` and `forgotten`: runners' ids."""

    since: dict[str, float]
    orphans: tuple[TaskStatus, ...]
    ended: tuple[str, ...]
    forgotten: tuple[str, ...]


def refusal(claim: Claim | None, holder: str, living: Collection[str]) -> str:
    """Why `holder` may not answer for a task; empty: he may. `living`: the executors that live."""
    if claim is None or claim.holder == holder:
        return ""
    if claim.holder == SWEEPER:
        return "nobody answered for it, so it is being ended"
    return f"executor {claim.holder} answers for it" if claim.holder in living else ""


def sweep(
    found: Iterable[TaskStatus],
    claims: Mapping[str, Claim],
    living: Collection[str],
    since: Mapping[str, float],
    now: float,
    orphan_seconds: float,
) -> Sweep:
    """Look at all tasks of the machine. An executor that has just started calls nothing an orphan that it has not seen
    to be one for `orphan_seconds` itself: those who are to take it over may be late. `now` never jumps."""
    orphans = [one for one in found if not _answered_for(claims.get(one.task_id), living)]
    seen = {one.task_id: since.get(one.task_id, now) for one in orphans}
    late = [one for one in orphans if now - seen[one.task_id] >= orphan_seconds or _being_ended(one, claims)]
    return Sweep(
        since=seen,
        orphans=tuple(one for one in orphans if not one.terminal),
        ended=tuple(one.task_id for one in late if not one.terminal),
        forgotten=tuple(one.task_id for one in late if one.terminal),
    )


def _answered_for(claim: Claim | None, living: Collection[str]) -> bool:
    return claim is not None and claim.holder in living


def _being_ended(one: TaskStatus, claims: Mapping[str, Claim]) -> bool:
    claim = claims.get(one.task_id)
    return claim is not None and claim.holder == SWEEPER
