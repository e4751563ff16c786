"""What the lab decides without a Mesos."""

from typing import Any

import pytest

from coldchain.model.errors import Rejected
from coldchain.testing.mesos import elf
from coldchain.testing.mesos.operator_api import miscounted
from coldchain.testing.mesos.programs.executor import seconds
from coldchain.testing.mesos.recording import summary
from coldchain.testing.mesos.settings import AgentSettings


def amount(cpus: float, **more: Any) -> dict[str, Any]:
    return {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}, **more}


def agent(total: float, given: float, offered: float = 0.0) -> dict[str, Any]:
    return {
        "agent_info": {"id": {"value": "S0"}, "hostname": "one"},
        "total_resources": [amount(total)],
        "allocated_resources": [amount(given)],
        "offered_resources": [amount(offered)],
    }


def holder(cpus: float, **more: Any) -> dict[str, Any]:
    return {"agent_id": {"value": "S0"}, "resources": [amount(cpus)], **more}


@pytest.mark.parametrize(
    ("one", "holders", "complaint"),
    [
        (agent(4, 3, 1), [holder(2, state="TASK_RUNNING"), holder(1)], None),
        (agent(4, 2), [holder(2, state="TASK_RUNNING"), holder(1, state="TASK_FAILED")], None),
        (agent(4, 3), [holder(2, state="TASK_RUNNING")], "one: cpus: 3.0 of 4.0 given away, 2.0 held"),
        (agent(4, 2), [holder(2), holder(1)], "one: cpus: 2.0 of 4.0 given away, 3.0 held"),
        (agent(4, 3, 2), [holder(3)], "one: cpus: 3.0 of 4.0 given away, 3.0 held"),
        (agent(4, 5), [holder(5)], "one: cpus: 5.0 of 4.0 given away, 5.0 held"),
    ],
)
def test_what_is_counted_twice_or_not_at_all_is_told(
    one: dict[str, Any], holders: list[dict[str, Any]], complaint: str | None
) -> None:
    assert miscounted([one], holders) == ([complaint] if complaint else [])


def test_a_summary_leaves_out_what_is_chance() -> None:
    def update(state: str, task: str = "task", **more: str) -> dict[str, Any]:
        status = {"task_id": {"value": task}, "state": state, "source": "SOURCE_MASTER", **more}
        return {"event": {"type": "UPDATE", "update": {"status": status}}}

    lines = [
        {"event": {"type": "SUBSCRIBED"}},
        {"event": {"type": "OFFERS"}},
        update("TASK_RUNNING", uuid="a"),
        update("TASK_RUNNING", uuid="b"),
        update("TASK_LOST", "other"),
        update("TASK_LOST", reason="REASON_AGENT_REMOVED"),
        update("TASK_RUNNING"),
        {"event": {"type": "ENDED"}},
        {"event": {"type": "SUBSCRIBED"}},
    ]
    assert summary(lines) == {
        "": ["ENDED", "SUBSCRIBED"],
        "task": [
            "TASK_RUNNING SOURCE_MASTER",
            "TASK_LOST SOURCE_MASTER REASON_AGENT_REMOVED",
            "TASK_RUNNING SOURCE_MASTER",
        ],
        "other": ["TASK_LOST SOURCE_MASTER"],
    }


@pytest.mark.parametrize(
    ("text", "value"), [("15mins", 900.0), ("500ms", 0.5), ("2secs", 2.0), ("1.5hrs", 5400.0), ("10ns", 1e-8)]
)
def test_durations_as_mesos_writes_them(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


def test_flags_of_an_agent_count_more_than_its_settings() -> None:
    settings = AgentSettings(hostname="one", resources="cpus:1", flags={"resources": "cpus:2", "gc_delay": "1mins"})
    flags = settings.all_flags("agent-1", "/folder", 16000)
    assert (flags["hostname"], flags["resources"], flags["gc_delay"]) == ("one", "cpus:2", "1mins")


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x01" + b"\0" * 80, b"<html>" * 20])
def test_only_a_shared_object_is_edited(content: bytes) -> None:
    with pytest.raises(Rejected):
        elf.edit(bytearray(content))
