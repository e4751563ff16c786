"""Which providers a call may go to and which of them gets it, as Dubbo's consumers decide it."""

import hashlib
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions import dubbo_balance as balance
from coldchain.decisions.dubbo import alike, announced, effective, fits, merged, routed
from coldchain.documents.dubbo_rules import condition_rule
from coldchain.model.dubbo import Configurator, Consumer, Export, Process, Provided, Provider

EXPORT = Export(interface="a.B", group="g", version="1")
ME = Consumer(host="10.0.0.9", application="shop", parameters={"zone": "east"})
NOW = 1_600_000_000.0


def provider(host: str, port: int = 20880, **parameters: str) -> Provider:
    return Provider(interface="a.B", host=host, port=port, parameters={"group": "g", "version": "1"} | parameters)


def override(**fields: Any) -> Configurator:
    return msgspec.structs.replace(Configurator(export=EXPORT, parameters={"disabled": "true"}), **fields)


ONE, TWO = provider("10.0.0.1"), provider("10.0.0.2")


@pytest.mark.parametrize(
    ("wanted", "fit"),
    [
        (EXPORT, True),
        (Export(interface="a.B"), False),
        (Export(interface="a.C", group="g", version="1"), False),
        (Export(interface="a.B", group="*", version="*"), True),
        (Export(interface="a.B", group="f,g", version="1"), True),
        (Export(interface="a.B", group="f", version="1"), False),
        (Export(interface="a.B", group="g", version="2"), False),
    ],
)
def test_group_and_version_tell_providers_apart(wanted: Export, fit: bool) -> None:
    assert fits(wanted, EXPORT) is fit


@pytest.mark.parametrize(
    ("configurator", "left"),
    [
        (override(host="10.0.0.1", port=20880), ["10.0.0.2"]),
        (override(host="10.0.0.1", port=20881), ["10.0.0.1", "10.0.0.2"]),
        (override(host="10.0.0.1", port=20880, enabled=False), ["10.0.0.1", "10.0.0.2"]),
        (override(), []),
        (override(host="10.0.0.9"), []),
        (override(host="10.0.0.8"), ["10.0.0.1", "10.0.0.2"]),
        (override(application="shop"), []),
        (override(application="other"), ["10.0.0.1", "10.0.0.2"]),
        (override(side="consumer"), []),
        (override(side="provider"), ["10.0.0.1", "10.0.0.2"]),
        (override(addresses=("10.0.0.2:20880",)), ["10.0.0.1"]),
        (override(addresses=("0.0.0.0",)), []),
        (override(conditions={"zone": "west"}), ["10.0.0.1", "10.0.0.2"]),
        (override(conditions={"group": "g"}), []),
        (override(export=Export(interface="a.B")), ["10.0.0.1", "10.0.0.2"]),
        (override(export=Export(interface="*")), []),
        (override(export=Export(interface="a.C", group="g", version="1")), ["10.0.0.1", "10.0.0.2"]),
    ],
)
def test_whom_a_configurator_means(configurator: Configurator, left: list[str]) -> None:
    assert [one.host for one in effective((ONE, TWO), [configurator], EXPORT, ME)] == left


def test_what_is_more_particular_is_said_last_and_absent_is_said_where_nobody_did() -> None:
    configurators = [
        override(host="10.0.0.1", port=20880, parameters={"weight": "1"}),
        override(parameters={"weight": "2"}, priority=2),
        override(parameters={"weight": "3", "timeout": "3"}, priority=1),
        override(parameters={"timeout": "4", "retries": "4"}, priority=3, absent=True),
    ]
    found = effective((ONE, TWO), configurators, EXPORT, ME)
    assert [one.weight for one in found] == [1, 2]
    assert [(one.parameters["timeout"], one.parameters["retries"]) for one in found] == [("3", "4")] * 2
    assert ONE.weight == 100


def test_a_provider_that_switched_itself_off_can_be_switched_on() -> None:
    off = provider("10.0.0.3", disabled="true")
    assert effective((off,), (), EXPORT, ME) == ()
    assert effective((provider("10.0.0.3", enabled="false"),), (), EXPORT, ME) == ()
    assert effective((off,), [override(parameters={"disabled": "false"})], EXPORT, ME) != ()


