"""Which apps an event is about, by its body."""

from typing import Any

import pytest

from coldchain.documents.concerned import apps_of_event, without_groups

PLAN = {"steps": [{"actions": [{"app": "/a", "action": "x"}]}, {"actions": [{"pod": "/b"}, {"app": "/a"}]}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, []),
        ({"appId": "/a"}, ["/a"]),
        ({"runSpecId": "/a", "instanceId": "a-1"}, ["/a"]),
        ({"groupId": "/g", "version": "1"}, ["/g"]),
        ({"appDefinition": {"id": "/a", "env": {"appId": "/x"}, "labels": {"app": "web"}}}, ["/a"]),
        ({"plan": PLAN, "currentStep": {}}, ["/a", "/b"]),
        ({"id": "1", "plan": {"steps": []}}, []),
        ({"appId": None, "plan": None, "appDefinition": "/a"}, []),
    ],
)
def test_what_an_event_names(body: dict[str, Any], expected: list[str]) -> None:
    assert apps_of_event(body) == expected


def test_a_plan_without_the_groups_before_and_after_it() -> None:
    whole = {"id": "1", "plan": PLAN | {"original": {"id": "/"}, "target": {"id": "/"}}}
    assert without_groups(whole) == {"id": "1", "plan": PLAN}
    assert "original" in whole["plan"]
    assert without_groups({"id": "1"}) == {"id": "1"}
