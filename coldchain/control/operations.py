"""operations: what users may ask for: create, change, restart, roll back, cancel, delete. Each is one write."""

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from coldchain.control.claims import Claims
from coldchain.control.secrets import Secrets
from coldchain.control.state import State
from coldchain.decisions import admission, instance_limit
from coldchain.decisions import deployment as deployments
from coldchain.decisions import gray as grays
from coldchain.decisions import rollout as rollouts
from coldchain.decisions import service_port as service_ports
from coldchain.decisions import version as decide
from coldchain.decisions.default_network import with_network_named
from coldchain.decisions.dependency import Cycle, layers, unknown
from coldchain.decisions.group import given_up
from coldchain.decisions.reconcile import rolled_back
from coldchain.decisions.rollback import last_good
from coldchain.decisions.route import conflicts
from coldchain.documents.keys import Record
from coldchain.model.app import App
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.errors import Conflict, InvalidDocument, NotFound, Problem
from coldchain.model.gray import GrayRule
from coldchain.model.instance import Instance
from coldchain.model.version import Override, Version
from coldchain.ports.clock import Clock

VERSIONS_KEPT = 50
DEPLOYMENTS_KEPT = 200
"""Ended deployments on record, over all apps: what `status` and a waiting client look back at."""


class Operations:
    """Callable from any task of the loop. Every error leaves all as it was, but for Unavailable: then nobody knows.

    Whatever aims at a version asks admission first, and raises InvalidDocument with all that is refused; `overrides`
    are what the caller lets through.
    """

    def __init__(self, state: State, clock: Clock, policy: admission.Policy, secrets: Secrets) -> None:
        self._state = state
        self._clock = clock
        self.policy = policy
        self._secrets = secrets
        self._claims = Claims(state)
        self.closed_because = ""
        self.default_network: str | None = None
        self.on_refused: Callable[[str, str], None] = lambda app_id, reason: None

    async def create(self, app: App, caller: str, *, overrides: Sequence[Override] = ()) -> Deployment:
        """Raises Conflict where the app exists, InvalidDocument where its routes belong to another."""
        async with self._state.lock:
            await self.ready()
            if app.id in self._state.apps:
                raise Conflict(f"An app with id [{app.id}] already exists.", todo="Change it with PUT, or `deploy`.")
            running = self.free(app.id, force=False)
            return await self._move(app.id, app, caller, running=running, overrides=overrides)

    async def change(
        self,
        app_id: str,
        edit: Callable[[App | None], App],
        caller: str,
        *,
        force: bool,
        overrides: Sequence[Override] = (),
    ) -> Deployment:
        """Aim at what `edit` makes of the present definition (None: no such app, yet). Raises Conflict while a
        deployment runs, unless `force` supersedes it."""
        async with self._state.lock:
            await self.ready()
            current = self._state.wanted(app_id)
            app = edit(current.app if current else None)
            running = self.free(app_id, force=force)
            return await self._move(app_id, app, caller, running=running, overrides=overrides)

    async def restart(self, app_id: str, caller: str, *, force: bool, overrides: Sequence[Override] = ()) -> Deployment:
        """Replace all tasks of the app by new ones."""
        async with self._state.lock:
            await self.ready()
            current = self._current(app_id)
            running = self.free(app_id, force=force)
            return await self._move(app_id, current.app, caller, running=running, restart=True, overrides=overrides)

    async def kill(self, instance_ids: Collection[str], caller: str) -> None:
        """Have these instances leave, each replaced first where its app allows. Those that leave already, or are gone,
        are passed over."""
        async with self._state.lock:
            await self.ready()
            await self._state.commit(self._asked_to_leave(instance_ids, caller))

    async def kill_and_scale(self, instance_ids: Collection[str], caller: str, *, force: bool) -> list[Deployment]:
        """Lower the numbers of the apps by just these instances; the deployments, one for each app. Raises Conflict,
        and changes nothing, while a deployment of one of the apps runs, unless `force` supersedes it."""
        async with self._state.lock:
            await self.ready()
            leaving: dict[str, list[Instance]] = {}
            for one in self._asked_to_leave(instance_ids, caller):
                leaving.setdefault(one.app_id, []).append(one)
            running = {app_id: self.free(app_id, force=force) for app_id in leaving if self._current(app_id)}
            begun = []
            for app_id, instances in leaving.items():
                app = self._current(app_id).app
                scaled = msgspec.structs.replace(app, instances=max(0, app.instances - len(instances)))
                begun.append(await self._move(app_id, scaled, caller, running=running[app_id], also=instances))
            return begun

    def _asked_to_leave(self, instance_ids: Collection[str], caller: str) -> list[Instance]:
        known = (self._state.instances.get(name) for name in dict.fromkeys(instance_ids))
        words = f"{caller} asked for it to be killed"
        return [
            msgspec.structs.replace(one, asked_to_leave=words)
            for one in known
            if one is not None and one.wanted and not one.asked_to_leave
        ]

    async def reset_delay(self, app_id: str) -> None:
        """Forget the failures of an app: what waits is launched at once. Raises NotFound."""
        async with self._state.lock:
            await self.ready()
            self._current(app_id)
            backoff = self._state.backoffs.get(app_id)
            if backoff is not None:
                await self._state.commit(remove=[backoff])

    async def roll_back(
        self, app_id: str, to: str | None, caller: str, *, force: bool, overrides: Sequence[Override] = ()
    ) -> Deployment:
        """Aim at an earlier version again; without one named, at the last good one with another
        configuration."""
        async with self._state.lock:
            await self.ready()
            current = self._current(app_id)
            versions = self._state.versions[app_id]
            if to is None:
                good = last_good(current, versions.values(), self._state.deployments.values())
                if good is None:
                    raise NotFound(
                        f"{app_id} has no earlier version that is not known to have failed",
                        todo="`coldchain versions APP` lists those there are: name one.",
                    )
                back = good
            elif to in versions:
                back = versions[to]
            else:
                raise NotFound(f"{app_id} has no version {to}", todo=f"It has {', '.join(sorted(versions)[-5:])}.")
            running = self.free(app_id, force=force)
            self.check_routes(back.app)
            self.check_instances(back.app)
            wanted = rolled_back(back, current, self._clock.now())
            return await self._write(current, wanted, running, "rollback", caller, overrides=overrides)

    async def delete(self, app_id: str, caller: str, *, force: bool) -> Deployment:
        """Stop all instances, drained, and take the app away."""
        async with self._state.lock:
            await self.ready()
            current = self._current(app_id)
            return await self._write(current, None, self.free(app_id, force=force), "stop", caller)

    async def cancel(self, deployment_id: str, caller: str, *, force: bool) -> Deployment | None:
        """Take a running deployment back by a new one, which is returned; with `force` just end it, as it stands."""
        async with self._state.lock:
            await self.ready()
            running = self._state.deployments.get(deployment_id)
            if running is None or not running.running:
                raise NotFound(f"DeploymentPlan {deployment_id} does not exist")
            current = self._state.wanted(running.app_id)
            if force and current is not None and running.gray is not None and running.gray.state == "open":
                words = (
                    f"deployment {running.id} is gray: without it all requests would be shared out among both versions"
                )
                raise Conflict(words, todo="`coldchain gray promote` or `coldchain gray abort` ends it.")
            back = self._state.versions.get(running.app_id, {}).get(running.from_version or "")
            if force or current is None:
                await self._end(running, f"cancelled by {caller}")
                return None
            if back is None:
                return await self._write(current, None, running, "rollback", caller, ending="cancelled")
            wanted = rolled_back(back, current, self._clock.now())
            return await self._write(current, wanted, running, "rollback", caller, ending="cancelled")

    async def pause(self, name: str) -> Deployment:
        """Hold a running deployment, named by its id or its app's, where it is; its time limit stands still."""
        return await self._hold(name, lambda running: deployments.pause(running, "operator", self._clock.now()))

    async def resume(self, name: str) -> Deployment:
        """Let a paused deployment go on: past the step of its plan that it waits in. What the brake holds is held
        again at once, as long as it does."""
        return await self._hold(name, lambda running: deployments.resume(running, self._clock.now()))

    async def promote(self, name: str) -> Deployment:
        """Let a deployment go on to its end, past all the steps of its plan. Raises Conflict where it has none."""

        def edit(running: Deployment) -> Deployment:
            wanted = self._state.wanted(running.app_id)
            if wanted is None or not wanted.app.rollout.steps:
                words = f"deployment {running.id} does not go by steps: there is nothing to promote"
                raise Conflict(words, todo="`coldchain resume` lets a paused one go on.")
            return rollouts.promote(deployments.resume(running, self._clock.now()), wanted.app)

        return await self._hold(name, edit)

    async def share(self, name: str, share: float | None, rules: tuple[GrayRule, ...] | None) -> Deployment:
        """Give a gray rollout another share of the requests, or other rules; None: as they are. With another share it
        is held where it is. Raises Conflict where nothing is shared out now."""

        def edit(running: Deployment) -> Deployment:
            wanted = self._state.wanted(running.app_id)
            if wanted is None or running.gray is None or running.gray.state != "open":
                words = f"deployment {running.id} shares no requests out"
                raise Conflict(words, todo="`coldchain gray list` shows those that do.")
            if share is not None and not running.steps_done:
                words = f"the new instances of deployment {running.id} do not all serve yet"
                raise Conflict(words, todo="Set the share once its first step is reached.")
            edited = grays.changed(running, wanted.app, share, rules)
            return edited if share is None else deployments.pause(edited, "operator", self._clock.now())

        return await self._hold(name, edit)

    async def _hold(self, name: str, edit: Callable[[Deployment], Deployment]) -> Deployment:
        async with self._state.lock:
            await self.ready()
            running = self._state.running.get(name) or self._state.deployments.get(name)
            if running is None or not running.running:
                raise NotFound(f"no deployment runs that is {name} or of it", todo="`coldchain status` shows all.")
            if running.paused_by == "dependency":
                words = f"deployment {running.id} waits for the apps that it depends on"
                raise Conflict(words, todo="The deployment that it is part of can be held.", deployments=[running.id])
            edited = edit(running)
            await self._state.commit([edited])
            return edited

    async def ready(self) -> None:
        if self.closed_because:
            raise Conflict(self.closed_because)
        await self._state.fresh()

    def _current(self, app_id: str) -> Version:
        current = self._state.wanted(app_id)
        if current is None:
            raise NotFound(f"App '{app_id}' does not exist", todo="`coldchain status` lists all apps.")
        return current

    def free(self, app_id: str, *, force: bool) -> Deployment | None:
        """The running deployment of an app that a change takes the place of. Raises Conflict while there is one, or one
        of a group that the app is part of, unless `force`."""
        running, group = self._state.running.get(app_id), self._state.moved_by.get(app_id)
        moving = group or running
        if moving is not None and not force:
            locked = locked_by([moving.id])
            self.on_refused(app_id, str(locked))
            raise locked
        return running

    def check_routes(self, app: App) -> None:
        """Raises InvalidDocument where routes or service of the app belong to another."""
        if not self._claims.may_collide(app):
            return
        state = self._state
        made_from = {(one.app_id, one.version_id) for one in state.instances.values() if one.live}
        leaving = [state.versions[name][version].app for name, version in made_from if name != app.id]
        problems = conflicts(app, state.wanted_apps(), leaving)
        if problems:
            raise InvalidDocument(problems)

    def check_instances(self, app: App) -> None:
        """Raises InvalidDocument where there would be too many instances."""
        before = {one.id: one for one in self._state.wanted_apps()}
        if problems := instance_limit.beyond({**before, app.id: app}, before):
            raise InvalidDocument(list(problems.values()))

    def taken_service_ports(self) -> Collection[int]:
        """Those of all apps, and of those that are leaving."""
        return self._claims.service_ports

    def with_service_ports(self, app: App) -> App:
        """The app with a service port for each of its ports: those it had, or some that nobody has; and with the name
        of its network."""
        current = self._state.wanted(app.id)
        before = current.app if current else None
        app = with_network_named(app, before, self.default_network)
        return service_ports.assigned(app, before, self.taken_service_ports())

    def check_dependencies(self, app: App) -> None:
        """Raises InvalidDocument where the app is to depend on what is not there, or on what depends on it. What it
        depended on before may be gone: who changes something else need not mend that."""
        current = self._state.wanted(app.id)
        added = {*app.dependencies} - {*(current.app.dependencies if current else ())}
        if not added:
            return
        apps = {one.id: one.dependencies for one in self._state.wanted_apps()} | {app.id: app.dependencies}
        groups = {one.id: one.dependencies for one in self._state.groups.values()}
        problems = [
            Problem(
                path=f"/dependencies/{app.dependencies.index(other)}", reason=f"there is no app and no group {other}"
            )
            for name, other in unknown(apps, groups)
            if name == app.id and other in added
        ]
        try:
            layers(apps, groups)
        except Cycle as cycle:
            problems.append(Problem(path="/dependencies", reason=f"apps depend on each other in a circle: {cycle}"))
        if problems:
            raise InvalidDocument(problems)

    def admitted(self, wanted: Version, overrides: Sequence[Override] = ()) -> Version:
        """The version with those overrides that it needs, of its own and of `overrides`. Raises InvalidDocument with
        everything that admission refuses, and with the secrets that nobody has set."""
        refusals = admission.judge(wanted.app, self.policy)
        together = admission.needed(refusals, [*wanted.overrides, *overrides])
        problems = [*admission.misused(overrides, self.policy)]
        problems += [one.problem() for one in admission.standing(refusals, together)]
        problems += self._secrets.problems(wanted.app)
        if problems:
            raise InvalidDocument(problems)
        return msgspec.structs.replace(wanted, overrides=together)

    async def _move(
        self,
        app_id: str,
        app: App,
        caller: str,
        *,
        running: Deployment | None,
        restart: bool = False,
        overrides: Sequence[Override] = (),
        also: Sequence[Record] = (),
    ) -> Deployment:
        self.check_routes(app)
        self.check_instances(app)
        app = self.with_service_ports(app)
        self.check_dependencies(app)
        current = self._state.wanted(app_id)
        last = max(self._state.versions.get(app_id, ()), default=None)
        wanted = decide.next_version(current, app, self._clock.now(), last=last, restart=restart)
        kind: DeploymentKind = "restart" if restart else decide.kind_of(current, wanted)
        return await self._write(current, wanted, running, kind, caller, overrides=overrides, also=also)

    async def _write(
        self,
        current: Version | None,
        wanted: Version | None,
        running: Deployment | None,
        kind: DeploymentKind,
        caller: str,
        ending: decide.Ending = "superseded",
        overrides: Sequence[Override] = (),
        also: Sequence[Record] = (),
    ) -> Deployment:
        if wanted is not None:
            try:
                wanted = self.admitted(wanted, overrides)
            except InvalidDocument as refused:
                self.on_refused(wanted.app.id, str(refused))
                raise
        cause = admission.with_overrides(f"{kind} asked for by {caller}", wanted)
        change = decide.change(
            current,
            wanted,
            running,
            kind=kind,
            deployment_id=self._clock.unique(),
            cause=cause,
            now=self._clock.now(),
            ending=ending,
        )
        app_id = change.deployment.app_id
        put: list[Record] = [change.deployment, *also]
        if (group := self._state.moved_by.get(app_id)) is not None:
            put.append(given_up(group, [app_id], f"{change.deployment.id} ({cause})", self._clock.now()))
        put += [one for one in (change.version, change.record, change.ended) if one is not None]
        old = self.old_versions(app_id, wanted, change.deployment)
        remove: list[Record] = [*old, *self.old_deployments()]
        if kind == "restart" and app_id in self._state.backoffs:
            remove.append(self._state.backoffs[app_id])
        if change.record is None:
            remove.append(self._state.apps[app_id])
        await self._state.commit(put, remove)
        return change.deployment

    async def _end(self, running: Deployment, reason: str) -> None:
        ended = decide.end(running, "cancelled", reason, self._clock.now())
        await self._state.commit([ended])

    def old_versions(self, app_id: str, wanted: Version | None, begun: Deployment | None) -> Iterable[Version]:
        """Those beyond what is kept that nothing points to: no instance, nor what is now begun, nor where it leads back
        to."""
        used = {one.version_id for one in self._state.instances_of.get(app_id, {}).values()}
        versions = sorted(self._state.versions.get(app_id, {}).values(), key=lambda one: one.id, reverse=True)
        back = begun.from_version if begun is not None else None
        kept = [*versions[:VERSIONS_KEPT], *(one for one in versions[VERSIONS_KEPT:] if one.id == back)]
        used |= {one.id for one in kept} | {one.config_id for one in kept}
        used |= {wanted.config_id} if wanted is not None else set()
        used |= self._state.needed(app_id)
        return [one for one in versions[VERSIONS_KEPT:] if one.id not in used]

    def old_deployments(self) -> Iterable[Deployment]:
        """Of members of a group deployment that runs it is still asked how they ended."""
        groups = self._state.group_deployments
        needed = {one.id for one in groups.values() if one.running}
        ended = [one for one in self._state.deployments.values() if not one.running and one.part_of not in needed]
        return sorted(ended, key=lambda one: one.started_at, reverse=True)[DEPLOYMENTS_KEPT:]


def locked_by(deployments: Sequence[str]) -> Conflict:
    """The error for an app that these deployments move, in Marathon's words."""
    return Conflict(
        "App is locked by one or more deployments. Override with the option '?force=true'. "
        "View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
        deployments=deployments,
    )