@pytest.mark.parametrize(
    ("rule", "force", "method", "left"),
    [
        ("host = 10.0.0.* => host = 10.0.0.1", False, "", ["10.0.0.1"]),
        ("host = 10.0.1.* => host = 10.0.0.1", False, "", ["10.0.0.1", "10.0.0.2"]),
        ("host != 10.0.0.9 => host = 10.0.0.1", False, "", ["10.0.0.1", "10.0.0.2"]),
        ("=> host = 10.0.0.7", False, "", ["10.0.0.1", "10.0.0.2"]),
        ("=> host = 10.0.0.7", True, "", []),
        ("application = shop => false", False, "", []),
        ("method = get* => address = 10.0.0.2:20880", False, "getAll", ["10.0.0.2"]),
        ("method = get* => address = 10.0.0.2:20880", False, "add", ["10.0.0.1", "10.0.0.2"]),
        ("method = get* => address = 10.0.0.2:20880", False, "", ["10.0.0.1", "10.0.0.2"]),
        ("=> zone = $zone", False, "", ["10.0.0.2"]),
        ("=> host != 10.0.0.2", False, "", ["10.0.0.1"]),
        ("=> port = 20880 & zone != west", False, "", ["10.0.0.1", "10.0.0.2"]),
        ("zone = east,west & zone != west => host = 10.0.0.2", False, "", ["10.0.0.2"]),
    ],
)
def test_routers(rule: str, force: bool, method: str, left: list[str]) -> None:
    providers = (ONE, provider("10.0.0.2", zone="east"))
    found = routed(providers, [condition_rule(rule, force=force)], ME, method)
    assert [one.host for one in found] == left


def test_each_router_works_on_what_those_before_it_left() -> None:
    first, second = condition_rule("=> host = 10.0.0.1", priority=1), condition_rule("=> host = 10.0.0.2", priority=2)
    assert [one.host for one in routed((ONE, TWO), [second, first], ME)] == ["10.0.0.1"]


@given(st.text("ab*", max_size=4), st.text("ab", max_size=4))
def test_a_pattern_with_one_star_is_what_everybody_takes_it_for(pattern: str, value: str) -> None:
    if pattern.count("*") <= 1:
        before, star, after = pattern.partition("*")
        parts = (value[:cut] for cut in range(len(value) + 1)) if star else ()
        expected = value == pattern or any(
            part.startswith(before) and before == part[: len(before)] and value[len(before) :].endswith(after)
            for part in parts
        )
        expected = expected and (not star or len(value) >= len(before) + len(after))
        assert alike(pattern, value, {}) is (expected and (bool(value) or pattern in ("", "*")))


def test_who_announces_himself_as_a_process_is_a_provider_of_what_its_metadata_name() -> None:
    process = Process(application="basket", host="10.0.0.1", ports={"dubbo": 20880, "tri": 50051})
    said = {"group": "g", "version": "1", "weight": "7"}
    metadata = (
        Provided(interface="a.B", parameters=said),
        Provided(interface="a.B", protocol="tri", port=1, parameters=said),
        Provided(interface="a.B", protocol="rest"),
        Provided(interface="a.C"),
    )
    found = announced(process, "a.B", metadata)
    assert [(one.address, one.protocol, one.application) for one in found] == [
        ("10.0.0.1:20880", "dubbo", "basket"),
        ("10.0.0.1:1", "tri", "basket"),
    ]
    assert [one.weight for one in merged((ONE, TWO), found) if one.host == "10.0.0.1"] == [7, 100]


# Who of them gets the call

WEIGHTED = st.lists(st.integers(0, 200), min_size=1, max_size=6).map(
    lambda weights: [provider(f"10.0.1.{index}", weight=str(weight)) for index, weight in enumerate(weights)]
)


def weights_of(providers: list[Provider]) -> list[int]:
    return [one.weight for one in providers]


@given(WEIGHTED, st.floats(0, 1, exclude_max=True))
def test_chance_gives_each_its_share_and_nothing_to_who_has_no_weight(providers: list[Provider], draw: float) -> None:
    weights = weights_of(providers)
    chosen = providers.index(balance.at_random(providers, weights, draw))
    if sum(weights):
        assert weights[chosen] > 0
        place = draw * sum(weights)
        assert sum(weights[:chosen]) <= place + 1e-6
        assert place < sum(weights[: chosen + 1]) + 1e-6
    else:
        assert chosen == int(draw * len(providers))


