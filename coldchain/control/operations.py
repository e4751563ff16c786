"""operations: what users may ask for: create, change, restart, roll back, cancel, delete. Each is one write."""

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from coldchain.control.secrets import Secrets
from coldchain.control.state import State
from coldchain.decisions import admission
from coldchain.decisions import deployment as deployments
from coldchain.decisions import rollout as rollouts
from coldchain.decisions import version as decide
from coldchain.decisions.reconcile import rolled_back
from coldchain.decisions.rollback import last_good
from coldchain.decisions.route import conflicts
from coldchain.documents.keys import Record
from coldchain.model.app import App
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.errors import Conflict, InvalidDocument, NotFound
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
        self.closed_because = ""
        self.on_refused: Callable[[str, str], None] = lambda app_id, reason: None

    async def create(self, app: App, caller: str, *, overrides: Sequence[Override] = ()) -> Deployment:
        """Raises Conflict where the app exists, InvalidDocument where its routes belong to another."""
        async with self._state.lock:
            await self._ready()
            if app.id in self._state.apps:
                raise Conflict(f"An app with id [{app.id}] already exists.", todo="Change it with PUT, or `deploy`.")
            running = self._running(app.id, force=False)
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
            await self._ready()
            current = self._state.wanted(app_id)
            app = edit(current.app if current else None)
            running = self._running(app_id, force=force)
            return await self._move(app_id, app, caller, running=running, overrides=overrides)

    async def restart(self, app_id: str, caller: str, *, force: bool, overrides: Sequence[Override] = ()) -> Deployment:
        """Replace all tasks of the app by new ones."""
        async with self._state.lock:
            await self._ready()
            current = self._current(app_id)
            running = self._running(app_id, force=force)
            return await self._move(app_id, current.app, caller, running=running, restart=True, overrides=overrides)

    async def kill(self, instance_ids: Collection[str], caller: str) -> None:
        """Have these instances leave, each replaced first where its app allows. Those that leave already, or are gone,
        are passed over."""
        async with self._state.lock:
            await self._ready()
            await self._state.commit(self._asked_to_leave(instance_ids, caller))

    async def kill_and_scale(self, instance_ids: Collection[str], caller: str, *, force: bool) -> list[Deployment]:
        """Lower the numbers of the apps by just these instances; the deployments, one for each app. Raises Conflict,
        and changes nothing, while a deployment of one of the apps runs, unless `force` supersedes it."""
        async with self._state.lock:
            await self._ready()
            leaving: dict[str, list[Instance]] = {}
            for one in self._asked_to_leave(instance_ids, caller):
                leaving.setdefault(one.app_id, []).append(one)
            running = {app_id: self._running(app_id, force=force) for app_id in leaving if self._current(app_id)}
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
            await self._ready()
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
            await self._ready()
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
            running = self._running(app_id, force=force)
            self.check_routes(back.app)
            wanted = rolled_back(back, current, self._clock.now())
            return await self._write(current, wanted, running, "rollback", caller, overrides=overrides)

    async def delete(self, app_id: str, caller: str, *, force: bool) -> Deployment:
        """Stop all instances, drained, and take the app away."""
        async with self._state.lock:
            await self._ready()
            current = self._current(app_id)
            return await self._write(current, None, self._running(app_id, force=force), "stop", caller)

    async def cancel(self, deployment_id: str, caller: str, *, force: bool) -> Deployment | None:
        """Take a running deployment back by a new one, which is returned; with `force` just end it, as it stands."""
        async with self._state.lock:
            await self._ready()
            running = self._state.deployments.get(deployment_id)
            if running is None or not running.running:
                raise NotFound(f"DeploymentPlan {deployment_id} does not exist")
            current = self._state.wanted(running.app_id)
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

    async def _hold(self, name: str, edit: Callable[[Deployment], Deployment]) -> Deployment:
        async with self._state.lock:
            await self._ready()
            running = self._state.running.get(name) or self._state.deployments.get(name)
            if running is None or not running.running:
                raise NotFound(f"no deployment runs that is {name} or of it", todo="`coldchain status` shows all.")
            edited = edit(running)
            await self._state.commit([edited])
            return edited

    async def _ready(self) -> None:
        if self.closed_because:
            raise Conflict(self.closed_because)
        await self._state.fresh()

    def _current(self, app_id: str) -> Version:
        current = self._state.wanted(app_id)
        if current is None:
            raise NotFound(f"App '{app_id}' does not exist", todo="`coldchain status` lists all apps.")
        return current

    def _running(self, app_id: str, *, force: bool) -> Deployment | None:
        running = self._state.running.get(app_id)
        if running is not None and not force:
            locked = Conflict(
                "App is locked by one or more deployments. Override with the option '?force=true'. "
                "View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
                deployments=[running.id],
            )
            self.on_refused(app_id, str(locked))
            raise locked
        return running

    def check_routes(self, app: App) -> None:
        """Raises InvalidDocument where routes or service of the app belong to another."""
        if app.service_name is None:
            return
        state = self._state
        made_from = {(one.app_id, one.version_id) for one in state.instances.values() if one.live}
        leaving = [state.versions[name][version].app for name, version in made_from if name != app.id]
        problems = conflicts(app, state.wanted_apps(), leaving)
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
        put += [one for one in (change.version, change.record, change.ended) if one is not None]
        remove: list[Record] = [*self._old_versions(app_id, wanted, change.deployment), *self._old_deployments()]
        if kind == "restart" and app_id in self._state.backoffs:
            remove.append(self._state.backoffs[app_id])
        if change.record is None:
            remove.append(self._state.apps[app_id])
        await self._state.commit(put, remove)
        return change.deployment

    async def _end(self, running: Deployment, reason: str) -> None:
        ended = decide.end(running, "cancelled", reason, self._clock.now())
        await self._state.commit([ended])

    def _old_versions(self, app_id: str, wanted: Version | None, begun: Deployment) -> Iterable[Version]:
        """Those beyond what is kept that nothing points to: no instance, nor what is now begun, nor where it leads back
        to."""
        used = {one.version_id for one in self._state.instances_of.get(app_id, {}).values()}
        versions = sorted(self._state.versions.get(app_id, {}).values(), key=lambda one: one.id, reverse=True)
        kept = [*versions[:VERSIONS_KEPT], *(one for one in versions[VERSIONS_KEPT:] if one.id == begun.from_version)]
        used |= {one.id for one in kept} | {one.config_id for one in kept}
        used |= {wanted.config_id} if wanted is not None else set()
        return [one for one in versions[VERSIONS_KEPT:] if one.id not in used]

    def _old_deployments(self) -> Iterable[Deployment]:
        ended = [one for one in self._state.deployments.values() if not one.running]
        return sorted(ended, key=lambda one: one.started_at, reverse=True)[DEPLOYMENTS_KEPT:]
