"""preview: a whole rollout before it starts: the real decisions, played on a copy of what stands there.

The world they are played in is ideal: tasks run at once, pass their checks and stop at once, gateways acknowledge at
once, nothing is in flight, no deadline passes. What still waits there waits in every world.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

from coldchain.decisions import backoff as backoffs
from coldchain.decisions import deployment as deployments
from coldchain.decisions import instance as lives
from coldchain.decisions import rollout as rollouts
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
    RecordDeployment,
    RecordFailure,
    RecordPlace,
    RemoveInstance,
)
from coldchain.decisions.explanation import explain
from coldchain.decisions.health import Verdict
from coldchain.decisions.placement import Waiting, place, settled_at
from coldchain.decisions.reconcile import reconcile
from coldchain.decisions.view import Seen, View
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.instance import Instance, Phase, Transition
from coldchain.model.offer import Offer
from coldchain.model.task import TaskStatus

MOST_LOOKS = 500_000
"""Looks at an instance before a preview is cut off: hundreds of instances one by one would take minutes."""
IMAGE = "assumed"
"""Stands for an image that is not resolved yet."""

Happening = Literal["launch", "serve", "leave", "stop", "refused", "wait", "pause"]
SHOWN: dict[Phase, Happening] = {
    "launching": "launch",
    "serving": "serve",
    "draining": "leave",
    "stopped": "stop",
}


class Resources(Noun, frozen=True, kw_only=True):
    """cpus in shares of a core, mem and disk in MiB."""

    cpus: float = 0.0
    mem: float = 0.0
    disk: float = 0.0


class Step(Noun, frozen=True, kw_only=True):
    """What happens, and how many are `live` and `in_rotation` after it. Steps of one `round` are made together.

    `refused`: the instance fits no agent, as yet. `wait`: for `seconds`, because only time goes on. `pause`: by plan,
    for `seconds`; 0: until somebody lets it go on. An instance that is made in the preview is called `new-1` and so on.
    """

    round: int
    happening: Happening
    cause: str
    live: int
    in_rotation: int
    instance_id: str = ""
    version_id: str = ""
    agent: str | None = None
    seconds: float = 0.0


class Preview(Noun, frozen=True, kw_only=True):
    """A rollout. `outcome`: `reached`, `stuck` (nothing that the platform does goes on; `reason` says why), or
    `unfinished` (too long to be shown to its end).

    `peak_need`: of all live instances together when they need most, and `offered`: what all agents have for the app,
    without what other apps hold; the two need not be of one agent. `replaces`: tasks are replaced, it is not only a
    change of number. `image_assumed`: the image is not resolved yet, it was taken for good.
    """

    app_id: str
    version_id: str
    replaces: bool
    image_assumed: bool
    steps: tuple[Step, ...]
    outcome: Literal["reached", "stuck", "unfinished"]
    reason: str
    peak_live: int
    peak_need: Resources
    offered: Resources
    least_in_rotation: int
    most_allowed: int
    least_allowed: int


def preview(view: View, offers: Sequence[Offer], others: Collection[tuple[Instance, App]], now: float) -> Preview:
    """The rollout towards `view.wanted`, which must not be None, in `view.deployment`.

    `others`: the instances of all other apps that are on an agent, with the definition each was made from.
    """
    assert view.wanted is not None
    return _World(view, offers, others, now).played()


class _World:
    """The copy, and what has happened in it."""

    def __init__(
        self, view: View, offers: Sequence[Offer], others: Collection[tuple[Instance, App]], now: float
    ) -> None:
        assert view.wanted is not None
        self._image_assumed = view.wanted.image is None and view.wanted.app.container is not None
        self._wanted = msgspec.structs.replace(view.wanted, image=view.wanted.image or IMAGE)
        deployment = view.deployment
        if deployment is not None:
            deployment = msgspec.structs.replace(deployment, deadline_at=math.inf)
        versions = view.versions | {self._wanted.id: self._wanted}
        self._view = msgspec.structs.replace(view, wanted=self._wanted, versions=versions, deployment=deployment)
        self._seen = {name: _ideal(seen) for name, seen in view.seen.items()}
        self._offers, self._others, self._now = offers, others, now
        self._instances = {one.id: one for one in view.instances}
        self._old = {one.id for one in view.instances if one.live and one.version_id != self._wanted.config_id}
        self._waiting: dict[str, tuple[str, ...]] = {}
        self._steps: list[Step] = []
        self._round = self._created = self._looks = 0
        self._peak_live, self._peak_need = 0, Resources()
        self._live = sum(one.live for one in view.instances)
        self._in_rotation = self._least = sum(one.in_rotation for one in view.instances)
        self._ended = False
        self._measure()

    def played(self) -> Preview:
        """Round by round until it is reached or nothing goes on."""
        outcome: Literal["reached", "stuck", "unfinished"] = "unfinished"
        while self._looks <= MOST_LOOKS:
            self._round += 1
            self._looks += 1 + len(self._instances)
            decision = reconcile(self._shown(), self._now)
            moved = [self._carry_out(action) for action in decision.actions]
            moved.append(self._place())
            self._measure()
            if self._ended:
                outcome = "reached"
                break
            if any(moved) or self._pause():
                continue
            if decision.look_again_at is None or math.isinf(decision.look_again_at):
                outcome = "stuck"
                break
            self._wait(decision.look_again_at)
        minimum, maximum = deployments.capacity(self._wanted.app)
        return Preview(
            app_id=self._view.app_id,
            version_id=self._wanted.id,
            replaces=bool(self._old),
            image_assumed=self._image_assumed,
            steps=tuple(self._steps),
            outcome=outcome,
            reason="" if outcome == "reached" else explain(self._shown(), list(self._instances.values()), self._now),
            peak_live=self._peak_live,
            peak_need=self._peak_need,
            offered=self._offered(),
            least_in_rotation=self._least,
            least_allowed=minimum,
            most_allowed=maximum,
        )

    def _shown(self) -> View:
        return msgspec.structs.replace(self._view, instances=tuple(self._instances.values()), seen=dict(self._seen))

    def _carry_out(self, action: Action) -> bool:
        """What `control` would do, at once. False when it changes nothing."""
        match action:
            case CreateInstances():
                for _ in range(action.count):
                    self._create(action)
            case Move():
                self._move(action.instance_id, action.phase, action.cause)
            case RecordPlace():
                there = self._instances[action.instance_id]
                self._instances[there.id] = settled_at(there, action, self._app_of(there), self._offers)
            case CutStreams():
                there = self._instances[action.instance_id]
                self._instances[there.id] = msgspec.structs.replace(there, streams_cut_at=self._now)
            case RemoveInstance():
                del self._instances[action.instance_id]
                self._seen.pop(action.instance_id, None)
            case LaunchTask():
                self._see(action.instance_id, self._task(action.instance_id, running=True))
            case KillTask():
                self._see(action.instance_id, self._task(action.instance_id, running=False))
            case ForgetTask():
                self._see(action.instance_id, None)
            case Place():
                self._waiting[action.instance_id] = action.instead_of
                return False
            case RecordFailure():
                backoff = action.backoff or self._view.backoff
                self._view = msgspec.structs.replace(self._view, backoff=backoff, failure=action.failure)
            case RecordDeployment():
                self._view = msgspec.structs.replace(self._view, deployment=action.deployment)
            case EndDeployment():
                self._ended = True
        return True

    def _pause(self) -> bool:
        """Show the pause that a step plans, and go on as if it were over or somebody had let it go on."""
        deployment = self._view.deployment
        if deployment is None or deployment.paused_by != "plan":
            return False
        resumes_at = deployment.resumes_at
        until = "" if resumes_at is not None else ", until somebody lets it go on"
        seconds = 0.0 if resumes_at is None else max(0.0, resumes_at - self._now)
        self._add("pause", f"{'; '.join(rollouts.describe(deployment, self._wanted.app))}{until}", seconds=seconds)
        self._now += seconds
        resumed = deployments.resume(deployment, self._now)
        self._view = msgspec.structs.replace(self._view, deployment=resumed)
        return True

    def _create(self, action: CreateInstances) -> None:
        self._created += 1
        self._live += 1
        name = f"new-{self._created}"
        self._instances[name] = Instance(
            id=name,
            app_id=self._view.app_id,
            version_id=action.version_id,
            target=self._wanted.app.target,
            task_id=name,
            phase="scheduled",
            since=self._now,
            created_at=self._now,
            history=(Transition(phase="scheduled", at=self._now, cause=action.cause),),
        )

    def _move(self, name: str, phase: Phase, cause: str) -> None:
        before = self._instances[name]
        after = self._instances[name] = lives.move(before, phase, self._now, cause)
        self._live += after.live - before.live
        self._in_rotation += after.in_rotation - before.in_rotation
        self._least = min(self._least, self._in_rotation)
        if phase in SHOWN:
            why = before.history[-1].cause if before.phase == "stopping" else cause
            self._add(SHOWN[phase], why, name)

    def _place(self) -> bool:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return False
        asked = [
            Waiting(instance=self._instances[name], app=self._wanted.app, instead_of=instead_of)
            for name, instead_of in waiting.items()
        ]
        own = [(one, self._app_of(one)) for one in self._instances.values() if one.agent is not None]
        placed, refused = place(asked, self._offers, [*self._others, *own])
        for one in placed:
            there = self._instances[one.instance_id]
            self._instances[one.instance_id] = one.settled(there)
            self._move(one.instance_id, "launching", f"placed on {one.agent}")
        for no in refused:
            said = self._seen.get(no.instance_id, Seen()).trouble
            self._seen[no.instance_id] = _ideal(Seen(trouble=str(no)))
            if said != str(no):
                self._add("refused", str(no), no.instance_id)
        return bool(placed)

    def _see(self, name: str, task: TaskStatus | None) -> None:
        kept = self._seen.get(name, _ideal(Seen()))
        self._seen[name] = msgspec.structs.replace(kept, task=task, trouble="")

    def _task(self, name: str, *, running: bool) -> TaskStatus:
        one = self._instances[name]
        return TaskStatus(
            task_id=one.task_id,
            instance_id=one.id,
            app_id=one.app_id,
            target=one.target,
            agent=one.agent or "",
            state="running" if running else "killed",
            at=self._now,
            address=one.address,
        )

    def _wait(self, until: float) -> None:
        seconds = until - self._now
        if self._now < backoffs.launch_allowed_at(self._view.backoff, self._wanted.config_id):
            cause = "failed tasks: launched again after that"
        elif any(one.phase == "closing" for one in self._instances.values()):
            cause = "settle time of what leaves"
        else:
            cause = "addresses and ports of stopped instances are kept from use"
        last = self._steps[-1] if self._steps else None
        if last is not None and (last.happening, last.cause) == ("wait", cause):
            self._steps[-1] = msgspec.structs.replace(last, seconds=last.seconds + seconds)
        else:
            self._add("wait", cause, seconds=seconds)
        self._now = until

    def _add(self, happening: Happening, cause: str, name: str = "", seconds: float = 0.0) -> None:
        one = self._instances.get(name)
        self._steps.append(
            Step(
                round=self._round,
                happening=happening,
                cause=cause,
                live=self._live,
                in_rotation=self._in_rotation,
                instance_id=name,
                version_id=one.version_id if one else "",
                agent=one.agent if one else None,
                seconds=seconds,
            )
        )

    def _measure(self) -> None:
        apps = [self._app_of(one) for one in self._instances.values() if one.live]
        need = Resources(
            cpus=sum(app.cpus for app in apps), mem=sum(app.mem for app in apps), disk=sum(app.disk for app in apps)
        )
        self._peak_live = max(self._peak_live, self._live)
        peak = self._peak_need
        self._peak_need = Resources(
            cpus=max(peak.cpus, need.cpus), mem=max(peak.mem, need.mem), disk=max(peak.disk, need.disk)
        )

    def _offered(self) -> Resources:
        offers = [one for one in self._offers if one.target == self._wanted.app.target]
        agents = {one.agent for one in offers}
        held = [app for one, app in self._others if one.live and one.agent in agents]
        return Resources(
            cpus=_left((one.cpus for one in offers), (app.cpus for app in held)),
            mem=_left((one.mem for one in offers), (app.mem for app in held)),
            disk=_left((one.disk for one in offers), (app.disk for app in held)),
        )

    def _app_of(self, one: Instance) -> App:
        return self._view.versions[one.version_id].app


def _left(offered: Iterable[float], held: Iterable[float]) -> float:
    return max(0.0, sum(offered) - sum(held))


def _ideal(seen: Seen) -> Seen:
    """What is seen of an instance in the ideal world: what is bad now stays so, all else is for the best."""
    task, verdict = seen.task, seen.verdict
    if task is not None and not task.terminal:
        task = msgspec.structs.replace(task, state="running")
    if verdict.standing != "unhealthy" and not verdict.condemned:
        verdict = Verdict(standing="healthy")
    return Seen(task=task, verdict=verdict, trouble=seen.trouble, acknowledged=True)
