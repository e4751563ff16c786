"""Rules of the registry: keys with compare-and-set and locks against a plain model, and what checks say together."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.catalog import Streak, aggregate, ended_sessions, expired, observe, renewed
from coldchain.decisions.key_value import Operation, carry_out, folded, released
from coldchain.decisions.registration import Belief, endpoints, seen, settled, steps
from coldchain.model.catalog import CatalogCheck, CatalogSession, KeyValue
from coldchain.model.health import ProbeResult
from coldchain.model.registration import Registration, ServiceEndpoint, Sighting

NAMES = ("a", "a/b", "a/c", "b")
VERBS = ("set", "cas", "lock", "unlock", "delete", "delete-tree", "delete-cas")
operations = st.builds(
    Operation,
    verb=st.sampled_from(VERBS),
    key=st.sampled_from(NAMES[:2]),
    value=st.binary(max_size=2),
    index=st.integers(0, 4),
    session=st.sampled_from(["s", "t"]),
)


class Model:
    """Consul's documentation of keys, in plain words: values, holders, and the index at which each was last written."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.holder: dict[str, str] = {}
        self.written: dict[str, int] = {}

    def allows(self, asked: Operation) -> bool:
        match asked.verb:
            case "cas":
                return asked.index == self.written.get(asked.key, 0)
            case "delete-cas":
                return asked.key not in self.values or asked.index == self.written[asked.key]
            case "lock":
                return self.holder.get(asked.key, asked.session) == asked.session
            case "unlock":
                return asked.key in self.values and self.holder.get(asked.key) == asked.session
        return True

    def change(self, asked: Operation, index: int) -> None:
        if asked.verb.startswith("delete"):
            tree = asked.verb == "delete-tree"
            for key in [key for key in self.values if key == asked.key or (tree and key.startswith(asked.key))]:
                del self.values[key], self.written[key]
                self.holder.pop(key, None)
            return
        self.values[asked.key], self.written[asked.key] = asked.value, index
        if asked.verb == "lock":
            self.holder[asked.key] = asked.session
        elif asked.verb == "unlock":
            del self.holder[asked.key]


@given(st.lists(operations, min_size=8, max_size=30))
def test_keys_are_what_a_plain_model_says(asked: list[Operation]) -> None:
    keys: dict[str, KeyValue] = {}
    model = Model()
    for index, operation in enumerate(asked, start=1):
        changed = carry_out(operation, keys, ())
        assert (changed is not None) == model.allows(operation)
        if changed is None:
            continue
        model.change(operation, index)
        for key, value in changed.items():
            if value is None:
                keys.pop(key, None)
            else:
                keys[key] = msgspec.structs.replace(value, modify_index=index)
        assert {key: one.value for key, one in keys.items()} == model.values
        assert {key: one.session for key, one in keys.items() if one.session} == model.holder


def test_who_lost_a_lock_may_not_take_it_at_once() -> None:
    asked = Operation(verb="lock", key="a", session="s")
    assert carry_out(asked, {}, ["a"]) is None
    assert carry_out(asked, {}, ["b"])


@given(st.sampled_from(["release", "delete"]), st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "s", "t"])))
def test_a_session_that_ends_lets_go_of_what_it_held_and_of_nothing_else(
    behavior: str, holders: dict[str, str]
) -> None:
    keys = {key: KeyValue(key=key, value=b"v", session=holder) for key, holder in holders.items()}
    changed = released(CatalogSession(id="s", behavior=behavior), keys)  # type: ignore[arg-type]
    assert set(changed) == {key for key, holder in holders.items() if holder == "s"}
    assert all(
        one is None if behavior == "delete" else one == KeyValue(key=key, value=b"v") for key, one in changed.items()
    )


@given(st.lists(st.text("ab/", max_size=5), unique=True).map(sorted), st.text("ab/", max_size=2))
def test_keys_are_folded_after_the_first_separator_behind_the_prefix(keys: list[str], prefix: str) -> None:
    below = [key for key in keys if key.startswith(prefix)]
    expected = []
    for key in below:
        head, separator, _ = key[len(prefix) :].partition("/")
        expected.append(prefix + head + separator)
    assert list(folded(below, prefix, "/")) == list(dict.fromkeys(expected))
    assert list(folded(below, prefix, "")) == below


checks = st.builds(
    CatalogCheck,
    id=st.just("c"),
    name=st.just("c"),
    kind=st.sampled_from(["ttl", "http", "maintenance"]),
    status=st.sampled_from(["passing", "warning", "critical"]),
    output=st.sampled_from(["", "fine", "TTL expired"]),
    success_before_passing=st.integers(0, 3),
    failures_before_critical=st.integers(0, 3),
)


@given(st.lists(checks, max_size=5), st.randoms(use_true_random=False))
def test_the_worst_check_counts_in_whatever_order(found: list[CatalogCheck], draw: object) -> None:
    said = aggregate(found)
    draw.shuffle(found)  # type: ignore[attr-defined]
    assert aggregate(found) == said == aggregate(found * 2)
    ranks = ["passing", "warning", "critical", "maintenance"]
    assert ranks.index(said) == max(
        (ranks.index("maintenance" if one.kind == "maintenance" else one.status) for one in found), default=0
    )


