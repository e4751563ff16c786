"""group_operations: what users may ask of groups, and of several apps at once. Each is one write, as of single apps."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from coldchain.control.groups import Groups, Move
from coldchain.control.operations import Operations, locked_by
from coldchain.control.state import State
from coldchain.decisions import admission, instance_limit
from coldchain.decisions import deployment as deployments
from coldchain.decisions import group as decide
from coldchain.decisions import rollout as rollouts
from coldchain.decisions import service_port as service_ports
from coldchain.decisions import version as versions
from coldchain.decisions.default_network import with_network_named
from coldchain.decisions.dependency import Cycle, group_ids, unknown
from coldchain.decisions.reconcile import rolled_back
from coldchain.decisions.route import conflicts_among
from coldchain.documents.findings import pointer
from coldchain.documents.group import GroupRequest, Path
from coldchain.documents.keys import Record
from coldchain.model.app import App
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.errors import Conflict, InvalidDocument, NotFound, Problem
from coldchain.model.group import ROOT, GroupDeployment, GroupKind, GroupStep
from coldchain.model.version import Override, Version
from coldchain.ports.clock import Clock

GROUP_DEPLOYMENTS_KEPT = 50

Places = Mapping[str, Path]
"""Where an app or a group stands in the document that somebody sent, by id."""


class GroupOperations:
    """Callable from any task of the loop. Every error leaves all as it was, but for Unavailable: then nobody knows.

    What holds for a change of one app holds for each app of a group; everything that is wrong with any is told at once.
    """

    def __init__(self, operations: Operations, groups: Groups, state: State, clock: Clock) -> None:
        self._operations = operations
        self._groups = groups
        self._state = state
        self._clock = clock

    async def change(
        self,
        request: GroupRequest,
        caller: str,
        *,
        force: bool,
        create: bool = False,
        overrides: Sequence[Override] = (),
    ) -> GroupDeployment:
        """Make the group what the request says; with `create` raises Conflict where it exists. Raises Conflict while a
        deployment of one of the apps that change runs, unless `force` takes its place."""
        async with self._state.lock:
            await self._operations.ready()
            if create:
                self._absent(request.group_id)
            move = self._move(request, caller, overrides)
            return await self._begin(move, force=force)

    async def steps(
        self, request: GroupRequest, caller: str, *, overrides: Sequence[Override] = ()
    ) -> tuple[GroupStep, ...]:
        """What `change` would do. Nothing is stored."""
        async with self._state.lock:
            await self._operations.ready()
            return self._move(request, caller, overrides).steps

    async def change_apps(
        self,
        edit: Callable[[Mapping[str, App]], Mapping[str, App]],
        caller: str,
        *,
        force: bool,
        places: Places,
        overrides: Sequence[Override] = (),
    ) -> GroupDeployment:
        """Aim at the definitions that `edit` makes of those of all apps, all in one deployment."""
        async with self._state.lock:
            await self._operations.ready()
            before = self._groups.tree()
            after = msgspec.structs.replace(before, apps=before.apps | dict(edit(before.apps)))
            move = self._judged(before, after, ROOT, "apps", caller, places, overrides)
            return await self._begin(move, force=force)

    async def delete(self, group_id: str, caller: str, *, force: bool) -> GroupDeployment:
        """Stop all apps of a group, and take them away with all groups in it. Raises NotFound, Conflict."""
        async with self._state.lock:
            await self._operations.ready()
            before = self._groups.tree()
            if not before.has(group_id):
                raise unknown_group(group_id)
            after = decide.removed(before, group_id)
            move = self._judged(before, after, group_id, "delete", caller, {}, ())
            return await self._begin(move, force=force)

    async def cancel(self, deployment_id: str, caller: str, *, force: bool) -> GroupDeployment | None:
        """Take a running group deployment back by a new one, which is returned; with `force` just end it, and all
        of its members, as they stand."""
        async with self._state.lock:
            await self._operations.ready()
            group = self._running(deployment_id)
            now = self._clock.now()
            reason = f"cancelled by {caller}"
            ended = msgspec.structs.replace(group, state="cancelled", ended_at=now, reason=reason)
            if force:
                members = [versions.end(one, "cancelled", reason, now) for one in self._members(group)]
                await self._state.commit([*members, ended])
                return None
            mine = [name for name in group.members if name not in group.without]
            cause = f"rollback of {group.id} asked for by {caller}"
            move, running = self._groups.back(group, sorted(mine), cause, now, whole=not group.without)
            move = msgspec.structs.replace(move, rollback_of=None, wanted=self._admitted(move.wanted))
            records = self._groups.begin(move, running, now, ending="cancelled", without=[ended])
            await self._state.commit(records.put, records.remove)
            return records.deployment

    def _admitted(self, wanted: Mapping[str, Version | None]) -> dict[str, Version | None]:
        """Raises InvalidDocument for what may not come in any more."""
        problems: list[Problem] = []
        found: dict[str, Version | None] = {}
        for name, one in wanted.items():
            try:
                found[name] = None if one is None else self._operations.admitted(one)
            except InvalidDocument as error:
                problems += _placed(error.problems, name, {})
        if problems:
            raise InvalidDocument(problems)
        return found

    async def pause(self, deployment_id: str) -> GroupDeployment:
        """Hold all of it where it is, with the time limits of all its members."""
        return await self._hold(
            deployment_id,
            lambda group, now: msgspec.structs.replace(
                group, paused_at=now if group.paused_at is None else group.paused_at
            ),
            lambda member, now: deployments.pause(member, "operator", now),
        )

    async def resume(self, deployment_id: str) -> GroupDeployment:
        """Let it go on; members that wait in a step of their plan, too. Who waits for other apps goes on waiting."""
        return await self._hold(
            deployment_id,
            lambda group, now: msgspec.structs.replace(group, paused_at=None),
            lambda member, now: member if member.paused_by == "dependency" else deployments.resume(member, now),
        )

    async def promote(self, deployment_id: str) -> GroupDeployment:
        """Let the members whose turn it is go on past all steps of their plans. Raises Conflict where none has any."""
        promoted: list[str] = []

        def edit(member: Deployment, now: float) -> Deployment:
            wanted = self._state.wanted(member.app_id)
            if member.paused_by == "dependency" or wanted is None or not wanted.app.rollout.steps:
                return member
            promoted.append(member.app_id)
            return rollouts.promote(deployments.resume(member, now), wanted.app)

        def check(group: GroupDeployment, now: float) -> GroupDeployment:
            if not promoted:
                words = f"no app of deployment {group.id} goes by steps just now: there is nothing to promote"
                raise Conflict(words, todo="`coldchain resume` lets a paused one go on.")
            return msgspec.structs.replace(group, paused_at=None)

        return await self._hold(deployment_id, check, edit)

    async def _hold(
        self,
        deployment_id: str,
        edit: Callable[[GroupDeployment, float], GroupDeployment],
        edit_member: Callable[[Deployment, float], Deployment],
    ) -> GroupDeployment:
        async with self._state.lock:
            await self._operations.ready()
            group, now = self._running(deployment_id), self._clock.now()
            members = [edit_member(one, now) for one in self._members(group)]
            edited = edit(group, now)
            await self._state.commit([*members, edited])
            return edited

    def _running(self, deployment_id: str) -> GroupDeployment:
        group = self._state.group_deployments.get(deployment_id)
        if group is None or not group.running:
            raise NotFound(f"DeploymentPlan {deployment_id} does not exist")
        return group

    def _members(self, group: GroupDeployment) -> list[Deployment]:
        """Those that run and are still its own."""
        running = self._state.running
        return [one for name in group.members if (one := running.get(name)) is not None and one.part_of == group.id]

    def _absent(self, group_id: str) -> None:
        if self._groups.tree().has(group_id):
            raise Conflict(f"Group {group_id} is already created. Use PUT to change this group.")
        if group_id in self._state.apps:
            raise Conflict(f"An app with the path {group_id} already exists.")

    def _move(self, request: GroupRequest, caller: str, overrides: Sequence[Override]) -> Move:
        before, group_id = self._groups.tree(), request.group_id
        if request.update is not None:
            after = decide.updated(before, request.update)
            return self._judged(before, after, group_id, "change", caller, request.places, overrides)
        if request.version is None:
            assert request.scale_by is not None
            if not before.has(group_id):
                raise unknown_group(group_id)
            after = decide.scaled(before, group_id, request.scale_by)
            return self._judged(before, after, group_id, "scale", caller, {}, overrides)
        found, back = self._groups.version(group_id, request.version)
        after = decide.restored(before, found, {name: one.app for name, one in back.items()})
        return self._judged(before, after, group_id, "rollback", caller, {}, overrides, back)

    def _judged(
        self,
        before: decide.Tree,
        after: decide.Tree,
        group_id: str,
        kind: GroupKind,
        caller: str,
        places: Places,
        overrides: Sequence[Override],
        back: Mapping[str, Version] | None = None,
    ) -> Move:
        """The move from one tree to the other. Raises InvalidDocument with all that is wrong with any app. `back`: the
        versions that are gone back to."""
        if problems := list(admission.misused(overrides, self._operations.policy)):
            raise InvalidDocument(problems)
        if back is None:
            after = self._with_service_ports(before, after)
        problems = list(_dependencies(before, after, places))
        try:
            steps = decide.plan(before, after)
        except Cycle as cycle:
            place = (*places.get(cycle.apps[0], ()), "dependencies")
            problems.append(Problem(path=pointer(place), reason=f"apps depend on each other in a circle: {cycle}"))
            raise InvalidDocument(problems) from None
        stopped = {name for name in before.apps if name not in after.apps}
        changed = [one.app for step in steps for one in step if one.app not in stopped]
        changed = list(dict.fromkeys(changed))
        problems += self._shared(changed, after, places)
        for name, problem in instance_limit.beyond(after.apps, before.apps).items():
            problems += _placed([problem], name, places)
        wanted: dict[str, Version | None] = dict.fromkeys(stopped)
        kinds: dict[str, DeploymentKind] = dict.fromkeys(stopped, "stop")
        for name in changed:
            current = self._state.wanted(name)
            version = self._version(name, after.apps[name], current, (back or {}).get(name))
            kinds[name] = "rollback" if back else versions.kind_of(current, version)
            try:
                wanted[name] = self._operations.admitted(version, overrides)
            except InvalidDocument as error:
                problems += _placed(error.problems, name, places)
        if problems:
            raise InvalidDocument(problems)
        cause = f"{kind} of {'several apps' if kind == 'apps' else f'group {group_id}'} asked for by {caller}"
        names = {*before.groups, *after.groups}
        return Move(
            group_id=group_id,
            kind=kind,
            steps=steps,
            wanted=wanted,
            kinds=kinds,
            cause=_with_overrides(cause, wanted.values()),
            groups={
                name: after.groups.get(name) for name in names if after.groups.get(name) != before.groups.get(name)
            },
        )

    def _with_service_ports(self, before: decide.Tree, after: decide.Tree) -> decide.Tree:
        """With a service port for each port of what changes: those it had, or some that nobody has and gets; and with
        the name of its network."""
        default = self._operations.default_network
        named = {name: with_network_named(app, before.apps.get(name), default) for name, app in after.apps.items()}
        given = {name: app for name, app in named.items() if before.apps.get(name) != app}
        taken = self._operations.taken_service_ports()
        ports = service_ports.assigned_among(given, before.apps, taken)
        return msgspec.structs.replace(after, apps=named | ports)

    def _version(self, app_id: str, app: App, current: Version | None, back: Version | None) -> Version:
        last = max(self._state.versions.get(app_id, ()), default=None)
        now = self._clock.now()
        if back is None:
            return versions.next_version(current, app, now, last=last)
        return rolled_back(back, self._state.versions[app_id][last or back.id], now)

    def _shared(self, changed: Sequence[str], after: decide.Tree, places: Places) -> Iterable[Problem]:
        """What apps cannot have both: a route, the name of a service, an id with a group."""
        state = self._state
        made_from = {(one.app_id, one.version_id) for one in state.instances.values() if one.live}
        leaving = [state.versions[name][version].app for name, version in made_from]
        apps = [after.apps[name] for name in changed]
        for name, found in conflicts_among(apps, after.apps.values(), leaving).items():
            yield from _placed(found, name, places)
        groups = group_ids(after.apps, after.groups)
        for app in apps:
            if app.id in groups:
                path = pointer((*places.get(app.id, ()), "id"))
                yield Problem(
                    path=path, reason=f"{app.id} is the id of a group, too: an app and a group cannot share it"
                )

    async def _begin(self, move: Move, *, force: bool) -> GroupDeployment:
        state = self._state
        locked = dict.fromkeys(found.id for name in move.wanted if (found := state.move_of(name)))
        if locked and not force:
            raise locked_by(list(locked))
        running = {name: found for name in move.wanted if (found := state.running.get(name))}
        records = self._groups.begin(move, running, self._clock.now())
        remove: list[Record] = [*records.remove, *self._operations.old_deployments(), *self._old()]
        begun = {one.app_id: one for one in records.put if isinstance(one, Deployment) and one.running}
        for name, wanted in move.wanted.items():
            remove += self._operations.old_versions(name, wanted, begun.get(name))
        await self._state.commit(records.put, remove)
        return records.deployment

    def _old(self) -> Iterable[GroupDeployment]:
        ended = [one for one in self._state.group_deployments.values() if not one.running]
        return sorted(ended, key=lambda one: one.started_at, reverse=True)[GROUP_DEPLOYMENTS_KEPT:]


def unknown_group(group_id: str) -> NotFound:
    """The error for a group that is not there, in Marathon's words."""
    return NotFound(f"Group '{group_id}' does not exist", todo="/v2/groups has all.")


