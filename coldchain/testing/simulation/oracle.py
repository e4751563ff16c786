"""oracle: a life with faults must end as the same life ends without; a checker of steps does not see that it does not.

Only patient lives can be compared: their user waits for the end of each deployment and asks again until an answer is
had, so that the same things are asked for in the same order. What depends on time is left out of what is compared.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from coldchain.testing.simulation.checkers import Violation
from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.faults import FAULTS, Fault
from coldchain.testing.simulation.groups import ALL
from coldchain.testing.simulation.run import Result, run
from coldchain.testing.simulation.schedule import BAD, Schedule

Run = Callable[[Schedule], tuple[Result, Coverage]]


def compared(schedule: Schedule, run: Run = run, faults: Mapping[str, Fault] = FAULTS) -> tuple[Result, Coverage]:
    """Run a schedule, and without its faults where that can be compared; what differs is a violation."""
    result, coverage = run(schedule)
    if result.violations or not comparable(schedule):
        return result, coverage
    expected, _ = run(msgspec.structs.replace(schedule, injections=()))
    found = tuple(
        Violation(invariant=name, words=words, at=result.seconds)
        for name, words in differences(expected, result, faults)
    )
    return msgspec.structs.replace(result, violations=found), coverage


def comparable(schedule: Schedule) -> bool:
    """True when nothing in the life depends on when a fault holds something up."""
    kinds = {one.kind for one in schedule.injections}
    if not schedule.patient or "time travel" in kinds:
        return False
    # When a deleted app is made again, what is still on record to go back to depends on time.
    deleted = {one.app_id for one in schedule.operations if one.kind == "delete"}
    if any(one.kind == "roll back" and one.app_id in deleted for one in schedule.operations):
        return False
    kinds_of_groups = {one.kind for one in schedule.operations if one.app_id == ALL}
    if "roll back group" in kinds_of_groups and (deleted or "delete group" in kinds_of_groups):
        return False
    # A good version has as long as it needs, but an instance that never passes in its grace is replaced.
    images = [image for one in schedule.operations for image in (one.image or "", *one.images.values())]
    return not any(image.split("-")[0] in BAD for image in images)


def differences(expected: Result, result: Result, faults: Mapping[str, Fault] = FAULTS) -> list[tuple[str, str]]:
    """What is not as in the life without faults, as (invariant, words)."""
    found = []
    if result.outcomes != expected.outcomes:
        found.append(("I1", f"answers {result.outcomes} instead of {expected.outcomes}"))
    if result.end.apps != expected.end.apps:
        found.append(("I3", f"{result.end.apps} instead of {expected.end.apps}"))
    if result.end.deployments != expected.end.deployments:
        found.append(("I3", f"deployments {result.end.deployments} instead of {expected.end.deployments}"))
    costs = {faults[one.kind].cost for one in result.schedule.injections}
    if "health" in costs:
        return found
    killed = Counter(result.killed)
    for app_id, count in expected.end.created.items():
        more = result.end.created.get(app_id, 0) - count
        if not 0 <= more <= killed[app_id]:
            found.append(("I4", f"{more} more tasks of {app_id} created than without faults, {killed[app_id]} killed"))
        fewer = expected.end.deleted.get(app_id, 0) - result.end.deleted.get(app_id, 0)
        if not 0 <= fewer <= killed[app_id]:
            found.append(
                ("I4", f"{fewer} fewer tasks of {app_id} deleted than without faults, {killed[app_id]} killed")
            )
    return found
