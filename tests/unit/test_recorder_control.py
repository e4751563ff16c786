"""The recorder: what is kept, and no more of it than can be kept."""

import msgspec
import pytest

from coldchain.control import recorder as recorders
from coldchain.control.recorder import DECISIONS_KEPT, Recorder
from coldchain.decisions.actions import Action, ForgetTask, RemoveApp
from coldchain.decisions.view import View
from coldchain.model.app import App, Container, Docker
from coldchain.model.instance import Instance
from coldchain.model.version import Version

VERSION = Version(app=App(id="/a", container=Container(docker=Docker(image="a"))), id="1", config_id="1")


def view(app_id: str = "/a", instances: int = 0) -> View:
    one = Instance(
        id="1", app_id=app_id, version_id="1", target="c", task_id="t", phase="scheduled", since=0.0, created_at=0.0
    )
    return View(
        app_id=app_id, engine_known=True, wanted=None, versions={"1": VERSION}, instances=(one,) * instances, seen={}
    )


def forget(number: int) -> tuple[Action, ...]:
    return (ForgetTask(instance_id=str(number), cause="test"),)


def test_a_decision_that_asks_for_nothing_or_the_same_again_is_no_news() -> None:
    recorder = Recorder()
    for at, actions in enumerate([(), forget(1), forget(1), (), forget(2), forget(1)]):
        recorder.record(view(), float(at), actions)
    assert [one.at for one in recorder.recorded("/a")] == [1.0, 4.0, 5.0]
    assert recorder.recorded("/b") == ()


def test_actions_are_kept_with_their_names() -> None:
    recorder = Recorder()
    recorder.record(view(), 1.0, (RemoveApp(cause="deleted"),))
    [one] = recorder.recorded("/a")
    assert one.actions == ({"action": "RemoveApp", "cause": "deleted"},)


def test_what_the_controller_does_to_its_tables_later_is_not_seen() -> None:
    recorder, versions = Recorder(), {"1": VERSION}
    recorder.record(msgspec.structs.replace(view(), versions=versions), 1.0, forget(1))
    versions.clear()
    assert recorder.recorded("/a")[0].view.versions == {"1": VERSION}


def test_the_last_are_kept_and_fewer_of_a_large_app(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    for number in range(DECISIONS_KEPT + 5):
        recorder.record(view(), float(number), forget(number))
    assert [one.at for one in recorder.recorded("/a")] == [float(n) for n in range(5, DECISIONS_KEPT + 5)]
    monkeypatch.setattr(recorders, "INSTANCES_KEPT", 10)
    for number in range(5):
        recorder.record(view("/large", instances=4), float(number), forget(number))
    assert [one.at for one in recorder.recorded("/large")] == [3.0, 4.0]
    recorder.record(view("/large", instances=11), 9.0, forget(9))
    assert [one.at for one in recorder.recorded("/large")] == [9.0]


def test_apps_are_forgotten_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "APPS_KEPT", 2)
    recorder = Recorder()
    for name in ("/a", "/b", "/c"):
        recorder.record(view(name), 1.0, forget(1))
    assert [bool(recorder.recorded(name)) for name in ("/a", "/b", "/c")] == [False, True, True]


def test_all_apps_together_have_a_limit_and_who_was_decided_on_last_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "ALL_INSTANCES_KEPT", 10)
    recorder = Recorder()
    for number in range(3):
        for name in ("/a", "/b"):
            recorder.record(view(name, instances=2), float(number), forget(number))
    assert [len(recorder.recorded(name)) for name in ("/a", "/b")] == [0, 3]
    recorder.record(view("/large", instances=11), 9.0, forget(9))
    assert [len(recorder.recorded(name)) for name in ("/b", "/large")] == [0, 1]
