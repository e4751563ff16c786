"""statuses: what Mesos says of a task, in our terms. Pure."""

import msgspec

from coldchain.clients.mesos.events import Status
from coldchain.decisions.mesos_task import ExecutorGone, Heard, Reported, Said, Stood
from coldchain.documents.executor_messages import decode
from coldchain.documents.stored import UnreadableDocument
from coldchain.model.executor import TaskReport
from coldchain.model.mesos import Standing
from coldchain.model.task import TaskState, TaskStatus

STANDINGS: dict[str, Standing] = {
    "TASK_UNREACHABLE": "unreachable",
    "TASK_UNKNOWN": "unknown",
    "TASK_GONE": "gone",
    "TASK_GONE_BY_OPERATOR": "gone",
}
ENDED = frozenset({"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED"})
SAID: dict[str, TaskState] = {
    "TASK_STAGING": "staging",
    "TASK_STARTING": "starting",
    "TASK_RUNNING": "running",
    "TASK_KILLING": "killing",
    "TASK_FINISHED": "finished",
    "TASK_FAILED": "failed",
    "TASK_KILLED": "killed",
}
SOURCE_EXECUTOR = "SOURCE_EXECUTOR"
DRAINING = "REASON_AGENT_DRAINING"
"""The agent ends all its tasks, because Mesos was told to drain it."""
RECONCILIATION = "REASON_RECONCILIATION"
"""An end that a master knows of so is yet to be told, with all that its executor or its agent says of it."""
NOT_THERE = ("TASK_UNKNOWN", "TASK_GONE")
DROPPED = "TASK_DROPPED"
"""It never came to its agent: the offer was gone, say, or the agent was just restarting."""


def heard_of(status: Status, now: float, *, settled: bool = False) -> Heard:
    """`settled`: the master has had time to hear of all that there is, so that what it does not know is nowhere.

    Times are by the clocks of others, and none of them is taken to be later than `now`. What is waited for from then on
    is counted from `now` itself."""
    at = min(now, status.timestamp if status.timestamp is not None else now)
    if status.source == SOURCE_EXECUTOR and (report := _report(status)) is not None:
        told = msgspec.structs.replace(report.status, at=min(now, report.status.at))
        return Reported(status=told, address=report.address, port=report.port)
    if status.source == SOURCE_EXECUTOR and status.state in SAID:
        return Said(state=SAID[status.state], at=at, message=status.message)
    if status.state in STANDINGS:
        if status.unreachable_time is not None:
            at = min(now, status.unreachable_time.seconds)
        standing = STANDINGS[status.state]
        forgotten = status.state == "TASK_GONE" and status.reason == RECONCILIATION
        if forgotten or (settled and standing == "unknown"):
            standing = "nowhere"  # what it was of may run: of its executor's end nobody may have heard
        return Stood(standing=standing, at=at, message=words_of(status))
    if status.state in ENDED and not (status.state in SAID and status.reason == RECONCILIATION):
        return ExecutorGone(at=now, message=words_of(status))
    return Stood(standing="reachable", at=at)


def stranger(status: Status, target: str, agent: str, now: float) -> TaskStatus | None:
    """A live task of ours that nothing is known of: what can be told of it; None for one that has ended."""
    if status.state in STANDINGS or status.state in ENDED:
        return None
    report = _report(status)
    if report is not None:
        told = report.status
        # Its own word comes first: of an agent that offers nothing yet only Mesos's id is known.
        return msgspec.structs.replace(told, task_id=status.task_id.value, target=target, agent=told.agent or agent)
    instance_id, _, _ = status.task_id.value.partition("._app.")
    return TaskStatus(
        task_id=status.task_id.value,
        instance_id=instance_id,
        app_id="",
        target=target,
        agent=agent,
        state="killing" if status.state == "TASK_KILLING" else "running",
        at=now,
        message="nothing is known of this task",
    )


def _report(status: Status) -> TaskReport | None:
    if not status.data:
        return None
    try:
        return decode(status.data, TaskReport)
    except UnreadableDocument:
        return None  # of an executor of a newer version; its state is told all the same


def words_of(status: Status) -> str:
    reason = status.reason.removeprefix("REASON_").replace("_", " ").lower()
    name = status.state.removeprefix("TASK_").replace("_", " ").lower()
    said = status.message or reason or "no reason given"
    return f"Mesos says {name}: {said}"
