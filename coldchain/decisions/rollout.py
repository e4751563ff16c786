"""rollout: the steps of a rollout: how many new instances the present one asks for, and when it stands.

A deployment knows only how many steps it has reached; everything else is seen. A step that was reached and does not
stand any more, because an instance of it failed, is not reached: the rollout makes it good within its time limit.
"""

import math
from collections.abc import Collection, Iterable

import msgspec

from coldchain.decisions import gray as grays
from coldchain.decisions.deployment import pause
from coldchain.model.app import INSTANCES_MAX, App, RolloutStep
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.gray import GrayRollout
from coldchain.model.instance import Instance
from coldchain.model.version import Version

STEPWISE: tuple[DeploymentKind, ...] = ("replace", "restart")
"""The moves that go by steps: those that bring a configuration which did not serve before in place of one that does."""


class Stage(Noun, frozen=True, kw_only=True):
    """`new`: how many instances of the new version there are to be in this step. `least`: how many instances of both
    versions together: what is missing of that is launched at once, and of the new version, as nothing else is.
    `beside`: how many of the old version stay whatever there is of the new one; None: those that make up the rest."""

    new: int
    least: int
    beside: int | None = None


def size(step: RolloutStep, instances: int) -> int:
    """How many of an app's instances are of the new version once the step is reached. Fractions are rounded up."""
    wanted = step.instances or math.ceil(round((step.share or 0.0) * instances, 9))
    return min(instances, max(1, wanted))


def aim(deployment: Deployment, app: App, number: int) -> int:
    """How many instances of the new version the step of this number (from 0) has: all where the share is that of the
    requests."""
    return app.instances if deployment.gray is not None else size(app.rollout.steps[number], app.instances)


def stage(deployment: Deployment | None, app: App, former: Version | None, *, in_force: bool = True) -> Stage | None:
    """What the deployment asks for now; None where it may take all: it does not go by steps, or has reached the last.

    `former`: the version that it comes from. `in_force`: gateways work by what they were told of requests to both
    versions. A pause holds what the step before asked for; who waits for other apps
    has not begun.
    """
    if deployment is None:
        return None
    if deployment.paused_by == "dependency":
        return Stage(new=0, least=min(app.instances, former.app.instances if former is not None else 0))
    number = deployment.steps_done if deployment.paused_by is None else max(0, deployment.steps_done - 1)
    gray = grays.holds(deployment, in_force=in_force)
    if not gray and (number >= len(app.rollout.steps) or deployment.gray is not None):
        return None
    least = app.instances
    if former is not None and deployment.kind != "scale":
        least = min(least, former.app.instances)
    if gray:
        return Stage(new=app.instances, least=least, beside=app.instances if in_force else INSTANCES_MAX)
    return Stage(new=aim(deployment, app, number), least=least)


def serving(config_id: str, instances: Collection[Instance], unhealthy: Collection[str]) -> int:
    """How many instances of the configuration are in rotation and healthy."""
    return sum(one.in_rotation and one.version_id == config_id and one.id not in unhealthy for one in instances)


def stands(number: int, app: App, config_id: str, instances: Collection[Instance], unhealthy: Collection[str]) -> bool:
    """True while the step of this number (from 0) is reached: so many new ones serve, the others leave or left, and
    there are no more of both than the app has."""
    new = size(app.rollout.steps[number], app.instances)
    wanted = [one for one in instances if one.wanted]
    old = sum(one.version_id != config_id for one in wanted)
    enough = serving(config_id, instances, unhealthy) >= new
    return enough and old <= max(0, app.instances - new) and len(wanted) <= app.instances


def is_reached(
    deployment: Deployment,
    number: int,
    wanted: Version,
    instances: Collection[Instance],
    unhealthy: Collection[str],
    *,
    in_force: bool = True,
) -> bool:
    """True while a step of this deployment is reached. Where the share is that of the requests all new ones serve then,
    no more old ones stay than the app has, and the gateways work by at least that share: more is what somebody asked
    for."""
    if deployment.gray is None:
        return stands(number, wanted.app, wanted.config_id, instances, unhealthy)
    shared = in_force and deployment.gray.share >= grays.share_of(wanted.app, number)
    old = sum(one.wanted and one.version_id != wanted.config_id for one in instances)
    enough = serving(wanted.config_id, instances, unhealthy) >= wanted.app.instances
    return shared and enough and old <= wanted.app.instances


def reach(deployment: Deployment, app: App, now: float) -> Deployment:
    """The deployment that has reached its step: it pauses by plan."""
    seconds = app.rollout.steps[deployment.steps_done].pause_seconds
    paused = pause(deployment, "plan", now)
    resumes_at = None if seconds is None else now + seconds
    return msgspec.structs.replace(paused, steps_done=deployment.steps_done + 1, resumes_at=resumes_at)


def promote(deployment: Deployment, app: App) -> Deployment:
    """The deployment as if it had reached all steps. A pause stays."""
    return msgspec.structs.replace(deployment, steps_done=max(deployment.steps_done, len(app.rollout.steps)))


def steps_done_at_start(
    kind: DeploymentKind, current: Version | None, wanted: Version | None, running: Deployment | None
) -> int:
    """How many steps a deployment that begins has behind it: all where it does not go by steps.

    A scale in the middle of a rollout goes on with the step that the rollout was in or waited in: it must not be a
    way around the plan.
    """
    total = len(wanted.app.rollout.steps) if wanted else 0
    if current is None or wanted is None or not wanted.app.instances:
        return total
    if kind in STEPWISE and current.app.instances:
        return 0
    if kind == "scale" and running is not None and running.to_version == current.id:
        waited = running.paused_by in ("plan", "operator") and running.steps_done > 0
        if running.steps_done < len(current.app.rollout.steps) or waited:
            return min(total, running.steps_done - waited)
    return total


def describe(deployment: Deployment, app: App) -> Iterable[str]:
    """How far it is in its steps, in words; nothing where it does not go by steps."""
    steps, done = app.rollout.steps, deployment.steps_done
    if deployment.gray is not None:
        yield from _describe_gray(deployment.gray, done, len(steps))
    elif deployment.paused_by == "plan" and 0 < done <= len(steps):
        reached = size(steps[done - 1], app.instances)
        yield f"step {done} of {len(steps)} reached: {reached} of {app.instances} instances of the new version serve"
    elif done < len(steps):
        aim = size(steps[done], app.instances)
        yield f"step {done + 1} of {len(steps)}: {aim} of {app.instances} instances to be of the new version"


def _describe_gray(gray: GrayRollout, done: int, steps: int) -> Iterable[str]:
    if gray.state == "aborted":
        yield f"no requests to version {gray.version} any more"
    elif gray.state == "promoted":
        yield "all requests to the new version"
    else:
        yield f"gray, {done} of {steps} steps reached: {gray.share * 100:.4g} % of the requests to the new version"
