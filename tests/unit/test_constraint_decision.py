"""Marathon's constraints against plain references: each operator, the order of a scale-down, and whole placements."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.decisions.constraint import Neighbours, first_to_leave, scalar_text, values_of
from coldchain.decisions.deployment import step
from coldchain.decisions.placement import Waiting, place
from coldchain.model.app import App
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer
from coldchain.testing.constraints import allows

RACKS = ("r1", "r2", "r3", "s1")


def app(*constraints: Sequence[str], instances: int = 3, **fields: object) -> App:
    given_fields = {"mem": 10.0, "cpus": 0.1, "constraints": tuple(tuple(one) for one in constraints)} | fields
    return App(id="/shop", cmd="run", instances=instances, **given_fields)  # type: ignore[arg-type]


def agent(name: str, mem: float = 1000.0, **attributes: str) -> Offer:
    region, zone = attributes.pop("region", None), attributes.pop("zone", None)
    return Offer(
        agent=name,
        target="cluster",
        hostname=f"host-{name}",
        cpus=64.0,
        mem=mem,
        disk=10.0,
        attributes=attributes,
        region=region,
        zone=zone,
    )


def instance(number: int, agent_name: str | None = None, version: str = "1", **values: str) -> Instance:
    return Instance(
        id=f"{number:03}",
        app_id="/shop",
        version_id=version,
        target="cluster",
        task_id=f"t{number}",
        phase="serving" if agent_name else "scheduled",
        since=0.0,
        created_at=float(number),
        agent=agent_name,
        constraint_values=values,
    )


operators = st.one_of(
    st.just(("UNIQUE", None)),
    st.tuples(st.just("CLUSTER"), st.sampled_from([None, *RACKS])),
    st.tuples(st.sampled_from(["LIKE", "UNLIKE"]), st.sampled_from(["r[12]", "r", "r.*|s1", "[^r]*", ".*1"])),
    st.tuples(st.just("IS"), st.sampled_from(RACKS)),
    st.tuples(st.just("MAX_PER"), st.sampled_from(["1", "2", "3"])),
    st.tuples(st.just("GROUP_BY"), st.sampled_from([None, "1", "2", "3", "4"])),
)
fields = st.sampled_from(["hostname", "@hostname", "@region", "@zone", "rack"])


@settings(max_examples=500)
@given(
    operators,
    fields,
    st.none() | st.sampled_from(RACKS),
    st.lists(st.sampled_from(RACKS), max_size=8),
    st.integers(1, 9),
)
def test_every_operator_is_marathons(
    constraint: tuple[str, str | None], field: str, offered: str | None, placed: list[str], wanted: int
) -> None:
    operator, value = constraint
    offer = agent("a")
    if field in ("hostname", "@hostname"):
        offer = msgspec.structs.replace(offer, hostname=offered or "r9")
        offered = offer.hostname
    elif field == "rack":
        offer = msgspec.structs.replace(offer, attributes={"rack": offered} if offered else {})
    else:
        offer = msgspec.structs.replace(offer, **{field[1:]: offered})
    one = app([field, operator, *([value] if value else [])], instances=wanted)
    neighbours = Neighbours(one, [instance(n, "x", **{field: rack}) for n, rack in enumerate(placed)])
    allowed = not neighbours.excluded_by(values_of(one, offer))
    assert allowed == allows(operator, value, offered, placed, wanted)


@pytest.mark.parametrize(
    ("groups", "placed", "offered", "allowed"),
    [
        ("2", "", "r1", True),
        ("2", "r1 r1", "r1", True),  # one of five is left over: one group may have it
        ("2", "r1 r1 r1", "r1", False),
        ("2", "r1 r1 r1 r2", "r2", True),
        ("2", "r1 r1 r1 r2 r2", "r2", False),
        ("2", "r1 r2", "r3", False),
        ("4", "r1 r1", "r1", False),
        ("4", "r1 r1 r2", "r2", False),
        ("4", "r1 r1 r2", "r3", True),
    ],
)
def test_groups_get_even_shares_of_five(groups: str, placed: str, offered: str, allowed: bool) -> None:
    others = [instance(n, "x", rack=rack) for n, rack in enumerate(placed.split())]
    neighbours = Neighbours(app(["rack", "GROUP_BY", groups], instances=5), others)
    assert (not neighbours.excluded_by({"rack": offered})) == allowed


@pytest.mark.parametrize(
    ("text", "compared"),
    # 1.0005 lies a little below, 1.1005 a little above what is written; Marathon's documentation names these.
    [
        ("0.80", "0.8"),
        ("7", "7"),
        ("7.0", "7"),
        ("1.0005", "1"),
        ("1.00051", "1.001"),
        ("1.1005", "1.101"),
        ("v1.0", "v1.0"),
    ],
)
def test_numbers_are_compared_to_three_decimals(text: str, compared: str) -> None:
    assert scalar_text(text) == compared
    neighbours = Neighbours(app(["level", "IS", text]), [])
    assert not neighbours.excluded_by({"level": compared})


@given(
    st.lists(st.tuples(operators, st.sampled_from(["hostname", "rack", "@zone"])), max_size=2),
    st.lists(st.tuples(st.sampled_from(RACKS), st.sampled_from(["z1", "z2"])), min_size=1, max_size=6),
    st.integers(1, 8),
)
def test_what_is_placed_was_allowed_and_what_is_refused_was_not(
    given_constraints: list[tuple[tuple[str, str | None], str]], described: list[tuple[str, str]], count: int
) -> None:
    named = [(field, *[part for part in constraint if part is not None]) for constraint, field in given_constraints]
    offers = [agent(f"{n}", rack=rack, zone=zone) for n, (rack, zone) in enumerate(described)]
    one = app(*named, instances=count)
    placed, refused = place([Waiting(instance=instance(n), app=one) for n in range(count)], offers, [])
    assert len(placed) + len(refused) == count
    before: list[Offer] = []

    def allowed(offer: Offer) -> bool:
        return all(
            allows(
                operator,
                value,
                values_of(one, offer).get(field),
                [values_of(one, there)[field] for there in before if field in values_of(one, there)],
                count,
            )
            for (operator, value), field in given_constraints
        )

    for found in placed:
        offer = next(offer for offer in offers if offer.agent == found.agent)
        assert allowed(offer)
        assert found.constraint_values == values_of(one, offer)
        before.append(offer)
    for why in refused:
        assert not any(allowed(offer) for offer in offers)
        assert why.reasons == why.sifted == {"UnfulfilledConstraint": len(offers)}
        assert sum(why.constraints.values()) >= len(offers)


def test_who_leaves_soon_and_who_is_of_an_older_version_is_in_nobodys_way() -> None:
    offers = [agent("a"), agent("b")]
    unique = app(["hostname", "UNIQUE"], instances=2)
    old = [(instance(n, name, "0", hostname=f"host-{name}"), unique) for n, name in enumerate("ab")]
    waiting = [Waiting(instance=instance(n), app=unique) for n in (2, 3)]
    placed, refused = place(waiting, offers, old)
    assert ({one.agent for one in placed}, refused) == ({"a", "b"}, [])
    new = [(instance(n, name, hostname=f"host-{name}"), unique) for n, name in enumerate("ab")]
    [third] = [Waiting(instance=instance(4), app=unique)]
    _, [refusal] = place([third], offers, new)
    assert str(refusal) == "it fits none of 2 agents: a constraint of the app on 2 (hostname UNIQUE: 2)"
    [beside], _ = place([msgspec.structs.replace(third, instead_of=("000",))], offers, new)
    assert beside.agent == "a"


def test_an_agent_that_is_away_is_not_forgotten() -> None:
    held = [(instance(1, "gone", rack="r1"), app(["rack", "UNIQUE"]))]
    offers = [agent("a", rack="r1"), agent("b", rack="r2")]
    placed, _ = place([Waiting(instance=instance(2), app=app(["rack", "UNIQUE"]))], offers, held)
    assert [one.agent for one in placed] == ["b"]


def test_each_agent_is_counted_by_every_constraint_that_excludes_it() -> None:
    offers = [agent("a", rack="r1"), agent("b", mem=1.0, rack="r2"), agent("c")]
    one = app(["rack", "LIKE", "r[3-5]"], ["rack", "CLUSTER", "r1"])
    _, [refused] = place([Waiting(instance=instance(1), app=one)], offers, [])
    assert refused.reasons == {"UnfulfilledConstraint": 3, "InsufficientMemory": 1}
    assert refused.sifted == {"UnfulfilledConstraint": 3}
    assert refused.constraints == {"rack LIKE r[3-5]": 3, "rack CLUSTER r1": 2}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(1, 9))
def test_without_a_constraint_instances_go_where_fewest_of_their_app_are(there: list[int], count: int) -> None:
    offers = [agent(f"{n}", mem=1000.0 + 500 * n) for n in range(len(there))]
    held = [(instance(10 * n + k, f"{n}"), app()) for n, many in enumerate(there) for k in range(many)]
    placed, _ = place([Waiting(instance=instance(100 + n), app=app()) for n in range(count)], offers, held)
    counts = list(there)
    for one in placed:
        assert counts[int(one.agent)] == min(counts)
        counts[int(one.agent)] += 1


def test_a_rollout_ends_spread_although_the_old_version_was_not() -> None:
    offers = [agent("a"), agent("b")]
    old = [(instance(n, "a", "0"), app()) for n in range(2)]
    placed, _ = place([Waiting(instance=instance(n), app=app()) for n in (2, 3)], offers, old)
    assert sorted(one.agent for one in placed) == ["a", "b"]


def test_group_by_without_a_number_spreads_and_does_not_wait_for_a_full_group() -> None:
    offers = [agent("a", rack="r1"), agent("b", rack="r1"), agent("c", mem=25.0, rack="r2")]
    spread = app(["rack", "GROUP_BY"], instances=6)
    placed, refused = place([Waiting(instance=instance(n), app=spread) for n in range(6)], offers, [])
    assert refused == []
    assert Counter(one.constraint_values["rack"] for one in placed) == {"r1": 4, "r2": 2}
    assert Counter(one.agent for one in placed) == {"a": 2, "b": 2, "c": 2}


def even_reference(groups: list[list[str]], instances: list[str], count: int) -> list[str]:
    """Marathon's choice of who leaves, by plain words: one after the other, whoever makes every grouping more even, or
    leaves a difference of one at most; from the fullest group of the most uneven grouping where there is one."""

    def sizes(group: list[str], gone: list[str]) -> dict[str, int]:
        left = Counter(value for name, value in zip(instances, group, strict=True) if name not in gone)
        return {value: left[value] for value in group}

    def difference(group: list[str], gone: list[str]) -> int:
        return max(sizes(group, gone).values()) - min(sizes(group, gone).values())

    gone: list[str] = []
    while len(gone) < count and groups:
        candidates: list[str] = []
        for group in sorted(groups, key=lambda one: -difference(one, gone)):
            if difference(group, gone):
                known = sizes(group, gone)
                full = [value for value in known if known[value] == max(known.values())]
                candidates += [n for n, v in zip(instances, group, strict=True) if v in full and n not in gone]
        candidates += [name for name in instances if name not in gone]
        fitting = [
            name
            for name in candidates
            if all(
                difference(group, [*gone, name]) <= 1 or difference(group, [*gone, name]) < difference(group, [])
                for group in groups
            )
        ]
        if not fitting:
            break
        gone.append(fitting[0])
    return gone


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=12), st.data())
def test_a_scale_down_keeps_groups_even_as_marathon_does(places: list[tuple[str, str]], data: st.DataObject) -> None:
    named = data.draw(st.sampled_from([[], ["rack"], ["zone"], ["rack", "zone"], ["zone", "rack"]]))
    count = data.draw(st.integers(0, len(places)))
    instances = [instance(n, "x", rack=rack, zone=zone) for n, (rack, zone) in enumerate(places)]
    chosen = first_to_leave([(field, "GROUP_BY") for field in named], instances, count)
    groups = [[one.constraint_values[field] for one in instances] for field in named]
    assert [one.id for one in chosen] == even_reference(groups, [one.id for one in instances], count)


phases = st.sampled_from(["scheduled", "launching", "starting", "entering", "serving", "serving"])


@given(
    st.lists(st.tuples(phases, st.sampled_from("abc"), st.booleans(), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 8),
    st.sampled_from(["YOUNGEST_FIRST", "OLDEST_FIRST"]),
    st.booleans(),
)
def test_the_order_of_a_scale_down(
    seen: list[tuple[str, str, bool, bool]], wanted: int, selection: str, grouped: bool
) -> None:
    """Who was asked to leave, who has no place, who makes the groups more even, who does not serve (well), and then by
    age; of these so many as are too many, but for those that are needed."""
    instances = [
        msgspec.structs.replace(
            instance(n, None if phase == "scheduled" else "x", rack=rack),
            phase=phase,
        )
        for n, (phase, rack, *_) in enumerate(seen)
    ]
    wishes = {one.id: "asked" for one, (_, _, asked, _) in zip(instances, seen, strict=True) if asked}
    unhealthy = [one.id for one, (*_, sick) in zip(instances, seen, strict=True) if sick and one.in_rotation]
    constraints = [("rack", "GROUP_BY")] if grouped else []
    one_app = app(*constraints, instances=wanted, kill_selection=selection)
    found = step(one_app, "1", instances, unhealthy=unhealthy, condemned=[], asked=wishes, replacing=False)

    age = 1 if selection == "OLDEST_FIRST" else -1
    serving = sum(one.in_rotation for one in instances)
    well = sum(one.in_rotation and one.id not in unhealthy for one in instances)
    gone: list[str] = []

    def let_go(order: list[Instance], most: int) -> None:
        nonlocal serving, well
        left = most
        for one in order:
            healthy = one.id not in unhealthy
            needed = one.in_rotation and (serving <= wanted or (healthy and well <= wanted))
            if not left or needed:
                continue
            serving -= one.in_rotation
            well -= one.in_rotation and healthy
            gone.append(one.id)
            left -= 1

    asked = [one for one in instances if one.id in wishes]
    let_go(sorted(asked, key=lambda one: (one.in_rotation, one.created_at)), len(asked))
    good = [one for one in instances if one.id not in wishes]
    good.sort(key=lambda one: (one.in_rotation, one.id not in unhealthy, age * one.created_at))
    too_many = max(0, len(good) - wanted)
    nowhere = [one for one in good if one.agent is None]
    placed = [one for one in good if one.agent is not None]
    groups = [[one.constraint_values["rack"] for one in placed]] if grouped and placed else []
    even = even_reference(groups, [one.id for one in placed], max(0, too_many - len(nowhere)))
    order = nowhere + [one for name in even for one in placed if one.id == name]
    let_go(order + [one for one in placed if one.id not in even], too_many)
    assert [name for name, _ in found.leave] == gone


def test_who_stands_beside_too_many_leaves_first() -> None:
    unique = [("hostname", "UNIQUE"), ("hostname", "MAX_PER", "5")]
    instances = [instance(n, "x", hostname=host) for n, host in enumerate("abbc")]
    assert [one.id for one in first_to_leave(unique, instances, 2)] == ["001"]
    assert first_to_leave([("hostname", "MAX_PER", "2")], instances, 2) == []


@given(
    st.lists(st.tuples(st.sampled_from(["starting", "serving"]), st.sampled_from("abc")), min_size=1, max_size=9),
    st.integers(1, 6),
    st.sampled_from(["YOUNGEST_FIRST", "OLDEST_FIRST"]),
    st.sampled_from([(), ("a",)]),
)
def test_those_who_came_back_beside_a_cluster_leave_first_and_are_waited_for(
    seen: list[tuple[str, str]], wanted: int, selection: str, value: tuple[str, ...]
) -> None:
    """Where a rack was away and is back, beside others elsewhere: one group stays, whoever serves already, and never do
    fewer serve than are wanted, or did."""
    instances = [
        msgspec.structs.replace(instance(n, "x", rack=rack), phase=phase) for n, (phase, rack) in enumerate(seen)
    ]
    one_app = app(("rack", "CLUSTER", *value), instances=wanted, kill_selection=selection)
    before = sum(one.in_rotation for one in instances)
    for _ in range(len(instances) + 1):
        found = step(one_app, "1", instances, unhealthy=[], condemned=[], replacing=False)
        gone = {name for name, _ in found.leave}
        instances = [one for one in instances if one.id not in gone]
        assert sum(one.in_rotation for one in instances) >= min(wanted, before)
        instances = [msgspec.structs.replace(one, phase="serving") for one in instances]
        before = len(instances)
    assert len(instances) == min(wanted, len(seen))
    groups = Counter(rack for _, rack in seen)
    most = groups[value[0]] if value else max(groups.values())
    alike = Counter(one.constraint_values["rack"] for one in instances)
    assert (alike[value[0]] if value else max(alike.values())) == min(most, len(instances))


def test_of_two_groups_that_are_large_enough_the_one_that_serves_stays_and_then_the_older_one() -> None:
    def left(*seen: tuple[str, str]) -> set[str]:
        instances = [
            msgspec.structs.replace(instance(n, "x", rack=rack), phase=phase) for n, (phase, rack) in enumerate(seen)
        ]
        chosen = first_to_leave([("rack", "CLUSTER")], instances, len(seen) - 2)
        return {one.constraint_values["rack"] for one in instances if one not in chosen}

    old, new = [("serving", "a")] * 2, [("starting", "b")] * 3
    assert left(*old, *new) == {"a"}
    assert left(*new, *old) == {"a"}
    assert left(*[("serving", "b")] * 2, *old) == {"b"}
