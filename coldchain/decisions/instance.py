"""instance: the table of an instance's life, enforced at run time; the laws of starting and stopping as data.

scheduled → launching → starting → entering → serving → draining → closing → stopping → stopped
(placed)    (running)   (probes     (every     (to       (every     (in flight (task
                         pass)      gateway    leave)    gateway    none, or    gone)
                                    has it)              has it)    deadline)
"""

import msgspec

from coldchain.decisions.actions import RecordPlace
from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.instance import Instance, Phase, Transition
from coldchain.model.task import TaskStatus

TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    "scheduled": frozenset({"launching", "stopped"}),
    "launching": frozenset({"starting", "stopping", "stopped"}),
    "starting": frozenset({"entering", "stopping", "stopped"}),
    "entering": frozenset({"serving", "draining", "stopped"}),
    "serving": frozenset({"draining", "stopped"}),
    "draining": frozenset({"closing", "stopped"}),
    "closing": frozenset({"stopping", "stopped"}),
    "stopping": frozenset({"stopped"}),
    "stopped": frozenset(),
}

HISTORY_KEPT = 20
"""Transitions kept in an instance's record; its life has nine, so a longer story is a bug worth seeing."""


CUT_SECONDS_MAX = 5.0
"""How long gateways are given to end the streams that are open at the drain deadline. What is open then ends with the
instance."""


class IllegalTransition(Exception):  # noqa: N818
    """A bug of ours: carries the instance's story."""


class Drain(Noun, frozen=True, kw_only=True):
    """What is seen of an instance that is leaving.

    `acknowledged`: every live gateway applied its mark. `in_flight`: open requests over all live gateways, None when
    one of them has not said; so many of them are `streams`, and so many streams were `cut`. `settle_seconds`: what
    consumers need that cannot acknowledge.
    """

    acknowledged: bool
    in_flight: int | None
    streams: int = 0
    cut: int = 0
    settle_seconds: float
    deadline_seconds: float


def move(instance: Instance, phase: Phase, now: float, cause: str) -> Instance:
    """The instance in its next phase. Raises IllegalTransition with the instance's story."""
    if phase not in TRANSITIONS[instance.phase]:
        raise IllegalTransition(f"{instance.phase} → {phase} ({cause})\n{story(instance)}")
    history = (*instance.history, Transition(phase=phase, at=now, cause=cause))[-HISTORY_KEPT:]
    return msgspec.structs.replace(
        instance, phase=phase, since=now, history=history, served=instance.served or phase == "serving"
    )


def other_place(instance: Instance, task: TaskStatus, app: App) -> RecordPlace | None:
    """Where the task is, and what it holds there, if that is not what is on record; what it does not tell stays.

    A task is launched once, however often that is asked for. After the store was put back to older data it has what was
    chosen for it at first, and not what is chosen anew; where only that was on record, what it has would be given away
    as soon as it ends. Addresses count until it runs: the one on record is then the one that it ran with. Where its
    network chose it, until it has traffic: its agent may have begun it anew meanwhile, at another one.
    """
    agent, address, host_ports = task.agent or instance.agent, instance.address, task.host_ports or instance.host_ports
    chosen = instance.phase == "scheduled" or (instance.phase == "launching" and address is not None)
    if app.network.by_name:
        chosen = instance.phase == "starting" and task.state == "running"
    if chosen and task.address is not None:
        address = task.address
    if agent is None or (agent, address, host_ports) == (instance.agent, instance.address, instance.host_ports):
        return None
    return RecordPlace(
        instance_id=instance.id,
        agent=agent,
        address=address,
        host_ports=host_ports,
        cause=f"its task tells that it is on {agent}" + (f", at {address}" if address != instance.address else ""),
    )


def moved(before: Instance, after: Instance) -> bool:
    """Whether it is reached somewhere else now: what was learnt where it was may be of another."""
    return before.address not in (None, after.address)


def leave(instance: Instance) -> Phase:
    """The first phase of leaving: what was never given traffic needs no drain, what has no task just ends."""
    if instance.phase == "scheduled":
        return "stopped"
    if instance.phase in ("launching", "starting"):
        return "stopping"
    return "draining"


def drained(instance: Instance, drain: Drain, now: float) -> tuple[Phase, str] | None:
    """The next phase of an instance in `draining` or `closing` with the reason, None while it must wait."""
    if instance.phase == "draining":
        return ("closing", "every live gateway acknowledged") if drain.acknowledged else None
    waited = now - instance.since
    if waited < drain.settle_seconds:
        return None
    if drain.in_flight == 0 and instance.streams_cut_at is None:
        return "stopping", "nothing in flight"
    if waited < drain.deadline_seconds and instance.streams_cut_at is None:
        return None
    if cuts_streams(instance, drain, now) or _awaits_cut(instance, drain, now):
        return None
    open_requests = "unknown" if drain.in_flight is None else str(max(0, drain.in_flight - drain.streams))
    cut = f", streams cut: {drain.cut}" if drain.cut else ""
    left = f", streams left to its end: {drain.streams}" if drain.streams else ""
    passed = f"drain deadline of {drain.deadline_seconds:g} s passed"
    return "stopping", f"{passed}, requests in flight: {open_requests}{cut}{left}"


def cuts_streams(instance: Instance, drain: Drain, now: float) -> bool:
    """Whether gateways are to end its streams from now on: once, at the drain deadline, and only where there are any.
    Its other requests have the grace of its task to end in."""
    waits = now - instance.since < max(drain.settle_seconds, drain.deadline_seconds)
    open_streams = drain.streams > 0 and drain.in_flight != 0
    return instance.phase == "closing" and not waits and open_streams and instance.streams_cut_at is None


def _awaits_cut(instance: Instance, drain: Drain, now: float) -> bool:
    """Whether a gateway may still say that it has ended what it was told to."""
    if instance.streams_cut_at is None or now - instance.streams_cut_at >= CUT_SECONDS_MAX:
        return False
    return not drain.acknowledged or drain.streams > 0


def story(instance: Instance) -> str:
    """Its life, one line a step: seconds since its creation, phase, cause."""
    lines = [f"instance {instance.id} of {instance.app_id}, version {instance.version_id}, task {instance.task_id}"]
    lines += [f"  +{step.at - instance.created_at:9.3f} s  {step.phase:<9}  {step.cause}" for step in instance.history]
    return "\n".join(lines)
