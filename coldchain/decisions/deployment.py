"""deployment: the arithmetic of rolling from one configuration to another, and when a deployment has ended.

Marathon's rule: minimum = ⌈n × minimumHealthCapacity⌉ instances stay in rotation, at most
maximum = ⌊n × (1 + maximumOverCapacity)⌋ are live; where the two leave no room one extra instance is allowed.
Stated over what is seen now rather than as steps, so that any interruption goes on from any state.
"""

import math
from collections.abc import Collection, Iterable, Sequence

from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance


class Step(Noun, frozen=True, kw_only=True):
    """What to do now: launch so many instances of the wanted configuration, let these leave with the reason given."""

    launch: int = 0
    leave: tuple[tuple[str, str], ...] = ()


def capacity(app: App) -> tuple[int, int]:
    """(minimum in rotation, maximum live) for the app's number of instances. Fractions are rounded as decimals are,
    so that 0.1 × 10 is 1."""
    minimum = math.ceil(round(app.instances * app.upgrade_strategy.minimum_health_capacity, 9))
    maximum = math.floor(round(app.instances * (1 + app.upgrade_strategy.maximum_over_capacity), 9))
    return minimum, max(maximum, app.instances)


def step(
    app: App,
    config_id: str,
    instances: Sequence[Instance],
    *,
    unhealthy: Collection[str],
    condemned: Collection[str],
    replacing: bool,
) -> Step:
    """The next step towards `app.instances` instances of `config_id`.

    `unhealthy`: ids that do not count as capacity. `condemned`: ids to be replaced for bad health.
    `replacing`: a deployment runs that replaces instances of other configurations; without one they count as good.
    """
    wanted = [one for one in instances if one.wanted]
    never_served = [one for one in wanted if one.phase not in ("entering", "serving")]
    failed_to_start = [one for one in never_served if one.id in condemned]
    old = [one for one in wanted if one.version_id != config_id and replacing and one not in failed_to_start]
    good = [one for one in wanted if one not in old and one.id not in condemned]
    sick = [one for one in wanted if one not in old and one.id in condemned and one not in failed_to_start]
    serving = [one for one in wanted if one.in_rotation and one.id not in unhealthy]
    minimum, maximum = capacity(app)
    if minimum >= maximum and (old or sick):
        maximum += 1

    leave: list[tuple[str, str]] = [(one.id, "it never became healthy") for one in failed_to_start]
    leave += [(one.id, "superseded before it served") for one in old if one in never_served]
    spare = max(0, len(serving) - minimum)

    def let_go(candidates: Iterable[Instance], cause: str, most: int) -> None:
        nonlocal spare
        for one in list(candidates)[: max(0, most)]:
            costs = one in serving
            if costs and not spare:
                continue
            spare -= costs
            leave.append((one.id, cause))

    served_old = [one for one in old if one not in never_served]
    surplus = len(good) - app.instances
    let_go(_scale_down_order(good, config_id), f"scaled to {app.instances}", surplus)
    let_go(_first_to_replace(served_old, unhealthy), "replaced by a newer version", len(served_old))
    good_serving = sum(one in serving for one in good)
    if sick and good_serving + len(sick) > app.instances and not _leaving(instances):
        let_go(sick, "replaced for bad health", 1)

    # One replacement at a time for bad health: a fault that all share must not double the load.
    missing = app.instances - len(good)
    if sick and not old:
        starting = sum(one in never_served or one.phase == "entering" for one in good)
        missing = min(missing, max(0, app.instances - len(good) - len(sick)) + (0 if starting else 1))
    room = maximum - sum(one.live for one in instances)
    return Step(launch=max(0, min(missing, room)), leave=tuple(leave))


def _scale_down_order(good: Iterable[Instance], config_id: str) -> list[Instance]:
    """Other configurations first, then those not in rotation yet, then the youngest (Marathon's default)."""
    return sorted(good, key=lambda one: (one.version_id == config_id, one.in_rotation, -one.created_at, one.id))


def _first_to_replace(old: Iterable[Instance], unhealthy: Collection[str]) -> list[Instance]:
    """Unhealthy ones first, then those not in rotation, then the oldest."""
    return sorted(old, key=lambda one: (one.id not in unhealthy, one.in_rotation, one.created_at, one.id))


def _leaving(instances: Iterable[Instance]) -> bool:
    return any(one.phase in ("draining", "closing", "stopping") for one in instances)


def reached(app: App, config_id: str, instances: Iterable[Instance], unhealthy: Collection[str]) -> bool:
    """True when the wanted number serves, all of the configuration, and nothing else is live."""
    live = [one for one in instances if one.live]
    serving = [one for one in live if one.in_rotation and one.version_id == config_id and one.id not in unhealthy]
    return len(serving) == len(live) == app.instances


def overdue(deployment: Deployment, now: float) -> bool:
    """True when the deadline has passed."""
    return now >= deployment.deadline_at


def shortfall(app: App, config_id: str, instances: Iterable[Instance], details: dict[str, str], now: float) -> str:
    """Why the wanted state is not reached, in words: the reason of a failed deployment, and what `status` shows."""
    live = [one for one in instances if one.live]
    serving = [one for one in live if one.in_rotation and one.version_id == config_id]
    parts = [f"{len(serving)} of {app.instances} instances of the new version in rotation"]
    waiting = [one for one in live if one not in serving and one.version_id == config_id]
    for one in waiting[:3]:
        detail = f" ({details[one.id]})" if details.get(one.id) else ""
        parts.append(f"instance {one.id} {one.phase} for {now - one.since:.0f} s{detail}")
    if len(waiting) > 3:
        parts.append(f"{len(waiting) - 3} more like them")
    old = sum(one.version_id != config_id for one in live)
    if old:
        parts.append(f"{old} of an older version still live")
    return "; ".join(parts)
