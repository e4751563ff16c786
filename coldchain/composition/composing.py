"""composing: the steps of one request, each as soon as what it needs is there, and their one answer.

decide.progress → begin → wait for the first → outcome → decide.progress → … → answer
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from coldchain.composition.prepared import Prepared
from coldchain.composition.stepping import Stepping
from coldchain.decisions import composition as decide
from coldchain.decisions.composition import Outcome
from coldchain.documents.expression import MISSING, STEPS, Unfit
from coldchain.ports.clock import Clock


class Composed(NamedTuple):
    """`missing`: the optional steps that failed, and why. `failed_step`: because of which there is no answer."""

    status: int
    document: Any
    missing: Mapping[str, str] = {}
    failed_step: str | None = None


async def compose(prepared: Prepared, request: Mapping[str, Any], stepping: Stepping, clock: Clock) -> Composed:
    """`request`: what expressions see of it. Calls that are open when a required step fails are given up."""
    one = prepared.declared
    deadline = clock.monotonic() + one.timeout_seconds
    outcomes: dict[str, Outcome] = {}
    running: dict[str, asyncio.Task[Outcome]] = {}

    def seen() -> dict[str, Any]:
        return {**request, STEPS: {name: ended.value for name, ended in outcomes.items()}}

    def note(name: str, outcome: Outcome) -> None:
        if outcome.state == "failed" and one.steps[name].optional:
            outcome = outcome._replace(value=stepping.fallback(name, seen()))
        outcomes[name] = outcome

    try:
        while True:
            now = decide.progress(one.steps, prepared.needs, {*running, *outcomes}, outcomes)
            if now.failed is not None:
                return _failed(now.failed, outcomes[now.failed])
            if now.done:
                return _answer(prepared, seen(), outcomes)
            left_seconds = max(deadline - clock.monotonic(), 0.0)
            for name in now.start:
                running[name] = asyncio.create_task(stepping.step(name, seen(), left_seconds))
            await asyncio.wait(running.values(), timeout=left_seconds, return_when=asyncio.FIRST_COMPLETED)
            for name in [name for name, task in running.items() if task.done()]:
                note(name, running.pop(name).result())
            if clock.monotonic() >= deadline:
                late = decide.at_deadline(one.steps, {*running, *outcomes}, outcomes, one.timeout_seconds)
                for name, outcome in late.items():
                    note(name, outcome)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


def _failed(name: str, outcome: Outcome) -> Composed:
    document = {"message": f"step {name}: {outcome.words}", "step": name, "reason": outcome.reason}
    return Composed(decide.status_of(outcome), document, failed_step=name)


def _answer(prepared: Prepared, document: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> Composed:
    """An object that does not say what it lacks is made to."""
    text = prepared.declared.answer
    assert text is not None, "without steps and answer a composition exposes a method"
    missing = decide.missing(outcomes)
    told = [{"step": name, "reason": reason} for name, reason in missing.items()]
    try:
        value = prepared.expressions[text].value({**document, MISSING: told})
        msgspec.json.encode(value)
    except (Unfit, TypeError, ValueError, RecursionError) as error:
        words = f"the services' answers do not fit the expression of the answer: {error}"
        return Composed(decide.BAD_ANSWER, {"message": words, "reason": "unfit"}, missing)
    if told and isinstance(value, dict) and MISSING not in value:
        value = {**value, MISSING: told}
    return Composed(200, value, missing)
