"""The steps of a rollout: how many new instances each asks for, when it stands, where a deployment begins."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.deployment import capacity, step
from coldchain.decisions.rollout import describe, promote, reach, size, stage, stands, steps_done_at_start
from coldchain.model.app import App, Rollout, RolloutStep, UpgradeStrategy
from coldchain.model.deployment import Deployment, DeploymentKind
from coldchain.model.instance import Instance
from coldchain.model.version import Version

OLD, NEW = "1", "2"
STEPS = (RolloutStep(instances=1), RolloutStep(share=0.5, pause_seconds=60.0))


def app(instances: int = 4, minimum: float = 1.0, over: float = 1.0, steps: tuple[RolloutStep, ...] = STEPS) -> App:
    strategy = UpgradeStrategy(minimum_health_capacity=minimum, maximum_over_capacity=over)
    return App(id="/shop", instances=instances, upgrade_strategy=strategy, rollout=Rollout(steps=steps))


def version(instances: int = 4, name: str = NEW) -> Version:
    return Version(app=app(instances), id=name, config_id=name)


def deployment(**fields: object) -> Deployment:
    given: dict[str, object] = {"id": "d", "app_id": "/shop", "target": "cluster", "kind": "replace"}
    given |= {"from_version": OLD, "to_version": NEW, "started_at": 0.0, "deadline_at": 60.0, "cause": "test"}
    return Deployment(**(given | fields))  # type: ignore[arg-type]


def instance(name: str, version_id: str) -> Instance:
    return Instance(
        id=name,
        app_id="/shop",
        version_id=version_id,
        target="cluster",
        task_id=name,
        phase="serving",
        since=0.0,
        created_at=0.0,
    )


@pytest.mark.parametrize(
    ("given", "instances", "expected"),
    [
        (RolloutStep(instances=3), 10, 3),
        (RolloutStep(instances=3), 2, 2),
        (RolloutStep(share=0.1), 10, 1),
        (RolloutStep(share=0.1), 11, 2),
        (RolloutStep(share=0.3), 10, 3),
        (RolloutStep(share=0.001), 1, 1),
        (RolloutStep(share=1.0), 7, 7),
        (RolloutStep(share=0.5), 0, 0),
    ],
)
def test_a_share_is_rounded_up_and_at_least_one(given: RolloutStep, instances: int, expected: int) -> None:
    assert size(given, instances) == expected


@given(
    st.integers(1, 9),
    st.integers(0, 9),
    st.floats(0, 1),
    st.floats(0, 1),
    st.one_of(st.builds(RolloutStep, instances=st.integers(1, 9)), st.builds(RolloutStep, share=st.floats(0.01, 1))),
    st.integers(0, 9),
)
def test_from_any_mix_a_step_is_reached_within_the_capacity(
    count: int, old: int, minimum: float, over: float, planned: RolloutStep, new: int
) -> None:
    shop = app(count, minimum, over, (planned,))
    least, most = capacity(shop)
    instances = [instance(f"old-{n}", OLD) for n in range(old)] + [instance(f"new-{n}", NEW) for n in range(new)]
    for number in range(100):
        if stands(0, shop, NEW, instances, ()):
            break
        wanted = stage(deployment(), shop, Version(app=app(old), id=OLD, config_id=OLD))
        assert wanted is not None
        given = {"unhealthy": (), "condemned": (), "replacing": True, "new": wanted.new, "least": wanted.least}
        found = step(shop, NEW, instances, **given)  # type: ignore[arg-type]
        assert found.leave or found.launch, "nothing goes on"
        leave = dict(found.leave)
        assert sum(one.id not in leave for one in instances) >= min(len(instances), least)
        instances = [one for one in instances if one.id not in leave]
        instances += [instance(f"{number}-{n}", NEW) for n in range(found.launch)]
        assert not found.launch or len(instances) <= most + (least >= most)
    assert stands(0, shop, NEW, instances, ())
    made = sum(one.version_id == NEW for one in instances)
    assert made == max(size(planned, count), min(new, count - min(old, count - size(planned, count))))


def test_a_step_that_is_reached_pauses_for_its_time_and_promote_passes_the_rest() -> None:
    first = reach(deployment(), app(), 10.0)
    assert (first.paused_by, first.steps_done, first.resumes_at) == ("plan", 1, None)
    assert list(describe(first, app())) == ["step 1 of 2 reached: 1 of 4 instances of the new version serve"]
    second = reach(deployment(steps_done=1), app(), 10.0)
    assert (second.paused_by, second.steps_done, second.resumes_at) == ("plan", 2, 70.0)
    assert stage(promote(deployment(), app()), app(), None) is None


def test_an_unhealthy_or_missing_new_one_does_not_let_a_step_stand() -> None:
    serving = [instance("n", NEW), *(instance(f"o{n}", OLD) for n in range(3))]
    assert stands(0, app(), NEW, serving, ())
    assert not stands(0, app(), NEW, serving, ("n",))
    assert not stands(0, app(), NEW, serving[1:], ())
    assert not stands(0, app(), NEW, [*serving, instance("o9", OLD)], ())
    draining = msgspec.structs.replace(instance("o9", OLD), phase="draining")
    assert stands(0, app(), NEW, [*serving, draining], ())


@pytest.mark.parametrize(
    ("kind", "current", "wanted", "expected"),
    [
        ("replace", version(), version(), 0),
        ("restart", version(), version(), 0),
        ("start", None, version(), 2),
        ("scale", version(), version(), 2),
        ("rollback", version(), version(), 2),
        ("replace", version(0), version(), 2),
        ("replace", version(), version(0), 2),
        ("stop", version(), None, 0),
    ],
)
def test_which_moves_go_by_steps(
    kind: DeploymentKind, current: Version | None, wanted: Version | None, expected: int
) -> None:
    assert steps_done_at_start(kind, current, wanted, None) == expected


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        (deployment(), 0),
        (deployment(paused_by="operator"), 0),
        (deployment(steps_done=1), 1),
        (deployment(steps_done=1, paused_by="plan"), 0),
        (deployment(steps_done=2, paused_by="plan"), 1),
        (deployment(steps_done=2), 2),
        (deployment(to_version="other", steps_done=1), 2),
    ],
)
def test_a_scale_in_the_middle_keeps_the_step(running: Deployment, expected: int) -> None:
    assert steps_done_at_start("scale", version(4), version(6), running) == expected
