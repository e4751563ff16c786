"""composition: which steps may begin, when a composition has ended, and how.

A plan is what each step needs. Where none needs itself in a circle, every step has its turn.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from coldchain.model.composition import Step

Reason = Literal["timeout", "in doubt", "unavailable", "busy", "status", "raised", "unfit"]
Needs = Mapping[str, frozenset[str]]

STATUSES: Mapping[str, int] = {"timeout": 504, "in doubt": 504, "unavailable": 503, "busy": 503}
BAD_ANSWER = 502
SERVERS_FAULT = 500


class Outcome(NamedTuple):
    """How a step ended. `status`: of an answer over HTTP that is none for this step; `passed`: and that becomes the
    status of the whole."""

    state: Literal["answered", "skipped", "failed"]
    value: Any = None
    reason: Reason | None = None
    words: str = ""
    status: int = 0
    passed: bool = False


class Progress(NamedTuple):
    """`start`: what begins now. `failed`: the step because of which the whole has failed. `done`: nothing is left."""

    start: tuple[str, ...] = ()
    failed: str | None = None
    done: bool = False


def circle(needs: Needs) -> tuple[str, ...]:
    """Steps that need each other in a circle, in this order; empty for none. What is needed and is no step is left."""
    state: dict[str, bool] = {}  # False while it is being looked at, True when it is known to be well

    def look(name: str, way: tuple[str, ...]) -> tuple[str, ...]:
        if state.get(name) is False:
            return way[way.index(name) :]
        if name in state or name not in needs:
            return ()
        state[name] = False
        for other in sorted(needs[name]):
            if found := look(other, (*way, name)):
                return found
        state[name] = True
        return ()

    for name in needs:
        if found := look(name, ()):
            return found
    return ()


def progress(
    steps: Mapping[str, Step], needs: Needs, begun: Collection[str], outcomes: Mapping[str, Outcome]
) -> Progress:
    """One that is required and failed ends the whole; of several the first of the declaration is named."""
    for name, step in steps.items():
        ended = outcomes.get(name)
        if ended is not None and ended.state == "failed" and not step.optional:
            return Progress(failed=name)
    if len(outcomes) == len(steps):
        return Progress(done=True)
    ready = tuple(name for name in steps if name not in begun and needs[name] <= outcomes.keys())
    return Progress(start=ready)


def at_deadline(
    steps: Mapping[str, Step], begun: Collection[str], outcomes: Mapping[str, Outcome], seconds: float
) -> dict[str, Outcome]:
    """What becomes of the steps that have not ended when the time of the whole is over."""
    return {
        name: Outcome(
            state="failed",
            reason="timeout",
            words=f"{'no answer' if name in begun else 'not begun'} when the {seconds:g} s of the whole were over",
        )
        for name in steps
        if name not in outcomes
    }


def missing(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """The steps that failed, and why."""
    return {name: one.reason or "" for name, one in outcomes.items() if one.state == "failed"}


def status_of(failed: Outcome) -> int:
    """Of the whole, where this step has ended it."""
    if failed.passed:
        return failed.status
    return STATUSES.get(failed.reason or "", BAD_ANSWER)


def may_try_again(step: Step, outcome: Outcome, tries: int, left_seconds: float) -> bool:
    """Only a step that is said to be idempotent. What the service has refused or raised is not asked a second time."""
    worth = outcome.reason in ("timeout", "in doubt", "unavailable") or outcome.status >= SERVERS_FAULT
    return step.idempotent and outcome.state == "failed" and worth and tries <= step.retries and left_seconds > 0


def try_seconds(left_seconds: float, tries_left: int) -> float:
    """Each further try has its share of the time, so that a first one that hangs does not use it up."""
    return left_seconds / (tries_left + 1)
