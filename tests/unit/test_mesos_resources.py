"""Mesos's lists of resources as amounts, and back."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.clients.mesos.events import Resource
from coldchain.engines.mesos.resources import Amounts, documents, joined, pools_of, single, without

PORTS = st.sets(st.integers(1, 40))


def scalar(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, "role": "*", **more}


def read(*resources: dict[str, Any]) -> dict[str, Amounts]:
    return {role: pool.amounts for role, pool in pools_of(msgspec.convert(resources, list[Resource])).items()}


def test_what_is_reserved_stands_apart() -> None:
    reserved = {"reservations": [{"type": "STATIC", "role": "shop"}]}
    assert read(scalar("cpus", 2.0), scalar("cpus", 1.0, **reserved), scalar("mem", 64.0, **reserved)) == {
        "*": Amounts(cpus=2.0),
        "shop": Amounts(cpus=1.0, mem=64.0),
    }


@pytest.mark.parametrize(
    "more",
    [
        {"revocable": {}},
        {"shared": {}},
        {"provider_id": {"value": "p"}},
        {"disk": {"persistence": {"id": "volume"}}},
    ],
)
def test_what_is_not_simply_free_is_left(more: dict[str, Any]) -> None:
    assert read(scalar("disk", 100.0, **more), scalar("disk", 5.0)) == {"*": Amounts(disk=5.0)}


def test_reservations_go_back_in_mesos_own_words() -> None:
    words = [{"type": "DYNAMIC", "role": "shop", "principal": "p", "labels": {"labels": [{"key": "k"}]}}]
    pool = pools_of(msgspec.convert([scalar("cpus", 1.0, reservations=words)], list[Resource]))["shop"]
    (made,) = documents(Amounts(cpus=0.5), "shop", pool.reservations)
    assert made == {
        "name": "cpus",
        "type": "SCALAR",
        "scalar": {"value": 0.5},
        "reservations": words,
        "allocation_info": {"role": "shop"},  # their word
    }


@given(PORTS, PORTS)
def test_ranges_are_sets_of_ports(one: set[int], other: set[int]) -> None:
    def ports(ranges: tuple[tuple[int, int], ...]) -> set[int]:
        return {port for begin, end in ranges for port in range(begin, end + 1)}

    assert ports(single(one)) == one
    assert ports(joined((*single(one), *single(other)))) == one | other
    assert ports(without(single(one), single(other))) == one - other
    assert Amounts(ports=single(one)).covers(Amounts(ports=single(other))) == (other <= one)
    assert single(one) == joined(single(one))


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_thousandths_add_up_exactly(one: int, other: int) -> None:
    both = Amounts(cpus=one / 1000).plus(Amounts(cpus=other / 1000))
    assert both.minus(Amounts(cpus=other / 1000)) == Amounts(cpus=one / 1000)
    assert both.covers(Amounts(cpus=(one + other) / 1000))
    assert not both.covers(Amounts(cpus=(one + other + 1) / 1000))
