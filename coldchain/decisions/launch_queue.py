"""launch_queue: how many instances of an app wait to be launched, and since when."""

from coldchain.decisions.backoff import launch_allowed_at
from coldchain.decisions.deployment import capacity
from coldchain.decisions.view import View
from coldchain.model.base import Noun
from coldchain.model.version import Version


class Queued(Noun, frozen=True, kw_only=True):
    """What of an app waits to be launched: so many instances, since when, and until when for their configuration's
    failures; `since` and `delayed_until` in epoch seconds, the latter 0 for no such wait."""

    count: int
    since: float
    delayed_until: float


def queued(view: View, now: float) -> Queued | None:
    """What of the app could be launched by what is wanted and allowed, and is not; None where nothing waits."""
    wanted = view.wanted
    if wanted is None or view.stopping:
        return None
    scheduled = [one for one in view.instances if one.phase == "scheduled" and one.version_id == wanted.config_id]
    count = max(len(scheduled), 0 if _held(view) else _missing(view, wanted))
    if count <= 0:
        return None
    begun = [one.created_at for one in scheduled]
    delayed_until = launch_allowed_at(view.backoff, wanted.config_id)
    if not begun and delayed_until and view.failure is not None:
        begun.append(view.failure.at)
    if not begun:
        begun += [one.since for one in view.instances if not one.wanted]
        begun += [view.deployment.started_at] if view.deployment else []
    return Queued(count=count, since=min(begun, default=now), delayed_until=delayed_until)


def _held(view: View) -> bool:
    return bool(view.brake) or (view.deployment is not None and view.deployment.paused_by is not None)


def _missing(view: View, wanted: Version) -> int:
    """How many are not there yet, as far as there is room for them beside those that are."""
    placed = [one for one in view.instances if one.live and one.phase != "scheduled"]
    good = [
        one
        for one in placed
        if one.wanted
        and not view.asked_to_leave(one)
        and (view.deployment is None or one.version_id == wanted.config_id)
    ]
    minimum, maximum = capacity(wanted.app)
    beside = minimum >= maximum and len(good) < len(placed)
    return min(wanted.app.instances - len(good), maximum + beside - len(placed))
