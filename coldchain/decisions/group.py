"""group: what a change of a group does with each of its apps, in which order, and how far it is.

Each app is moved by a deployment of its own; a group deployment holds the later layers back until the earlier ones have
succeeded. Everything is seen from the records, so that whoever looks next goes on.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from coldchain.decisions import version as decide
from coldchain.decisions.dependency import Dependencies, ancestors, group_ids, layers
from coldchain.decisions.deployment import overdue, pause
from coldchain.model.app import App, same_configuration
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.group import (
    ROOT,
    Group,
    GroupAction,
    GroupActionName,
    GroupDeployment,
    GroupKind,
    GroupStep,
    GroupVersion,
)
from coldchain.model.version import Version


class GroupUpdate(Noun, frozen=True, kw_only=True):
    """What somebody wants of a group, ids absolute. None: as it is."""

    id: str
    apps: tuple[App, ...] | None = None
    groups: tuple["GroupUpdate", ...] | None = None
    dependencies: tuple[str, ...] | None = None


class Tree(Noun, frozen=True, kw_only=True):
    """Apps by id, and what is on record of groups by id, of the whole platform."""

    apps: dict[str, App]
    groups: dict[str, Group] = {}

    @property
    def app_dependencies(self) -> Dependencies:
        return {name: app.dependencies for name, app in self.apps.items()}

    @property
    def group_dependencies(self) -> Dependencies:
        return {name: group.dependencies for name, group in self.groups.items()}

    def has(self, group_id: str) -> bool:
        """True where there is such a group: on record, or because something is in it."""
        return group_id == ROOT or group_id in group_ids(self.apps, self.groups)


def inside(name: str, group_id: str) -> bool:
    """True for what is in the group, at any depth; not for the group itself."""
    return name != ROOT and (group_id == ROOT or name.startswith(f"{group_id}/"))


def updated(tree: Tree, update: GroupUpdate) -> Tree:
    """The tree after the update. Apps and groups that are given take the place of all that were there, as Marathon has
    it; those that are not given stay."""
    apps, groups = dict(tree.apps), dict(tree.groups)
    _update(update, apps, groups)
    return Tree(apps=apps, groups=groups)


def all_updates(update: GroupUpdate) -> Iterator[GroupUpdate]:
    """That of the group, and those of all groups in it."""
    yield update
    for one in update.groups or ():
        yield from all_updates(one)


def _update(update: GroupUpdate, apps: dict[str, App], groups: dict[str, Group]) -> None:
    former = groups.get(update.id, Group(id=update.id))
    dependencies = former.dependencies if update.dependencies is None else update.dependencies
    if update.id != ROOT or dependencies:
        groups[update.id] = Group(id=update.id, dependencies=dependencies)
    else:
        groups.pop(ROOT, None)
    if update.apps is not None:
        for name in [name for name in apps if next(ancestors(name)) == update.id]:
            del apps[name]
        apps.update((app.id, app) for app in update.apps)
    if update.groups is not None:
        listed = {one.id for one in update.groups}
        for table in (apps, groups):
            for name in [name for name in table if inside(name, update.id)]:
                below = _child(name, update.id, app=table is apps)
                if below is not None and below not in listed:
                    del table[name]
        for one in update.groups:
            _update(one, apps, groups)


def _child(name: str, group_id: str, *, app: bool) -> str | None:
    """The group right below another that something is in, or is; None for an app that is in none of them."""
    rest = name.removeprefix(group_id).lstrip("/")
    first, separator, _ = rest.partition("/")
    if app and not separator:
        return None
    return f"{group_id.rstrip('/')}/{first}"


def removed(tree: Tree, group_id: str) -> Tree:
    """The tree without a group and all in it."""
    return Tree(
        apps={name: app for name, app in tree.apps.items() if not inside(name, group_id)},
        groups={name: one for name, one in tree.groups.items() if name != group_id and not inside(name, group_id)},
    )


def scaled(tree: Tree, group_id: str, factor: float) -> Tree:
    """The tree with the numbers of all apps of a group multiplied, fractions rounded up as Marathon does."""
    apps = {
        name: msgspec.structs.replace(app, instances=_times(app.instances, factor)) if inside(name, group_id) else app
        for name, app in tree.apps.items()
    }
    return msgspec.structs.replace(tree, apps=apps)


def _times(instances: int, factor: float) -> int:
    return -int(-round(instances * factor, 9) // 1)


def plan(before: Tree, after: Tree, *, anew: Collection[str] = ()) -> tuple[GroupStep, ...]:
    """The steps from one tree to another: first what is there no more stops, then what is new begins with no instance,
    then layer by layer each app that changes is scaled or replaced. `anew`: to be replaced although their definitions
    stay. Raises dependency.Cycle."""
    changed: dict[str, GroupActionName] = {}
    for name, app in after.apps.items():
        former = before.apps.get(name)
        if former is None:
            changed[name] = "ScaleApplication"
        elif name in anew or former != app:
            same = name not in anew and same_configuration(former, app)
            changed[name] = "ScaleApplication" if same else "RestartApplication"
    gone = sorted(name for name in before.apps if name not in after.apps)
    new = sorted(name for name in changed if name not in before.apps)
    ordered = layers(after.app_dependencies, after.group_dependencies)
    steps = [
        [GroupAction(action="StopApplication", app=name) for name in gone],
        [GroupAction(action="StartApplication", app=name) for name in new],
        *([GroupAction(action=changed[name], app=name) for name in layer if name in changed] for layer in ordered),
    ]
    return tuple(tuple(step) for step in steps if step)


class Begun(Noun, frozen=True, kw_only=True):
    """What must be written for a group deployment to begin, all of it or nothing."""

    deployment: GroupDeployment
    changes: tuple[decide.Change, ...]


def begin(
    group: GroupDeployment,
    current: Mapping[str, Version],
    wanted: Mapping[str, Version | None],
    running: Mapping[str, Deployment],
    *,
    kinds: Mapping[str, DeploymentKind],
    takes_back: Mapping[str, str],
    ending: decide.Ending = "superseded",
) -> Begun:
    """The records of a group deployment and of its members. `wanted` has the version of each app of its layers, None
    for those to be stopped; `takes_back` the deployments that members of a rollback take back. All but the first layer
    wait. One without anything to do has ended."""
    changes = []
    for number, layer in enumerate(group.layers):
        for name in layer:
            change = decide.change(
                current.get(name),
                wanted[name],
                running.get(name),
                kind=kinds[name],
                deployment_id=group.members[name],
                cause=group.cause,
                now=group.started_at,
                ending=ending,
            )
            member = msgspec.structs.replace(
                change.deployment, part_of=group.id, rollback_of=takes_back.get(name) if group.rollback_of else None
            )
            if number:
                member = pause(member, "dependency", group.started_at)
            changes.append(msgspec.structs.replace(change, deployment=member))
    if not changes:
        group = msgspec.structs.replace(group, state="succeeded", ended_at=group.started_at)
    return Begun(deployment=group, changes=tuple(changes))


class Advance(Noun, frozen=True, kw_only=True):
    """How a group deployment goes on. `release`: apps whose layer begins. `take_back`: apps to go back to where they
    came from, after it failed."""

    deployment: GroupDeployment
    release: tuple[str, ...] = ()
    take_back: tuple[str, ...] = ()


def advance(
    group: GroupDeployment, members: Mapping[str, Deployment], rolled_back: Callable[[str], bool], now: float
) -> Advance | None:
    """What follows from how its members (by app) are; None for nothing. `rolled_back`: whether an app wants to be
    taken back when it fails. Whoever holds the group deployment decides himself."""
    if not group.running or group.paused_at is not None:
        return None
    standings = {name: _standing(group, name, members.get(name), now) for name in group.members}
    failed = sorted(name for name, standing in standings.items() if standing == "failed")
    if failed and group.kind != "rollback":
        return _failing(group, members, standings, failed, rolled_back, now)
    number, layers_of = group.layers_done, group.layers
    while number < len(layers_of) and all(standings[name] in ("done", "failed") for name in layers_of[number]):
        number += 1
    if number == len(layers_of):
        return Advance(deployment=_ended(msgspec.structs.replace(group, layers_done=number), members, failed, now))
    waiting = tuple(name for name in layers_of[number] if standings[name] == "waiting")
    if number == group.layers_done and not waiting:
        return None
    return Advance(deployment=msgspec.structs.replace(group, layers_done=number), release=waiting)


Standing = Literal["waiting", "begun", "done", "failed"]


def _standing(group: GroupDeployment, app_id: str, member: Deployment | None, now: float) -> Standing:
    """Where a member stands. One that somebody took over is nobody's to wait for; nor is, after its time limit, an app
    that does not come to its end: it goes on stopping, and must not hold up all others."""
    if app_id in group.without or member is None or member.state in ("succeeded", "superseded"):
        return "done"
    if member.running and member.to_version is None and overdue(member, now):
        return "done"
    if member.running:
        return "waiting" if member.paused_by == "dependency" else "begun"
    return "failed"


def _failing(
    group: GroupDeployment,
    members: Mapping[str, Deployment],
    standings: Mapping[str, Standing],
    failed: list[str],
    rolled_back: Callable[[str], bool],
    now: float,
) -> Advance | None:
    """It has failed: all go back; or where nobody wants that, those that have not begun once all others have ended."""
    back = any(map(rolled_back, failed))
    if not back and "begun" in standings.values():
        return None
    reason = "; ".join(f"{name}: {members[name].reason}" for name in failed)
    ended = msgspec.structs.replace(group, state="failed", ended_at=now, reason=reason)
    take_back = [
        name for name, standing in standings.items() if name not in group.without and (back or standing == "waiting")
    ]
    return Advance(deployment=ended, take_back=tuple(sorted(take_back)))


def _ended(
    group: GroupDeployment, members: Mapping[str, Deployment], failed: Iterable[str], now: float
) -> GroupDeployment:
    reason = "; ".join(f"{name}: {members[name].reason}" for name in failed)
    if reason:
        return msgspec.structs.replace(group, state="failed", ended_at=now, reason=reason)
    if group.without and len(group.without) == len(group.members):
        return msgspec.structs.replace(group, state="superseded", ended_at=now, reason="others took over all its apps")
    told = f"without {', '.join(sorted(group.without))}, which others took over" if group.without else ""
    return msgspec.structs.replace(group, state="succeeded", ended_at=now, reason=told)


def given_up(group: GroupDeployment, app_ids: Collection[str], cause: str, now: float) -> GroupDeployment:
    """The group deployment after somebody took some of its apps over; it ends when none is left."""
    without = tuple(sorted({*group.without, *(name for name in app_ids if name in group.members)}))
    group = msgspec.structs.replace(group, without=without)
    if len(without) < len(group.members):
        return group
    return msgspec.structs.replace(group, state="superseded", ended_at=now, reason=f"superseded by {cause}")


def snapshot(group_id: str, name: str, versions: Mapping[str, str], groups: Mapping[str, Group]) -> GroupVersion:
    """A group as it is. `versions`: of all apps."""
    return GroupVersion(
        group_id=group_id,
        id=name,
        apps={app_id: version for app_id, version in versions.items() if inside(app_id, group_id)},
        groups={one.id: one.dependencies for one in groups.values() if one.id == group_id or inside(one.id, group_id)},
    )


def restored(tree: Tree, version: GroupVersion, apps: Mapping[str, App]) -> Tree:
    """The tree with a group as it was. `apps`: the definitions that the version names."""
    rest = removed(tree, version.group_id)
    groups = {name: Group(id=name, dependencies=others) for name, others in version.groups.items()}
    return Tree(apps=rest.apps | dict(apps), groups=rest.groups | groups)


def summary(kind: GroupKind, group_id: str, caller: str) -> str:
    """The cause of a group deployment, in words."""
    what = "several apps" if kind == "apps" else f"group {group_id}"
    return f"{kind} of {what} asked for by {caller}"
