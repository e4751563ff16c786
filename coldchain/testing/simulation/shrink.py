"""shrink: a smaller schedule that still breaks the same invariant, for people to read and for the replays to keep."""

from collections.abc import Callable, Iterator

import msgspec

from coldchain.testing.simulation.oracle import Run, compared
from coldchain.testing.simulation.schedule import Schedule

Fails = Callable[[Schedule], bool]


def breaks(invariant: str, compared: Run = compared) -> Fails:
    """True for the schedules that break this invariant first."""

    def fails(schedule: Schedule) -> bool:
        result, _ = compared(schedule)
        return bool(result.violations) and result.violations[0].invariant == invariant

    return fails


def shrink(schedule: Schedule, fails: Fails, tries: int = 400) -> Schedule:
    """Take things out as long as it still fails; at most so many runs."""
    smaller = True
    while smaller and tries > 0:
        smaller = False
        for candidate in _smaller(schedule):
            tries -= 1
            if tries < 0:
                break
            if fails(candidate):
                schedule, smaller = candidate, True
                break
    return schedule


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Schedules with something less, the boldest first."""
    injections, operations = schedule.injections, schedule.operations
    for kind in sorted({one.kind for one in injections}):
        yield _with(schedule, injections=tuple(one for one in injections if one.kind != kind))
    for app in schedule.apps[1:]:
        yield _with(
            schedule,
            apps=tuple(one for one in schedule.apps if one.id != app.id),
            operations=tuple(one for one in operations if one.app_id != app.id),
        )
    for index in range(len(operations) - 1, -1, -1):
        yield _with(schedule, operations=operations[:index] + operations[index + 1 :])
    for index in range(len(injections)):
        yield _with(schedule, injections=injections[:index] + injections[index + 1 :])
    if schedule.gateways > 1:
        yield _with(schedule, gateways=schedule.gateways - 1)


def _with(schedule: Schedule, **changes: object) -> Schedule:
    return msgspec.structs.replace(schedule, **changes)
