"""mesos task: what is known of a task after Mesos said something of it, and what the controller is told.

Updates come doubled, late, and after a reconciliation that says the same in other words. So nothing here depends on
their order: what an executor says goes only forward, of what a master says of an agent the latest counts, and both are
kept apart. What follows from them at a time is worked out anew each time (`seen`).
"""

from typing import Literal, TypeAlias

import msgspec

from coldchain.model.base import Noun
from coldchain.model.mesos import MesosTask, Standing
from coldchain.model.task import ORDER, TaskState, TaskStatus

UNKNOWN_SECONDS = 60.0
"""How long a master may not know a task that it should know: after its start it learns of agents one by one."""
ADOPT_SECONDS = 30.0
"""How long a successor may take to take over what an executor left, until that is to be replaced."""
SUCCESSOR_SECONDS, SUCCESSOR_SECONDS_MAX = 0.5, 30.0
"""From a successor that failed to the next one."""
END_SECONDS = 10.0
"""How long after its grace an orphan that is to end is waited for: it is out of rotation, and its machine sweeps it."""


class Reported(Noun, frozen=True, kw_only=True):
    """By its executor, which listens at `address` and `port`."""

    status: TaskStatus
    address: str
    port: int


class Contained(Noun, frozen=True, kw_only=True):
    """By Mesos's own Docker containerizer, of a task that no executor of ours runs."""

    status: TaskStatus


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


Heard: TypeAlias = Reported | Contained | Said | Stood | ExecutorGone


def hear(task: MesosTask, heard: Heard) -> MesosTask:
    """What is known afterwards: the same for the same things heard, however often and in which order."""
    match heard:
        case Reported():
            return _reported(task, heard)
        case Contained(status=status):
            return _further(task, status, _ran(status))
        case Said():
            status = msgspec.structs.replace(task.told, state=heard.state, at=heard.at, message=heard.message)
            return _further(task, status, heard.state in ("running", "killing"))
        case Stood():
            if (heard.at, heard.standing, heard.message) <= (task.standing_at, task.standing, task.standing_message):
                return task
            return msgspec.structs.replace(
                task, standing=heard.standing, standing_at=heard.at, standing_message=heard.message
            )
        case ExecutorGone() if task.agent_url:
            # Containers of Mesos's own executor go with it, so that nobody can take them over.
            gone = msgspec.structs.replace(task.told, address=None, ports=(), exit_status=None, log_tail=())
            gone = msgspec.structs.replace(gone, state="failed", at=heard.at, message=heard.message)
            return _further(task, gone, ran=False)
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
    return _further(task, status, _ran(status))


def _ran(status: TaskStatus) -> bool:
    return status.state in ("running", "killing") or (status.terminal and status.exit_status is not None)


def _further(task: MesosTask, status: TaskStatus, ran: bool) -> MesosTask:
    if status.state == "running" and task.adopting_since is not None:
        task = msgspec.structs.replace(task, adopting_since=None)
    if ran and not task.begun:
        task = msgspec.structs.replace(task, begun=True)
    return msgspec.structs.replace(task, told=status) if _rank(status) > _rank(task.told) else task


def _rank(status: TaskStatus) -> tuple[int, bool, float, str, int, str]:
    """Of two ends the first is told that has an exit status: what a master says of it later knows less."""
    exit_status = -1 if status.exit_status is None else status.exit_status
    at = -status.at if status.terminal else status.at
    return ORDER[status.state], status.exit_status is not None, at, status.state, exit_status, status.message


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
    never_came = task.adopting_since is not None and task.standing in ("gone", "nowhere")
    return (task.executor_gone_at is not None or never_came) and task.begun and not task.told.terminal


def successor_at(task: MesosTask) -> float:
    """From when on the successor that it wants may be launched. Where one has failed already, the next one waits for
    as long again as all of that took."""
    failed_at = task.executor_gone_at if task.executor_gone_at is not None else task.standing_at
    if task.adopting_since is None:
        return failed_at
    return failed_at + min(max(failed_at - task.adopting_since, SUCCESSOR_SECONDS), SUCCESSOR_SECONDS_MAX)


def seen(task: MesosTask, now: float) -> TaskStatus:
    """What the controller is told of the task. What nobody answers for is an orphan when that has lasted: it may run,
    and is replaced before it is ended. It is none any more when somebody answers again."""
    told = task.told
    if told.terminal:
        return told
    if task.executor_gone_at is not None and not task.begun:
        return _ended(told, "failed", min(now, task.executor_gone_at), task.executor_gone_message)
    ends_at, orphaned_at = lost_at(task), orphan_at(task)
    words = task.standing_message or task.executor_gone_message or "nobody answers for it any more"
    if ends_at is not None and now >= ends_at:
        return _ended(told, "lost", ends_at, words)
    if orphaned_at is not None and now >= orphaned_at:
        away = task.standing in ("unreachable", "unknown", "nowhere")
        who: Literal["agent", "executor"] = "agent" if away else "executor"
        return msgspec.structs.replace(told, message=words, orphaned=who)
    return told


def in_doubt(task: MesosTask) -> bool:
    """Whether time alone changes what is told of the task."""
    return lost_at(task) is not None or orphan_at(task) is not None


def lost_at(task: MesosTask) -> float | None:
    """When the task is given up, as things stand; None: it is not."""
    if task.told.terminal:
        return None
    orphaned_at = orphan_at(task)
    if task.standing == "gone" and task.adopting_since is None and task.executor_gone_at is None:
        return task.standing_at
    if orphaned_at is None or not task.begun:
        return orphaned_at
    if task.kill_asked_at is None:
        return None
    return max(orphaned_at, task.kill_asked_at + (task.kill_grace_seconds or 0.0) + END_SECONDS)


def orphan_at(task: MesosTask) -> float | None:
    """From when on nobody answers for it, as things stand; None: somebody does."""
    times: list[float] = []
    if task.told.terminal:
        return None
    if task.standing == "nowhere" and task.adopting_since is None:
        times.append(task.standing_at)  # a successor that never came is followed by another one, in the time for that
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
