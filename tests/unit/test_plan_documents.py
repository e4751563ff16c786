"""The groups in a deployment's plan: those alone that the deployment touches, and never too large."""

import json

import pytest
from msgspec import structs

from coldchain.documents import plan
from coldchain.documents.event_text import about
from coldchain.documents.plan import groups_answer
from coldchain.model.event import AppMove
from coldchain.model.version import Version
from coldchain.testing.examples import APP, FIRST, SCALED, VERSION


def version_of(app_id: str, version_id: str) -> Version | None:
    return structs.replace(VERSION, id=version_id, app=structs.replace(APP, id=app_id))


def test_only_the_groups_that_lead_to_the_apps_are_there() -> None:
    found = groups_answer([("/b", SCALED), ("/a/x", FIRST), ("/a/c/y", SCALED)], version_of, "none")
    assert (found["id"], found["version"], [app["id"] for app in found["apps"]]) == ("/", SCALED, ["/b"])
    [group] = found["groups"]
    assert (group["id"], group["version"], [app["id"] for app in group["apps"]]) == ("/a", SCALED, ["/a/x"])
    [below] = group["groups"]
    assert (below["id"], below["groups"], [app["id"] for app in below["apps"]]) == ("/a/c", [], ["/a/c/y"])
    assert below["apps"][0]["cpus"] == 0.5


def test_without_apps_there_is_the_root_alone() -> None:
    found = groups_answer([], version_of, "none")
    assert found == {"id": "/", "apps": [], "groups": [], "pods": [], "dependencies": [], "version": "none"}


def test_what_is_not_on_record_any_more_has_its_id_and_version() -> None:
    found = groups_answer([("/x", FIRST)], lambda app_id, version: None, "none")
    assert found["apps"] == [{"id": "/x", "version": FIRST}]


@pytest.mark.parametrize("limit", ["DEFINITIONS_MAX", "DEFINITIONS_BYTES_MAX"])
def test_large_groups_have_ids_and_versions_alone(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(plan, limit, {"DEFINITIONS_MAX": 99, "DEFINITIONS_BYTES_MAX": 50_000}[limit])
    apps = [(f"/a/{n:03}", SCALED) for n in range(100)]
    found = groups_answer(apps, version_of, "none")
    assert found["groups"][0]["apps"] == [{"id": app_id, "version": version} for app_id, version in apps]
    few = groups_answer(apps[:20], version_of, "none")
    assert few["groups"][0]["apps"][0].keys() > {"id", "version", "cpus"}
    assert len(json.dumps(found)) < 10_000


def test_what_an_event_is_about() -> None:
    step = {"actions": [{"action": "ScaleApplication", "app": "/a/x"}, {"action": "StartPod", "pod": "/p"}]}
    assert about({"plan": {"steps": [step]}}, [AppMove(app_id="/b", before=None, after=None)]) == ("/a/x", "/b")
    assert about({"appId": "/x", "runSpecId": "/x"}, ()) == ("/x",)
    assert about({"groupId": "/a"}, ()) == ("/a",)
    assert about({"appDefinition": {"id": "/x"}}, ()) == ("/x",)
    assert about({"remoteAddress": "127.0.0.1"}, ()) == ()