def _dependencies(before: decide.Tree, after: decide.Tree, places: Places) -> Iterable[Problem]:
    """Dependencies on what is not there; of those that were there before, and whose aim is gone since, nobody is told
    while he changes something else."""
    for name, other in unknown(after.app_dependencies, after.group_dependencies):
        old = before.apps.get(name) if name in after.apps else before.groups.get(name)
        new = after.apps.get(name) or after.groups[name]
        if old is not None and other in old.dependencies and other not in before.apps and not before.has(other):
            continue
        if old is not None and old == new and name not in places:
            continue
        path = pointer((*places.get(name, ()), "dependencies", new.dependencies.index(other)))
        yield Problem(path=path, reason=f"there is no app and no group {other}")


def _placed(problems: Iterable[Problem], app_id: str, places: Places) -> list[Problem]:
    """Seen from the whole document; of an app that is not in it, with its id."""
    if app_id in places:
        above = pointer(places[app_id])
        return [msgspec.structs.replace(one, path=above + one.path) for one in problems]
    return [msgspec.structs.replace(one, reason=f"{app_id}: {one.reason}") for one in problems]


def _with_overrides(cause: str, wanted: Iterable[Version | None]) -> str:
    for one in wanted:
        if one is not None and one.overrides:
            return admission.with_overrides(cause, one)
    return cause
