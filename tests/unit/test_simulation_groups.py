"""The checks of group deployments in the simulation say what is wrong, and say nothing where nothing is."""

import msgspec

from coldchain.model.app import App
from coldchain.model.deployment import Deployment
from coldchain.model.group import GroupAction, GroupDeployment
from coldchain.model.instance import Instance
from coldchain.model.version import Version
from coldchain.testing.simulation.groups import stuck, too_early, unasked, unfinished

GROUP = GroupDeployment(
    id="g",
    group_id="/",
    target="cluster",
    kind="change",
    version="2",
    steps=tuple((GroupAction(action="RestartApplication", app=name),) for name in ("/a", "/b")),
    members={"/a": "da", "/b": "db"},
    started_at=0.0,
    cause="asked for",
)


def member(name: str, **fields: object) -> Deployment:
    given: dict[str, object] = {
        "id": f"d{name[1:]}",
        "app_id": name,
        "target": "cluster",
        "kind": "replace",
        "from_version": "1",
        "to_version": "2",
        "started_at": 0.0,
        "deadline_at": 60.0,
        "cause": "asked for",
        "part_of": "g",
    }
    return Deployment(**(given | fields))  # type: ignore[arg-type]


def instance(number: int, version: str) -> Instance:
    return Instance(
        id=str(number),
        app_id="/b",
        version_id=version,
        target="cluster",
        task_id=str(number),
        phase="serving",
        since=0.0,
        created_at=0.0,
    )


def version(name: str, instances: int) -> Version:
    return Version(app=App(id="/b", cmd="x", instances=instances), id=name, config_id=name)


def early(members: dict[str, Deployment], *instances: Instance, group: GroupDeployment = GROUP) -> str:
    known = {one.id: one for one in members.values()}
    return too_early(group, members["/b"], known, version("2", 2), version("1", 2), instances)


def test_what_is_made_before_its_layer_is_told_but_not_what_was_missing() -> None:
    members = {"/a": member("/a"), "/b": member("/b", paused_by="dependency", paused_at=0.0)}
    assert early(members, instance(1, "1"), instance(2, "2")) == "", "one of two was missing"
    assert "come first" in early(members, instance(1, "1"), instance(2, "1"), instance(3, "2"))
    members["/a"] = member("/a", state="succeeded")
    assert early(members, instance(1, "1"), instance(2, "1"), instance(3, "2")) == ""


def test_a_failed_layer_is_over_for_a_rollback_only() -> None:
    members = {"da": member("/a", state="failed"), "db": member("/b")}
    assert unfinished(GROUP, "/b", members) == ["/a"]
    assert unfinished(msgspec.structs.replace(GROUP, kind="rollback"), "/b", members) == []
    assert unfinished(msgspec.structs.replace(GROUP, without=("/a",)), "/b", members) == []


def test_nobody_waits_for_what_has_ended() -> None:
    waiting = member("/b", paused_by="dependency", paused_at=0.0)
    assert stuck([waiting], {"g": GROUP}) == ""
    assert "waits for a layer" in stuck([waiting], {"g": msgspec.structs.replace(GROUP, state="failed")})
    assert "waits for a layer" in stuck([waiting], {"g": msgspec.structs.replace(GROUP, without=("/b",))})


def test_a_group_is_taken_back_once_and_only_after_it_failed() -> None:
    failed = msgspec.structs.replace(GROUP, state="failed")
    back = msgspec.structs.replace(GROUP, id="r", kind="rollback", rollback_of="g")
    assert unasked(back, {"g": failed, "r": back}, asked=False) == ""
    assert "takes back" in unasked(back, {"g": GROUP, "r": back}, asked=False)
    again = msgspec.structs.replace(back, id="s")
    assert "twice" in unasked(again, {"g": failed, "r": back, "s": again}, asked=False)
    of_a_rollback = msgspec.structs.replace(failed, kind="rollback")
    assert "takes back" in unasked(back, {"g": of_a_rollback, "r": back}, asked=False)
    assert "nobody asked" in unasked(GROUP, {"g": GROUP}, asked=False)
