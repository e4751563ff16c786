"""reconcile: everything that must be done for one app, from what is wanted and what is seen, and nothing else.

Level-triggered: the same view always gives the same actions, and an app at rest gives none. Nothing is decided before
the engine has been listed once, because what is unknown is not gone.
"""

import datetime
from collections.abc import Iterator

import msgspec

from coldchain.decisions import acceptance as acceptances
from coldchain.decisions import backoff as backoffs
from coldchain.decisions import deployment as deployments
from coldchain.decisions import dubbo_switch as switches
from coldchain.decisions import gray as grays
from coldchain.decisions import health as healths
from coldchain.decisions import instance as lives
from coldchain.decisions import rollout as rollouts
from coldchain.decisions import rotation as rotations
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
    RemoveApp,
    RemoveInstance,
    StartRollback,
)
from coldchain.decisions.explanation import explain
from coldchain.decisions.self_registration import by_itself
from coldchain.decisions.view import Seen, View
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance
from coldchain.model.task import TaskFailure, TaskStatus
from coldchain.model.version import Version


class Decision(Noun, frozen=True, kw_only=True):
    """The actions, and when (epoch seconds) the view must be looked at again although nothing new was seen."""

    actions: tuple[Action, ...] = ()
    look_again_at: float | None = None


def reconcile(view: View, now: float) -> Decision:
    """The actions for an app. Applying them and reconciling again ends in an app at rest."""
    if not view.engine_known:
        return Decision()
    actions: list[Action] = []
    alarms: list[float] = []
    after: list[Instance] = []
    for one in view.instances:
        steps = list(_advance(view, one, now))
        actions += steps
        if any(isinstance(step, RemoveInstance) for step in steps):
            continue
        moved = _moved(one, steps, now)
        after.append(moved)
        alarms += _alarms(view, moved)
    ending = list(_end(view, after, now, alarms))
    if not any(isinstance(one, EndDeployment) and one.state == "failed" for one in ending):
        # Else nothing more is made of the version that failed: the next pass goes by what is wanted then.
        actions += _roll(view, after, now, alarms)
    actions += ending
    return Decision(actions=tuple(actions), look_again_at=min((at for at in alarms if at > now), default=None))


def _advance(view: View, one: Instance, now: float) -> Iterator[Action]:
    """What the instance's own life asks for, whatever the rollout wants."""
    seen = view.seen.get(one.id, Seen())
    app = view.versions[one.version_id].app
    place = lives.other_place(one, seen.task, app) if seen.task is not None else None
    if place is not None:
        yield place
    if one.phase == "stopped":
        yield from _clear_away(view, one, seen, now)
    elif one.phase == "scheduled":
        if seen.task is not None:
            yield Move(instance_id=one.id, phase="launching", cause=f"its task is on {seen.task.agent} already")
    elif seen.task is None and seen.launch_pending:
        return
    elif _is_gone(one, app, seen):
        yield from _gone(view, one, seen.task, app, now)
    elif elsewhere := _elsewhere(one, app, seen.task):
        yield from _gone(view, one, seen.task, app, now, elsewhere)
    elif one.phase == "launching":
        yield from _launching(view, one, seen, app, now)
    elif one.wanted and seen.task is not None and seen.task.state == "killing":
        # Nobody here asked for it: for as long as its grace lasts it can be taken out of rotation, and be replaced.
        yield Move(instance_id=one.id, phase=lives.leave(one), cause="its engine ends the task")
    elif one.phase == "starting":
        if place is not None and place.address != one.address:
            return  # what is known of it was asked where it is not
        if seen.verdict.standing == "healthy" and seen.verdict.ready:
            yield Move(instance_id=one.id, phase="entering", cause="running" if not app.health_checks else "healthy")
    elif one.phase == "entering":
        if seen.acknowledged:
            known = "every live gateway has it" if app.service_name else ""
            known = known or ("ZooKeeper has it" if app.dubbo else "no service to enter")
            yield Move(instance_id=one.id, phase="serving", cause=known)
    elif one.phase in ("draining", "closing"):
        drain = lives.Drain(
            acknowledged=seen.acknowledged,
            in_flight=seen.in_flight,
            streams=seen.streams,
            cut=seen.cut,
            settle_seconds=app.settle_seconds if app.service is not None or app.dubbo is not None else 0.0,
            deadline_seconds=app.drain_seconds,
        )
        following = lives.drained(one, drain, now)
        if lives.cuts_streams(one, drain, now):
            cause = f"drain deadline of {app.drain_seconds:g} s passed, open streams: {drain.streams}"
            yield CutStreams(instance_id=one.id, cause=cause)
        elif following is not None:
            cut = None if one.streams_cut_at is None else drain.cut
            yield Move(instance_id=one.id, phase=following[0], streams_cut=cut, cause=following[1])
    elif one.phase == "stopping":
        grace = app.task_kill_grace_period_seconds
        yield KillTask(instance_id=one.id, grace_seconds=grace, cause=one.history[-1].cause)


