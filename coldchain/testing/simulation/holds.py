"""holds: rollouts that go by steps, pauses, resumes and promotions in the lives of the simulation, and what must hold
of them. Drawn apart from all else, so that a life without them is as it was."""

import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from coldchain.decisions.rollout import aim
from coldchain.model.app import App, Rollout, RolloutStep
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance
from coldchain.model.version import Version
from coldchain.testing.simulation.gray import taken_away, too_early
from coldchain.testing.simulation.traffic import FAILING

if TYPE_CHECKING:
    from coldchain.testing.simulation.schedule import Operation

HoldKind = Literal["pause", "resume", "promote"]

PLANNED = 0.4
"""The share of apps whose rollouts go by steps."""
FAILING_SHARE = 0.3
"""Of what is deployed in such lives: versions that pass their checks and answer with errors."""
HELD = 0.4
"""The share of lives in which somebody holds deployments."""


def planned(seed: int, app: App) -> App:
    """The app, perhaps with steps."""
    draw = random.Random(f"plan {seed} {app.id}")
    if draw.random() >= PLANNED:
        return app
    shares = sorted({draw.choice((0.1, 0.25, 0.5, 0.75, 1.0)) for _ in range(draw.randint(1, 3))})
    steps = [RolloutStep(share=share, pause_seconds=draw.choice((None, 0.0, 1.0, 4.0))) for share in shares]
    if draw.random() < 0.3:
        steps.insert(0, RolloutStep(instances=1, pause_seconds=draw.choice((None, 2.0))))
    return msgspec.structs.replace(app, rollout=Rollout(steps=tuple(steps)))


def held(seed: int, operations: Sequence["Operation"]) -> list["Operation"]:
    """The operations, perhaps with holds soon after those that begin a rollout."""
    draw = random.Random(f"holds {seed}")
    if draw.random() >= HELD:
        return list(operations)
    found: list[Operation] = []
    for asked in operations:
        operation = asked
        if operation.kind == "deploy" and draw.random() < FAILING_SHARE:
            operation = msgspec.structs.replace(operation, image=f"{FAILING}-{draw.randint(1, 99)}")
        found.append(operation)
        while operation.kind in ("deploy", "restart", "change", "roll back") and draw.random() < 0.5:
            kinds: tuple[HoldKind, ...] = ("pause", "pause", "resume", "promote")
            seconds = draw.choice((0.0, 0.3, 1.0, 3.0)) * draw.random()
            hold = msgspec.structs.replace(
                operation,
                kind=draw.choice(kinds),
                pause_seconds=seconds,
                phase=None,
                image=None,
                instances=None,
                drain_seconds=None,
            )
            found.append(hold)
    return found


def broken(before: Deployment, after: Deployment, *, asked: bool) -> str:
    """What is wrong with a change of a running deployment, in words. `asked`: a user asks for something just now."""
    if not after.running or asked:
        return ""
    if before.paused_by == "operator" and after.paused_by != "operator":
        return f"{after.id} goes on although an operator holds it"
    went_on = before.paused_by == "plan" and after.paused_by is None
    if went_on and before.resumes_at is None and after.steps_done >= before.steps_done:
        return f"{after.id} goes on past step {before.steps_done}, which nobody passed"
    if after.steps_done > before.steps_done + (after.paused_by == "plan"):
        return f"{after.id} left out a step: {before.steps_done} to {after.steps_done}"
    return taken_away(before, after)


def let_go(running: Deployment, one: Instance, instances: Iterable[Instance], wanted: Version | None) -> str:
    """What is wrong with an instance that leaves for a newer version, in words."""
    if running.paused_by is not None:
        return f"{one.id} leaves for a newer version although {running.paused_by} holds {running.id}"
    return too_early(running, one, instances, wanted.app if wanted is not None else None)


def overdone(deployment: Deployment | None, wanted: Version, instances: Iterable[Instance]) -> str:
    """Whether more of the new version are on their way than the step of the rollout has, in words."""
    steps, app = wanted.app.rollout.steps, wanted.app
    if deployment is None or deployment.steps_done >= len(steps):
        return ""
    new = old = 0
    for one in instances:
        new += one.wanted and one.version_id == wanted.config_id
        old += one.wanted and one.version_id != wanted.config_id
    most = max(aim(deployment, app, deployment.steps_done), app.instances - old)
    number = deployment.steps_done + 1
    return f"{new} new instances in step {number}, which has {most} at most" if new > most else ""
