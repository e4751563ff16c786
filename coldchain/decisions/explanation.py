"""explanation: why what is wanted is not reached yet, in words: the reason of a failed deployment, and what `status`
shows to whoever is called at night."""

from collections.abc import Iterable

from coldchain.decisions import acceptance as acceptances
from coldchain.decisions import backoff as backoffs
from coldchain.decisions.rollout import describe
from coldchain.decisions.view import Seen, View
from coldchain.model.app import App
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance

NAMED = 3
"""Instances told of one by one; more of them are only counted."""


def explain(view: View, instances: list[Instance], now: float) -> str:
    """Why the wanted state is not reached yet, in words."""
    if view.wanted is None:
        return "; ".join(["instances still stopping", *_waits(view, [one for one in instances if one.live], now)])
    parts = [f"held by the brake: {view.brake}"] if view.brake else []
    if view.deployment is not None:
        parts += _hold(view.deployment, view.wanted.app, now)
        parts += filter(None, [acceptances.describe(view.traffic)])
    config_id = view.wanted.config_id
    live = [one for one in instances if one.live]
    serving = [one for one in live if one.in_rotation and one.version_id == config_id]
    if view.wanted.image is None and view.image_failure:
        parts.append(f"no image: {view.image_failure}")
    parts.append(f"{len(serving)} of {view.wanted.app.instances} instances of the new version in rotation")
    parts += _waits(view, [one for one in live if one.version_id == config_id and not _at_rest(view, one)], now)
    old = [one for one in live if one.version_id != config_id]
    if old:
        parts.append(f"{len(old)} of an older version still live")
        parts += _waits(view, [one for one in old if not one.wanted], now)
    parts += _failures(view, config_id, now)
    if view.engine_trouble:
        parts.append(f"engine: {view.engine_trouble}")
    return "; ".join(parts)


def _hold(deployment: Deployment, app: App, now: float) -> Iterable[str]:
    """What a deployment waits for that somebody planned or asked for."""
    yield from describe(deployment, app)
    if deployment.paused_by == "operator":
        yield "paused by an operator; `coldchain resume` lets it go on"
    elif deployment.paused_by == "dependency":
        yield "waits for the apps that it depends on"
    elif deployment.paused_by == "plan" and deployment.resumes_at is None:
        yield "paused by plan; `coldchain resume` lets it go on, `coldchain promote` to the end"
    elif deployment.paused_by == "plan" and deployment.resumes_at is not None:
        yield f"paused by plan for {max(0.0, deployment.resumes_at - now):.0f} s more"


def _at_rest(view: View, one: Instance) -> bool:
    return one.in_rotation and view.seen.get(one.id, Seen()).verdict.standing != "unhealthy"


def _waits(view: View, waiting: list[Instance], now: float) -> Iterable[str]:
    for one in waiting[:NAMED]:
        seen = view.seen.get(one.id, Seen())
        probed = seen.verdict.detail if one.phase in ("starting", "entering", "serving") else ""
        detail = "; ".join(filter(None, (probed, seen.trouble)))
        yield f"instance {one.id} {one.phase} for {now - one.since:.0f} s" + (f" ({detail})" if detail else "")
    if len(waiting) > NAMED:
        yield f"{len(waiting) - NAMED} more like them"


def _failures(view: View, config_id: str, now: float) -> Iterable[str]:
    if view.backoff is None or not backoffs.launch_allowed_at(view.backoff, config_id):
        return
    text = f"{view.backoff.failures} failed tasks in a row"
    if view.failure is not None and view.failure.version_id == config_id:
        text += f", the last one: {view.failure.message}"
    if view.backoff.until > now:
        text += f"; launched again in {view.backoff.until - now:.0f} s"
    yield text
