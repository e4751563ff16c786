"""What is kept of a task → TaskStatus. Nothing here waits or asks."""

from collections.abc import Mapping, Sequence
from typing import Any

from coldchain.model.task import TaskState, TaskStatus
from coldchain.runners.exit_status import describe_exit

Document = Mapping[str, Any]


def of_live(task: Document, state: TaskState, at: float) -> TaskStatus:
    """Of a task that has not ended."""
    return _status(task, state, at)


def of_end(task: Document, end: Document, log_tail: Sequence[str] = ()) -> TaskStatus:
    """Of one that has. An end without an exit status is one that nobody saw."""
    exit_status = end["exit_status"]
    if end["stopped"]:
        state: TaskState = "killed"
    elif exit_status is None:
        state = "lost"
    else:
        state = "finished" if exit_status == 0 and not end["out_of_memory"] else "failed"
    words = [] if exit_status is None else [describe_exit(exit_status)]
    if end["out_of_memory"]:
        words.insert(0, f"out of memory: it needed more than its {task['mem']:g} MiB (`mem`)")
    if end["error"]:
        words.insert(0, end["error"])
    tail = tuple(log_tail) if state in ("failed", "lost") else ()
    return _status(task, state, end["at"], exit_status=exit_status, message="; ".join(words), log_tail=tail)


def unseen_end(at: float, error: str, *, stopped: bool = False) -> dict[str, Any]:
    """`end.json` of a task whose end no shim wrote down. `at` in seconds since the epoch."""
    return {"exit_status": None, "at": at, "stopped": stopped, "error": error, "out_of_memory": False}


def _status(
    task: Document,
    state: TaskState,
    at: float,
    *,
    exit_status: int | None = None,
    message: str = "",
    log_tail: tuple[str, ...] = (),
) -> TaskStatus:
    return TaskStatus(
        task_id=task["task_id"],
        instance_id=task["instance_id"],
        app_id=task["app_id"],
        target=task["target"],
        agent=task["agent"],
        state=state,
        at=at,
        address=task["address"],
        ports=tuple(task["ports"]),
        host_ports=tuple(task["ports"]),  # a process listens on its machine itself
        exit_status=exit_status,
        message=message,
        log_tail=log_tail,
    )
