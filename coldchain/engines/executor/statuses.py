"""statuses: between Mesos's documents and what we know of a task. Pure."""

import base64
from typing import Any

import msgspec

from coldchain.decisions.executor import Happening, KillAsked, LaunchAsked, LaunchRefused, Update, UpdateKept
from coldchain.documents.executor_messages import MESOS_STATE, decode, encode
from coldchain.documents.stored import UnreadableDocument
from coldchain.model.app import App
from coldchain.model.executor import TaskDescription, TaskReport
from coldchain.model.secret import without_values
from coldchain.model.task import TaskStatus

Document = dict[str, Any]

RUN_BYTES, NUMBER_BYTES = 6, 7
"""Of an update's uuid: which life of which executor, and the update's number in it."""
KIND = bytes([0x40, 0, 0x80])
"""Between the two: that it is a uuid of random numbers. An agent aborts on a uuid that is of no known kind."""
NANOSECONDS = 1e9
LINE_CHARACTERS_MAX = 4096
"""Of a line of output: an agent keeps updates in memory and on its disk."""


def update_document(
    update: Update, executor_id: str, run: bytes, address: str, port: int, network: str | None = None
) -> Document:
    """As `Call.Update` has it. `run`: of this life, RUN_BYTES by chance. `address`, `port`: where we listen. `network`:
    the name of the one that gave the task its address."""
    status = update.status
    document: Document = {
        "task_id": {"value": update.task_id},
        "executor_id": {"value": executor_id},
        "state": MESOS_STATE[status.state],
        "source": "SOURCE_EXECUTOR",
        "timestamp": status.at,
        "uuid": base64.b64encode(run + KIND + update.number.to_bytes(NUMBER_BYTES, "big")).decode(),
        "data": encode(TaskReport(address=address, port=port, status=status)),
    }
    if status.message:
        document["message"] = status.message
    if status.address:
        info: Document = {"ip_addresses": [{"ip_address": status.address}]}
        document["container_status"] = {"network_infos": [info | ({"name": network} if network else {})]}
    return document


def without_secrets(status: TaskStatus, app: App) -> TaskStatus:
    """What is told of a task, without the values of its secrets: Mesos shows messages to everybody who may look."""
    values = [app.env[name] for name in app.secret_env if name in app.env]
    tail = tuple(without_values(line, values)[:LINE_CHARACTERS_MAX] for line in status.log_tail)
    return msgspec.structs.replace(status, message=without_values(status.message, values), log_tail=tail)


def happening_of(event: Document, run: bytes) -> Happening | None:
    """What an event of the agent asks for; None for one that asks for nothing of a task."""
    match event:
        case {"type": "LAUNCH", "launch": {"task": task}}:
            return _launch(task)
        case {"type": "KILL", "kill": dict(kill)}:
            grace_seconds = _grace_seconds(kill.get("kill_policy"))
            return KillAsked(task_id=kill["task_id"]["value"], grace_seconds=grace_seconds)
        case {"type": "ACKNOWLEDGED", "acknowledged": {"uuid": uuid}}:
            given = base64.b64decode(uuid)
            if given[:RUN_BYTES] == run:
                return UpdateKept(number=int.from_bytes(given[-NUMBER_BYTES:], "big"))
    return None


def refusals_of_group(event: Document) -> list[Happening]:
    """Task groups are Mesos's pods, which we have none of."""
    tasks, words = event["launch_group"]["task_group"]["tasks"], "Coldchain launches no task groups"
    return [LaunchRefused(task_id=one["task_id"]["value"], message=words) for one in tasks]


def _launch(task: Document) -> Happening:
    task_id = task["task_id"]["value"]
    try:
        return LaunchAsked(task_id=task_id, description=decode(task.get("data", ""), TaskDescription))
    except UnreadableDocument as error:
        return LaunchRefused(task_id=task_id, message=str(error))


def _grace_seconds(policy: Document | None) -> float | None:
    match policy:
        case {"grace_period": {"nanoseconds": number}}:
            return float(number) / NANOSECONDS
    return None