def _is_gone(one: Instance, app: App, seen: Seen) -> bool:
    """Whether its task is. An orphan is not, but for one whose probes fail or heartbeats end, or which has neither that
    could tell while its whole agent is away."""
    if seen.task is None:
        return one.phase != "launching"
    if not seen.task.orphaned or one.phase not in healths.PROBED:
        return seen.task.terminal
    blind = seen.task.orphaned == "agent" and not healths.asked_from_here(app) and not by_itself(one, app)
    return blind or seen.verdict.standing == "unhealthy"


def _elsewhere(one: Instance, app: App, task: TaskStatus | None) -> str:
    """Why its task is not where it was given traffic; empty if it is. Somebody has started its container anew, or taken
    it out of its network and put it back, and where it was another app may be by now."""
    given = one.phase in (*rotations.IN_ROTATION, "draining", "closing")
    if not app.network.by_name or not given or task is None or task.state != "running":
        return ""
    if one.address is None or task.address in (None, one.address):
        return ""
    return f"its container is at {task.address} now, and was at {one.address}: somebody has moved it or started it anew"


def _launching(view: View, one: Instance, seen: Seen, app: App, now: float) -> Iterator[Action]:
    if seen.task is not None and seen.task.state == "running":
        yield Move(
            instance_id=one.id,
            phase="starting",
            address=seen.task.address,
            ports=seen.task.ports,
            cause="the task runs",
        )
    elif seen.launch_refused is not None:
        yield Move(instance_id=one.id, phase="stopped", cause=f"the engine refused it: {seen.launch_refused}")
        yield _failure(view, one, None, app, now, seen.launch_refused)
    else:
        yield LaunchTask(instance_id=one.id, cause="placed")


def _gone(
    view: View, one: Instance, task: TaskStatus | None, app: App, now: float, reason: str = ""
) -> Iterator[Action]:
    if one.phase == "stopping":
        yield Move(instance_id=one.id, phase="stopped", cause="the task ended")
        return
    if not reason:
        reason = "the engine does not have the task any more" if task is None else task.message or f"task {task.state}"
    yield Move(instance_id=one.id, phase="stopped", cause=reason)
    yield _failure(view, one, task, app, now, reason)


def _failure(view: View, one: Instance, task: TaskStatus | None, app: App, now: float, reason: str) -> RecordFailure:
    served_since = next((step.at for step in one.history if step.phase == "serving"), now)
    backoff = None
    if view.wanted is not None and one.version_id == view.wanted.config_id and one.wanted:
        backoff = backoffs.after_failure(
            view.backoff,
            app,
            one.app_id,
            one.version_id,
            served=one.served,
            served_seconds=now - served_since,
            now=now,
        )
    return RecordFailure(
        failure=TaskFailure(
            app_id=one.app_id,
            target=one.target,
            task_id=one.task_id,
            instance_id=one.id,
            version_id=one.version_id,
            agent=one.agent or "",
            state="lost" if task is None and one.phase != "launching" else "failed",
            at=now,
            exit_status=task.exit_status if task else None,
            message=reason,
            log_tail=task.log_tail if task else (),
        ),
        backoff=backoff,
        cause=reason,
    )


def _clear_away(view: View, one: Instance, seen: Seen, now: float) -> Iterator[Action]:
    if seen.launch_pending:
        return
    rests = max(view.quarantine_seconds, switches.LINGERS_SECONDS_MAX if seen.lingers else 0.0)
    waits = now < one.since + rests and one.agent is not None
    entered = any(step.phase == "entering" for step in one.history)
    if seen.task is not None and not seen.task.terminal:
        # A launch that was thought refused or lost went through after all, or an orphan was taken for gone. To that a
        # gateway may still send requests until it has heard.
        if view.stopping or not (entered and waits):
            yield KillTask(instance_id=one.id, grace_seconds=0, cause="a stopped instance's task still runs")
    elif waits:
        return
    elif seen.task is not None:
        yield ForgetTask(instance_id=one.id, cause="nothing asks for it any more")
    elif not _may_be_sent_to(view, one, now):
        yield RemoveInstance(instance_id=one.id, cause="its address may be used again")


def _may_be_sent_to(view: View, one: Instance, now: float) -> bool:
    """Whether a gateway that is out of touch may lead its consumers to who gets its address next. Not where an app that
    goes on names ports of the agent: it is itself who gets them next."""
    if one.agent is None or now >= one.since + view.out_of_touch_seconds:
        return False
    return view.wanted is None or not any(view.versions[one.version_id].app.wanted_host_ports)


