"""Executor messages: all that scheduler and executors say to each other through Mesos, which only passes it on.

| From, to              | In Mesos's message                    | Noun               |
|-----------------------|---------------------------------------|--------------------|
| scheduler to executor | `ExecutorInfo.data`                   | `ExecutorSettings` |
| scheduler to executor | `TaskInfo.data`                       | `TaskDescription`  |
| executor to scheduler | `TaskStatus.data`                     | `TaskReport`       |
| scheduler to executor | `MESSAGE` (Mesos may lose it)         | `ExecutorQuestion` |
| executor to scheduler | `MESSAGE` (Mesos may lose it)         | `ExecutorReport`   |

Each is the stored form of its noun (kind and schema version) in base64, as the JSON of Mesos has bytes. Variables of
a task, secrets among them, are in its description in the clear: Mesos keeps that in memory and on no disk, and no
operator can ask for it. The settings it keeps on the agent's disk and shows to operators who may see executors: so they
have no key but a token, which opens one executor.
"""

import base64
import binascii
import functools
import hashlib
import hmac
from typing import Any, TypeVar

import msgspec

from coldchain.documents import stored
from coldchain.documents.stored import UnreadableDocument
from coldchain.model.base import Noun
from coldchain.model.executor import ExecutorSettings, TaskDescription
from coldchain.model.task import TaskState

ID_PREFIX = "coldchain-"
ID_DIGITS = 16

MESOS_STATE: dict[TaskState, str] = {
    "staging": "TASK_STARTING",
    "starting": "TASK_STARTING",
    "running": "TASK_RUNNING",
    "killing": "TASK_KILLING",
    "finished": "TASK_FINISHED",
    "failed": "TASK_FAILED",
    "killed": "TASK_KILLED",
    "lost": "TASK_FAILED",
}
"""How Mesos calls a state. An end that nobody saw is a failure to it: its own LOST means that it may still run."""

N = TypeVar("N", bound=Noun)


def encode(noun: Noun) -> str:
    """As the `data` of a message."""
    return base64.b64encode(stored.encode(noun)).decode()


def encode_task(description: TaskDescription) -> str:
    """As the `data` of a task, without what is as by default: masters and agents read, write and pass on all of it, and
    launch the slower the more there is. The executor that reads it is of the same version, and has the same defaults.
    """
    spec = {**_slim(description.spec), "app": _slim(description.spec.app)}
    return _encoded(TaskDescription, {"spec": spec, "adopts": description.adopts})


def _encoded(kind: type[Noun], value: dict[str, Any]) -> str:
    document = {"schema": stored.SCHEMA, "kind": kind.__name__, "value": value}
    return base64.b64encode(msgspec.json.encode(document)).decode()


def _slim(noun: Noun) -> dict[str, Any]:
    found = ((name, getattr(noun, field), default) for field, name, default in _defaults(type(noun)))
    return {name: value for name, value, default in found if value != default}


@functools.cache
def _defaults(kind: type[Noun]) -> tuple[tuple[str, str, object], ...]:
    """Of each field its name, that in documents, and what it is by default; what must be there equals no default."""
    return tuple(
        (
            one.name,
            one.encode_name,
            one.default_factory() if one.default_factory is not msgspec.NODEFAULT else one.default,
        )
        for one in msgspec.structs.fields(kind)
    )


def decode(data: str, kind: type[N]) -> N:
    """The noun in the `data` of a message; empty where there was none. Raises UnreadableDocument."""
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableDocument(f"a received {kind.__name__} is damaged: {error}") from error
    return stored.decode(content, kind, "received")


def identified(info: dict[str, Any], settings: ExecutorSettings, key: bytes, agent_id: str) -> dict[str, Any]:
    """The whole ExecutorInfo: `info` (command, resources …), with its id and its data.

    Mesos refuses a task whose executor differs from the one of the same id, so the id is made of all of it: another
    command, other settings or another key are another executor, which starts beside the one before.
    """
    plain = _slim(msgspec.structs.replace(settings, token=""))
    executor_id = ID_PREFIX + _digest(key, {"info": info, "settings": plain})[:ID_DIGITS]
    token = executor_token(key, executor_id, agent_id)
    data = _encoded(ExecutorSettings, {**plain, "token": token})
    return {**info, "executor_id": {"value": executor_id}, "data": data}


def executor_token(key: bytes, executor_id: str, agent_id: str) -> str:
    """What opens one executor; who has the key can make it again, and nobody can make the key of it."""
    return _digest(key, {"executor": executor_id, "agent": agent_id})


def _digest(key: bytes, content: object) -> str:
    return hmac.new(key, msgspec.json.encode(content, order="sorted"), hashlib.sha256).hexdigest()
