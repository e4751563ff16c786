"""Whoever is told of events ends in the same state however they arrive: reversed, doubled, squashed, split."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.control.tasks import TaskWatcher
from coldchain.control.traffic import CLASSES, _since
from coldchain.decisions import registration as registrations
from coldchain.decisions import rotation as rotations
from coldchain.decisions.acceptance import total
from coldchain.decisions.brake import Brake, judge
from coldchain.decisions.registration import Steps
from coldchain.model.registration import Registration
from coldchain.model.rotation import Endpoint, Rotation, RotationUpdate, RouteRule
from coldchain.model.task import TaskState, TaskStatus
from coldchain.model.traffic import Traffic
from coldchain.ports.gateway import OutOfStep
from coldchain.testing import expanders
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

NAMES = ("a", "b", "c")
EXPANDERS: dict[str, Callable[[Sequence[object]], list[object]]] = {
    "reverse": expanders.reverse,
    "double": expanders.double,
    "repeat": expanders.repeat,
    "squash": expanders.squash,
}
expander = st.sampled_from(sorted(EXPANDERS))


# --- the rotation ----------------------------------------------------------------------------------------------------

Wanted = tuple[dict[str, tuple[Endpoint, ...] | None], dict[str, tuple[RouteRule, ...] | None]]
endpoints = st.lists(
    st.builds(
        Endpoint,
        instance_id=st.sampled_from(NAMES),
        address=st.just("10.0.0.1"),
        port=st.integers(1, 3),
        weight=st.integers(0, 1),
    ),
    max_size=3,
    unique_by=lambda one: one.instance_id,
).map(tuple)
rules = st.lists(
    st.builds(RouteRule, path=st.sampled_from(["/", "/x"]), service=st.sampled_from(NAMES)), max_size=2
).map(tuple)
whole = st.tuples(
    st.fixed_dictionaries({name: st.none() | endpoints for name in NAMES}),
    st.fixed_dictionaries({name: st.none() | rules for name in NAMES}),
)


def parts(before: Wanted, after: Wanted) -> Iterator[Wanted]:
    """One service, then one domain at a time."""
    services, domains = dict(before[0]), dict(before[1])
    for name in NAMES:
        services[name] = after[0][name]
        yield dict(services), dict(domains)
    for name in NAMES:
        domains[name] = after[1][name]
        yield dict(services), dict(domains)


def without_revisions(rotation: Rotation) -> object:
    return msgspec.to_builtins(msgspec.structs.replace(rotations.renumbered(rotation, 1), revision=0))


def led_to(states: Sequence[Wanted]) -> tuple[Rotation, list[RotationUpdate]]:
    current, updates = Rotation(revision=7), []
    for services, domains in states:
        update = rotations.renew(current, services, domains)
        if update is not None:
            current = rotations.apply(current, update)
            updates.append(update)
    return current, updates


@given(st.lists(whole, min_size=1, max_size=5), expander)
def test_the_rotation_is_the_same_whatever_led_to_it(states: list[Wanted], how: str) -> None:
    directly, _ = led_to(states[-1:])
    expanded, _ = led_to(EXPANDERS[how](states))  # type: ignore[arg-type]
    split, _ = led_to(expanders.split(states, parts))
    assert without_revisions(expanded) == without_revisions(split) == without_revisions(directly)


@settings(max_examples=50)
@given(st.lists(whole, min_size=1, max_size=5), st.sampled_from(["double", "repeat", "reverse"]), st.integers(0, 3))
def test_a_gateway_takes_no_update_twice_nor_an_older_one(states: list[Wanted], how: str, seed: int) -> None:
    """What comes again or late is refused, and whoever is refused gets the whole: so does the real sender."""
    current, updates = led_to(states)
    loop = SimulatedLoop(seed)

    async def program() -> None:
        gateway = FakeGateway("one", SimulatedClock(loop))
        await gateway.apply(RotationUpdate(base=0, revision=7))
        seen = [7]
        for update in EXPANDERS[how](updates):
            try:
                await gateway.apply(update)  # type: ignore[arg-type]
            except OutOfStep:
                assert update.base != gateway.rotation.revision  # type: ignore[attr-defined]
            seen.append(gateway.rotation.revision)
        assert seen == sorted(seen)
        assert gateway.rotation == current

    simulate(program(), loop)


# --- tasks -----------------------------------------------------------------------------------------------------------

LIFE: tuple[TaskState, ...] = ("staging", "starting", "running", "killing", "killed")


def status(name: str, at: int) -> TaskStatus:
    return TaskStatus(
        task_id=name, instance_id=name, app_id=f"/{name}", target="cluster", agent="a", state=LIFE[at], at=float(at)
    )


class ListedEngine(FakeEngine):
    """Lists what a test says."""

    listed: tuple[TaskStatus, ...] = ()

    async def tasks(self) -> Sequence[TaskStatus]:
        return self.listed


def watched(program: Callable[[TaskWatcher, ListedEngine], Awaitable[None]]) -> None:
    loop = SimulatedLoop(0)

    async def run() -> None:
        clock = SimulatedClock(loop)
        engine = ListedEngine(clock)
        await program(TaskWatcher(engine, clock, lambda apps: None), engine)

    simulate(run(), loop)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, len(LIFE) - 1)), min_size=1, max_size=12),
    expander,
    st.randoms(use_true_random=False),
)
def test_of_each_task_the_latest_update_counts_in_whatever_order_they_come(
    pairs: list[tuple[str, int]], how: str, draw: object
) -> None:
    updates = [status(name, at) for name, at in pairs]
    latest = {name: status(name, max(at for other, at in pairs if other == name)) for name, _ in pairs}
    expanded: list[TaskStatus] = EXPANDERS[how](updates) if how != "squash" else list(latest.values())  # type: ignore[arg-type,assignment]
    draw.shuffle(expanded)  # type: ignore[attr-defined]

    async def program(watcher: TaskWatcher, engine: ListedEngine) -> None:
        for one in expanded:
            assert watcher.note(one)
        assert watcher.tasks == latest
        engine.listed = tuple(latest.values())[:1]
        await asyncio.sleep(1.0)  # a listing that begins later is newer than all of them
        await watcher.list_now()
        assert watcher.tasks == {one.task_id: one for one in engine.listed}

    watched(program)


# --- counts of gateways ----------------------------------------------------------------------------------------------

growth = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5), st.integers(0, CLASSES - 1)), min_size=1, max_size=8)


@given(growth, st.sampled_from(["double", "squash"]))
def test_what_counts_add_up_to_does_not_depend_on_how_often_they_are_told(
    grown: list[tuple[int, int, int]], how: str
) -> None:
    counts, told = Traffic(latencies=(0,) * CLASSES), []
    for requests, errors, place in grown:
        latencies = tuple(count + requests * (number == place) for number, count in enumerate(counts.latencies))
        counts = Traffic(requests=counts.requests + requests, errors=counts.errors + errors, latencies=latencies)
        told.append(counts)
    last, summed = Traffic(), []
    for one in EXPANDERS[how](told):
        summed.append(_since(last, one))  # type: ignore[arg-type]
        last = one  # type: ignore[assignment]
    assert total(summed) == total([told[-1]])


# --- the brake -------------------------------------------------------------------------------------------------------

looks = st.lists(st.tuples(st.integers(0, 12), st.floats(0.1, 40.0)), min_size=1, max_size=10)


@given(looks)
def test_looking_twice_at_the_same_says_nothing_new(seen: list[tuple[int, float]]) -> None:
    once, twice, now = Brake(), Brake(), 1000.0
    since: dict[str, float] = {}
    for bad, seconds in seen:
        now += seconds
        since = {f"i{number}": since.get(f"i{number}", now) for number in range(bad)}
        once = judge(once, since, 12, now)
        for _ in range(2):
            twice = judge(twice, since, 12, now)
        assert once == twice


@given(looks)
def test_the_brake_holds_while_too_many_are_bad_and_lets_go_for_good(seen: list[tuple[int, float]]) -> None:
    brake, now = Brake(), 1000.0
    since: dict[str, float] = {}
    for bad, seconds in seen:
        now += seconds
        since = {f"i{number}": since.get(f"i{number}", now) for number in range(bad)}
        held, brake = brake.holds, judge(brake, since, 12, now)
        assert not (held and bad > 2 and not brake.holds), "let go while many are bad"
        assert brake.holds or bad < 3 or len([at for at in since.values() if now - at <= 60.0]) < 3
    for _ in range(3):
        now += 30.0
        brake = judge(brake, {}, 12, now)
    assert brake == Brake()


# --- the registry ----------------------------------------------------------------------------------------------------

registration = st.builds(
    Registration,
    id=st.just(""),
    service=st.sampled_from(["shop", "cart"]),
    address=st.just("10.0.0.1"),
    port=st.integers(1, 2),
    out_of_service=st.sampled_from(["", registrations.DRAINING, registrations.FAILING]),
)
registered = st.dictionaries(st.sampled_from(NAMES), registration, max_size=3).map(
    lambda found: {name: msgspec.structs.replace(one, id=name) for name, one in found.items()}
)


def carried_out(held: dict[str, Registration], steps: Steps) -> dict[str, Registration]:
    after = held | {one.key: one for one in steps.register}
    gone = {one.key for one in steps.deregister}
    return {key: one for key, one in after.items() if key not in gone}


@given(registered, st.lists(registered, min_size=1, max_size=4), expander)
def test_the_registry_ends_with_what_is_wanted_and_marks_before_it_adds(
    held: dict[str, Registration], states: list[dict[str, Registration]], how: str
) -> None:
    for wanted in EXPANDERS[how](states):
        steps = registrations.steps(wanted, held)  # type: ignore[arg-type]
        marks = [bool(one.out_of_service) for one in steps.register]
        assert marks == sorted(marks, reverse=True)
        held = carried_out(held, steps)
        assert registrations.steps(wanted, held) == Steps()  # type: ignore[arg-type]
    in_service = {name: one for name, one in states[-1].items() if not one.out_of_service}
    assert {name: one for name, one in held.items() if not one.out_of_service} == in_service


@pytest.mark.parametrize("name", sorted(EXPANDERS))
def test_expanders_end_where_they_were_given_to_end(name: str) -> None:
    assert EXPANDERS[name]([1, 2, 3])[-1] == 3
    assert EXPANDERS[name]([1]) in ([1], [1, 1])
    assert expanders.reverse([1, 2, 3]) == [1, 2, 3, 2, 1, 2, 3]
    assert expanders.split([1, 3], lambda before, after: range(before + 1, after)) == [1, 2, 3]
