"""gray: a rollout by shares of the requests: what the gateways are told of it, and how it goes on.

All instances of the new version stand beside the old ones. A step is reached when all of them serve and every live
gateway works by its share. Nobody leaves before it is sure that he gets no more requests: the old ones once all
gateways send everything to the new version (promoted), the new ones once none sends them anything (aborted).
"""

from collections.abc import Iterable

import msgspec

from coldchain.decisions.rotation import services
from coldchain.model.app import App
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.gateway_resource import SHARES, GrayRelease, gray_key
from coldchain.model.gray import GrayRollout, GrayRule, GrayState, Side
from coldchain.model.instance import Instance
from coldchain.model.version import Version

ONLY: dict[GrayState, Side] = {"promoted": "gray", "aborted": "normal"}
"""Where all requests go, whatever the rules say."""


def releases(app: App | None, deployment: Deployment | None) -> dict[str, GrayRelease]:
    """What the gateways are to know while the deployment of an app runs, by the key of the resource: one for each
    service of the app. Of a service that others run, for as long as its definition says so."""
    if app is None:
        return {}
    gray = _of_others(app) if app.external else deployment.gray if deployment is not None else None
    if gray is None:
        return {}
    return {
        gray_key(name): GrayRelease(
            service=name,
            mark=gray.mark,
            version=gray.version,
            normal=gray.normal or None,
            share=round(gray.share * SHARES),
            rules=gray.rules,
            only=ONLY.get(gray.state),
        )
        for name in services(app)
    }


def _of_others(app: App) -> GrayRollout | None:
    plan = app.rollout.gray
    if plan is None or plan.version is None:
        return None
    return GrayRollout(version=plan.version, mark=plan.mark, share=plan.share or 0.0, rules=plan.rules)


def begun(
    kind: DeploymentKind,
    current: Version | None,
    wanted: Version | None,
    running: Deployment | None,
    *,
    stepwise: bool,
) -> GrayRollout | None:
    """What the gateways are told of a deployment that begins. `stepwise`: it goes by the steps of its rollout. None: it
    is not gray, and takes the place of none that is."""
    before = running.gray if running is not None else None
    if current is None or wanted is None:
        return None
    plan = wanted.app.rollout.gray
    if kind == "scale":
        if before is None or before.state != "open" or plan is None:
            return before
        return msgspec.structs.replace(before, mark=plan.mark, rules=plan.rules)
    if stepwise and plan is not None:
        return GrayRollout(version=wanted.config_id, normal=_normal(current, running), mark=plan.mark, rules=plan.rules)
    return taken_back(before, wanted)


def _normal(current: Version, running: Deployment | None) -> str:
    """Which version had the requests before; empty: several had."""
    if running is None:
        return current.config_id
    if running.gray is None:
        return ""
    return {"open": running.gray.normal, "promoted": running.gray.version, "aborted": current.config_id}[
        running.gray.state
    ]


def taken_back(before: GrayRollout | None, wanted: Version) -> GrayRollout | None:
    """While another version takes the place of one that is gray, that gets no requests any more; but for the one that
    already gets all."""
    if before is None or before.version == wanted.config_id or before.state == "promoted":
        return None
    return msgspec.structs.replace(before, normal="", share=0.0, rules=(), state="aborted")


def holds(deployment: Deployment, *, in_force: bool) -> bool:
    """Whether both versions stay: while the requests are shared out, and until every gateway knows that they are not
    any more."""
    return deployment.gray is not None and (deployment.gray.state == "open" or not in_force)


def unused(deployment: Deployment | None, instances: Iterable[Instance]) -> frozenset[str]:
    """The ids of those that get no requests while others serve: of a version that was gray and is not any more."""
    gray = deployment.gray if deployment is not None else None
    if gray is None:
        return frozenset()
    if gray.state == "aborted":
        return frozenset(one.id for one in instances if one.version_id == gray.version)
    used = {gray.version, gray.normal}
    return frozenset(one.id for one in instances if gray.normal and one.version_id not in used)


def onward(deployment: Deployment, app: App, *, complete: bool) -> tuple[Deployment, str] | None:
    """The deployment with the next share, or promoted after the last, and why in words; None while it stays as it is.
    `complete`: all instances of the new version serve."""
    gray, steps = deployment.gray, app.rollout.steps
    if gray is None or gray.state != "open" or not complete:
        return None
    if deployment.steps_done >= len(steps):
        promoted = msgspec.structs.replace(gray, share=1.0, state="promoted")
        return msgspec.structs.replace(deployment, gray=promoted), "all requests to the new version"
    share = share_of(app, deployment.steps_done)
    if gray.share >= share:
        return None
    shared = msgspec.structs.replace(gray, share=share)
    return msgspec.structs.replace(deployment, gray=shared), f"{share:.4g} of the requests to the new version"


def share_of(app: App, number: int) -> float:
    """The share of a step of a rollout, by its number from 0."""
    return app.rollout.steps[number].share or 0.0


def changed(deployment: Deployment, app: App, share: float | None, rules: tuple[GrayRule, ...] | None) -> Deployment:
    """The deployment with another share or other rules (None: as they are). With another share it is at the last step
    that has no more, so that it goes on with one that has."""
    assert deployment.gray is not None
    gray = deployment.gray
    if rules is not None:
        gray = msgspec.structs.replace(gray, rules=rules)
    if share is None:
        return msgspec.structs.replace(deployment, gray=gray)
    done = sum(share_of(app, number) <= share for number in range(len(app.rollout.steps)))
    return msgspec.structs.replace(deployment, gray=msgspec.structs.replace(gray, share=share), steps_done=done)
