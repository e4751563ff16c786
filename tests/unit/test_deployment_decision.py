"""The arithmetic of a rollout: Marathon's rule, and what must hold whatever is seen."""

import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.deployment import Step, capacity, reached, step
from coldchain.model.app import App, UpgradeStrategy
from coldchain.model.instance import Instance, Phase

NEW, OLD = "2", "1"


def app(instances: int, minimum: float = 1.0, over: float = 1.0) -> App:
    strategy = UpgradeStrategy(minimum_health_capacity=minimum, maximum_over_capacity=over)
    return App(id="/shop", instances=instances, upgrade_strategy=strategy)


def instance(number: int, phase: Phase = "serving", version: str = NEW) -> Instance:
    return Instance(
        id=f"{number:03}",
        app_id="/shop",
        version_id=version,
        target="cluster",
        task_id=f"task-{number}",
        phase=phase,
        since=0.0,
        created_at=float(number),
    )


def some(count: int, version: str, phase: Phase = "serving", first: int = 0) -> list[Instance]:
    return [instance(first + number, phase, version) for number in range(count)]


@pytest.mark.parametrize(
    ("instances", "minimum", "over", "expected"),
    [
        (4, 1.0, 1.0, (4, 8)),
        (4, 0.5, 0.0, (2, 4)),
        (10, 0.1, 0.1, (1, 11)),
        (10, 0.7, 0.3, (7, 13)),
        (3, 0.5, 0.5, (2, 4)),
        (1, 1.0, 0.0, (1, 1)),
        (0, 1.0, 1.0, (0, 0)),
        (100, 0.29, 0.29, (29, 129)),
    ],
)
def test_capacity_rounds_as_marathon_does(
    instances: int, minimum: float, over: float, expected: tuple[int, int]
) -> None:
    assert capacity(app(instances, minimum, over)) == expected


def moved(instances: Sequence[Instance], leave: Sequence[tuple[str, str]]) -> list[Instance]:
    gone = {name for name, _ in leave}
    return [msgspec.structs.replace(one, phase="draining" if one.id in gone else one.phase) for one in instances]


phases = st.sampled_from(["scheduled", "launching", "starting", "entering", "serving", "draining", "stopping"])
views = st.lists(
    st.tuples(phases, st.sampled_from([OLD, NEW]), st.booleans(), st.booleans(), st.booleans()), max_size=12
)
shares = st.floats(0, 1)


WISH = "the user wants it gone"

stages = st.one_of(st.none(), st.tuples(st.integers(0, 6), st.integers(0, 6)))


@given(views, st.integers(0, 6), shares, shares, st.booleans(), st.booleans(), stages)
def test_whatever_is_seen_a_step_keeps_within_its_limits(
    seen: list[tuple[Phase, str, bool, bool, bool]],
    wanted: int,
    minimum: float,
    over: float,
    replacing: bool,
    held: bool,
    stage: tuple[int, int] | None,
) -> None:
    instances = [instance(n, phase, version) for n, (phase, version, *_) in enumerate(seen)]
    asked = {f"{n:03}": WISH for n, (*_, asked) in enumerate(seen) if asked}
    unhealthy = {f"{n:03}" for n, (_, _, sick, condemned, _) in enumerate(seen) if sick or condemned}
    condemned = {f"{n:03}" for n, (_, _, _, condemned, _) in enumerate(seen) if condemned}
    shop = app(wanted, minimum, over)
    least, most = capacity(shop)
    new, together = (min(wanted, one) for one in stage) if stage else (None, None)
    found = step(
        shop,
        NEW,
        instances,
        unhealthy=unhealthy,
        condemned=condemned,
        asked=asked,
        replacing=replacing,
        held=held,
        new=new,
        least=together,
    )
    after = moved(instances, found.leave)

    if found.launch:
        assert len(instances) + found.launch <= most + (least >= most)
    serving = [one for one in instances if one.in_rotation]
    healthy = [one for one in serving if one.id not in unhealthy]
    left = [one for one in after if one.in_rotation]
    left_healthy = [one for one in left if one.id not in unhealthy]
    assert len(left) >= min(len(serving), least), "fewer than the minimum left in rotation"
    assert len(left_healthy) >= min(len(healthy), least), "fewer healthy than the minimum left"
    sick_left = [name for name, why in found.leave if "bad health" in why]
    assert len(sick_left) <= 1
    assert len({name for name, _ in found.leave}) == len(found.leave)
    assert {name for name, _ in found.leave} <= {one.id for one in instances if one.wanted}
    if not replacing and not condemned and not asked and sum(one.wanted for one in instances) <= wanted:
        assert not [one for one in instances if one.in_rotation and one.id in dict(found.leave)]


def marathon(count: int, minimum: float, over: float) -> tuple[int, int, int]:
    """Marathon's rolling restart of healthy instances, step by step: the fewest that serve, the most that live, and
    how many old ones it kills before the first new one runs."""
    least = math.ceil(round(count * minimum, 9))
    most = math.floor(round(count * (1 + over), 9))
    at_once = max(0, count - least)
    if least == most <= count:
        most += 1
    old, new = count, 0
    fewest = largest = old
    old -= at_once
    fewest = min(fewest, old)
    while old or new < count:
        launched = min(count - new, most - old - new)
        assert launched > 0, "Marathon itself would wait for ever"
        largest = max(largest, old + new + launched)
        for _ in range(launched):
            new += 1  # it became healthy, and kills one old one
            old = max(0, old - 1)
            fewest = min(fewest, old + new)
    return fewest, largest, at_once