@given(WEIGHTED)
def test_in_turn_each_gets_exactly_its_weight_in_each_round_and_is_never_a_whole_call_ahead(
    providers: list[Provider],
) -> None:
    weights = weights_of(providers)
    shares = weights if any(weights) else [1] * len(weights)
    turns: dict[str, int] = {}
    counted = [0] * len(shares)
    for calls in range(1, sum(shares) + 1):
        chosen, turns = balance.in_turn(turns, providers, weights)
        index = providers.index(chosen)
        counted[index] += 1
        assert (counted[index] - 1) * sum(shares) < calls * shares[index]
    assert counted == shares
    assert not any(turns.values())


@given(WEIGHTED, st.data())
def test_the_least_busy_gets_the_call(providers: list[Provider], data: st.DataObject) -> None:
    active = {one.address: data.draw(st.integers(0, 3)) for one in providers}
    chosen = balance.least_active(
        active, providers, weights_of(providers), data.draw(st.floats(0, 1, exclude_max=True))
    )
    assert active[chosen.address] == min(active.values())
    among = [one for one in providers if active[one.address] == active[chosen.address]]
    assert chosen.weight or not any(one.weight for one in among)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=20), st.integers(2, 6), st.data())
def test_who_comes_or_goes_moves_only_his_own_on_the_ring(keys: list[str], count: int, data: st.DataObject) -> None:
    providers = [provider(f"10.0.1.{index}") for index in range(count)]
    gone = data.draw(st.sampled_from(providers))
    whole = balance.Ring(providers)
    left = balance.Ring([one for one in reversed(providers) if one is not gone])
    for key in keys:
        before, after = whole.provider(key), left.provider(key)
        assert after == before or before == gone


def test_the_ring_is_dubbos() -> None:
    """Each MD5 of address and number gives four places, the low byte first; a key goes to the next place."""
    providers = [ONE, TWO]
    places = {}
    for one in providers:
        for turn in range(40):
            digest = hashlib.md5(f"{one.address}{turn}".encode()).digest()
            for part in range(4):
                places[sum(digest[part * 4 + byte] << 8 * byte for byte in range(4))] = one
    assert len(places) == 320
    for key in map(str, range(200)):
        digest = hashlib.md5(key.encode()).digest()
        number = digest[3] << 24 | digest[2] << 16 | digest[1] << 8 | digest[0]
        following = [place for place in places if place >= number]
        assert balance.Ring(providers).provider(key) == places[min(following or places)]
    counted = Counter(balance.Ring(providers).provider(str(key)).host for key in range(2000))
    assert min(counted.values()) > 600


@pytest.mark.parametrize(
    ("up_seconds", "weight"),
    [(-5, 1), (0, 1), (1, 1), (30, 50), (59.9, 99), (60, 100), (1e6, 100)],
)
def test_who_has_just_started_is_given_less(up_seconds: float, weight: int) -> None:
    one = provider("10.0.0.1", timestamp=str(round((NOW - up_seconds) * 1000)), warmup="60000")
    assert balance.weight(one, "", NOW) == weight


def test_a_method_may_have_a_weight_of_its_own_and_none_is_none() -> None:
    one = provider("10.0.0.1", **{"weight": "9", "add.weight": "0", "timestamp": str(round(NOW * 1000))})
    assert balance.weight(one, "add", NOW + 5) == 0
    assert balance.weight(one, "get", NOW + 900) == 9


@given(WEIGHTED, st.sampled_from(["random", "roundrobin", "leastactive", "consistenthash"]), st.data())
def test_every_rule_chooses_one_of_them(providers: list[Provider], rule: balance.Balance, data: st.DataObject) -> None:
    draw = data.draw(st.floats(0, 1, exclude_max=True))
    chosen, turns = balance.choose(rule, providers, method="m", now=NOW, draw=draw, key="k")
    assert chosen in providers
    assert bool(turns) is (rule == "roundrobin")
