"""Docker's documents → TaskStatus. Nothing here waits or asks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from coldchain.model.task import TaskState, TaskStatus
from coldchain.runners.docker.specification import ADDRESS, AGENT, APP, HOST_PORTS, INSTANCE, PORTS, TARGET, TASK
from coldchain.runners.exit_status import describe_exit

Document = Mapping[str, Any]

ENDED = frozenset({"exited", "dead", "removing"})
"""States of a container whose process is over."""


def of_labels(
    labels: Mapping[str, str],
    state: TaskState,
    at: float,
    *,
    address: str | None = None,
    exit_status: int | None = None,
    message: str = "",
    log_tail: Sequence[str] = (),
) -> TaskStatus:
    """Everything that identifies the task stands on the container's labels."""
    return TaskStatus(
        task_id=labels[TASK],
        instance_id=labels[INSTANCE],
        app_id=labels[APP],
        target=labels[TARGET],
        agent=labels[AGENT],
        state=state,
        at=at,
        address=labels.get(ADDRESS) or address,
        ports=_numbers(labels[PORTS]),
        # Containers that were made before there was this label stay unsaid in that.
        host_ports=_numbers(labels.get(HOST_PORTS, "")),
        exit_status=exit_status,
        message=message,
        log_tail=tuple(log_tail),
    )


def of_running_row(row: Document) -> TaskStatus:
    """Of a row of the container list. The list does not say when it started; `at` is when it was created."""
    return of_labels(row["Labels"], "running", float(row["Created"]), address=_address(row))


def of_inspection(document: Document, *, killed: bool, log_tail: Sequence[str] = ()) -> TaskStatus:
    """Of an inspected container in any state. `killed`: Coldchain asked for its end."""
    labels, state = document["Config"]["Labels"], document["State"]
    if state["Status"] in ENDED or (state["Status"] == "created" and state["Error"]):
        exit_status = int(state["ExitCode"])
        ended_at = seconds(state["FinishedAt"]) or seconds(document["Created"])
        return of_labels(
            labels,
            _end(exit_status, killed=killed, oom=state["OOMKilled"]),
            ended_at,
            exit_status=exit_status,
            message=_reason(document, exit_status),
            log_tail=log_tail,
        )
    if state["Status"] == "created":
        return of_labels(labels, "staging", seconds(document["Created"]))
    return of_labels(labels, "running", seconds(state["StartedAt"]), address=_address(document))


def of_death(event: Document, *, killed: bool) -> TaskStatus:
    """Of the event of a container that is already removed: all that is left to know of it."""
    labels = event["Actor"]["Attributes"]
    exit_status = int(labels["exitCode"])
    message = f"{describe_exit(exit_status)}; its container was removed by someone else"
    return of_labels(
        labels,
        _end(exit_status, killed=killed, oom=False),
        event_seconds(event),
        exit_status=exit_status,
        message=message,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(port) for port in text.split(",") if port)


def seconds(text: str) -> float:
    """Docker's time in seconds since the epoch; 0 for its zero time."""
    moment = datetime.fromisoformat(text)
    return moment.timestamp() if moment.year > 1 else 0.0


def event_seconds(event: Document) -> float:
    return float(event["timeNano"]) / 1e9


def _end(exit_status: int, *, killed: bool, oom: bool) -> TaskState:
    if killed:
        return "killed"
    return "finished" if exit_status == 0 and not oom else "failed"


def _reason(document: Document, exit_status: int) -> str:
    state = document["State"]
    if state["OOMKilled"]:
        mebibytes = document["HostConfig"]["Memory"] // (1024 * 1024)
        return f"out of memory: it needed more than its {mebibytes} MiB (`mem`); {describe_exit(exit_status)}"
    if state["Error"]:
        return f"{state['Error']}; {describe_exit(exit_status)}"
    return describe_exit(exit_status)


def _address(document: Document) -> str | None:
    """In the network that it was made for, whatever others somebody has put it into since."""
    networks = document.get("NetworkSettings", {}).get("Networks", {})
    joined = networks.get(document.get("HostConfig", {}).get("NetworkMode"), {})
    return joined.get("IPAddress") or joined.get("GlobalIPv6Address") or None
