"""checkers: what must hold after every write to the store, every order to the engine, every rotation of a gateway.

They know the records by what was written, not by what a controller believes. The names are those of the reference's
list of invariants (I5 and so on), or a word for what it has not.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, combinations
from typing import TYPE_CHECKING

from coldchain.control.clock import FOLLOWED
from coldchain.control.controller import Controller
from coldchain.control.rotation import LEASE_MARGIN_SECONDS, LEASE_SECONDS
from coldchain.decisions.brake import FEWEST, SHARE, WINDOW_SECONDS
from coldchain.decisions.deployment import capacity
from coldchain.decisions.health import FAILURES_TO_LEAVE
from coldchain.decisions.instance import TRANSITIONS
from coldchain.decisions.rotation import services
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment
from coldchain.model.group import GroupDeployment
from coldchain.model.health import Probe, ProbeResult
from coldchain.model.instance import Instance, Phase
from coldchain.model.rotation import Rotation
from coldchain.model.task import TaskSpec
from coldchain.model.version import AppRecord, Version
from coldchain.ports.store import Change
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeTask
from coldchain.testing.simulation.coverage import GONE
from coldchain.testing.simulation.drains import on_drained
from coldchain.testing.simulation.groups import ALL, stuck, too_early, unasked
from coldchain.testing.simulation.holds import broken, let_go, overdone
from coldchain.testing.simulation.ledger import Ledger, Pair
from coldchain.testing.simulation.orphans import given_up
from coldchain.testing.simulation.places import misplaced
from coldchain.testing.simulation.traffic import FAILING, tag, unjust

if TYPE_CHECKING:
    from coldchain.testing.simulation.ports import SimulatedGateway
    from coldchain.testing.simulation.world import World

PLACE_UNUSED_SECONDS = LEASE_SECONDS + LEASE_MARGIN_SECONDS
PROBES_SECONDS = 10.0
"""Longer than from the last failed probe to the passed one that makes an instance healthy again."""
STEADY = 1 - FOLLOWED - 0.005
"""A controller whose time of day was set follows it slowly, so that its waits are not exact."""
TRAVEL_SECONDS = 30.0
"""So long after the store was put back to older data, what only the lost records knew is not asked for: places in
quarantine, and endpoints that the older records have not in rotation."""
SEEN_SECONDS = 1.0
"""What was answered so long ago has reached the controller."""
MOST = 20
"""Violations kept of a run: what follows the first ones follows from them."""


class Violation(Noun, frozen=True, kw_only=True):
    """What did not hold; `at`: virtual seconds from the start."""

    invariant: str
    words: str
    at: float

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.3f} s: {self.words}"


class Checkers:
    """Told of everything by the ports. `travelled_at`: when the store was last put back to older data."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.ledger = Ledger()
        self.violations: list[Violation] = []
        self.asking: str | None = None
        self.travelled_at = -1000.0
        self._asked_at = 0.0
        self._passed: set[str] = set()
        self._sick: set[str] = set()
        self._rewound: set[str] = set()
        self.failed_at: dict[str, float] = {}
        self._failures: Counter[str] = Counter()
        self._bad_at: dict[str, float] = {}
        self._recovered_at: dict[str, float] = {}
        self.orphans: set[str] = set()
        self._applied_at: dict[str, float] = {}
        self._places: dict[object, tuple[str, float]] = {}
        self._drained: dict[str, float] = {}
        self._left_launching: dict[str, float] = {}
        self._stopped_at: dict[str, float] = {}
        self._ready: set[str] = set()
        self._ready_at: dict[str, set[str]] = {}
        self._rolled_back: set[str] = set()

    @property
    def _now(self) -> float:
        return self._world.clock.monotonic()

    def violated(self, invariant: str, words: str) -> None:
        """Keep what did not hold."""
        if len(self.violations) < MOST:
            self.violations.append(Violation(invariant=invariant, words=words, at=self._now))

    # The store

    def written(self, changes: Sequence[Change], asked_at: float, ready: set[str]) -> None:
        """A write took place, decided at `asked_at` (monotonic) when these gateways were ready."""
        self._asked_at = asked_at
        self._ready = ready
        pairs = self.ledger.take(changes)
        for before, after in pairs:
            if isinstance(before, Instance | None) and isinstance(after, Instance | None):
                self._instance(before, after)
            elif isinstance(after, Deployment):
                self._deployment(before, after)
            elif isinstance(after, GroupDeployment) and before is None:
                self._said("I10", unasked(after, self.ledger.group_deployments, asked=self.asking is not None))
            elif isinstance(before, AppRecord) or isinstance(after, AppRecord):
                self._app(before, after, pairs)
        for app_id in {app_id for pair in pairs if (app_id := self.ledger.app_id_of(pair))}:
            self._capacity(app_id, pairs)
            self._whole(app_id)
        if any(isinstance(one, Deployment | GroupDeployment) for pair in pairs for one in pair):
            self._said("layers", stuck(self.ledger.deployments.values(), self.ledger.group_deployments))
        self._places_once()

    def _said(self, invariant: str, words: str) -> None:
        if words:
            self.violated(invariant, words)

    async def travelled(self, store: MemoryStore) -> None:
        """The store was put back to older data. What was acknowledged since then is lost; nobody can keep it."""
        self.ledger = Ledger()
        listing = await store.list("")
        self.ledger.take([Change(key=entry.key, value=entry.value) for entry in listing.entries])
        self._rolled_back = {one.rollback_of for one in self.ledger.deployments.values() if one.rollback_of}
        self._left_launching.clear()
        self._drained.clear()
        # What served, and in the older records never did, leaves without a drain: nobody knows better.
        young = ("scheduled", "launching", "starting")
        self._rewound = {one.id for one in self.ledger.instances.values() if one.phase in young}
        self.travelled_at = self._now

    def _instance(self, before: Instance | None, after: Instance | None) -> None:
        if after is None:
            assert before is not None
            self._world.coverage.moved(before.id, before.phase, GONE)
            if before.phase != "stopped":
                self.violated("transitions", f"the record of {before.id} was removed in phase {before.phase}")
            return
        if before is None:
            if after.phase != "scheduled":
                self.violated("transitions", f"{after.id} began its life in phase {after.phase}")
            self._launchable(after, "created")
            wanted = self.ledger.wanted(after.app_id)
            if wanted is not None:
                running, instances = self._running(after.app_id), self.ledger.instances_of(after.app_id)
                drains = self.ledger.drains
                well = [one for one in instances if one.id not in self._bad_at and one.agent not in drains]
                well = [one for one in well if one.id not in self.orphans]
                self._said("hold", overdone(running, wanted, well))
                self._layers(running, wanted, well)
            self._world.stepped(after, after.phase)
            return
        phase = before.phase
        for step in after.history[len(before.history) :]:
            self._step(after, phase, step.phase)
            phase = step.phase
        if phase != after.phase:
            self.violated("transitions", f"{after.id}: its history ends in {phase}, but it is {after.phase}")

    def _step(self, after: Instance, was: Phase, phase: Phase) -> None:
        self._world.coverage.moved(after.id, was, phase)
        self._world.stepped(after, phase)
        if phase not in TRANSITIONS[was]:
            self.violated("transitions", f"{after.id}: {was} → {phase}")
        if was == "serving" and phase == "draining":
            self._leaves(after, after.history[-1].cause)
        if phase == "launching" and after.task_id not in self._world.engine.held:
            # Else its task was there before: it is where it is, whatever is wanted by now.
            self._launchable(after, "placed")
            self._said("drain", on_drained(after, self.ledger.drains))
            self._place_allowed(after)
        if was == "launching":
            self._left_launching[after.id] = self._now
        if phase == "stopping":
            self._ready_at[after.id] = self._ready
        if phase == "closing":
            self._drained[after.id] = self._asked_at
        if phase == "stopped":
            self._stopped_at[after.id] = self._now
            task = self._world.engine.held.get(after.task_id)
            given_up = self._given_up(after) or (task is not None and self._world.excused(task))
            runs = task is not None and not task.status.terminal and not given_up
            if runs and after.id not in self._rewound:
                self.violated("gone", f"{after.id} was declared stopped while its task runs: {after.history[-1].cause}")

    def _given_up(self, one: Instance) -> bool:
        version, now = self._version(one.app_id, one.version_id), self._now
        bad = one.id in self._bad_at or now - self._recovered_at.get(one.id, -SEEN_SECONDS) < SEEN_SECONDS
        ago = now - self.failed_at.get(one.id, -1000.0)
        return one.id in self.orphans and version is not None and given_up(one, version.app, bad=bad, failed_ago=ago)

    def failing(self) -> list[str]:
        """The instances of versions that answer with errors."""
        instances = self.ledger.instances.values()
        return [one.id for one in instances if tag(self._version(one.app_id, one.version_id)) == FAILING]

    def _version(self, app_id: str, name: str | None) -> Version | None:
        return self.ledger.versions.get(app_id, {}).get(name or "")

    def _running(self, app_id: str) -> Deployment | None:
        return next((one for one in self.ledger.deployments.values() if one.running and one.app_id == app_id), None)

    def _layers(self, running: Deployment | None, wanted: Version, instances: Sequence[Instance]) -> None:
        group = self.ledger.group_deployments.get(running.part_of or "") if running is not None else None
        former = self._version(wanted.app.id, running.from_version) if running is not None else None
        self._said("layers", too_early(group, running, self.ledger.deployments, wanted, former, instances))

    def _leaves(self, instance: Instance, cause: str) -> None:
        """The platform decided to stop an instance that serves."""
        running = self._running(instance.app_id)
        if cause.startswith("replaced by") and running is not None:
            instances, wanted = self.ledger.instances_of(instance.app_id), self.ledger.wanted(instance.app_id)
            self._said("hold", let_go(running, instance, instances, wanted))
        if cause.startswith("scaled to") and running is not None and running.paused_by == "dependency":
            self.violated("layers", f"{instance.id} leaves although {running.id} waits for other apps")
        if cause.startswith("replaced for bad health"):
            well = {one.id for one in self.ledger.instances.values() if one.phase in ("entering", "serving")}
            well.add(instance.id)
            seen = self._asked_at - SEEN_SECONDS
            together = [one for one in well if seen - WINDOW_SECONDS < self._bad_at.get(one, seen + 1) <= seen]
            if len(together) >= FEWEST and len(together) > SHARE * len(well):
                self.violated("brake", f"{instance.id} is replaced while {len(together)} of {len(well)} are bad")

    def _launchable(self, instance: Instance, what: str) -> None:
        wanted = self.ledger.wanted(instance.app_id)
        if wanted is None or wanted.app.instances == 0:
            self.violated("I9", f"{instance.id} was {what} although nothing is wanted of {instance.app_id}")
        elif wanted.config_id != instance.version_id:
            self.violated("superseded", f"{instance.id} was {what} of {instance.version_id}, not {wanted.config_id}")

    def _place_allowed(self, instance: Instance) -> None:
        """No constraint is broken beside the others of its version, but those that it replaces. Of who failed just now,
        or ever was an orphan, nobody can tell here whether he was taken for one of these: some of them must make it
        right."""
        version = self._version(instance.app_id, instance.version_id)
        wanted = self.ledger.wanted(instance.app_id)
        if version is None or wanted is None or wanted.config_id != instance.version_id:
            return
        others = [
            one
            for one in self.ledger.instances_of(instance.app_id)
            if one.id != instance.id and one.live and one.agent is not None and one.version_id == instance.version_id
            if not one.asked_to_leave and one.agent not in self.ledger.drains
        ]
        failed = self._now - PROBES_SECONDS
        doubted = self._sick | self.orphans
        doubtful = [one for one in others if one.id in doubted or self.failed_at.get(one.id, -1000.0) >= failed]
        sure = [one for one in others if one not in doubtful]
        words = ""
        for some in chain.from_iterable(combinations(doubtful, count) for count in range(len(doubtful) + 1)):
            words = misplaced(instance, wanted.app, self._world.agents, [*sure, *some])
            if not words:
                return
        self._said("constraint", words)

    def _deployment(self, before: object, after: Deployment) -> None:
        wanted = self._version(after.app_id, after.to_version)
        others = {one.version_id for one in self.ledger.instances_of(after.app_id)}
        others -= {wanted.config_id} if wanted is not None else set()
        words = unjust(after, wanted, [self._version(after.app_id, name) for name in others])
        if words and (before is None or before != after):
            self.violated("acceptance", words)
        if before is not None:
            if isinstance(before, Deployment) and not before.running and before != after:
                self.violated("I10", f"the ended deployment {after.id} was changed")
            elif isinstance(before, Deployment):
                self._said("hold", broken(before, after, asked=self.asking in (after.app_id, ALL)))
            return
        if after.rollback_of is None:
            if self.asking not in (after.app_id, ALL):
                self.violated("I10", f"nobody asked for deployment {after.id} ({after.cause})")
            return
        if after.part_of is not None:
            return  # whether the whole may be taken back is looked at where it begins
        failed = self.ledger.deployments.get(after.rollback_of)
        if failed is None or failed.state != "failed" or failed.kind == "rollback":
            self.violated("I10", f"deployment {after.id} takes back {after.rollback_of}, which is {failed}")
        if after.rollback_of in self._rolled_back:
            self.violated("I10", f"{after.rollback_of} was rolled back twice")
        self._rolled_back.add(after.rollback_of)

    def _app(self, before: object, after: object, pairs: Sequence[Pair]) -> None:
        record = after or before
        assert isinstance(record, AppRecord)
        version_id = after.version_id if isinstance(after, AppRecord) else None
        for was, made in pairs:
            if isinstance(made, Deployment) and was is None and made.app_id == record.app_id:
                if made.to_version != version_id:
                    self.violated("I1", f"{record.app_id} aims at {version_id}, its deployment at {made.to_version}")
                return
        self.violated("I1", f"what is wanted of {record.app_id} changed without a deployment")

    def _capacity(self, app_id: str, pairs: Sequence[Pair]) -> None:
        wanted = self.ledger.wanted(app_id)
        if wanted is None:
            return
        instances = self.ledger.instances_of(app_id)
        minimum, maximum = capacity(wanted.app)
        made = [one for was, one in pairs if was is None and isinstance(one, Instance) and one.app_id == app_id]
        live = sum(one.live for one in instances)
        if made and live > maximum + (minimum >= maximum):
            self.violated("I5", f"{app_id}: {live} live, at most {maximum} allowed")
        drained = [
            after.id
            for before, after in pairs
            if isinstance(before, Instance) and isinstance(after, Instance) and after.app_id == app_id
            if before.phase == "serving" and after.phase == "draining"
        ]
        serving = sum(one.phase == "serving" for one in instances)
        if drained and serving < minimum:
            self.violated("I6", f"{app_id}: drained to {serving} in rotation, at least {minimum} wanted")

    def _whole(self, app_id: str) -> None:
        """What the records of one app say fits together."""
        ledger = self.ledger
        versions = ledger.versions.get(app_id, {})
        running = [one.id for one in ledger.deployments.values() if one.app_id == app_id and one.running]
        if len(running) > 1:
            self.violated("one deployment", f"{app_id} has {len(running)} running")
        record = ledger.apps.get(app_id)
        if record is not None and record.version_id not in versions:
            self.violated("whole", f"{app_id} aims at a version that is not there")
        for one in ledger.instances_of(app_id):
            if one.version_id not in versions:
                self.violated("I11", f"{one.id} is of a version of {app_id} that is not there")
        images: dict[str, set[str]] = {}
        for version in versions.values():
            if version.image is not None:
                images.setdefault(version.config_id, set()).add(version.image)
        for config_id, found in images.items():
            if len(found) > 1:
                self.violated("I11", f"configuration {config_id} of {app_id} has two images")

    def _places_once(self) -> None:
        """Of what the older records have as placed or less, only the engine knows where it really runs."""
        held = Counter(
            (one.agent, place)
            for one in self.ledger.instances.values()
            if one.agent is not None and one.id not in self._rewound
            for place in (one.address, *one.host_ports)
            if place and place not in self._world.shared
        )
        for place, count in held.items():
            if count > 1:
                self.violated("I14", f"{place} was given twice")

    # The engine

    def launch(self, spec: TaskSpec) -> None:
        """The controller orders a launch."""
        record = self.ledger.instances.get(spec.instance_id)
        if record is None:
            self.violated("I11", f"{spec.task_id} is launched, of which there is no record")
        elif record.phase != "launching" and self._left_launching.get(record.id, 0.0) < self._now:
            self.violated("superseded", f"{spec.task_id} is launched, but it is {record.phase}")

    def created(self, task: FakeTask) -> None:
        """The engine made a task: nobody may still send its place's former owner a request."""
        now = self._now
        for place in _places(task):
            owner, until = self._places.get(place, ("", -1000.0))
            since = now - until
            if owner != task.spec.task_id and since < PLACE_UNUSED_SECONDS and now - self.travelled_at > TRAVEL_SECONDS:
                self.violated("I14", f"{place} was used again after {since:.1f} s")

    def ended(self, task: FakeTask) -> None:
        """A task that ran ended, or is gone. Where only lost records knew it there is no quarantine; where it was given
        up while it ran, that began then: nobody is sent there since."""
        record = self.ledger.instances.get(task.spec.instance_id)
        if record is None or ((stopped := record.phase == "stopped") and self._world.excused(task)):
            return
        until = self._stopped_at.get(record.id, self._now) if stopped else self._now
        self._places.update((place, (task.spec.task_id, until)) for place in _places(task))

    def kill(self, task_id: str) -> None:
        """The controller orders an end. What a fault ends does not come here."""
        task = self._world.engine.held.get(task_id)
        if task is None:
            if any(one.task_id == task_id for one in self._world.foreign):
                self.violated("foreign", f"{task_id} is killed, which somebody else started")
            return
        if task.status.terminal or task.sigterm_at is not None:
            return
        self._world.deleted[task.spec.app_id] += 1
        name = task.spec.instance_id
        for gateway in self._world.gateways:
            if gateway.ready and gateway.routes_to(name) and name not in self._rewound:
                self.violated("I16", f"{task_id} is killed while {gateway.name} routes to it")
        record = self.ledger.instances.get(name)
        if record is None:
            return
        if record.phase not in ("stopping", "stopped"):
            self.violated("I16", f"{task_id} is killed in phase {record.phase}")
        if record.phase == "stopping" and name in self._drained:
            self._check_drain(record, self._now - self._drained[name])

    def _check_drain(self, record: Instance, waited: float) -> None:
        app = self.ledger.versions[record.app_id][record.version_id].app
        # A gateway that had been given up by then may have come back with what it had open.
        waited_for = self._ready_at.get(record.id, ())
        open_requests = sum(one.in_flight(record.id) for one in self._world.gateways if one.name in waited_for)
        if open_requests and waited < app.drain_seconds * STEADY:
            self.violated("drain", f"{record.id} is killed after {waited:.2f} s with {open_requests} requests open")
        if app.service is not None and waited < app.settle_seconds * STEADY:
            self.violated("drain", f"{record.id} is killed after {waited:.2f} s, before consumers settled")

    # Gateways, probes, events

    def probed(self, probe: Probe, result: ProbeResult) -> None:
        """An instance answered a probe, or did not."""
        if result.outcome == "passed":
            self._failures.pop(probe.instance_id, None)
            if self._bad_at.pop(probe.instance_id, None) is not None:
                self._recovered_at[probe.instance_id] = self._now
            self._passed.add(probe.instance_id)
            self._sick.discard(probe.instance_id)
            return
        if result.outcome == "failed":
            self._failures[probe.instance_id] += 1
            if self._failures[probe.instance_id] >= FAILURES_TO_LEAVE:
                self._bad_at.setdefault(probe.instance_id, self._now)
            self._sick.add(probe.instance_id)
        if probe.instance_id in self._sick:
            # Who was sick when nobody could ask any more is held for sick for as long as that lasts.
            self.failed_at[probe.instance_id] = self._now

    def applied(self, gateway: "SimulatedGateway", before: Rotation, after: Rotation) -> None:
        """A gateway works by a new rotation."""
        since, self._applied_at[gateway.name] = self._applied_at.get(gateway.name, 0.0), self._now
        for name, service in after.services.items():
            for endpoint in service.endpoints:
                if endpoint.weight and endpoint.instance_id not in self._passed and self._checked(endpoint.instance_id):
                    self.violated("I17", f"{gateway.name} routes {name} to {endpoint.instance_id}, which never passed")
        for name, service in before.services.items():
            now = {one.instance_id: one for one in after.services[name].endpoints} if name in after.services else {}
            kept = [one for one in now.values() if one.weight]
            for endpoint in service.endpoints:
                if endpoint.weight == 0 or not self._belongs(endpoint.instance_id, name):
                    continue
                if gateway.given_at < self.travelled_at:
                    # Right by the records that were lost while the update was on its way.
                    continue
                if endpoint.instance_id not in now and self._now - self.travelled_at > TRAVEL_SECONDS:
                    self.violated("emptied", f"{gateway.name} lost {endpoint.instance_id} of {name}")
                elif endpoint.instance_id in now and not now[endpoint.instance_id].weight:
                    if not kept:
                        self.violated("emptied", f"{gateway.name} has nobody left in {name}")
                    failed_at = self.failed_at.get(endpoint.instance_id, -1000.0)
                    if endpoint.instance_id not in self._sick and failed_at < since - PROBES_SECONDS:
                        self.violated("emptied", f"{gateway.name} left {endpoint.instance_id}, whose probes pass")

    def _checked(self, instance_id: str) -> bool:
        record = self.ledger.instances.get(instance_id)
        return record is not None and bool(self.ledger.versions[record.app_id][record.version_id].app.health_checks)

    def _belongs(self, instance_id: str, service: str) -> bool:
        """True when the instance is wanted in the rotation and its task runs."""
        record = self.ledger.instances.get(instance_id)
        if record is None or record.phase not in ("entering", "serving"):
            return False
        task = self._world.engine.held.get(record.task_id)
        if task is None or task.status.terminal:
            return False
        return service in services(self.ledger.versions[record.app_id][record.version_id].app)

    async def follow(self, controller: Controller) -> None:
        """Every event of a controller comes, once, in order. It knows nothing of what the one before it was told."""
        self._failures.clear()
        self._bad_at.clear()
        last: int | None = None
        with controller.events.follow(after=0) as follower:
            while await follower.wait():
                for event in follower.take():
                    if last is not None and event.sequence != last + 1:
                        self.violated("I20", f"event {event.sequence} came after {last}")
                    last = event.sequence


def _places(task: FakeTask) -> Iterable[object]:
    spec = task.spec
    return [(spec.agent, place) for place in (spec.address, *spec.host_ports) if place]


def describe(version: Version | None) -> object:
    """What is wanted, without what depends on when it was asked for."""
    return None if version is None else (version.app, version.image)
