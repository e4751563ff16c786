"""plan: the records that a pass is going to write, gathered from the actions of its decisions."""

from collections.abc import Iterable, Sequence

import msgspec

from coldchain.control.state import State
from coldchain.decisions import gray as grays
from coldchain.decisions import instance as lives
from coldchain.decisions.actions import (
    Action,
    CreateInstances,
    CutStreams,
    EndDeployment,
    ForgetTask,
    KillTask,
    LaunchTask,
    Move,
    Place,
    PrepareImage,
    RecordDeployment,
    RecordFailure,
    RecordPlace,
    RemoveApp,
    RemoveInstance,
    StartRollback,
)
from coldchain.decisions.placement import Placed, settled_at
from coldchain.decisions.version import end
from coldchain.decisions.view import View
from coldchain.documents import keys
from coldchain.documents.keys import Record
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance, Transition
from coldchain.model.offer import Offer
from coldchain.model.version import AppRecord
from coldchain.ports.clock import Clock

Effect = LaunchTask | KillTask | ForgetTask | PrepareImage


class Plan:
    """What will be written, all or nothing, and what will be done once it is written. `waiting`: who may be placed, and
    instead of whom (`placement.Waiting`). `offers`: what is known of the agents."""

    def __init__(self, state: State, clock: Clock, now: float, offers: Sequence[Offer]) -> None:
        self._state = state
        self._clock = clock
        self._now = now
        self._offers = offers
        self.put: dict[str, Record] = {}
        self.remove: list[Record] = []
        self.effects: list[Effect] = []
        self.waiting: dict[str, tuple[str, ...]] = {}

    def add(self, view: View, actions: Iterable[Action]) -> None:
        """Take in the actions of one app's decision."""
        for action in actions:
            if isinstance(action, Effect):
                self.effects.append(_named(action, view))
                continue
            if isinstance(action, Place):
                self.waiting[action.instance_id] = action.instead_of
                continue
            match action:
                case Move():
                    self._move(action)
                case RecordPlace():
                    one = self._instance(action.instance_id)
                    self._put(settled_at(one, action, self._state.app_of(one), self._offers))
                case CutStreams():
                    one = self._instance(action.instance_id)
                    self._put(msgspec.structs.replace(one, streams_cut_at=self._now))
                case CreateInstances():
                    for _ in range(action.count):
                        self._create(view, action)
                case RemoveInstance():
                    self.remove.append(self._state.instances[action.instance_id])
                case RecordFailure():
                    self._put(action.failure)
                    if action.backoff is not None:
                        self._put(action.backoff)
                case EndDeployment():
                    assert view.deployment is not None
                    self._put(end(view.deployment, action.state, action.cause, self._now))
                case RecordDeployment():
                    self._put(action.deployment)
                case StartRollback():
                    self._roll_back(view, action)
                case RemoveApp():
                    self._remove_app(view.app_id)

    def _put(self, record: Record) -> None:
        self.put[keys.key_of(record)] = record

    def changes(self) -> dict[str, Instance | None]:
        """The instances that will not be as they are, as they will be; None: gone."""
        gone: dict[str, Instance | None] = {one.id: None for one in self.remove if isinstance(one, Instance)}
        return {one.id: one for one in self.put.values() if isinstance(one, Instance)} | gone

    def _instance(self, name: str) -> Instance:
        instance = self._state.instances[name]
        changed = self.put.get(keys.key_of(instance), instance)
        assert isinstance(changed, Instance)
        return changed

    def _move(self, action: Move) -> None:
        moved = lives.move(self._instance(action.instance_id), action.phase, self._now, action.cause)
        if action.address is not None:
            moved = msgspec.structs.replace(moved, address=action.address)
        if action.ports is not None:
            moved = msgspec.structs.replace(moved, ports=action.ports)
        if action.streams_cut is not None:
            moved = msgspec.structs.replace(moved, streams_cut=action.streams_cut)
        self._put(moved)

    def place(self, placed: Placed) -> None:
        """Record where an instance goes; it is launched once that is written."""
        moved = lives.move(self._instance(placed.instance_id), "launching", self._now, f"placed on {placed.agent}")
        self._put(placed.settled(moved))

    def _create(self, view: View, action: CreateInstances) -> None:
        assert view.wanted is not None
        name = self._clock.unique()
        label = view.app_id.strip("/").replace("/", "_")
        self._put(
            Instance(
                id=name,
                app_id=view.app_id,
                version_id=action.version_id,
                target=view.wanted.app.target,
                task_id=f"{label}.instance-{name}._app.1",
                phase="scheduled",
                since=self._now,
                created_at=self._now,
                history=(Transition(phase="scheduled", at=self._now, cause=action.cause),),
            )
        )

    def _roll_back(self, view: View, action: StartRollback) -> None:
        failed, wanted = view.deployment, view.wanted
        assert failed is not None
        assert wanted is not None
        self._put(action.to)
        app = action.to.app
        self._put(AppRecord(app_id=app.id, version_id=action.to.id, target=app.target, cause=action.cause))
        self._put(
            Deployment(
                id=self._clock.unique(),
                app_id=app.id,
                target=app.target,
                kind="rollback",
                from_version=wanted.id,
                to_version=action.to.id,
                started_at=self._now,
                deadline_at=self._now + app.deadline_seconds,
                cause=action.cause,
                rollback_of=failed.id,
                steps_done=len(app.rollout.steps),
                gray=grays.taken_back(failed.gray, action.to),
            )
        )

    def _remove_app(self, app_id: str) -> None:
        state = self._state
        versions, needed = state.versions.get(app_id, {}).values(), state.needed(app_id)
        self.remove += [one for one in versions if one.id not in needed]
        self.remove += [found for found in (state.failures.get(app_id), state.backoffs.get(app_id)) if found]


def _named(effect: Effect, view: View) -> Effect:
    """Versions are unique only within their app; the effect's name says which."""
    if isinstance(effect, PrepareImage):
        return msgspec.structs.replace(effect, version_id=f"{view.app_id}@{effect.version_id}")
    return effect
