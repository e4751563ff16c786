"""gray: rollouts by shares of the requests in the lives of the simulation, and what must hold of them. Drawn apart from
all else, so that a life without them is as it was."""

import random
from collections.abc import Iterable, Iterator

import msgspec

from coldchain.model.app import App, RolloutStep, UpgradeStrategy
from coldchain.model.deployment import Deployment
from coldchain.model.gateway_resource import gray_key
from coldchain.model.gray import GrayPlan, GrayRule
from coldchain.model.instance import Instance
from coldchain.model.rotation import Rotation

GRAY = 0.5
"""The share of the apps with steps and routes whose steps are shares of the requests."""


def shaded(seed: int, app: App) -> App:
    """The app, its steps perhaps shares of the requests."""
    draw = random.Random(f"gray {seed} {app.id}")
    if not app.routes or not app.rollout.steps or draw.random() >= GRAY:
        return app
    shares = sorted({0.0, *(one.share or 0.05 for one in app.rollout.steps)})
    steps = tuple(RolloutStep(share=share, pause_seconds=draw.choice((None, 0.0, 1.0))) for share in shares)
    strategy = UpgradeStrategy(
        minimum_health_capacity=app.upgrade_strategy.minimum_health_capacity, maximum_over_capacity=1.0
    )
    plan = GrayPlan(rules=(GrayRule(by="hash", who="address"),))
    rollout = msgspec.structs.replace(app.rollout, steps=steps, gray=plan)
    return msgspec.structs.replace(app, upgrade_strategy=strategy, rollout=rollout)


def taken_away(before: Deployment, after: Deployment) -> str:
    """What is wrong with a change of a running deployment's share that nobody asked for, in words."""
    if before.gray is None or after.gray is None or before.gray.state != "open":
        return "" if before.gray == after.gray else f"{after.id} shares out what went to one version"
    if after.gray.share < before.gray.share:
        return f"{after.id} takes back a share: {before.gray.share} to {after.gray.share}"
    return ""


def too_early(running: Deployment, one: Instance, instances: Iterable[Instance], wanted: App | None) -> str:
    """Whether an instance is replaced that still gets its share of the requests, in words."""
    if running.gray is None or running.gray.state != "open" or wanted is None:
        return ""
    staying = sum(other.wanted and other.version_id == one.version_id for other in instances)
    used = one.version_id in (running.gray.normal, running.gray.version)
    if not used or staying >= wanted.instances:
        return ""
    return f"{one.id} is replaced while its version gets requests"


def untold(rotation: Rotation, deployments: Iterable[Deployment]) -> Iterator[str]:
    """Services whose gray version a gateway does not tell apart, in words."""
    # Versions of different apps may be made in the same moment. Here services are called as their apps are.
    shared = {f"{one.app_id[1:]} {one.gray.version}" for one in deployments if one.running and one.gray is not None}
    for name, service in rotation.services.items():
        versions = {one.version for one in service.endpoints if one.weight}
        if len(versions) < 2 or gray_key(name) in rotation.resources:
            continue
        if any(f"{name} {version}" in shared for version in versions):
            yield f"{name} has requests for {sorted(versions)}, and nobody says for which of them"
