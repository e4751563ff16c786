"""documents/executor_messages: what scheduler and executors say to each other through Mesos."""

import base64
import json

import msgspec
import pytest

from coldchain.documents.executor_messages import MESOS_STATE, decode, encode, executor_token, identified
from coldchain.documents.stored import UnreadableDocument
from coldchain.model.executor import ExecutorQuestion, ExecutorReport, ExecutorSettings, TaskDescription, TaskReport
from coldchain.model.task import TaskState, TaskStatus
from coldchain.testing.engine_labs import make_spec

SETTINGS = ExecutorSettings(controller_id="c0ffee", version="1.0.0")
INFO = {"type": "CUSTOM", "name": "coldchain", "command": {"shell": False, "value": "coldchain"}}
KEY = b"k" * 32
STATUS = TaskStatus(
    task_id="shop.1", instance_id="shop", app_id="/shop", target="cluster", agent="agent-1", state="running", at=1.5
)


@pytest.mark.parametrize(
    "noun",
    [
        SETTINGS,
        TaskDescription(spec=make_spec("serves", task_id="shop.1"), adopts=True),
        TaskReport(address="10.0.0.7", port=40001, status=STATUS),
        ExecutorQuestion(),
        ExecutorReport(executor_id="e", address="10.0.0.7", port=40001, tasks={"m": STATUS}, orphans=(STATUS,)),
    ],
    ids=lambda noun: type(noun).__name__,
)
def test_what_is_said_is_heard(noun: ExecutorSettings) -> None:
    data = encode(noun)
    assert decode(data, type(noun)) == noun
    document = json.loads(base64.b64decode(data))
    assert (document["schema"], document["kind"]) == (1, type(noun).__name__)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "damaged"),
        ("%", "damaged"),
        (base64.b64encode(b"{}").decode(), "damaged"),
        (encode(SETTINGS), "a received ExecutorSettings stands where a TaskReport belongs"),
        (
            base64.b64encode(b'{"schema":2,"kind":"TaskReport","value":{}}').decode(),
            "a received TaskReport has schema 2",
        ),
    ],
)
def test_what_cannot_be_read_is_not_guessed_at(data: str, words: str) -> None:
    with pytest.raises(UnreadableDocument, match=words):
        decode(data, TaskReport)


def test_every_state_has_a_name_of_mesos() -> None:
    assert set(MESOS_STATE) == set(TaskState.__args__)  # type: ignore[attr-defined]


def test_an_executor_that_differs_in_anything_has_another_id() -> None:
    def executor_id(info: dict[str, object], settings: ExecutorSettings, key: bytes, agent_id: str) -> str:
        return str(identified(info, settings, key, agent_id)["executor_id"]["value"])

    usual = executor_id(INFO, SETTINGS, KEY, "agent-1")
    assert usual.startswith("coldchain-")
    assert executor_id(dict(reversed(INFO.items())), SETTINGS, KEY, "agent-2") == usual
    others = {
        executor_id(INFO | {"name": "other"}, SETTINGS, KEY, "agent-1"),
        executor_id(INFO, msgspec.structs.replace(SETTINGS, version="1.0.1"), KEY, "agent-1"),
        executor_id(INFO, SETTINGS, b"l" * 32, "agent-1"),
    }
    assert len(others | {usual}) == 4


def test_an_executor_is_handed_its_own_token_and_not_the_key() -> None:
    info = identified(INFO, SETTINGS, KEY, "agent-1")
    settings = decode(info["data"], ExecutorSettings)
    assert settings.token == executor_token(KEY, info["executor_id"]["value"], "agent-1")
    assert settings.token != executor_token(KEY, info["executor_id"]["value"], "agent-2")
    assert settings.token != executor_token(KEY, "other", "agent-1")
    assert KEY not in base64.b64decode(info["data"])
    assert msgspec.structs.replace(settings, token="") == SETTINGS


def test_what_an_older_scheduler_does_not_know_is_not_said_without_need() -> None:
    plain = base64.b64decode(encode(TaskReport(address="10.0.0.7", port=40001, status=STATUS)))
    assert b"orphaned" not in plain
