"""What a change of a group does with each app, in which order, and how it goes on."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.dependency import Cycle
from coldchain.decisions.group import (
    Advance,
    GroupUpdate,
    Tree,
    advance,
    begin,
    given_up,
    plan,
    removed,
    restored,
    scaled,
    snapshot,
    updated,
)
from coldchain.model.app import App, Container, Docker
from coldchain.model.deployment import Deployment
from coldchain.model.group import Group, GroupAction, GroupDeployment
from coldchain.model.version import Version
from coldchain.testing.counted_calls import counted_calls

V1, V2 = "2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z"


def app(name: str, tag: str = "v1", **fields: object) -> App:
    return App(id=name, container=Container(docker=Docker(image=tag)), **fields)  # type: ignore[arg-type]


def tree(*apps: App, **groups: tuple[str, ...]) -> Tree:
    named = {f"/{name}": Group(id=f"/{name}", dependencies=others) for name, others in groups.items()}
    return Tree(apps={one.id: one for one in apps}, groups=named)


def words(before: Tree, after: Tree) -> list[str]:
    return [
        " ".join(f"{one.action.removesuffix('Application')}:{one.app}" for one in step) for step in plan(before, after)
    ]


def test_stops_come_first_then_starts_then_layer_by_layer() -> None:
    before = tree(app("/g/old"), app("/g/db"), app("/g/same"), app("/g/wide"))
    after = tree(
        app("/g/db", "v2"),
        app("/g/same", dependencies=("/g/db",)),
        app("/g/wide", instances=3, dependencies=("/g/same",)),
        app("/g/new", dependencies=("/g/wide", "/g/db")),
    )
    before = msgspec.structs.replace(before, apps=before.apps | {"/g/same": after.apps["/g/same"]})
    assert words(before, after) == ["Stop:/g/old", "Start:/g/new", "Restart:/g/db", "Scale:/g/wide", "Scale:/g/new"]
    assert words(after, after) == []


def test_apps_of_one_layer_are_in_one_step() -> None:
    after = tree(app("/a/x"), app("/a/y"), app("/b/x"), app("/b/y"), b=("/a",))
    assert words(tree(), after) == [
        "Start:/a/x Start:/a/y Start:/b/x Start:/b/y",
        "Scale:/a/x Scale:/a/y",
        "Scale:/b/x Scale:/b/y",
    ]


def test_dependencies_alone_replace_nobody() -> None:
    before, after = tree(app("/a"), app("/b")), tree(app("/a"), app("/b", dependencies=("/a",)))
    assert words(before, after) == ["Scale:/b"]


def test_a_circle_has_no_plan() -> None:
    with pytest.raises(Cycle):
        plan(tree(), tree(app("/a/x", dependencies=("/b",)), app("/b/x", dependencies=("/a/x",))))


def calls_to_plan(number: int) -> int:
    """For so many apps in a chain over groups and apps."""
    apps = [app(f"/g{n % 20}/a{n}", dependencies=(f"/g{n % 20}/a{n - 20}",) if n >= 20 else ()) for n in range(number)]
    groups = {f"g{n}": (f"/g{n - 1}",) for n in range(1, 20)}
    before, after = tree(*(msgspec.structs.replace(one, cpus=2.0) for one in apps)), tree(*apps, **groups)
    with counted_calls() as calls:
        steps = plan(before, after)
    assert len(steps) == number
    return calls.number


def test_five_times_the_apps_are_planned_in_five_times_the_calls() -> None:
    few, many = calls_to_plan(200), calls_to_plan(1000)
    assert few * 2 < many < few * 7, (few, many)


# Updates of the tree


def test_what_is_given_takes_the_place_of_all_that_was_there() -> None:
    before = tree(app("/g/a"), app("/g/b"), app("/g/h/c"), app("/g/i/d"), app("/other"), g=("/other",))
    update = GroupUpdate(
        id="/g", apps=(app("/g/a", "v2"),), groups=(GroupUpdate(id="/g/h"), GroupUpdate(id="/g/j", apps=()))
    )
    after = updated(before, update)
    assert sorted(after.apps) == ["/g/a", "/g/h/c", "/other"]
    assert after.apps["/g/a"].container == app("/g/a", "v2").container
    assert after.groups["/g"].dependencies == ("/other",), "not given, and so as it was"
    assert {"/g/h", "/g/j"} <= after.groups.keys()
    assert updated(before, GroupUpdate(id="/g")).apps == before.apps


def test_the_root_holds_everything() -> None:
    before = tree(app("/a"), app("/g/a"))
    assert sorted(updated(before, GroupUpdate(id="/", apps=())).apps) == ["/g/a"]
    assert sorted(updated(before, GroupUpdate(id="/", groups=())).apps) == ["/a"]
    assert removed(before, "/").apps == {}


def test_a_group_whose_name_only_begins_the_same_is_another() -> None:
    before = tree(app("/g/a"), app("/g2/a"), app("/gh"))
    assert sorted(removed(before, "/g").apps) == ["/g2/a", "/gh"]
    assert sorted(scaled(before, "/g", 3.0).apps[name].instances for name in before.apps) == [1, 1, 3]


@pytest.mark.parametrize(("instances", "factor", "expected"), [(3, 0.5, 2), (10, 0.1, 1), (2, 0.0, 0), (3, 2.0, 6)])
def test_a_scaled_number_is_rounded_up(instances: int, factor: float, expected: int) -> None:
    assert scaled(tree(app("/g/a", instances=instances)), "/g", factor).apps["/g/a"].instances == expected


names = st.sampled_from(["/a", "/g/a", "/g/b", "/g/h/c", "/i/d"])


@given(st.sets(names), st.sets(names), st.sampled_from(["/", "/g", "/g/h", "/i"]))
def test_a_group_gone_back_to_is_as_it_was_and_all_else_as_it_is(was: set[str], now: set[str], group: str) -> None:
    before, after = tree(*map(app, was), g=("/a",)), tree(*map(app, now), g=(), i=("/a",))
    kept = snapshot(group, V1, dict.fromkeys(before.apps, V1), before.groups)
    back = restored(after, kept, {name: before.apps[name] for name in kept.apps})
    below = (lambda name: True) if group == "/" else (lambda name: name == group or name.startswith(f"{group}/"))
    assert {name for name in back.apps if below(name)} == {name for name in was if below(name)}
    assert {name for name in back.apps if not below(name)} == {name for name in now if not below(name)}
    for name, one in back.groups.items():
        assert one == (before if below(name) else after).groups[name]


# Going on


def deployed(before: Tree, after: Tree, **fields: object) -> tuple[GroupDeployment, dict[str, Deployment]]:
    steps = plan(before, after)
    apps = [one.app for step in steps for one in step]
    group = GroupDeployment(
        id="g",
        group_id="/",
        target="cluster",
        kind="change",
        version=V2,
        steps=steps,
        members={name: f"d{name}" for name in apps},
        started_at=100.0,
        cause="test",
    )
    current = {name: Version(app=one, id=V1, config_id=V1) for name, one in before.apps.items()}
    wanted = {n: Version(app=after.apps[n], id=V2, config_id=V2) if n in after.apps else None for n in apps}
    begun = begin(group, current, wanted, {}, kinds=dict.fromkeys(apps, "replace"), takes_back={})
    members = {one.deployment.app_id: one.deployment for one in begun.changes}
    return msgspec.structs.replace(begun.deployment, **fields), members


def ended(members: dict[str, Deployment], name: str, state: str = "succeeded", reason: str = "") -> None:
    members[name] = msgspec.structs.replace(members[name], state=state, ended_at=150.0, reason=reason)


CHAIN = (app("/a"), app("/b", dependencies=("/a",)), app("/c", dependencies=("/b",)))


def step(group: GroupDeployment, members: dict[str, Deployment], *, back: bool = True) -> Advance | None:
    return advance(group, members, lambda name: back, 200.0)


def test_all_but_the_first_layer_wait() -> None:
    _, members = deployed(tree(), tree(*CHAIN))
    assert [one.paused_by for one in members.values()] == [None, "dependency", "dependency"]
    assert {one.part_of for one in members.values()} == {"g"}


def test_one_layer_after_the_other() -> None:
    group, members = deployed(tree(), tree(*CHAIN))
    assert step(group, members) is None
    for number, (name, following) in enumerate((("/a", "/b"), ("/b", "/c"))):
        ended(members, name)
        found = step(group, members)
        assert found is not None
        assert (found.release, found.take_back, found.deployment.layers_done) == ((following,), (), number + 1)
        group = found.deployment
        members[following] = msgspec.structs.replace(members[following], paused_by=None, paused_at=None)
        assert step(group, members) is None
    ended(members, "/c")
    found = step(group, members)
    assert found is not None
    assert (found.deployment.state, found.deployment.layers_done, found.deployment.ended_at) == ("succeeded", 3, 200.0)


def test_the_same_records_give_the_same_step_however_often_it_was_lost() -> None:
    group, members = deployed(tree(), tree(*CHAIN))
    ended(members, "/a")
    assert step(group, members) == step(group, members)
    assert step(msgspec.structs.replace(group, layers_done=1), members) is not None, "released, but not written so"


def test_a_failure_takes_all_back() -> None:
    group, members = deployed(tree(), tree(*CHAIN))
    ended(members, "/a")
    ended(members, "/b", "failed", "deadline passed")
    found = step(group, members)
    assert found is not None
    assert found.take_back == ("/a", "/b", "/c")
    assert (found.deployment.state, found.deployment.reason) == ("failed", "/b: deadline passed")


def test_without_a_rollback_only_those_that_have_not_begun_go_back_once_the_others_have_ended() -> None:
    group, members = deployed(tree(), tree(app("/a"), app("/b"), app("/c", dependencies=("/a",))))
    ended(members, "/a", "failed", "bad")
    assert step(group, members, back=False) is None, "/b is still on its way"
    ended(members, "/b")
    found = step(group, members, back=False)
    assert found is not None
    assert found.take_back == ("/c",)


def test_a_rollback_goes_on_after_a_failure_and_is_not_taken_back() -> None:
    group, members = deployed(tree(), tree(*CHAIN), kind="rollback")
    ended(members, "/a", "failed", "bad")
    found = step(group, members)
    assert found is not None
    assert (found.release, found.take_back) == (("/b",), ())
    for name in ("/b", "/c"):
        ended(members, name)
    found = step(found.deployment, members)
    assert found is not None
    assert (found.deployment.state, found.take_back) == ("failed", ())


def test_who_holds_it_decides_himself() -> None:
    group, members = deployed(tree(), tree(*CHAIN), paused_at=120.0)
    ended(members, "/a")
    assert step(group, members) is None


def test_what_somebody_took_over_is_not_waited_for_and_not_taken_back() -> None:
    group, members = deployed(tree(), tree(*CHAIN))
    group = given_up(group, ["/a", "/elsewhere"], "x", 150.0)
    assert (group.state, group.without) == ("running", ("/a",))
    ended(members, "/a", "superseded")
    found = step(group, members)
    assert found is not None
    assert found.release == ("/b",)
    ended(members, "/b", "failed", "bad")
    found = step(found.deployment, members)
    assert found is not None
    assert found.take_back == ("/b", "/c")
    assert given_up(group, ["/b", "/c"], "x", 160.0).state == "superseded"


def test_an_app_that_does_not_come_to_its_end_is_waited_for_until_its_time_limit() -> None:
    group, members = deployed(tree(app("/x")), tree(*CHAIN))
    limit = members["/x"].deadline_at
    assert advance(group, members, lambda name: True, limit - 1) is None
    found = advance(group, members, lambda name: True, limit)
    assert found is not None
    assert found.release == ("/a",)


def test_nothing_to_do_has_ended() -> None:
    group, members = deployed(tree(*CHAIN), tree(*CHAIN))
    assert (group.state, group.ended_at, members) == ("succeeded", 100.0, {})


def test_layers_are_steps_but_for_what_starts_nothing() -> None:
    group, _ = deployed(tree(app("/x")), tree(*CHAIN))
    assert group.layers == (("/x",), ("/a",), ("/b",), ("/c",))
    assert group.steps[1] == tuple(GroupAction(action="StartApplication", app=name) for name in ("/a", "/b", "/c"))