@given(st.integers(1, 12), shares, shares)
def test_a_rollout_of_healthy_instances_is_as_wide_as_marathons(count: int, minimum: float, over: float) -> None:
    shop = app(count, minimum, over)
    instances = some(count, OLD)
    fewest = largest = count
    number, first = count, None
    for _ in range(10 * count + 10):
        found = step(shop, NEW, instances, unhealthy=(), condemned=(), replacing=True)
        if not found.launch and not found.leave:
            break
        first = len(found.leave) if first is None else first
        gone = {name for name, _ in found.leave}
        instances = [one for one in instances if one.id not in gone]  # drained and stopped
        fewest = min(fewest, sum(one.in_rotation for one in instances))
        found = step(shop, NEW, instances, unhealthy=(), condemned=(), replacing=True)
        instances += some(found.launch, NEW, first=number)
        number += found.launch
        largest = max(largest, len(instances))
    assert reached(shop, NEW, instances, ())
    expected_fewest, expected_largest, at_once = marathon(count, minimum, over)
    assert first == at_once
    assert largest == expected_largest
    assert fewest >= math.ceil(round(count * minimum, 9)) >= 0
    assert fewest == expected_fewest
    assert number == 2 * count, "each is replaced once"


def test_unhealthy_old_ones_serve_on_until_a_new_one_does() -> None:
    old = some(3, OLD)
    everyone = [one.id for one in old]
    assert step(app(3), NEW, old, unhealthy=everyone, condemned=everyone, replacing=True).leave == ()
    with_new = [*old, instance(9)]
    assert len(step(app(3), NEW, with_new, unhealthy=everyone, condemned=everyone, replacing=True).leave) == 1


def test_a_sick_one_leaves_when_its_replacement_serves_and_not_before() -> None:
    sick = instance(0)
    good = [instance(1), instance(2)]
    seen = {"unhealthy": ["000"], "condemned": ["000"], "replacing": False}
    assert step(app(3), NEW, [sick, *good], **seen).launch == 1  # type: ignore[arg-type]
    assert step(app(3), NEW, [sick, *good, instance(3, "entering")], **seen).leave == ()  # type: ignore[arg-type]
    found = step(app(3), NEW, [sick, *good, instance(3)], **seen)  # type: ignore[arg-type]
    assert [name for name, _ in found.leave] == ["000"]


def test_scaling_down_takes_what_gives_no_capacity_first_then_the_youngest() -> None:
    instances = [instance(0), instance(1), instance(2), instance(3, "starting")]
    leave = step(app(1, 0.0), NEW, instances, unhealthy=["000"], condemned=(), replacing=False).leave
    assert [name for name, _ in leave] == ["003", "000", "002"]


def test_without_a_deployment_a_mix_stays_but_nothing_superseded_is_launched() -> None:
    mix = [*some(2, OLD), *some(2, NEW, first=2)]
    assert step(app(4), NEW, mix, unhealthy=(), condemned=(), replacing=False) == step(
        app(0), NEW, [], unhealthy=(), condemned=(), replacing=False
    )
    waiting = [*some(3, OLD), instance(7, "scheduled", OLD)]
    found = step(app(4), NEW, waiting, unhealthy=(), condemned=(), replacing=False)
    assert [name for name, _ in found.leave] == ["007"]
    assert found.launch == 1


@pytest.mark.parametrize("held", [False, True])
def test_who_is_asked_to_leave_does_so_once_its_replacement_serves_whatever_holds_the_deployment(held: bool) -> None:
    seen = {"unhealthy": (), "condemned": (), "asked": {"001": WISH}, "replacing": held, "held": held}
    assert step(app(3), NEW, some(3, NEW), **seen) == Step(launch=1)  # type: ignore[arg-type]
    assert step(app(3), NEW, some(4, NEW), **seen) == Step(leave=(("001", WISH),))  # type: ignore[arg-type]


def test_where_nothing_may_be_beside_it_who_is_asked_to_leave_goes_first() -> None:
    shop = app(2, 0.5, 0.0)
    asked = {"000": WISH, "001": WISH}
    found = step(shop, NEW, some(2, NEW), unhealthy=(), condemned=(), asked=asked, replacing=False)
    assert found == Step(leave=(("000", WISH),)), "one of two must stay"


def test_a_scale_down_takes_exactly_those_that_were_asked_to_leave() -> None:
    asked = {"000": WISH, "002": WISH}
    found = step(app(2, 0.0), NEW, some(4, NEW), unhealthy=["001"], condemned=(), asked=asked, replacing=True)
    assert found.launch == 0
    assert {name for name, _ in found.leave} == {"000", "002"}


@given(views, st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_who_waits_for_other_apps_lets_nobody_leave_for_a_newer_version_and_launches_only_what_is_missing(
    seen: list[tuple[Phase, str, bool, bool, bool]], wanted: int, former: int, same: bool
) -> None:
    """`same`: only the number of instances changes."""
    instances = [instance(n, phase, NEW if same else version) for n, (phase, version, *_) in enumerate(seen)]
    least = min(wanted, former)
    found = step(
        app(wanted),
        NEW,
        instances,
        unhealthy=(),
        condemned=(),
        replacing=True,
        held=True,
        new=0,
        least=least,
        begun=False,
    )
    standing = [
        one for one in instances if one.wanted and (one.version_id == NEW or one.phase in ("entering", "serving"))
    ]
    assert found.launch <= max(0, least - len(standing))
    served = {one.id for one in instances if one.phase in ("entering", "serving")}
    assert not served & {name for name, _ in found.leave}
