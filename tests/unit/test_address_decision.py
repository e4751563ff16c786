"""Addresses and host ports: never one twice, and the one that was free longest first."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.address import next_address, next_ports


@given(st.integers(24, 30), st.data())
def test_an_address_is_free_usable_and_found_if_there_is_one(prefix: int, data: st.DataObject) -> None:
    network = ipaddress.ip_network(f"10.1.2.0/{prefix}")
    usable = [str(one) for one in list(network.hosts())[1:]]
    taken = data.draw(st.sets(st.sampled_from(usable))) if usable else set()
    last = data.draw(st.none() | st.sampled_from(usable)) if usable else None
    found = next_address(str(network), taken, last)
    if found is None:
        assert taken == set(usable)
    else:
        assert found in set(usable) - taken


def test_addresses_go_round() -> None:
    given_out: list[str] = []
    last = None
    for _ in range(5):
        last = next_address("10.0.0.0/29", (), last)
        given_out.append(str(last))
    assert given_out == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    assert next_address("10.0.0.0/29", (), last) == "10.0.0.2"
    assert next_address("10.0.0.0/29", (), "192.168.0.9") == "10.0.0.2"
    assert next_address("10.0.0.0/31", (), None) is None


wanted = st.lists(st.none() | st.just(0) | st.integers(31000, 31012), max_size=5)


@given(wanted, st.sets(st.integers(31000, 31012)), st.integers(30990, 31020))
def test_ports_are_free_and_distinct(asked: list[int | None], taken: set[int], last: int) -> None:
    found = next_ports([(31000, 31004), (31008, 31009)], asked, taken, last)
    if found is None:
        return
    assert len(found) == len(asked)
    numbers = [number for number in found if number]
    assert len(set(numbers)) == len(numbers)
    assert not set(numbers) & taken
    for question, number in zip(asked, found, strict=True):
        assert number == question if question else (number == 0) == (question is None)


def test_ports_go_round_and_fixed_ones_are_exact() -> None:
    assert next_ports([(31000, 31002)], [0, None, 0], {31001}, 31000) == (31002, 0, 31000)
    assert next_ports([(31000, 31002)], [8080], (), 0) == (8080,)
    assert next_ports([(31000, 31002)], [8080], {8080}, 0) is None
    assert next_ports([(31000, 31000)], [0, 0], (), 0) is None


def test_a_fixed_port_is_not_taken_by_one_chosen_before_it() -> None:
    assert next_ports([(31000, 31002)], [0, 31000], (), 0) == (31001, 31000)


def test_the_address_before_may_be_a_name() -> None:
    assert next_address("10.0.0.0/29", (), "agent-1") == "10.0.0.2"
