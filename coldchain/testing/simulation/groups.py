"""groups: in some of the lives several apps are deployed together, in layers, and what must hold of that. Drawn apart
from all else, so that a life without them is as it was.

What is checked is seen from the records alone: a group deployment's layers and how its members ended.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from coldchain.model.app import App
from coldchain.model.deployment import Deployment
from coldchain.model.group import GroupDeployment
from coldchain.model.instance import Instance
from coldchain.model.version import Version

if TYPE_CHECKING:
    from coldchain.testing.simulation.schedule import Operation

GroupOperationKind = Literal["deploy group", "scale group", "roll back group", "delete group"]

GROUPED = 0.4
"""The share of lives of several apps in which they are deployed together."""
ALL = "/"
"""The group of all apps of a life; what is asked of it is about each of them."""


def grouped(
    seed: int, apps: Sequence[App], operations: Sequence["Operation"], good: Sequence[str], bad: Sequence[str]
) -> list["Operation"]:
    """The operations, perhaps with some of them asked of all apps at once; the first of these soon after all are there.
    `good`, `bad`: the first words of images."""
    draw = random.Random(f"groups {seed}")
    if len(apps) < 2 or draw.random() >= GROUPED:
        return list(operations)
    before = {
        app.id: tuple(other.id for other in apps[:number] if draw.random() < 0.7)
        for number, app in enumerate(apps)
        if number
    }
    found: list[Operation] = []
    for number, operation in enumerate(operations):
        first = number == len(apps)
        if operation.kind == "create" or (not first and draw.random() >= 0.5):
            found.append(operation)
            continue
        kinds: tuple[GroupOperationKind, ...] = (
            "deploy group",
            "deploy group",
            "scale group",
            "roll back group",
            "delete group",
        )
        kind: GroupOperationKind = "deploy group" if first else draw.choice(kinds)
        images = {
            app.id: f"{draw.choice(good) if draw.random() < 0.8 else draw.choice(bad)}-{draw.randint(1, 99)}"
            for app in apps
            if draw.random() < 0.8
        }
        asked = msgspec.structs.replace(
            operation,
            kind=kind,
            app_id=ALL,
            image=None,
            images=images if kind == "deploy group" else {},
            before=before,
            instances=None,
            drain_seconds=None,
            factor=draw.choice((0.5, 2.0)),
            force=draw.random() < 0.7,
        )
        found.append(asked)
        if draw.random() < 0.25:
            pause = draw.choice((0.0, 0.3, 1.0)) * draw.random()
            found.append(msgspec.structs.replace(asked, kind="cancel", pause_seconds=pause, phase=None, images={}))
    return found


def too_early(
    group: GroupDeployment | None,
    deployment: Deployment | None,
    members: Mapping[str, Deployment],
    wanted: Version,
    former: Version | None,
    instances: Iterable[Instance],
) -> str:
    """Whether an instance was made although an app of a layer before its own has not got there, in words. What takes
    the place of missing ones of the version it comes from may be made. `members`: by id; `instances`: of the app, with
    the new one, without those that are bad."""
    app_id = wanted.app.id
    if group is None or deployment is None or not unfinished(group, app_id, members):
        return ""
    standing = [
        one
        for one in instances
        if one.wanted and (one.version_id == wanted.config_id or one.phase in ("entering", "serving"))
    ]
    least = min(wanted.app.instances, former.app.instances if former is not None else 0)
    if len(standing) <= least:
        return ""
    return f"{app_id} has {len(standing)} instances, {least} before; {unfinished(group, app_id, members)} come first"


def unfinished(group: GroupDeployment, app_id: str, members: Mapping[str, Deployment]) -> list[str]:
    """The apps of the layers before the app's own that have not got there; of a rollback they may also have failed."""
    found: list[str] = []
    for layer in group.layers:
        if app_id in layer:
            return found
        for name in layer:
            member = members.get(group.members[name])
            # An app that does not come to its end is not waited for after its time limit.
            over = member is not None and (
                member.state == "succeeded"
                or (group.kind == "rollback" and not member.running)
                or (member.to_version is None and group.layers[0] == layer)
            )
            if not over and name not in group.without:
                found.append(name)
    return found


def stuck(deployments: Iterable[Deployment], groups: Mapping[str, GroupDeployment]) -> str:
    """Whether a deployment waits for other apps, and nobody will ever let it go on."""
    for one in deployments:
        if one.running and one.paused_by == "dependency":
            group = groups.get(one.part_of or "")
            if group is None or not group.has(one.app_id):
                return f"{one.id} of {one.app_id} waits for a layer of {one.part_of}, which is {group}"
    return ""


def unasked(after: GroupDeployment, groups: Mapping[str, GroupDeployment], *, asked: bool) -> str:
    """Whether a group deployment began that nobody asked for, and that takes none back, or takes one back again."""
    if after.rollback_of is None:
        return "" if asked else f"nobody asked for group deployment {after.id} ({after.cause})"
    failed = groups.get(after.rollback_of)
    if failed is None or failed.state != "failed" or failed.kind == "rollback":
        return f"group deployment {after.id} takes back {after.rollback_of}, which is {failed}"
    if sum(one.rollback_of == after.rollback_of for one in groups.values()) > 1:
        return f"group deployment {after.rollback_of} was rolled back twice"
    return ""
