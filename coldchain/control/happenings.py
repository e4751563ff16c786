"""happenings: turns what was written into the events that Marathon's clients know."""

from collections.abc import Sequence

import msgspec

from coldchain.control.events import EventLog
from coldchain.decisions.brake import Brake
from coldchain.decisions.placement import Refused
from coldchain.documents import events as bodies
from coldchain.documents import group_answers as group_bodies
from coldchain.documents.answers import timestamp
from coldchain.documents.keys import Record
from coldchain.model.deployment import Deployment
from coldchain.model.group import GroupDeployment
from coldchain.model.instance import Instance
from coldchain.model.task import TaskStatus
from coldchain.model.version import Version
from coldchain.ports.clock import Clock


class Happenings:
    """Told of commits and of task updates; emits the events."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        """For State.on_commit."""
        for before, after in pairs:
            if isinstance(after, Instance) and (not isinstance(before, Instance) or before.phase != after.phase):
                self._emit(bodies.instance_changed_event(after), after.history[-1].cause)
            elif isinstance(after, Version) and before is None and after.overrides:
                told = "; ".join(f"{one.rule} overridden by {one.caller}: {one.because}" for one in after.overrides)
                self._emit(bodies.admission_overridden_event(after, self._clock.now()), told)
            elif isinstance(after, GroupDeployment):
                self._group(before if isinstance(before, GroupDeployment) else None, after)
            elif isinstance(after, Deployment) and after.part_of is not None:
                self._member(before if isinstance(before, Deployment) else None, after)
            elif isinstance(after, Deployment) and before is None:
                self._emit(bodies.deployment_info(after), after.cause)
            elif isinstance(after, Deployment) and not after.running:
                self._ended(after)
            elif isinstance(after, Deployment) and isinstance(before, Deployment):
                self._held(before, after)

    def _ended(self, deployment: Deployment) -> None:
        at = deployment.ended_at or self._clock.now()
        if deployment.state == "succeeded":
            self._emit(bodies.deployment_step_success(deployment, at), deployment.cause)
        self._emit(bodies.deployment_ended(deployment), deployment.reason or deployment.cause)
        if deployment.to_version is None and deployment.state == "succeeded":
            self._emit(bodies.app_terminated_event(deployment.app_id, at), deployment.cause)

    def _group(self, before: GroupDeployment | None, after: GroupDeployment) -> None:
        if before is None:
            told = group_bodies.group_begun(after) + (group_bodies.group_ended(after) if not after.running else [])
        else:
            told = group_bodies.group_went_on(before, after, self._clock.now())
        for body in told:
            self._emit(body, after.reason or after.cause)

    def _member(self, before: Deployment | None, after: Deployment) -> None:
        """Of a member only that its app is gone, and that its plan or the brake holds it; all else of the whole."""
        if before is None or not before.running:
            return
        if after.to_version is None and after.state == "succeeded":
            at = after.ended_at or self._clock.now()
            self._emit(bodies.app_terminated_event(after.app_id, at), after.cause)
        holders = (before.paused_by, after.paused_by)
        if after.running and holders[0] != holders[1] and {"plan", "brake"} & {*holders}:
            self._held(before, msgspec.structs.replace(after, id=after.part_of or after.id))

    def _held(self, before: Deployment, after: Deployment) -> None:
        if after.paused_by != before.paused_by:
            words = f"paused by {after.paused_by}" if after.paused_by else f"no longer paused by {before.paused_by}"
            self._emit(bodies.deployment_held(after, self._clock.now()), words)

    def task_updated(self, status: TaskStatus, instance: Instance | None) -> None:
        """The engine reported a change of a task."""
        version = instance.version_id if instance else ""
        host_ports = instance.host_ports if instance else ()
        self._emit(bodies.status_update_event(status, version, host_ports), status.message or f"task {status.state}")

    def health_changed(self, instance: Instance, standing: str, detail: str) -> None:
        """An instance became healthy or unhealthy, or is not known any more."""
        at = self._clock.now()
        healthy = {"healthy": True, "unhealthy": False}.get(standing)
        if healthy is not None:
            self._emit(bodies.health_status_changed_event(instance, healthy, at), detail)
        self._emit(bodies.instance_health_changed_event(instance, healthy, at), detail)

    def refused(self, refused: Refused) -> None:
        """An instance fits no agent, or does so for other reasons than before."""
        self._emit(bodies.instance_refused_event(refused, self._clock.now()), str(refused))

    def brake_changed(self, brake: Brake) -> None:
        """The brake took hold, let go, or was released by an operator."""
        words = "released by an operator" if brake.released else brake.reason or "the brake has let go"
        body = {"eventType": "brake_changed_event", "timestamp": timestamp(self._clock.now())}
        self._emit(body | {"holds": brake.holds, "reason": brake.reason}, words)

    def _emit(self, body: dict[str, object], cause: str) -> None:
        self._log.emit(str(body["eventType"]), cause, body)
