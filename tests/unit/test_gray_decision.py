"""Gray rollouts: what gateways are told of one, how its share goes on, who stays beside whom, what takes its place."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.deployment import capacity, resume, step
from coldchain.decisions.gray import begun, changed, onward, releases, taken_back, unused
from coldchain.decisions.rollout import describe, is_reached, reach, stage
from coldchain.model.app import (
    App,
    Container,
    Docker,
    PortDefinition,
    PortMapping,
    Rollout,
    RolloutStep,
    Route,
    UpgradeStrategy,
)
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.gateway_resource import GrayRelease
from coldchain.model.gray import GrayPlan, GrayRollout, GrayRule
from coldchain.model.instance import Instance, Phase
from coldchain.model.version import Version

OLD, NEW, OTHER = "1", "2", "3"
RULE = GrayRule(by="weight")
GRAY = GrayRollout(version=NEW, normal=OLD, mark="spring", rules=(RULE,))


def app(*shares: float, instances: int = 2, minimum: float = 1.0, over: float = 1.0, gray: bool = True) -> App:
    ports = (PortMapping(container_port=80), PortMapping(container_port=81))
    return App(
        id="/shop",
        instances=instances,
        container=Container(docker=Docker(image="shop"), port_mappings=ports),
        routes=(Route(domains=("shop.test",)), Route(domains=("admin.test",), port_index=1)),
        upgrade_strategy=UpgradeStrategy(minimum_health_capacity=minimum, maximum_over_capacity=over),
        rollout=Rollout(
            steps=tuple(RolloutStep(share=share) for share in shares),
            gray=GrayPlan(mark="spring", rules=(RULE,)) if gray else None,
        ),
    )


def version(name: str, *shares: float, gray: bool = True) -> Version:
    return Version(app=app(*shares, gray=gray), id=name, config_id=name)


def deployment(**fields: object) -> Deployment:
    given: dict[str, object] = {"id": "d", "app_id": "/shop", "target": "cluster", "kind": "replace", "gray": GRAY}
    given |= {"from_version": OLD, "to_version": NEW, "started_at": 0.0, "deadline_at": 60.0, "cause": "test"}
    return Deployment(**(given | fields))  # type: ignore[arg-type]


def instance(name: str, version_id: str, phase: Phase = "serving") -> Instance:
    return Instance(
        id=name,
        app_id="/shop",
        version_id=version_id,
        target="cluster",
        task_id=name,
        phase=phase,
        since=0.0,
        created_at=0.0,
    )


def gray(**fields: object) -> GrayRollout:
    return msgspec.structs.replace(GRAY, **fields)


def test_each_service_of_the_app_has_a_release_and_nothing_else_has() -> None:
    told = releases(app(), deployment(gray=gray(share=0.12345)))
    plain = GrayRelease(service="shop", mark="spring", version=NEW, normal=OLD, share=1234, rules=(RULE,))
    assert told == {"gray/shop": plain, "gray/shop.1": msgspec.structs.replace(plain, service="shop.1")}
    assert releases(app(), deployment(gray=None)) == releases(None, deployment()) == releases(app(), None) == {}
    assert releases(app(), deployment(gray=gray(state="promoted")))["gray/shop"].only == "gray"
    aborted = releases(app(), deployment(gray=gray(state="aborted", normal="")))["gray/shop"]
    assert (aborted.only, aborted.normal) == ("normal", None)


def test_a_service_that_others_run_has_one_for_as_long_as_its_definition_says_so() -> None:
    plan = GrayPlan(version="v2", share=0.25, mark="spring", rules=(RULE,))
    ports = (PortDefinition(name="default"),)
    others = App(id="/legacy", service="legacy", instances=0, port_definitions=ports, rollout=Rollout(gray=plan))
    told = GrayRelease(service="legacy", mark="spring", version="v2", share=2500, rules=(RULE,))
    assert releases(others, None) == releases(others, deployment()) == {"gray/legacy": told}
    assert releases(msgspec.structs.replace(others, rollout=Rollout()), None) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5, unique=True).map(sorted), st.lists(st.booleans(), max_size=40))
def test_the_share_only_grows_and_ends_with_all(shares: list[float], serving: list[bool]) -> None:
    wanted = version(NEW, *shares)
    running, told = deployment(), [0.0]
    for complete in (*serving, *[True] * 40):
        new = [instance(f"n{n}", NEW) for n in range(2)] if complete else []
        running = resume(running, 1.0)
        if (following := onward(running, wanted.app, complete=complete)) is not None:
            assert complete
            running = following[0]
            assert running.gray is not None
            told.append(running.gray.share)
        elif running.steps_done < len(shares) and is_reached(running, running.steps_done, wanted, new, ()):
            running = reach(running, wanted.app, 1.0)
    assert running.gray is not None
    assert running.gray.state == "promoted"
    assert all(before <= after for before, after in pairwise(told))
    assert set(told) == {0.0, *shares, 1.0}


def test_a_step_is_reached_when_all_serve_and_every_gateway_works_by_its_share() -> None:
    wanted, new = version(NEW, 0.5), [instance("a", NEW), instance("b", NEW), instance("c", OLD)]
    shared = deployment(gray=gray(share=0.5))
    assert is_reached(shared, 0, wanted, new, ())
    assert not is_reached(shared, 0, wanted, new, (), in_force=False)
    assert not is_reached(shared, 0, wanted, new, ("a",))
    assert not is_reached(shared, 0, wanted, new[1:], ())
    assert not is_reached(deployment(gray=gray(share=0.4)), 0, wanted, new, ())
    assert is_reached(deployment(gray=gray(share=0.6)), 0, wanted, new, ())


@given(st.integers(1, 6), st.integers(0, 9), st.integers(0, 6), st.integers(0, 9), st.floats(0, 1), st.booleans())
def test_from_any_mix_both_versions_come_to_stand_within_the_capacity(
    count: int, old: int, new: int, other: int, minimum: float, in_force: bool
) -> None:
    shop = app(0.5, instances=count, minimum=minimum)
    least, most = capacity(shop)
    instances = [instance(f"old-{n}", OLD) for n in range(old)] + [instance(f"new-{n}", NEW) for n in range(new)]
    instances += [instance(f"other-{n}", OTHER) for n in range(other)]
    for number in range(100):
        wanted = stage(deployment(), shop, version(OLD), in_force=True)
        assert wanted is not None
        found = step(
            shop,
            NEW,
            instances,
            unhealthy=(),
            condemned=(),
            replacing=True,
            new=wanted.new,
            least=wanted.least,
            beside=wanted.beside,
            unused=unused(deployment(), instances),
        )
        if not found.leave and not found.launch:
            break
        leave = dict(found.leave)
        assert sum(one.id not in leave for one in instances) >= min(len(instances), least)
        stays = {one.version_id for one in instances if one.id not in leave}
        if leave.keys() & {one.id for one in instances if one.version_id == OLD}:
            assert OTHER not in stays, "who gets nothing leaves first"
        instances = [one for one in instances if one.id not in leave]
        instances += [instance(f"{number}-{n}", NEW) for n in range(found.launch)]
        assert not found.launch or len(instances) <= most + (least >= most)
    made = [sum(one.version_id == name for one in instances) for name in (NEW, OLD, OTHER)]
    assert made[0] == count
    assert made[1] == min(old, count)
    assert made[1] + made[2] == min(old + other, count)


@pytest.mark.parametrize("state", ["promoted", "aborted"])
def test_nobody_is_asked_to_leave_before_every_gateway_knows(state: str) -> None:
    running = deployment(gray=gray(state=state), steps_done=1)
    held = stage(running, app(0.5), None, in_force=False)
    assert held is not None
    assert held.beside is not None
    assert held.beside > 1000
    assert stage(running, app(0.5), None, in_force=True) is None


@pytest.mark.parametrize(
    ("kind", "current", "wanted", "running", "expected"),
    [
        ("replace", version(OLD, 0.5), version(NEW, 0.5), None, GRAY),
        ("start", None, version(NEW, 0.5), None, None),
        ("stop", version(OLD), None, deployment(), None),
        ("replace", version(NEW, 0.5), version(OTHER, 0.5), deployment(), gray(version=OTHER)),
        (
            "replace",
            version(NEW, 0.5),
            version(OTHER, 0.5),
            deployment(gray=gray(state="promoted")),
            gray(version=OTHER, normal=NEW),
        ),
        ("replace", version(NEW, 0.5), version(OTHER, 0.5), deployment(gray=None), gray(version=OTHER, normal="")),
        ("scale", version(NEW, 0.5), version(NEW, 0.5), deployment(gray=gray(share=0.3)), gray(share=0.3)),
        (
            "scale",
            version(OLD, 0.5),
            version(OLD, 0.5),
            deployment(gray=gray(state="aborted")),
            gray(state="aborted"),
        ),
    ],
)
def test_what_a_deployment_begins_with(
    kind: DeploymentKind,
    current: Version | None,
    wanted: Version | None,
    running: Deployment | None,
    expected: GrayRollout | None,
) -> None:
    assert begun(kind, current, wanted, running, stepwise=kind == "replace") == expected


def test_what_takes_the_place_of_a_gray_version_sends_it_nothing() -> None:
    aborted = gray(normal="", rules=(), state="aborted")
    assert begun("replace", version(NEW), version(OTHER, gray=False), deployment(), stepwise=True) == aborted
    assert taken_back(gray(share=0.5), version(OLD)) == aborted
    assert taken_back(gray(state="promoted"), version(OLD)) is None
    assert taken_back(GRAY, version(NEW)) is None
    assert taken_back(None, version(OLD)) is None


def test_another_share_is_at_the_last_step_that_has_no_more() -> None:
    shop = app(0.0, 0.1, 0.5)
    assert [changed(deployment(), shop, share, None).steps_done for share in (0.0, 0.05, 0.1, 0.3, 1.0)] == [
        1,
        1,
        2,
        2,
        3,
    ]
    other = changed(deployment(steps_done=2, gray=gray(share=0.1)), shop, None, ())
    assert (other.steps_done, other.gray) == (2, gray(share=0.1, rules=()))


def test_it_is_said_how_far_it_is() -> None:
    running = deployment(steps_done=1, gray=gray(share=0.05))
    assert list(describe(running, app(0.05, 0.5))) == [
        "gray, 1 of 2 steps reached: 5 % of the requests to the new version"
    ]
