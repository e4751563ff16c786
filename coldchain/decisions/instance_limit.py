"""instance_limit: how many instances there can be, of one app and of all: a zero too many is refused, not tried."""

from collections.abc import Mapping

from coldchain.model.app import INSTANCES_MAX, App
from coldchain.model.errors import Problem

ALL_MAX = 30_000
"""Of all apps together: three times of what `bin/bench scale` measures. With more of them one controller would be late
with everything, and a `scaleBy` for all apps can easily ask for a million."""


def beyond(after: Mapping[str, App], before: Mapping[str, App]) -> dict[str, Problem]:
    """What keeps apps from being as they are in `after`, by id; both have all apps. One whose number does not rise is
    never kept back."""
    rising = [one for name, one in after.items() if one.instances > (before[name].instances if name in before else 0)]
    if not rising:
        return {}
    total = sum(app.instances for app in after.values())
    reasons = {}
    for app in rising:
        if app.instances > INSTANCES_MAX:
            reasons[app.id] = f"{app.id} would have {app.instances} instances; at most {INSTANCES_MAX} can be"
        elif total > ALL_MAX:
            reasons[app.id] = f"all apps together would have {total} instances; at most {ALL_MAX} can be"
    return {app_id: Problem(path="/instances", reason=reason) for app_id, reason in reasons.items()}