@given(checks, st.lists(st.sampled_from(["passed", "failed", "unknown"]), max_size=12))
def test_a_check_changes_after_as_many_answers_in_a_row_as_it_asks_for(check: CatalogCheck, answers: list[str]) -> None:
    status, streak = check.status, Streak()
    known = [one for one in answers if one != "unknown"]
    for outcome in answers:
        check, streak = observe(check, streak, ProbeResult(outcome=outcome))  # type: ignore[arg-type]
    row = 0
    for number, outcome in enumerate(known):
        row = row + 1 if number and known[number - 1] == outcome else 1
        if outcome == "passed" and row > check.success_before_passing:
            status = "passing"
        elif outcome == "failed" and row > check.failures_before_critical:
            status = "critical"
    assert check.status == status


@given(checks)
def test_what_expired_twice_says_so_once_and_a_new_definition_keeps_what_is_known(check: CatalogCheck) -> None:
    once = expired(check)
    assert once.status == "critical"
    assert expired(once) == once
    again = renewed(msgspec.structs.replace(check, status="critical", output="new"), check)
    assert (again.status, again.output) == (check.status, check.output)


@given(st.sets(st.sampled_from("xyz")), st.sets(st.sampled_from("xyz")), st.sets(st.sampled_from("xyz")))
def test_a_session_ends_with_any_check_that_it_names(named: set[str], critical: set[str], gone: set[str]) -> None:
    session = CatalogSession(id="s", node_checks=tuple(sorted(named)))
    assert bool(ended_sessions([session], critical, gone)) == bool(named & (critical | gone))


found_endpoints = st.lists(
    st.builds(
        ServiceEndpoint,
        id=st.text("abcdef", min_size=1, max_size=2),
        address=st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "web.internal"]),
        port=st.integers(0, 2),
        status=st.sampled_from(["passing", "warning", "critical", "maintenance"]),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)


@given(found_endpoints, st.randoms(use_true_random=False))
def test_endpoints_of_others_are_one_for_each_place_and_never_all_out(
    found: list[ServiceEndpoint], draw: object
) -> None:
    listed = endpoints(found)
    draw.shuffle(found)  # type: ignore[attr-defined]
    assert endpoints(found) == listed
    places = {(one.address, one.port) for one in found if one.port and one.address != "web.internal"}
    assert sorted((one.address, one.port) for one in listed) == sorted(places)
    able = {(one.address, one.port) for one in found if one.status != "maintenance"} & places
    weighted = [one for one in listed if one.weight]
    assert 2 * len(weighted) >= len(able)
    assert {(one.address, one.port) for one in weighted} <= able


# What is told, and what is believed


registrations = st.builds(
    Registration,
    id=st.sampled_from(["a", "b", "c"]),
    service=st.just("shop"),
    address=st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    port=st.just(80),
    out_of_service=st.sampled_from(["", "draining", "its probes fail"]),
    place=st.sampled_from(["", "consul"]),
)
by_key = st.lists(registrations).map(lambda found: {one.key: one for one in found})


@given(by_key, by_key, st.sets(st.sampled_from(["a", "b@consul", "c"])))
def test_what_is_told_brings_the_registry_to_what_it_shall_have(
    wanted: dict[str, Registration], held: dict[str, Registration], served: set[str]
) -> None:
    told = steps(wanted, held, served)
    after = dict(held)
    for one in (*told.register, *told.recover):
        after[one.key] = one
    for one in told.deregister:
        assert one.key not in wanted
        del after[one.key]
    assert all(settled(one, after.get(key), served=key in served) for key, one in wanted.items())
    assert after.keys() <= wanted.keys()
    assert steps(wanted, after, served).register == steps(wanted, after, served).recover == ()
    marks = [bool(one.out_of_service) for one in told.register]
    assert marks == sorted(marks, reverse=True)
    assert not any(one.out_of_service for one in told.recover)  # somebody waits for a mark


def test_who_served_is_not_gone_because_a_listing_lacks_him() -> None:
    marked = Registration(id="a", service="shop", address="10.0.0.1", port=80, out_of_service="draining")
    assert settled(marked, None)
    assert not settled(marked, None, served=True)
    assert steps({"a": marked}, {}, {"a"}).register == (marked,)


outsiders = st.lists(st.sampled_from("abcde"), unique=True).map(
    lambda ids: tuple(ServiceEndpoint(id=one, address="10.0.0.1", port=80, status="passing") for one in sorted(ids))
)


@given(outsiders, st.lists(st.builds(Sighting, endpoints=outsiders, certain=st.booleans()), min_size=1))
def test_who_is_missing_is_gone_only_when_that_is_certain(
    known: tuple[ServiceEndpoint, ...], sightings: list[Sighting]
) -> None:
    belief = Belief(listed=known)
    for sighting in sightings:
        before, belief = belief, seen(belief, sighting)
        assert belief.listed == sighting.endpoints
        assert set(belief.doubted).isdisjoint(belief.listed)
        gone = {one.id for one in before.endpoints} - {one.id for one in belief.endpoints}
        # Certain is only what became of those whom the sighting before had.
        assert gone <= ({one.id for one in before.listed} if sighting.certain else set())
        if sighting.certain:
            assert {one.id for one in belief.doubted} <= {one.id for one in before.doubted}
