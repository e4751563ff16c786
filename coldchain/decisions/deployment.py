"""deployment: the arithmetic of rolling from one configuration to another, and when a deployment has ended.

Marathon's rule: minimum = ⌈n × minimumHealthCapacity⌉ instances stay in rotation, at most
maximum = ⌊n × (1 + maximumOverCapacity)⌋ are live; where the two leave no room one extra instance is allowed.
Stated over what is seen now rather than as steps, so that any interruption goes on from any state.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from coldchain.decisions import constraint as constraints
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment, Holder
from coldchain.model.instance import Instance

NOBODY: Mapping[str, str] = {}


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
    asked: Mapping[str, str] = NOBODY,
    held: bool = False,
    new: int | None = None,
    least: int | None = None,
    beside: int | None = None,
    unused: Collection[str] = (),
    begun: bool = True,
) -> Step:
    """The next step towards `app.instances` instances of `config_id`.

    `unhealthy`: ids that do not count as capacity. `condemned`: ids to be replaced for bad health.
    `asked`: ids that somebody wants gone, each with who, in words. Whoever asks decides himself: a pause and the brake
    do not hold these, only the capacity does.
    `replacing`: a deployment runs that replaces instances of other configurations; without one they count as good.
    `held`: it is paused: what serves stays, and only what is missing altogether is launched.
    `new`, `least`, `beside`: as in `rollout.Stage`, of a rollout that goes by steps; None: all. `unused`:
    ids of those that get no requests, though they could. `begun`: False while it waits for
    other apps: then its number of instances asks nobody to leave yet.
    """
    wanted = [one for one in instances if one.wanted]
    going = sorted((one for one in wanted if one.id in asked), key=lambda one: (one.in_rotation, one.created_at))
    others = [one for one in wanted if one.id not in asked]
    never_served, failed_to_start, old, good, sick = _sorted_out(others, config_id, condemned, replacing)
    minimum, maximum = capacity(app)
    if minimum >= maximum and (old or sick or going):
        maximum += 1

    departures = _Departures(wanted, unhealthy, minimum)
    for one in going:
        departures.let_go([one], asked[one.id], 1)
    departures.leave += [(one.id, "it never became healthy") for one in failed_to_start]
    departures.leave += [(one.id, "superseded before it served") for one in old if one.id in never_served]
    served_old = [one for one in old if one.id not in never_served]
    kept = max(0, app.instances - new) if new is not None and not held else 0
    surplus = len(good) + (min(kept, len(served_old)) if beside is None else 0) - app.instances
    if surplus > 0 and begun:
        _scale_down(departures, good, app, config_id, unhealthy, surplus)
    order = _first_to_replace(served_old, unhealthy, unused)
    departures.let_go(order, "replaced by a newer version", 0 if held else len(order) - (beside or kept))

    room = max(0, maximum - sum(one.live for one in instances))
    at_rest = not departures.leave and all(
        one.in_rotation or (one.id in condemned and one.phase == "entering") for one in instances if one.live
    )
    good_serving = sum(one.in_rotation and one.id not in unhealthy for one in good)
    if sick and good_serving + len(sick) > app.instances and not _leaving(instances):
        departures.let_go(sick, "replaced for bad health", 1)
    elif sick and not room and at_rest:
        # The app allows no instance above its number, so that the replacement can only come after.
        departures.let_go(sick, "replaced for bad health, after it because there is no room beside it", 1)

    # One replacement at a time for bad health: a fault that all share must not double the load.
    missing = app.instances - len(good)
    if held or new is not None:
        wanted_new = 0 if held or new is None else new
        altogether = app.instances if least is None else least
        missing = max(wanted_new - len(good), altogether - len(good) - len(served_old))
    if sick and not old and not going:
        busy = departures.leave or _leaving(instances) or not all(one.in_rotation for one in good)
        missing = min(missing, max(0, app.instances - len(good) - len(sick)) + (0 if busy else 1))
    return Step(launch=max(0, min(missing, room)), leave=tuple(departures.leave))


def _sorted_out(
    wanted: Iterable[Instance], config_id: str, condemned: Collection[str], replacing: bool
) -> tuple[set[str], list[Instance], list[Instance], list[Instance], list[Instance]]:
    """The wanted instances as: ids of those never given traffic, failed to start, old, good, sick (the last four
    are disjoint and all)."""
    never_served: set[str] = set()
    failed_to_start: list[Instance] = []
    old: list[Instance] = []
    good: list[Instance] = []
    sick: list[Instance] = []
    for one in wanted:
        if one.phase not in ("entering", "serving"):
            never_served.add(one.id)
            if one.id in condemned:
                failed_to_start.append(one)
                continue
        if one.version_id != config_id and (replacing or one.id in never_served):
            old.append(one)
        elif one.id in condemned:
            sick.append(one)
        else:
            good.append(one)
    return never_served, failed_to_start, old, good, sick


class _Departures:
    """Who leaves, as long as enough stay in rotation. A healthy instance leaves only if `minimum` healthy ones stay;
    an unhealthy one costs no capacity, but may be all that is left to serve: it leaves only if as many stay in all."""

    def __init__(self, wanted: Collection[Instance], unhealthy: Collection[str], minimum: int) -> None:
        self._unhealthy = unhealthy
        serving = [one for one in wanted if one.in_rotation]
        self._spare = len(serving) - minimum
        self._spare_healthy = sum(one.id not in unhealthy for one in serving) - minimum
        self.leave: list[tuple[str, str]] = []

    def let_go(self, candidates: Sequence[Instance], cause: str, most: int) -> None:
        """Let so many of the candidates leave, the first that are not needed."""
        already = len(self.leave)
        for one in candidates:
            if len(self.leave) - already >= most:
                return
            healthy = one.id not in self._unhealthy
            if one.in_rotation and (self._spare <= 0 or (healthy and self._spare_healthy <= 0)):
                continue
            self._spare -= one.in_rotation
            self._spare_healthy -= one.in_rotation and healthy
            self.leave.append((one.id, cause))


def _scale_down(
    departures: _Departures,
    good: Iterable[Instance],
    app: App,
    config_id: str,
    unhealthy: Collection[str],
    surplus: int,
) -> None:
    """Those that wait for a place first, then as many of the surplus as constraints say something about, then those
    that give no capacity, then other configurations, then the youngest or the oldest, as the app has it. Nobody leaves
    in the place of one who stands against a constraint and is needed only until those serve who are about to."""
    older_first = 1 if app.kill_selection == "OLDEST_FIRST" else -1
    order = sorted(
        good,
        key=lambda one: (
            one.in_rotation,
            one.id not in unhealthy,
            one.version_id == config_id,
            older_first * one.created_at,
            one.id,
        ),
    )
    homeless = [one for one in order if one.agent is None]
    settled = [one for one in order if one.agent is not None]
    count = max(0, surplus - len(homeless))
    against = constraints.in_the_way(map(constraints.parsed, app.constraints), settled, count)
    chosen = constraints.first_to_leave(app.constraints, settled, count)
    cause, before = f"scaled to {app.instances}", len(departures.leave)
    departures.let_go([*homeless, *against], cause, surplus)
    left = surplus - (len(departures.leave) - before)
    first = {one.id for one in (*homeless, *against)}
    if any(not one.in_rotation and one.id not in unhealthy and one.id not in first for one in settled):
        left = surplus - len(first)
    ids = {one.id for one in chosen}
    others = [*chosen, *(one for one in settled if one.id not in ids)]
    departures.let_go([one for one in others if one.id not in first], cause, left)


def _first_to_replace(old: Iterable[Instance], unhealthy: Collection[str], unused: Collection[str]) -> list[Instance]:
    """Those not in rotation first, then those that get nothing, then unhealthy ones, then the oldest."""

    def order(one: Instance) -> tuple[object, ...]:
        return one.in_rotation, one.id not in unused, one.id not in unhealthy, one.created_at, one.id

    return sorted(old, key=order)


def _leaving(instances: Iterable[Instance]) -> bool:
    return any(one.phase in ("draining", "closing", "stopping") for one in instances)


def reached(app: App, config_id: str, instances: Iterable[Instance], unhealthy: Collection[str]) -> bool:
    """True when the wanted number serves, all of the configuration, and nothing else is live."""
    live = [one for one in instances if one.live]
    serving = [one for one in live if one.in_rotation and one.version_id == config_id and one.id not in unhealthy]
    return len(serving) == len(live) == app.instances


def overdue(deployment: Deployment, now: float) -> bool:
    """True when the deadline has passed; it never does while the deployment is paused."""
    return deployment.paused_at is None and now >= deployment.deadline_at


def pause(deployment: Deployment, holder: Holder, now: float) -> Deployment:
    """The deployment held by `holder`. An operator takes over from brake and plan, not the other way round; who waits
    for other apps has nothing to hold yet."""
    if deployment.paused_by in ("operator", "dependency"):
        return deployment
    paused_at = now if deployment.paused_at is None else deployment.paused_at
    return msgspec.structs.replace(deployment, paused_by=holder, paused_at=paused_at, resumes_at=None)


def resume(deployment: Deployment, now: float) -> Deployment:
    """The deployment going on, with as much time left as it had when it was paused."""
    if deployment.paused_at is None:
        return deployment
    deadline_at = deployment.deadline_at + now - deployment.paused_at
    return msgspec.structs.replace(deployment, paused_by=None, paused_at=None, resumes_at=None, deadline_at=deadline_at)
