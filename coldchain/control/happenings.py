"""happenings: turns what was written into the events that Marathon's clients know."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from coldchain.control.events import EventLog
from coldchain.decisions.brake import Brake
from coldchain.decisions.placement import Refused
from coldchain.documents import events as bodies
from coldchain.documents import group_answers as group_bodies
from coldchain.documents.answers import deployment_version, timestamp
from coldchain.documents.keys import Record
from coldchain.model.app import HealthCheck
from coldchain.model.deployment import Deployment
from coldchain.model.event import AppMove
from coldchain.model.group import GroupDeployment
from coldchain.model.instance import Instance
from coldchain.model.rotation import GatewayReport
from coldchain.model.task import TaskStatus
from coldchain.model.version import AppRecord, Version
from coldchain.ports.clock import Clock


class Happenings:
    """Told of commits and of task updates; emits the events. `version_of`: an app's version on record by its id;
    `deployment_of`: a deployment on record by its id;
    `condemned`: why an instance should be replaced, in words, empty where it should not."""

    def __init__(
        self,
        log: EventLog,
        clock: Clock,
        version_of: Callable[[str, str], Version | None],
        deployment_of: Callable[[str], Deployment | None],
        condemned: Callable[[Instance], str],
    ) -> None:
        self._log = log
        self._clock = clock
        self._version_of = version_of
        self._deployment_of = deployment_of
        self._condemned = condemned

    def committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        """For State.on_commit."""
        for before, after in pairs:
            if isinstance(after, Instance) and (not isinstance(before, Instance) or before.phase != after.phase):
                self._left(before, after)
                self._emit(bodies.instance_changed_event(after), after.history[-1].cause)
                if after.phase == "stopping" and after.streams_cut:
                    self._emit(bodies.streams_cut_event(after), after.history[-1].cause)
            elif isinstance(after or before, AppRecord):
                self._aimed(before, after)
            elif isinstance(after, Version) and before is None and after.overrides:
                told = "; ".join(f"{one.rule} overridden by {one.caller}: {one.because}" for one in after.overrides)
                self._emit(bodies.admission_overridden_event(after, self._clock.now()), told)
            elif isinstance(after, GroupDeployment):
                self._group(before if isinstance(before, GroupDeployment) else None, after)
            elif isinstance(after, Deployment) and after.part_of is not None:
                self._member(before if isinstance(before, Deployment) else None, after)
            elif isinstance(after, Deployment) and before is None:
                self._began(after)
            elif isinstance(after, Deployment) and not after.running:
                self._ended(after)
            elif isinstance(after, Deployment) and isinstance(before, Deployment):
                self._held(before, after)

    def _left(self, before: Record | None, after: Instance) -> None:
        """Say so where it leaves because of its checks, and not because it ended."""
        leaves = isinstance(before, Instance) and before.wanted and after.phase in ("draining", "stopping")
        if leaves and (why := self._condemned(after)):
            self._emit(bodies.unhealthy_instance_kill_event(after, why, after.since), after.history[-1].cause)

    def _aimed(self, before: Record | None, after: Record | None) -> None:
        """Another version is aimed at, or none: which health checks come, and which go."""
        old, new = self._checks(before), self._checks(after)
        record = after if isinstance(after, AppRecord) else before
        assert isinstance(record, AppRecord)
        at, name = self._clock.now(), (record.app_id, record.version_id)
        cause = record.cause if after is not None else "the app is deleted"
        for check in old:
            if check not in new:
                self._emit(bodies.health_check_event("remove_health_check_event", *name, check, at), cause)
        for check in new:
            if check not in old:
                self._emit(bodies.health_check_event("add_health_check_event", *name, check, at), cause)

    def _checks(self, record: Record | None) -> Sequence[HealthCheck]:
        version = self._version_of(record.app_id, record.version_id) if isinstance(record, AppRecord) else None
        return version.app.health_checks if version else ()

    def _began(self, deployment: Deployment) -> None:
        group, version = bodies.parent_group(deployment.app_id), deployment_version(deployment)
        self._emit(bodies.group_change_success(group, version, deployment.started_at), deployment.cause)
        self._emit(bodies.deployment_info(deployment), deployment.cause, bodies.app_moves(deployment))

    def change_refused(self, app_id: str, reason: str) -> None:
        """A change that somebody asked for is not made."""
        at = self._clock.now()
        self._emit(bodies.group_change_failed(bodies.parent_group(app_id), timestamp(at), reason, at), reason)

    def _ended(self, deployment: Deployment) -> None:
        at = deployment.ended_at or self._clock.now()
        cause, moves = deployment.reason or deployment.cause, bodies.app_moves(deployment)
        self._emit(bodies.deployment_step_ended(deployment), cause, moves)
        self._emit(bodies.deployment_ended(deployment), cause, moves)
        if deployment.to_version is None and deployment.state == "succeeded":
            self._emit(bodies.app_terminated_event(deployment.app_id, at), deployment.cause)

    def _group(self, before: GroupDeployment | None, after: GroupDeployment) -> None:
        if before is None:
            told = group_bodies.group_begun(after) + (group_bodies.group_ended(after) if not after.running else [])
        else:
            told = group_bodies.group_went_on(before, after, self._clock.now())
        moves = self._moves(after)
        for body in told:
            self._emit(body, after.reason or after.cause, moves if "plan" in body else ())

    def _moves(self, group: GroupDeployment) -> tuple[AppMove, ...]:
        members = [self._deployment_of(name) for name in group.members.values()]
        return tuple(move for one in members if one is not None for move in bodies.app_moves(one))

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
        words = status.message or f"task {status.state}"
        self._emit(bodies.status_update_event(status, version, host_ports), words)
        if instance is None and status.terminal:
            self._emit(bodies.unknown_instance_terminated_event(status), words)

    def engine_changed(self, target: str, trouble: str, *, first: bool) -> None:
        """The engine answers, for the first time to any controller (`first`) or again; or it does not: `trouble`."""
        at = self._clock.now()
        if trouble:
            self._emit(bodies.scheduler_disconnected_event(target, trouble, at), trouble)
        elif first:
            self._emit(bodies.engine_event("scheduler_registered_event", target, at), "the engine answers")
        else:
            self._emit(bodies.engine_event("scheduler_reregistered_event", target, at), "the engine answers again")

    def check_failed(self, instance: Instance, check: HealthCheck, detail: str) -> None:
        """A probe was answered in a way that counts against an instance."""
        at = self._clock.now()
        self._emit(bodies.failed_health_check_event(instance, check, detail, at), detail)

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

    def gateway_left(self, report: GatewayReport) -> None:
        """A gateway has ended, as somebody wished."""
        cut = sum(report.cut.values())
        words = f"the gateway was told to leave, streams cut: {cut}" if cut else "the gateway was told to leave"
        self._emit(bodies.gateway_left_event(report.gateway, cut, self._clock.now()), words)

    def brake_changed(self, brake: Brake) -> None:
        """The brake took hold, let go, or was released by an operator."""
        words = "released by an operator" if brake.released else brake.reason or "the brake has let go"
        self._emit(bodies.brake_changed_event(brake, self._clock.now()), words)

    def _emit(self, body: dict[str, Any], cause: str, moves: Sequence[AppMove] = ()) -> None:
        self._log.emit(str(body["eventType"]), cause, body, moves)
