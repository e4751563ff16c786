"""mesos task: what is known of a task after Mesos said something of it, and what the controller is told.

Updates come doubled, late, and after a reconciliation that says the same in other words. So nothing here depends on
their order: what an executor says goes only forward, of what a master says of an agent the latest counts, and both are
kept apart. What follows from them at a time is worked out anew each time (`seen`).
"""

from typing import TypeAlias

import msgspec

from coldchain.model.base import Noun
from coldchain.model.mesos import MesosTask, Standing
from coldchain.model.task import ORDER, TaskState, TaskStatus

UNKNOWN_SECONDS = 60.0
"""How long a master may not know a task that it should know: after its start it learns of agents one by one."""
ADOPT_SECONDS = 30.0
"""How long a successor may take to take over what an executor left."""


class Reported(Noun, frozen=True, kw_only=True):
    """By its executor, which listens at `address` and `port`."""

    status: TaskStatus
    address: str
    port: int


class Said(Noun, frozen=True, kw_only=True):
    """By an executor whose report cannot be read, as that of a newer version: the state, and no more."""

    state: TaskState
    at: float
    message: str = ""


class Stood(Noun, frozen=True, kw_only=True):
    """By the master: where it has the task, at a time by its clock."""

    standing: Standing
    at: float
    message: str = ""


class ExecutorGone(Noun, frozen=True, kw_only=True):
    """By the agent or the master: the task ended with its executor, or never began."""

    at: float
    message: str


Heard: TypeAlias = Reported | Said | Stood | ExecutorGone


def hear(task: MesosTask, heard: Heard) -> MesosTask:
    """What is known afterwards: the same for the same things heard, however often and in which order."""
    match heard:
        case Reported():
            return _reported(task, heard)
        case Said():
            status = msgspec.structs.replace(task.told, state=heard.state, at=heard.at, message=heard.message)
            return _further(task, status, heard.state in ("running", "killing"))
        case Stood():
            if (heard.at, heard.standing, heard.message) <= (task.standing_at, task.standing, task.standing_message):
                return task
            return msgspec.structs.replace(
                task, standing=heard.standing, standing_at=heard.at, standing_message=heard.message
            )
        case ExecutorGone():
            known = task.executor_gone_at
            if known is not None and (known, task.executor_gone_message) <= (heard.at, heard.message):
                return task
            return msgspec.structs.replace(task, executor_gone_at=heard.at, executor_gone_message=heard.message)


def _reported(task: MesosTask, heard: Reported) -> MesosTask:
    # What runs on a machine knows neither how we call the machine nor which target it is of.
    status = msgspec.structs.replace(heard.status, task_id=task.task_id, target=task.target, agent=task.spec.agent)
    if not task.port:  # all that speak for one task of Mesos are the same executor
        task = msgspec.structs.replace(task, address=heard.address, port=heard.port)
    ran = status.state in ("running", "killing") or (status.terminal and status.exit_status is not None)
    return _further(task, status, ran)


def _further(task: MesosTask, status: TaskStatus, ran: bool) -> MesosTask:
    if status.state == "running" and task.adopting_since is not None:
        task = msgspec.structs.replace(task, adopting_since=None)
    if ran and not task.begun:
        task = msgspec.structs.replace(task, begun=True)
    return msgspec.structs.replace(task, told=status) if _rank(status) > _rank(task.told) else task


def _rank(status: TaskStatus) -> tuple[int, float, str, int, str]:
    exit_status = -1 if status.exit_status is None else status.exit_status
    return ORDER[status.state], status.at, status.state, exit_status, status.message


def same_standing(before: MesosTask, after: MesosTask) -> bool:
    """Whether nothing was heard but that its agent answers, as it did before."""
    reachable = before.standing == after.standing == "reachable"
    return reachable and msgspec.structs.replace(after, standing_at=before.standing_at) == before


def succeed(task: MesosTask, mesos_id: str, agent_id: str, executor_id: str, now: float) -> MesosTask:
    """The task as the next one of Mesos answers for it, which is yet to take over what runs."""
    return msgspec.structs.replace(
        task,
        mesos_id=mesos_id,
        agent_id=agent_id,
        executor_id=executor_id,
        standing="reachable",
        standing_at=0.0,
        standing_message="",
        executor_gone_at=None,
        executor_gone_message="",
        adopting_since=now if task.adopting_since is None else task.adopting_since,
        address="",
        port=0,
    )


def wants_successor(task: MesosTask) -> bool:
    """Its executor is gone, or the successor never came to its agent; what was started may run, and nobody answers for
    it."""
    never_came = task.adopting_since is not None and task.standing == "gone"
    return (task.executor_gone_at is not None or never_came) and task.begun and not task.told.terminal


def seen(task: MesosTask, now: float) -> TaskStatus:
    """What the controller is told of the task. What may still run on an agent that does not answer is lost once its
    app says so, and comes back with its agent."""
    told = task.told
    if told.terminal:
        return told
    if task.executor_gone_at is not None and not task.begun:
        return _ended(told, "failed", min(now, task.executor_gone_at), task.executor_gone_message)
    trouble_at = lost_at(task)
    if trouble_at is not None and now >= trouble_at:
        words = task.standing_message or task.executor_gone_message or "nobody answers for it any more"
        return _ended(told, "lost", trouble_at, words)
    return told


def lost_at(task: MesosTask) -> float | None:
    """When the task is given up, as things stand; None: it is not."""
    times: list[float] = []
    if task.told.terminal:
        return None
    if task.standing == "gone" and task.adopting_since is None:
        times.append(task.standing_at)
    elif task.standing == "unknown":
        times.append(task.standing_at + UNKNOWN_SECONDS)
    elif task.standing == "unreachable" and not isinstance(strategy := task.spec.app.unreachable_strategy, str):
        times.append(task.standing_at + strategy.inactive_after_seconds)
    since = task.executor_gone_at if task.executor_gone_at is not None else task.adopting_since
    if since is not None and task.begun:
        times.append(since + ADOPT_SECONDS)
    return min(times, default=None)


def _ended(told: TaskStatus, state: TaskState, at: float, message: str) -> TaskStatus:
    return msgspec.structs.replace(told, state=state, at=max(told.at, at), exit_status=None, message=message)
