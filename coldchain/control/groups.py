"""groups: several apps moved together: the records with which that begins, goes on, fails and is taken back.

Each app is moved by a deployment of its own, which the reconciler carries out as any other. All of them are written at
once, so that every app is locked and shows its new definition; those of later layers wait until they are released.
"""

from collections.abc import Mapping, Sequence

import msgspec

from coldchain.control.plan import Plan
from coldchain.control.state import State
from coldchain.decisions import gray as grays
from coldchain.decisions import group as decide
from coldchain.decisions import version as versions
from coldchain.decisions.dependency import Cycle, ancestors, group_ids, parent
from coldchain.decisions.deployment import resume
from coldchain.decisions.reconcile import rolled_back, version_id
from coldchain.documents import keys
from coldchain.documents.keys import Record
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.errors import NotFound
from coldchain.model.group import ROOT, Group, GroupDeployment, GroupKind, GroupStep, GroupVersion
from coldchain.model.version import Version
from coldchain.ports.clock import Clock

GROUP_VERSIONS_KEPT = 50
"""Of each group; and as many of all groups together that are not there any more."""


NEVER = version_id(0.0, None)
"""The version of a group in which nothing was ever changed."""


class Move(Noun, frozen=True, kw_only=True):
    """What several apps are moved to: `wanted` has the version of each app that `steps` name, None for those to be
    stopped. `groups`: records of groups to be written, None for those to be taken away. `takes_back`: by app, the
    deployment that is taken back."""

    group_id: str
    kind: GroupKind
    steps: tuple[GroupStep, ...]
    wanted: dict[str, Version | None]
    kinds: dict[str, DeploymentKind]
    cause: str
    groups: dict[str, Group | None] = {}
    rollback_of: str | None = None
    takes_back: dict[str, str] = {}


class Records(Noun, frozen=True, kw_only=True):
    """What is to be written for a move to begin."""

    deployment: GroupDeployment
    put: list[Record]
    remove: list[Record]


