"""explanation: how far an app is from what is wanted, and why; the part of `/v1` that one screen is made of."""

from collections.abc import Iterable
from typing import Any

from msgspec import to_builtins

from coldchain.api.context import Context
from coldchain.decisions import admission
from coldchain.decisions.caller import sees
from coldchain.decisions.explanation import explain
from coldchain.decisions.service_port import shared
from coldchain.model.caller import Caller
from coldchain.model.instance import Instance
from coldchain.model.version import Version

PROGRESS = ("desired", "placed", "healthy", "serving", "old")
UNSAFE = "no health check: its releases cannot be loss-free"


def progress(context: Context, app_id: str) -> dict[str, int]:
    """Counts of instances of the wanted configuration on their way, and of others that are still live (`old`).

    Each stage holds those of the next: `desired` ≥ `placed` ≥ `healthy` ≥ `serving` once all is well.
    """
    wanted = context.controller.state.wanted(app_id)
    live = [one for one in context.instances(app_id) if one.live]
    new = [one for one in live if wanted is not None and one.wanted and one.version_id == wanted.config_id]
    return {
        "desired": wanted.app.instances if wanted else 0,
        "placed": sum(one.agent is not None for one in new),
        "healthy": sum(is_healthy(context, one) for one in new),
        "serving": sum(one.in_rotation for one in new),
        "old": len(live) - len(new),
    }


def is_healthy(context: Context, instance: Instance) -> bool:
    """True once it runs and its checks pass."""
    if instance.phase not in ("starting", "entering", "serving"):
        return False
    verdict = context.controller.reconciler.verdict(instance)
    return verdict.standing == "healthy" and verdict.ready


def settled(context: Context, app_id: str) -> bool:
    """True when nothing is under way and as many serve as are wanted."""
    counts = progress(context, app_id)
    return app_id not in context.controller.state.running and counts["serving"] == counts["desired"]


def why_not_yet(context: Context, app_id: str) -> str:
    """Why the wanted state is not reached, in words; empty when it is."""
    controller = context.controller
    if settled(context, app_id):
        return ""
    if not controller.tasks.known:
        return f"the engine has not answered yet: {controller.tasks.trouble or 'asking'}"
    view = controller.reconciler.view(app_id)
    why = explain(view, list(view.instances), context.settings.clock.now())
    pulling = controller.reconciler.progress.get(app_id)
    return f"image: {pulling}; {why}" if pulling else why


def refused(context: Context, app_id: str) -> list[dict[str, Any]]:
    """The instances that fit no agent, with how many agents each reason excluded."""
    found = context.controller.reconciler.refused.values()
    return [
        {
            "instanceId": one.instance_id,
            "agents": one.agents,
            "reasons": one.reasons,
            "shortages": to_builtins(one.shortages),
            "constraints": one.constraints,
            "unsupported": list(one.unsupported),
            "words": str(one),
        }
        for one in found
        if one.app_id == app_id
    ]


def condition(context: Context, app_id: str) -> str:
    """The state of an app in one word, as Marathon's users know them."""
    state = context.controller.state
    wanted = state.wanted(app_id)
    if wanted is None:
        return "deleting"
    if refused(context, app_id):
        return "waiting"
    if app_id in state.running:
        return "paused" if state.running[app_id].paused_by not in (None, "dependency") else "deploying"
    counts = progress(context, app_id)
    if not counts["desired"]:
        return "suspended"
    if counts["serving"] >= counts["desired"]:
        return "running"
    backoff = state.backoffs.get(app_id)
    if backoff is None or backoff.version_id != wanted.config_id:
        return "degraded"
    return "delayed" if backoff.until > context.settings.clock.now() else "degraded"


def warnings(context: Context, version: Version) -> list[str]:
    """What makes the app less safe than it could be: no health check, rules of admission overridden, or what was let in
    under another policy and would not be started again."""
    told = [] if version.app.health_checks or version.app.external else [UNSAFE]
    told += [f"the rule {one.rule} is overridden by {one.caller}: {one.because}" for one in version.overrides]
    refusals = admission.judge(version.app, context.controller.operations.policy)
    told += [f"{one.path}: {one}" for one in admission.standing(refusals, version.overrides)]
    return told


def shared_ports(context: Context, version: Version, caller: Caller) -> list[str]:
    """Which service ports of the app others have, too: a balancer that goes by them cannot tell the apps apart. Those
    that the caller may not see stay unnamed."""
    found = shared(version.app, context.controller.state.wanted_apps())
    return [f"service port {port} is also that of {_named(apps, caller)}" for port, apps in sorted(found.items())]


def _named(app_ids: Iterable[str], caller: Caller) -> str:
    names = {one if sees(caller, [one]) else "an app of another group" for one in app_ids}
    return ", ".join(sorted(names))
