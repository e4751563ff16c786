"""A rolling replacement against Marathon's own arithmetic, as plain words have it, look by look."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.deployment import capacity, step
from coldchain.model.app import App, UpgradeStrategy
from coldchain.model.instance import Instance

hundredths = st.integers(0, 100).map(lambda number: Fraction(number, 100))
numbers = st.integers(0, 12)


def app(wanted: int, minimum: Fraction, over: Fraction) -> App:
    strategy = UpgradeStrategy(minimum_health_capacity=float(minimum), maximum_over_capacity=float(over))
    return App(id="/shop", instances=wanted, upgrade_strategy=strategy)


def serving(count: int, version: str, first: int) -> list[Instance]:
    return [
        Instance(
            id=f"{version}-{number:03}",
            app_id="/shop",
            version_id=version,
            target="cluster",
            task_id=f"{version}-{number}",
            phase="serving",
            since=0.0,
            created_at=float(number),
        )
        for number in range(first, first + count)
    ]


def reference(wanted: int, minimum: Fraction, over: Fraction, running: int) -> list[tuple[int, int]]:
    """For each look how many old ones are killed and how many new ones started, where all that is started serves and
    all that is killed is gone by the next look.

    minHealthy = ⌈n × minimumHealthCapacity⌉, maxCapacity = ⌊n × (1 + maximumOverCapacity)⌋; at once max(0, healthy −
    minHealthy) are killed; where the two are one, and as many run already, one more is allowed; then each new one that
    serves kills one old.
    """
    least, most = math.ceil(wanted * minimum), math.floor(wanted * (1 + over))
    if least == most <= running:
        most += 1
    old, new, looks = running, 0, []
    while old or new < wanted:
        kill = min(old, max(0, old + new - least))
        start = min(wanted - new, max(0, most - old - new))
        looks.append((kill, start))
        old, new = old - kill, new + start
    return looks


@given(numbers, hundredths, hundredths)
def test_capacity_is_marathons(wanted: int, minimum: Fraction, over: Fraction) -> None:
    exact = math.ceil(wanted * minimum), math.floor(wanted * (1 + over))
    assert capacity(app(wanted, minimum, over)) == exact


@given(numbers, hundredths, hundredths, st.integers(0, 4))
def test_each_look_of_a_replacement_is_marathons(wanted: int, minimum: Fraction, over: Fraction, more: int) -> None:
    """Also where the number is lowered in the same change: `more` instances run than are wanted."""
    shop = app(wanted, minimum, over)
    old, new = serving(wanted + more, "1", 0), serving(0, "2", 0)
    for kill, start in reference(wanted, minimum, over, wanted + more):
        found = step(shop, "2", [*old, *new], unhealthy=(), condemned=(), replacing=True)
        leaving = {name for name, _ in found.leave}
        assert (len(leaving), found.launch) == (kill, start)
        assert leaving <= {one.id for one in old}
        old = [one for one in old if one.id not in leaving]
        new += serving(start, "2", len(new))
    found = step(shop, "2", [*old, *new], unhealthy=(), condemned=(), replacing=True)
    assert (found.launch, found.leave, len(new)) == (0, (), wanted)


@given(st.integers(1, 12), hundredths, hundredths, st.sets(st.integers(0, 11)))
def test_unhealthy_old_ones_are_killed_first(wanted: int, minimum: Fraction, over: Fraction, sick: set[int]) -> None:
    old = serving(wanted, "1", 0)
    unhealthy = {old[number].id for number in sick if number < wanted}
    found = step(app(wanted, minimum, over), "2", old, unhealthy=unhealthy, condemned=(), replacing=True)
    leaving = {name for name, _ in found.leave}
    if leaving - unhealthy:
        assert unhealthy <= leaving