def _moved(one: Instance, steps: list[Action], now: float) -> Instance:
    for step in steps:
        if isinstance(step, Move):
            one = lives.move(one, step.phase, now, step.cause)
        elif isinstance(step, CutStreams):
            one = msgspec.structs.replace(one, streams_cut_at=now)
    return one


def _alarms(view: View, one: Instance) -> Iterator[float]:
    if one.phase == "stopped":
        yield one.since + view.quarantine_seconds
        if view.seen.get(one.id, Seen()).lingers:
            yield one.since + switches.LINGERS_SECONDS_MAX
    elif one.phase == "closing":
        app = view.versions[one.version_id].app
        yield one.since + app.drain_seconds
        yield one.since + app.settle_seconds
        if one.streams_cut_at is not None:
            yield one.streams_cut_at + lives.CUT_SECONDS_MAX


def _roll(view: View, instances: list[Instance], now: float, alarms: list[float]) -> Iterator[Action]:
    """Launches and departures towards the wanted version."""
    wanted = view.wanted
    if wanted is None or view.stopping:
        cause = "the platform goes down" if view.stopping else "the app is deleted"
        for one in instances:
            if one.wanted:
                yield Move(instance_id=one.id, phase=lives.leave(one), cause=cause)
        return
    if wanted.image is None and wanted.app.container is not None and wanted.app.instances:
        yield PrepareImage(version_id=wanted.config_id, cause="before the first old instance leaves")
        return
    verdicts = {one.id: view.seen[one.id].verdict for one in instances if one.id in view.seen}
    condemned = {name for name, verdict in verdicts.items() if verdict.condemned and not view.brake}
    asked = {one.id: words for one in instances if one.wanted and (words := view.asked_to_leave(one))}
    stage = rollouts.stage(view.deployment, wanted.app, _former(view), in_force=view.gray_in_force)
    step = deployments.step(
        wanted.app,
        wanted.config_id,
        instances,
        unhealthy=[name for name, verdict in verdicts.items() if verdict.standing == "unhealthy"],
        condemned=condemned,
        asked=asked,
        replacing=view.deployment is not None,
        held=bool(view.brake) or (view.deployment is not None and view.deployment.paused_by is not None),
        new=stage.new if stage else None,
        least=stage.least if stage else None,
        beside=stage.beside if stage else None,
        unused=grays.unused(view.deployment, instances),
        begun=view.deployment is None or view.deployment.paused_by != "dependency",
    )
    leaving = dict(step.leave)
    for one in instances:
        if one.id not in leaving:
            continue
        detail = verdicts[one.id].detail if one.id in verdicts and verdicts[one.id].condemned else ""
        cause = f"{leaving[one.id]}: {detail}" if detail else leaving[one.id]
        yield Move(instance_id=one.id, phase=lives.leave(one), cause=cause)
        if detail:
            app = view.versions[one.version_id].app
            yield _failure(view, one, view.seen[one.id].task, app, now, cause)
    allowed_at = backoffs.launch_allowed_at(view.backoff, wanted.config_id)
    if now < allowed_at:
        alarms.append(allowed_at)
        return
    if step.launch:
        yield CreateInstances(count=step.launch, version_id=wanted.config_id, cause=_cause(view))
    instead_of = tuple(one.id for one in instances if one.wanted and (one.id in condemned or one.id in asked))
    for one in instances:
        # A launch under way is from records that are lost: where that leads is seen before anything else is chosen.
        launched = view.seen.get(one.id, Seen()).launch_pending
        if one.phase == "scheduled" and one.id not in leaving and not launched:
            yield Place(instance_id=one.id, instead_of=instead_of, cause=_cause(view))


def _cause(view: View) -> str:
    return view.deployment.cause if view.deployment else "fewer instances than wanted"


