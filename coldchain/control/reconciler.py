"""reconciler: the controller's main loop: gather what is seen, decide, write, publish, act; again where it changed."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from coldchain.control.effects import Effects
from coldchain.control.health import HealthWatcher
from coldchain.control.holdings import Holdings
from coldchain.control.plan import Plan
from coldchain.control.rotation import OUT_OF_TOUCH_SECONDS, QUARANTINE_SECONDS, Publisher
from coldchain.control.state import State
from coldchain.control.tasks import TaskWatcher
from coldchain.decisions.acceptance import Observed
from coldchain.decisions.actions import Action, ForgetTask, KillTask, LaunchTask, PrepareImage
from coldchain.decisions.brake import Brake, judge, release
from coldchain.decisions.health import Verdict
from coldchain.decisions.placement import Held, Refused, Waiting, place_beside
from coldchain.decisions.reconcile import reconcile
from coldchain.decisions.view import Seen, View
from coldchain.model.errors import ColdchainError, Rejected
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer
from coldchain.model.task import TaskSpec
from coldchain.model.version import Version
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Engine

SWEEP_SECONDS = 1.0
"""Apps not at rest are looked at this often even if nothing was heard: what ends by mere time (a lease) is seen so."""
AGAIN_SECONDS = 10.0
"""After an engine took an order and the outcome has not shown, it is given again."""

ORPHAN_GRACE_SECONDS = 10.0
LIMIT_SECONDS = {"prepare": 3600.0, "launch": 300.0, "kill": 60.0, "forget": 60.0}
"""An engine that has not answered an order by then (for a kill: beyond the grace) is taken not to answer. An image may
be large and its registry far; a launch may wait for many others."""

log = structlog.get_logger(__name__)


class Reconciler:
    """One pass at a time. `mark` asks for a pass over an app; the loop sleeps while nothing is marked."""

    def __init__(
        self,
        state: State,
        engine: Engine,
        clock: Clock,
        publisher: Callable[[], Publisher],
        tasks: TaskWatcher,
        health: HealthWatcher,
    ) -> None:
        self._state = state
        self._engine = engine
        self._clock = clock
        self._publisher = publisher
        self._tasks = tasks
        self._health = health
        self._effects = Effects(clock)
        self._holdings = Holdings(state)
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._swept_at = 0.0
        self._drained: frozenset[str] = frozenset()
        self._alarms: dict[str, float] = {}
        self._next_alarm_at = math.inf
        self.refused: dict[str, Refused] = {}
        self.placed_at = 0.0
        self.progress: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.stopping = False
        self.brake = Brake()
        self.launch: Callable[[TaskSpec], Awaitable[None]] = engine.launch
        self.unregistered: Callable[[Instance], str] = lambda instance: ""
        self.unannounced: Callable[[Instance], str] = lambda instance: ""
        self.calls: Callable[[Instance], int | None] = lambda instance: 0
        self.lingers: Callable[[Instance], bool] = lambda instance: False
        self.heard: Callable[[Instance, Verdict], Verdict] = lambda instance, verdict: verdict
        self.lapsed_since: Mapping[str, float] = {}
        self.on_brake: Callable[[Brake], None] = lambda brake: None
        self.on_refused: Callable[[Refused], None] = lambda refused: None
        self.observed: Callable[[str], Observed] = lambda app_id: Observed()
        self.lead: Callable[[Plan, float], frozenset[str]] = lambda plan, now: frozenset()
        self.on_decision: Callable[[View, float, tuple[Action, ...]], None] = lambda view, now, actions: None

    def mark(self, app_ids: Collection[str]) -> None:
        """Look at these apps soon."""
        if app_ids:
            self._dirty.update(app_ids)
            self._wake.set()

    def mark_all(self) -> None:
        """Look at every app soon."""
        self._dirty.update(self._state.apps, self._state.instances_of)
        self._wake.set()

    async def run(self) -> None:
        """For ever. A pass that fails is made again; records are written all or nothing, so nothing is half done."""
        self.mark_all()
        while True:
            self._take_due()
            self._sweep()
            if not self._dirty and not self._state.in_doubt:
                await self._sleep()
                continue
            apps, self._dirty = self._dirty, set()
            try:
                await self.once(apps)
            except ColdchainError as error:
                log.warning("a pass failed and will be made again", error=str(error))
                await self._clock.sleep(error.retry_seconds or 0.1)
                self.mark(apps)

    async def _sleep(self) -> None:
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(SWEEP_SECONDS, max(0.0, self._next_alarm_at - self._clock.now()))):
                await self._wake.wait()
        self._judge(self._clock.now())
        if self._state.in_doubt:
            self.mark_all()

    def _sweep(self) -> None:
        """Mark the apps that are not at rest, however much others keep the loop busy. One that has too few instances
        or no image waits for an order that goes wrong."""
        if self._clock.monotonic() < self._swept_at + SWEEP_SECONDS:
            return
        self._swept_at = self._clock.monotonic()
        state, now = self._state, self._clock.now()
        serving: Counter[str] = Counter()
        for one in state.instances.values():
            if one.phase == "serving":
                serving[one.app_id] += 1
            elif self._may_move(one, now):
                self._dirty.add(one.app_id)
        self._dirty.update(state.running, filter(state.left_over, state.versions.keys() - state.apps.keys()))
        self._dirty.update({one.id: app_id for app_id, one in state.moved_by.items()}.values())
        for app_id, record in state.apps.items():
            version = state.versions[app_id][record.version_id]
            instances = version.app.instances
            unresolved = instances and version.image is None and version.app.container is not None
            if unresolved or instances != serving[app_id]:
                self._dirty.add(app_id)

    def _may_move(self, instance: Instance, now: float) -> bool:
        """Not one that is over and only waits for the end of its quarantine, which has an alarm."""
        if instance.phase != "stopped":
            return True
        task = self._tasks.tasks.get(instance.task_id)
        rests = max(QUARANTINE_SECONDS, self._out_of_touch_seconds())
        return now >= instance.since + rests or (task is not None and not task.terminal)

    def _out_of_touch_seconds(self) -> float:
        return OUT_OF_TOUCH_SECONDS if self._publisher().out_of_touch() else 0.0

    def _take_due(self) -> None:
        now = self._clock.now()
        if now < self._next_alarm_at:
            return
        due = [app_id for app_id, at in self._alarms.items() if at <= now]
        for app_id in due:
            del self._alarms[app_id]
        self._dirty.update(due)
        self._next_alarm_at = min(self._alarms.values(), default=math.inf)

    def _set_alarm(self, app_id: str, at: float) -> None:
        self._alarms[app_id] = at
        self._next_alarm_at = min(self._next_alarm_at, at)

    async def once(self, app_ids: Iterable[str]) -> None:
        """One pass over these apps: decide on all, write once, publish, then act."""
        async with self._state.lock:
            await self._state.fresh()
            now = self._clock.now()
            self._judge(now)
            plan = Plan(self._state, self._clock, now, self._tasks.offers)
            led = self.lead(plan, now) if self._tasks.known and not self.stopping else frozenset()
            deciding = sorted(set(app_ids) - led)
            views = [view for app_id in deciding if (view := self._decide(app_id, plan, now))]
            self._place(plan)
            await self._state.commit(plan.put.values(), plan.remove)
            unhealthy = {view.app_id: _unhealthy(view) for view in views}
            marked = {view.app_id: _marked(view) for view in views}
            self._publisher().refresh([view.app_id for view in views], unhealthy, marked)
        for effect in plan.effects:
            match effect:
                case LaunchTask():
                    self._launch(effect.instance_id)
                case KillTask():
                    self._kill(effect.instance_id, effect.grace_seconds)
                case ForgetTask():
                    self._forget(self._state.instances[effect.instance_id].task_id, effect.instance_id)
                case PrepareImage():
                    self._prepare(effect.version_id)

    def _judge(self, now: float) -> None:
        """Take or let go the brake. One that never was healthy does not count: that is no change for bad."""
        bad_since = {**self.lapsed_since, **self._health.bad_since}
        if not bad_since and not self.brake.reason:
            return  # each pass comes here, and nearly always there is nothing to count
        well = {one.id for one in self._state.instances.values() if one.phase in ("entering", "serving")}
        bad = {name: since for name, since in bad_since.items() if name in well}
        self._set_brake(judge(self.brake, bad, len(well), now))

    def release_brake(self) -> bool:
        """An operator says to go on in spite of the brake. False when it does not hold."""
        held = self.brake.holds
        self._set_brake(release(self.brake))
        return held

    def _set_brake(self, brake: Brake) -> None:
        changed = (brake.reason, brake.released) != (self.brake.reason, self.brake.released)
        self.brake = brake
        if changed:
            log.warning("brake", holds=brake.holds, reason=brake.reason)
            self.on_brake(brake)
            self.mark_all()

    def _decide(self, app_id: str, plan: Plan, now: float) -> View | None:
        """Decide on one app. One that cannot be decided on, which is a bug of ours, must not hold up all others."""
        try:
            view = self.view(app_id)
            decision = reconcile(view, now)
            plan.add(view, decision.actions)
            self.on_decision(view, now, decision.actions)
        except Exception as error:
            log.exception("a bug of ours: no decision on an app", app=app_id)
            self.broken[app_id] = f"{type(error).__name__}: {error}"
            self._set_alarm(app_id, now + AGAIN_SECONDS)
            return None
        self.broken.pop(app_id, None)
        self._alarms.pop(app_id, None)
        if decision.look_again_at is not None:
            self._set_alarm(app_id, decision.look_again_at)
        return view

    def view(self, app_id: str) -> View:
        """All that a decision about the app looks at."""
        state = self._state
        instances = tuple(state.instances_of.get(app_id, {}).values())
        wanted = state.wanted(app_id)
        failed = self._effects.error("prepare", f"{app_id}@{wanted.config_id}") if wanted else None
        return View(
            app_id=app_id,
            engine_known=self._tasks.known,
            wanted=wanted,
            stopping=self.stopping,
            versions=state.versions.get(app_id, {}),
            instances=instances,
            seen={one.id: self._seen(one) for one in instances},
            brake=self.brake.reason if self.brake.holds else "",
            deployment=state.running.get(app_id),
            backoff=state.backoffs.get(app_id),
            failure=state.failures.get(app_id),
            image_failure=str(failed) if failed else "",
            engine_trouble=self._tasks.trouble,
            traffic=self.observed(app_id),
            gray_in_force=self._publisher().gray_in_force(app_id),
            needed=state.needed(app_id) if wanted is None else frozenset(),
            drains=self._drains(),
            quarantine_seconds=QUARANTINE_SECONDS,
            out_of_touch_seconds=self._out_of_touch_seconds(),
        )

    def held(self) -> Mapping[str, Held]:
        """What instances have of each agent, by its name."""
        return self._holdings.with_changes({})

    def offers(self) -> Sequence[Offer]:
        """What the engine offers, with what operators say of its agents."""
        drains = self._state.drains
        if not drains:
            return self._tasks.offers
        return [
            msgspec.structs.replace(one, draining=True) if one.agent in drains else one for one in self._tasks.offers
        ]

    def _drains(self) -> dict[str, str]:
        """The agents that are to be empty, by an operator's word here or at the engine, and who wants it."""
        told = {name: f"the engine drains {name}" for name in self._tasks.drained}
        return told | {name: str(one) for name, one in self._state.drains.items()}

    def verdict(self, instance: Instance) -> Verdict:
        """What its checks say of an instance, and where it registers itself its registration."""
        return self.heard(instance, self._health.verdict(instance))

    def _seen(self, instance: Instance) -> Seen:
        refused = self._effects.error("launch", instance.id)
        rejected = isinstance(refused, Rejected)
        task = self._tasks.tasks.get(instance.task_id)
        pending = not rejected and self._effects.unsettled("launch", instance.id, self._tasks.listed_at)
        if instance.phase == "stopped":
            return Seen(task=task, launch_pending=pending, lingers=self.lingers(instance))
        publisher = self._publisher()
        weight = 1 if instance.phase in ("entering", "serving") else 0
        waits_for = publisher.waits_for(instance, weight) or self.unregistered(instance) or self.unannounced(instance)
        requests, calls = publisher.in_flight(instance), self.calls(instance)
        in_flight = None if requests is None or calls is None else requests + calls
        return Seen(
            task=task,
            launch_refused=str(refused) if rejected else None,
            launch_pending=pending,
            verdict=self.verdict(instance),
            trouble=self._trouble(instance, waits_for, in_flight),
            acknowledged=not waits_for,
            in_flight=in_flight,
            streams=publisher.streams(instance),
            cut=publisher.cut(instance),
        )

    def _trouble(self, instance: Instance, waits_for: str, in_flight: int | None) -> str:
        """What the instance waits for, in words."""
        match instance.phase:
            case "scheduled":
                refused = self.refused.get(instance.id)
                return str(refused) if refused else ""
            case "launching" | "stopping":
                error = self._effects.error("launch" if instance.phase == "launching" else "kill", instance.id)
                return str(error) if error else ""
            case "entering" | "draining":
                return waits_for
            case "closing":
                open_requests = "an unknown number of" if in_flight is None else in_flight
                streams = self._publisher().streams(instance)
                of_these = f", {streams} of them streams" if streams else ""
                return f"{open_requests} requests in flight{of_these}" if in_flight != 0 else ""
            case "serving":
                overruled = self._publisher().overruled(instance)
                return "serves on, because more than half of its service fails" if overruled else ""
        return ""

    def _place(self, plan: Plan) -> None:
        """Place what may be placed, on what this and all other instances leave of the offers."""
        before = self.refused
        self.refused = {
            name: one for name, one in before.items() if name in self._state.instances and name not in plan.waiting
        }
        self.placed_at = self._clock.now()
        if not plan.waiting:
            return
        changes, state = plan.changes(), self._state
        waiting = [
            Waiting(instance=instance, app=version.app, instead_of=instead_of)
            for name, instead_of in plan.waiting.items()
            if (instance := changes.get(name) or state.instances[name])
            and (version := state.wanted(instance.app_id)) is not None
        ]
        apps = {one.app.id for one in waiting}
        of_app = {app_id: _on_agents(state.instances_of.get(app_id, {}), changes) for app_id in apps}
        placed, refused = place_beside(waiting, self._holdings.room(self.offers(), changes), of_app)
        for one in placed:
            plan.place(one)
        self.refused.update({one.instance_id: one for one in refused})
        for why in refused:
            told = before.get(why.instance_id)
            if told is None or (told.reasons, told.constraints) != (why.reasons, why.constraints):
                self.on_refused(why)

    def _launch(self, instance_id: str) -> None:
        instance = self._state.instances.get(instance_id)
        if instance is None or instance.phase != "launching":
            return
        version = self._state.versions[instance.app_id][instance.version_id]
        spec = TaskSpec(
            task_id=instance.task_id,
            instance_id=instance.id,
            app_id=instance.app_id,
            version_id=instance.version_id,
            target=instance.target,
            agent=instance.agent or "",
            app=version.app,
            image=version.image,
            address=instance.address,
            host_ports=instance.host_ports,
        )
        self._run("launch", instance.id, instance.app_id, partial(self.launch, spec), AGAIN_SECONDS)

    def _kill(self, instance_id: str, grace_seconds: float) -> None:
        instance = self._state.instances[instance_id]
        hold_seconds = grace_seconds + AGAIN_SECONDS
        work = partial(self._engine.kill, instance.task_id, grace_seconds)
        self._run("kill", instance.id, instance.app_id, work, hold_seconds, grace_seconds)

    def _forget(self, task_id: str, name: str) -> None:
        async def work() -> None:
            await self._engine.forget(task_id)
            self._tasks.drop(task_id)

        instance = self._state.instances.get(name)
        self._run("forget", name, instance.app_id if instance else "", work, AGAIN_SECONDS)

    def _prepare(self, version_id: str) -> None:
        app_id, _, name = version_id.partition("@")
        version = self._state.versions.get(app_id, {}).get(name)
        if version is None:
            return

        async def work() -> None:
            def progress(words: str) -> None:
                self.progress[app_id] = words

            image = await self._engine.prepare(version.app, version.image, progress)
            self.progress.pop(app_id, None)
            await self._resolved(version, image)

        self._run("prepare", version_id, app_id, work)

    async def _resolved(self, version: Version, image: str | None) -> None:
        """All versions of one configuration have one image."""
        async with self._state.lock:
            await self._state.fresh()
            versions = self._state.versions.get(version.app.id, {}).values()
            same = [one for one in versions if one.config_id == version.config_id and one.image is None]
            await self._state.commit([msgspec.structs.replace(one, image=image) for one in same])

    def _run(
        self,
        kind: str,
        name: str,
        app_id: str,
        work: Callable[[], Awaitable[object]],
        hold_seconds: float = 0.0,
        grace_seconds: float = 0.0,
    ) -> None:
        self._effects.run(
            kind,
            name,
            work,
            lambda: self.mark({app_id}),
            limit_seconds=LIMIT_SECONDS[kind] + grace_seconds,
            hold_seconds=hold_seconds,
        )

    def listed(self, first: bool) -> None:
        """The engine was listed: for the first time, and all can be decided on; or again, which shows who is lost."""
        if first or self._tasks.drained != self._drained:
            self._drained = self._tasks.drained
            self.mark_all()
        self._effects.forget(self._is_gone, self._tasks.listed_at)
        if not self._state.in_doubt and self._publisher().in_step():
            self._clear_orphans()

    def _is_gone(self, name: str) -> bool:
        app_id, at, _ = name.partition("@")
        known = app_id in self._state.apps if at else name in self._state.instances
        return not known and name not in self._tasks.tasks

    def _clear_orphans(self) -> None:
        """Tasks of ours that no record knows: of an app deleted while we were away, or of a launch thought lost."""
        for status in list(self._tasks.tasks.values()):
            if status.instance_id in self._state.instances:
                continue
            if status.terminal:
                self._forget(status.task_id, status.task_id)
            else:
                log.warning("ending a task that no instance knows", task=status.task_id, app=status.app_id)
                end = partial(self._engine.kill, status.task_id, ORPHAN_GRACE_SECONDS)
                self._run("kill", status.task_id, status.app_id, end, AGAIN_SECONDS, ORPHAN_GRACE_SECONDS)

    async def stop(self) -> None:
        """Cancel what is being carried out."""
        await self._effects.stop()


def _unhealthy(view: View) -> frozenset[str]:
    return frozenset(name for name, seen in view.seen.items() if seen.verdict.standing == "unhealthy")


def _marked(view: View) -> frozenset[str]:
    return frozenset(name for name, seen in view.seen.items() if seen.verdict.marked)


def _on_agents(known: Mapping[str, Instance], changes: Mapping[str, Instance | None]) -> list[Instance]:
    """The live instances of one app that have a place, as a pass leaves them."""
    after = [changes.get(name, one) for name, one in known.items()]
    return [one for one in after if one is not None and one.live and one.agent is not None]