class Groups:
    """Makes records; writes none."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def tree(self) -> decide.Tree:
        """All apps as they are wanted, and all groups."""
        return decide.Tree(apps={app.id: app for app in self._state.wanted_apps()}, groups=dict(self._state.groups))

    def version_of(self, group_id: str) -> GroupVersion:
        """The group as it is wanted now; its id is when it, or something in it, was last changed."""
        state = self._state
        made = {app_id: record.version_id for app_id, record in state.apps.items()}
        name = self.latest().get(group_id) or max(state.group_versions.get(group_id, ()), default=NEVER)
        return decide.snapshot(group_id, name, made, state.groups)

    def latest(self) -> dict[str, str]:
        """For each group that is there when it, or something in it, was last changed."""
        state = self._state
        found = dict.fromkeys(group_ids(state.apps, state.groups), NEVER)
        changes = [(parent(app_id), record.version_id) for app_id, record in state.apps.items()]
        changes += [(group_id, max(known)) for group_id, known in state.group_versions.items() if group_id in found]
        for group_id, name in changes:
            for one in (group_id, *ancestors(group_id)):
                found[one] = max(found[one], name)
        return found

    def version(self, group_id: str, name: str) -> tuple[GroupVersion, dict[str, Version]]:
        """A group as it was, and the versions of its apps. Raises NotFound."""
        found = self._state.group_versions.get(group_id, {}).get(name)
        if found is None:
            found = self.version_of(group_id)
        known = self.version_names(group_id)
        if name != found.id:
            todo = f"It has {', '.join(known[:5])}." if known else "/v2/groups has all."
            raise NotFound(f"Group '{group_id}' does not have the version '{name}'", todo=todo)
        state = self._state.versions
        return found, {app_id: state[app_id][version] for app_id, version in found.apps.items()}

    def version_names(self, group_id: str) -> list[str]:
        """All that it can go back to, the latest first; none where there is no such group and was none."""
        known = set(self._state.group_versions.get(group_id, ()))
        return sorted(known | ({self.version_of(group_id).id} if self.tree().has(group_id) else set()), reverse=True)

    def begin(
        self,
        move: Move,
        running: Mapping[str, Deployment],
        now: float,
        *,
        ending: versions.Ending = "superseded",
        without: Sequence[Record] = (),
    ) -> Records:
        """The records of a move that begins now. `running`: the deployments that it takes the place of. `without`: are
        to be written as well, and take the place of what would be made of them here."""
        state = self._state
        kept = self._group_versions(move, now)
        names = [one.id for one in kept] or [one.id for one in move.wanted.values() if one is not None]
        group = GroupDeployment(
            id=self._clock.unique(),
            group_id=move.group_id,
            target=next((one.app.target for one in move.wanted.values() if one is not None), "cluster"),
            kind=move.kind,
            version=max(names, default=version_id(now, None)),
            steps=move.steps,
            members={name: self._clock.unique() for name in sorted(move.wanted)},
            started_at=now,
            cause=move.cause,
            groups_before={name: state.groups.get(name) for name in move.groups},
            rollback_of=move.rollback_of,
        )
        current = {name: version for name in move.wanted if (version := state.wanted(name)) is not None}
        begun = decide.begin(
            group, current, move.wanted, running, kinds=move.kinds, takes_back=move.takes_back, ending=ending
        )
        put: list[Record] = [*kept, begun.deployment]
        remove: list[Record] = list(self._old_group_versions(move))
        for name, one in move.groups.items():
            if one is not None:
                put.append(one)
            elif name in state.groups:
                remove.append(state.groups[name])
        for change in (self._without_gray(one, move) for one in begun.changes):
            put += [one for one in (change.deployment, change.version, change.record, change.ended) if one is not None]
            if change.record is None:
                remove.append(state.apps[change.deployment.app_id])
            if change.deployment.kind == "restart" and change.deployment.app_id in state.backoffs:
                remove.append(state.backoffs[change.deployment.app_id])
        left = {one.id for one in without if isinstance(one, GroupDeployment)}
        put += [one for one in self.given_up(move.wanted, move.cause, now) if one.id not in left]
        return Records(deployment=begun.deployment, put=[*put, *without], remove=remove)

    def _without_gray(self, change: versions.Change, move: Move) -> versions.Change:
        """A member that failed while it shared requests out gives its gray version nothing while it is taken back."""
        failed = self._state.deployments.get(move.takes_back.get(change.deployment.app_id, ""))
        if failed is None or change.version is None or change.deployment.gray is not None:
            return change
        gray = grays.taken_back(failed.gray, change.version)
        return msgspec.structs.replace(change, deployment=msgspec.structs.replace(change.deployment, gray=gray))

    def given_up(self, app_ids: Mapping[str, object], cause: str, now: float) -> list[GroupDeployment]:
        """The group deployments that these apps are taken out of, as they are without them."""
        holders = {one.id: one for name in app_ids if (one := self._state.moved_by.get(name))}
        return [decide.given_up(one, list(app_ids), cause, now) for one in holders.values()]

    def _group_versions(self, move: Move, now: float) -> list[GroupVersion]:
        """The group as it was, where no version of it says so yet, and as it is going to be."""
        if move.group_id == ROOT and move.kind in ("apps", "rollback") and not move.groups:
            return []
        state, group_id = self._state, move.group_id
        before = self.version_of(group_id)
        known = state.group_versions.get(group_id, {})
        last = max(known, default=None)
        kept: list[GroupVersion] = []
        same = last is not None and msgspec.structs.replace(before, id=last) == known[last]
        if not same and (before.apps or before.groups):
            name = before.id if last is None or before.id > last else version_id(now, last)
            kept.append(msgspec.structs.replace(before, id=name))
        made = {app_id: record.version_id for app_id, record in state.apps.items()}
        made |= {app_id: one.id for app_id, one in move.wanted.items() if one is not None}
        made = {app_id: name for app_id, name in made.items() if move.wanted.get(app_id, True) is not None}
        groups = {name: one for name, one in (state.groups | move.groups).items() if one is not None}
        latest = max((*(one.id for one in kept), last or "", *made.values()), default="")
        name = version_id(now, None)
        kept.append(decide.snapshot(group_id, name if name > latest else version_id(now, latest), made, groups))
        return kept

    def _old_group_versions(self, move: Move) -> list[GroupVersion]:
        """Those beyond what is kept, of the group and of groups that are gone."""
        state = self._state
        own = sorted(state.group_versions.get(move.group_id, {}).values(), key=lambda one: one.id, reverse=True)
        there = group_ids(state.apps, state.groups)
        gone = [
            one
            for group_id, found in state.group_versions.items()
            if group_id != move.group_id and group_id not in there
            for one in found.values()
        ]
        gone.sort(key=lambda one: one.id, reverse=True)
        return own[GROUP_VERSIONS_KEPT - 2 :] + gone[GROUP_VERSIONS_KEPT:]

    def back(
        self, group: GroupDeployment, app_ids: Sequence[str], cause: str, now: float, *, whole: bool
    ) -> tuple[Move, dict[str, Deployment]]:
        """The move that leads these apps to where the members of a group deployment came from, and which of its members
        it takes the place of. `whole`: the groups themselves are as they were before, too."""
        state = self._state
        wanted: dict[str, Version | None] = {}
        takes_back: dict[str, str] = {}
        running: dict[str, Deployment] = {}
        for name in app_ids:
            member = state.deployments.get(group.members[name])
            known = state.versions.get(name, {})
            former = known.get(member.from_version or "") if member is not None else None
            if member is None or (former is None and (member.from_version is not None or name not in state.apps)):
                continue  # nobody knows any more what to go back to, or there is nothing to stop
            last = known[max(known)]
            wanted[name] = None if former is None else rolled_back(former, last, now)
            takes_back[name] = member.id
            if member.running:
                running[name] = member
        before = self.tree()
        groups = group.groups_before if whole else {}
        apps = {name: app for name, app in before.apps.items() if wanted.get(name, True) is not None}
        apps |= {name: one.app for name, one in wanted.items() if one is not None}
        after = decide.Tree(
            apps=apps, groups={name: one for name, one in (before.groups | groups).items() if one is not None}
        )
        move = Move(
            group_id=group.group_id,
            kind="rollback",
            steps=self._steps(before, after, wanted),
            wanted=wanted,
            kinds=dict.fromkeys(wanted, "rollback"),
            cause=cause,
            groups=groups,
            rollback_of=group.id,
            takes_back=takes_back,
        )
        return move, running

    @staticmethod
    def _steps(before: decide.Tree, after: decide.Tree, wanted: Mapping[str, Version | None]) -> tuple[GroupStep, ...]:
        """All at once where what is gone back to has no order: it was allowed once, and must not be in the way."""
        anew = [name for name, one in wanted.items() if one is not None and name in before.apps]
        try:
            return decide.plan(before, after, anew=anew)
        except Cycle:
            loose = {name: msgspec.structs.replace(app, dependencies=()) for name, app in after.apps.items()}
            return decide.plan(before, decide.Tree(apps=loose), anew=anew)

    def lead(self, plan: Plan, now: float) -> frozenset[str]:
        """Bring all group deployments as far as their members are. The apps that change by it, on which the same pass
        does not decide: it does not see that yet."""
        led: set[str] = set()
        for group in {one.id: one for one in self._state.moved_by.values()}.values():
            members = {
                name: one
                for name, member in group.members.items()
                if (one := self._state.deployments.get(member)) is not None
            }
            step = decide.advance(group, members, self._rolled_back, now)
            if step is None:
                continue
            plan.put[keys.key_of(step.deployment)] = step.deployment
            for name in step.release:
                released = resume(members[name], now)
                plan.put[keys.key_of(released)] = released
            led.update(step.release)
            if step.take_back:
                self._take_back(plan, step, now)
                led.update(step.take_back)
        return frozenset(led)

    def _take_back(self, plan: Plan, step: decide.Advance, now: float) -> None:
        failed = step.deployment
        cause = f"rollback of {failed.id}: {failed.reason}"
        whole = len(step.take_back) + len(failed.without) == len(failed.members)
        move, running = self.back(failed, step.take_back, cause, now, whole=whole)
        records = self.begin(move, running, now, without=[failed])
        for record in records.put:
            plan.put[keys.key_of(record)] = record
        plan.remove += records.remove

    def _rolled_back(self, app_id: str) -> bool:
        wanted = self._state.wanted(app_id)
        return wanted is not None and wanted.app.rollback_on_failure