def _end(view: View, instances: list[Instance], now: float, alarms: list[float]) -> Iterator[Action]:
    """How the deployment ended, if it did; and what is left of a deleted app."""
    deployment, wanted = view.deployment, view.wanted
    if wanted is None:
        if not any(one.live for one in instances):
            if deployment is not None:
                yield EndDeployment(state="succeeded", cause="all instances stopped")
            if not instances and view.versions.keys() - view.needed:
                yield RemoveApp(cause="deleted")
        return
    if deployment is None or view.stopping:
        return
    verdicts = {one.id: view.seen[one.id].verdict for one in instances if one.id in view.seen}
    unhealthy = [name for name, verdict in verdicts.items() if verdict.standing == "unhealthy"]
    rejected = _rejected(view, deployment, wanted)
    if rejected:
        reason = f"stopped by what the gateways see: {rejected}"
        yield from _fail(view, deployment, wanted, reason, now)
        return
    left = deployment.steps_done < len(wanted.app.rollout.steps)
    held = left or deployment.paused_by in ("plan", "operator", "dependency")
    if not held and deployments.reached(wanted.app, wanted.config_id, instances, unhealthy):
        yield EndDeployment(state="succeeded", cause="all wanted instances in rotation, no other left")
    elif view.brake:
        if deployment.paused_by is None:
            held_now = deployments.pause(deployment, "brake", now)
            yield RecordDeployment(deployment=held_now, cause=view.brake)
    elif deployment.paused_by == "brake":
        yield RecordDeployment(deployment=deployments.resume(deployment, now), cause="the brake has let go")
    elif deployment.paused_by == "plan":
        yield from _planned_pause(deployment, wanted, instances, unhealthy, now, alarms)
    elif deployment.paused_by in ("operator", "dependency"):
        return
    elif onward := grays.onward(deployment, wanted.app, complete=_complete(wanted, instances, unhealthy)):
        yield RecordDeployment(deployment=onward[0], cause=onward[1])
    elif left and _is_reached(view, deployment, wanted, instances, unhealthy):
        reached = rollouts.reach(deployment, wanted.app, now)
        yield RecordDeployment(deployment=reached, cause="; ".join(rollouts.describe(reached, wanted.app)))
    elif not deployments.overdue(deployment, now):
        alarms.append(deployment.deadline_at)
    else:
        reason = f"deadline of {wanted.app.deadline_seconds:g} s passed: {explain(view, instances, now)}"
        yield from _fail(view, deployment, wanted, reason, now)


def _rejected(view: View, deployment: Deployment, wanted: Version) -> str:
    """Why the new version is clearly worse than the old one, in words. Whoever holds the deployment decides himself,
    and while the brake holds the fault is likely shared."""
    held = view.brake or deployment.paused_by in ("operator", "brake", "dependency")
    if held or deployment.kind in ("start", "stop", "rollback"):
        return ""
    alone = deployment.kind in rollouts.STEPWISE
    return acceptances.judge(wanted.app.rollout.acceptance, view.traffic, alone=alone)


def _complete(wanted: Version, instances: list[Instance], unhealthy: list[str]) -> bool:
    """Whether all instances of the new version serve."""
    return rollouts.serving(wanted.config_id, instances, unhealthy) >= wanted.app.instances


def _is_reached(
    view: View, deployment: Deployment, wanted: Version, instances: list[Instance], unhealthy: list[str]
) -> bool:
    number, in_force = deployment.steps_done, view.gray_in_force
    return rollouts.is_reached(deployment, number, wanted, instances, unhealthy, in_force=in_force)


def _planned_pause(
    deployment: Deployment,
    wanted: Version,
    instances: list[Instance],
    unhealthy: list[str],
    now: float,
    alarms: list[float],
) -> Iterator[Action]:
    """A step is reached: go on when its time is over, or make it good where it does not stand any more."""
    number = deployment.steps_done - 1
    if not rollouts.is_reached(deployment, number, wanted, instances, unhealthy):
        again = msgspec.structs.replace(deployments.resume(deployment, now), steps_done=number)
        yield RecordDeployment(deployment=again, cause=f"step {number + 1} does not stand any more")
    elif deployment.resumes_at is not None and now >= deployment.resumes_at:
        yield RecordDeployment(deployment=deployments.resume(deployment, now), cause="the planned pause is over")
    elif deployment.resumes_at is not None:
        alarms.append(deployment.resumes_at)


def _former(view: View) -> Version | None:
    return view.versions.get(view.deployment.from_version or "") if view.deployment else None


def _fail(view: View, deployment: Deployment, wanted: Version, reason: str, now: float) -> Iterator[Action]:
    """Say why, and go back if that is wanted and has not been tried. Members of a group deployment go back together
    (`group.advance`)."""
    yield EndDeployment(state="failed", cause=reason)
    if deployment.part_of is not None:
        return
    back = _former(view)
    if back is not None and deployment.kind != "rollback" and wanted.app.rollback_on_failure:
        yield StartRollback(to=rolled_back(back, wanted, now), cause=f"rollback of {deployment.id}: {reason}")


def rolled_back(back: Version, wanted: Version, now: float) -> Version:
    """A new version that is the old configuration: same configuration id and image, so what still runs of it stays."""
    return msgspec.structs.replace(back, id=version_id(now, wanted.id))


def version_id(now: float, last: str | None) -> str:
    """The id of a version made now: ISO 8601 with milliseconds, later than the last one."""
    text = _iso(now)
    if last is not None and text <= last:
        then = datetime.datetime.fromisoformat(last).timestamp()
        text = _iso(round(then, 3) + 0.001)
    return text


def _iso(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(round(at * 1000) / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
