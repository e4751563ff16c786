"""Who leaves by his QoS server: everybody who is announced and leaves is told by somebody, and nobody else is."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.dubbo_qos import (
    ASKED_SECONDS,
    GONE_SECONDS,
    Attempt,
    begun,
    falls_back,
    leaving,
    place,
    to_ask,
)
from coldchain.decisions.dubbo_switch import Steps, back, places, steps
from coldchain.model.app import App, Container, Docker, Dubbo, DubboQos, PortMapping
from coldchain.model.dubbo import Announced, Announcement, Export
from coldchain.model.instance import Instance, Phase

LEAVING = ("draining", "closing", "stopping")


def instance(number: int, phase: Phase, address: str | None = "") -> Instance:
    return Instance(
        id=f"i{number}",
        app_id="/shop",
        version_id="v",
        target="cluster",
        task_id=f"t{number}",
        phase=phase,
        since=0.0,
        created_at=0.0,
        agent="agent",
        address=f"10.0.0.{number}" if address == "" else address,
        ports=(20880, 31000),
    )


def announcement(number: int, port: int = 20880) -> Announcement:
    return Announcement(export=Export(interface="a.B"), host=f"10.0.0.{number}", port=port)


def app(dubbo: Dubbo | None) -> App:
    ports = (PortMapping(container_port=20880), PortMapping(container_port=22222, name="qos"))
    return App(id="/shop", container=Container(docker=Docker(image="shop"), port_mappings=ports), dubbo=dubbo)


@given(
    st.lists(st.sampled_from(get_args(Phase)), max_size=3),
    st.sets(st.integers(1, 4)),
    st.sets(st.integers(1, 4)),
    st.sets(st.integers(1, 3)),
)
def test_who_leaves_is_told_by_his_qos_or_by_configurators_and_never_by_both(
    phases: list[Phase], there: set[int], off: set[int], in_hand: set[int]
) -> None:
    instances = [instance(number, phase) for number, phase in enumerate(phases, start=1)]
    announced = Announced(
        providers=tuple(map(announcement, sorted(there))), switched_off=tuple(map(announcement, sorted(off)))
    )
    told = leaving(instances, announced)
    assert {one.id for one in told} == {
        one.id for number, one in enumerate(instances, start=1) if one.phase in LEAVING and number in there
    }
    mine = {f"i{number}" for number in in_hand}
    found, without = steps(instances, announced, mine), steps(instances, announced)
    by_themselves = {place for one in instances if one.id in mine and one.phase in LEAVING for place in places(one)}
    assert found == Steps(
        switch_off=tuple(one for one in without.switch_off if one.place not in by_themselves),
        withdraw=tuple(one for one in without.withdraw if one.place not in by_themselves),
        switch_on=without.switch_on,
    )
    for one in back(instances, found.switch_on):
        assert one.phase == "serving"


attempts = st.builds(
    Attempt,
    began_at=st.floats(0, 10),
    answered_at=st.none() | st.floats(0, 10),
    refused=st.sampled_from(["", "no"]),
    trouble=st.sampled_from(["", "silent"]),
)


@given(attempts, st.floats(0, 30), st.floats(0, 30))
def test_nobody_is_believed_for_ever_and_who_has_fallen_back_stays_so(one: Attempt, now: float, later: float) -> None:
    if later > now and falls_back(one, now):
        assert falls_back(one, later)
    long = 10 + max(ASKED_SECONDS, GONE_SECONDS)
    assert falls_back(one, long + now)
    asked = to_ask({"i1": one}, now)
    assert asked in ((), ("i1",))
    if asked:
        assert one.answered_at is None
        assert not falls_back(one, now)


@pytest.mark.parametrize(
    ("attempt", "now", "words"),
    [
        (Attempt(began_at=1.0), 1.0, ""),
        (Attempt(began_at=1.0, trouble="silent"), 5.9, ""),
        (Attempt(began_at=1.0, trouble="silent"), 6.0, "silent"),
        (Attempt(began_at=1.0), 6.0, "no answer in 5 s"),
        (Attempt(began_at=1.0, refused="no"), 1.0, "no"),
        (Attempt(began_at=1.0, answered_at=5.0), 9.9, ""),
        (
            Attempt(began_at=1.0, answered_at=5.0),
            10.0,
            "it says that it is offline, and is announced all the same",
        ),
    ],
)
def test_why_configurators_do_it(attempt: Attempt, now: float, words: str) -> None:
    assert falls_back(attempt, now) == words


def test_who_was_asked_is_not_begun_anew_and_who_is_gone_is_forgotten() -> None:
    old = Attempt(began_at=1.0, answered_at=2.0)
    assert begun({"i1": old, "i2": old}, ["i1", "i3"], 9.0) == {"i1": old, "i3": Attempt(began_at=9.0)}


def test_where_qos_listens() -> None:
    one = instance(1, "serving")
    registry = "zk://z:1/dubbo"
    assert place(app(None), one) is None
    assert place(app(Dubbo(registry=registry)), one) is None
    assert place(app(Dubbo(registry=registry, qos=DubboQos())), one) == ("10.0.0.1", 22222)
    assert place(app(Dubbo(registry=registry, qos=DubboQos(port=33333))), one) == ("10.0.0.1", 33333)
    assert place(app(Dubbo(registry=registry, qos=DubboQos(port_name="qos"))), one) == ("10.0.0.1", 31000)
    assert place(app(Dubbo(registry=registry, qos=DubboQos())), instance(1, "scheduled", None)) is None
