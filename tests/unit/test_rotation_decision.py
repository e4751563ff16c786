"""Which endpoints get traffic, what changes between two rotations, and when a change is acknowledged."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.rotation import (
    GatewaySession,
    acknowledged,
    apply,
    cut,
    endpoints,
    in_flight,
    live,
    out_of_touch,
    renew,
    renumbered,
    services,
    streams,
)
from coldchain.model.app import App, Container, Docker, PortMapping, Route
from coldchain.model.instance import Instance, Phase
from coldchain.model.rotation import Endpoint, Rotation


def app(*ports: int, indices: tuple[int, ...] = (0,), **fields: object) -> App:
    mappings = tuple(PortMapping(container_port=port) for port in ports)
    given: dict[str, object] = {
        "id": "/shop",
        "container": Container(docker=Docker(image="shop"), port_mappings=mappings),
        "routes": tuple(Route(domains=("shop.test",), path=f"/{n}", port_index=n) for n in indices),
    }
    return App(**(given | fields))  # type: ignore[arg-type]


def instance(number: int, phase: Phase = "serving", ports: tuple[int, ...] = (8080,)) -> Instance:
    return Instance(
        id=f"{number:03}",
        app_id="/shop",
        version_id="1",
        target="cluster",
        task_id=f"t{number}",
        phase=phase,
        since=0.0,
        created_at=0.0,
        address=f"10.0.0.{number}",
        ports=ports,
    )


SHOP = app(8080)


def weights(instances: list[Instance], unhealthy: set[str]) -> dict[str, int]:
    found = endpoints(SHOP, [(one, SHOP) for one in instances], unhealthy)["shop"]
    return {one.instance_id: one.weight for one in found}


phases = st.sampled_from(["scheduled", "starting", "entering", "serving", "draining", "closing", "stopping", "stopped"])


@given(st.lists(st.tuples(phases, st.booleans()), max_size=10))
def test_probes_never_take_more_than_half_and_never_the_last(seen: list[tuple[Phase, bool]]) -> None:
    instances = [instance(number, phase) for number, (phase, _) in enumerate(seen)]
    unhealthy = {f"{number:03}" for number, (_, sick) in enumerate(seen) if sick}
    found = weights(instances, unhealthy)
    able = [one.id for one in instances if one.phase in ("entering", "serving")]
    given_traffic = [name for name, weight in found.items() if weight]
    assert 2 * len(given_traffic) >= len(able)
    assert bool(given_traffic) == bool(able)
    assert set(given_traffic) <= set(able)
    assert set(found) == set(able) | {one.id for one in instances if one.phase in ("draining", "closing", "stopping")}


def test_where_streams_are_to_end_is_another_revision_and_told_nowhere_else() -> None:
    leaving, now = [instance(1, "closing"), instance(2)], Rotation(revision=7)
    update = renew(now, endpoints(SHOP, [(one, SHOP) for one in leaving], ()), {})
    assert update is not None
    assert b"cutStreams" not in msgspec.json.encode(update)
    leaving[0] = msgspec.structs.replace(leaving[0], streams_cut_at=40.0)
    update = renew(apply(now, update), endpoints(SHOP, [(one, SHOP) for one in leaving], ()), {})
    assert update is not None
    shop = update.services["shop"]
    assert shop is not None
    assert [(one.cut_streams, one.since) for one in shop.endpoints] == [(True, 9), (msgspec.UNSET, 8)]


def test_each_instance_is_reached_by_the_ports_of_its_own_definition() -> None:
    old, new = app(8080), app(9090, 8080, indices=(1,))
    pairs = [(instance(1, ports=(31001,)), old), (instance(2, ports=(31002, 31003)), new)]
    found = endpoints(new, pairs, ())
    assert {name: [one.port for one in given] for name, given in found.items()} == {"shop": [31001, 31003]}


def test_a_service_that_was_renamed_keeps_those_that_serve_under_both_names() -> None:
    old, new = app(8080, service="old"), app(8080, service="new")
    found = endpoints(new, [(instance(1), old), (instance(2), new)], ())
    assert {name: [one.instance_id for one in given] for name, given in found.items()} == {
        "new": ["001", "002"],
        "old": ["001"],
    }


def test_an_app_without_instances_keeps_its_empty_service() -> None:
    assert endpoints(SHOP, [], ()) == {"shop": ()}
    assert endpoints(None, [], ()) == {}


def test_services_are_named_by_port_and_need_one() -> None:
    assert services(app(80, 81, indices=(0, 1))) == {"shop": 0, "shop.1": 1}
    assert services(app(80, routes=())) == {}
    assert services(app(80, routes=(), service="inner")) == {"inner": 0}
    assert services(app(routes=(), service="inner")) == {}


names = st.sampled_from(["a", "b", "c"])
given_endpoints = st.lists(
    st.builds(
        Endpoint, instance_id=names, address=st.just("10.0.0.1"), port=st.integers(1, 3), weight=st.integers(0, 1)
    ),
    max_size=3,
    unique_by=lambda one: one.instance_id,
).map(tuple)
wanted_services = st.dictionaries(names, st.none() | given_endpoints, max_size=3)


@given(st.lists(wanted_services, max_size=8))
def test_what_changed_gets_the_new_revision_and_the_rest_keeps_its_own(
    changes: list[dict[str, tuple[Endpoint, ...] | None]],
) -> None:
    current = Rotation(revision=100)
    for wanted in changes:
        before = current
        update = renew(current, wanted, {})
        if update is None:
            for name, given in wanted.items():
                known = current.services.get(name)
                plain = tuple(msgspec.structs.replace(one, since=0) for one in known.endpoints) if known else None
                assert plain == given
            continue
        current = apply(current, update)
        assert current.revision == before.revision + 1
        assert renew(current, wanted, {}) is None
        for name, service in current.services.items():
            known = {one.instance_id: one for one in before.services[name].endpoints} if name in before.services else {}
            for one in service.endpoints:
                former = known.get(one.instance_id)
                same = former is not None and msgspec.structs.replace(former, since=one.since) == one
                assert one.since == (former.since if same and former else current.revision)


def test_a_mark_is_acknowledged_by_revision_and_weight() -> None:
    session = GatewaySession(gateway="g", applied=7, lease_until=10.0)
    published = Endpoint(instance_id="001", address="10.0.0.1", port=80, weight=0, since=7)
    assert acknowledged(published, 0, [session])
    assert not acknowledged(msgspec.structs.replace(published, since=8), 0, [session])
    assert not acknowledged(msgspec.structs.replace(published, weight=1, since=1), 0, [session])
    assert acknowledged(published, 0, [])
    assert live([session], 9.9) == [session]
    assert live([session], 10.0) == []


def test_requests_in_flight_are_known_only_if_every_gateway_said() -> None:
    one = GatewaySession(gateway="g", applied=7, lease_until=10.0, in_flight={"001": 2})
    other = msgspec.structs.replace(one, gateway="h", in_flight={})
    assert in_flight("001", [one, one]) == 4
    assert in_flight("001", [one, other]) is None
    assert in_flight("001", []) == 0


def test_streams_are_added_up_and_none_where_nobody_told_of_any() -> None:
    one = GatewaySession(gateway="g", applied=7, lease_until=10.0, in_flight={"001": 2}, streams={"001": 2})
    other = msgspec.structs.replace(one, gateway="h", streams={})
    assert streams("001", [one, one, other]) == 4
    assert streams("002", [one]) == 0
    assert cut("001", [msgspec.structs.replace(one, cut={"001": 3}), one]) == 3


def test_numbering_anew_makes_all_of_it_unacknowledged() -> None:
    update = renew(Rotation(revision=1), {"shop": (Endpoint(instance_id="a", address="10.0.0.1", port=1),)}, {})
    assert update is not None
    anew = renumbered(apply(Rotation(revision=1), update), 50)
    assert anew.revision == anew.services["shop"].endpoints[0].since == 50


def test_a_gateway_is_out_of_touch_from_the_end_of_its_lease_until_it_has_caught_up_or_is_gone() -> None:
    one = GatewaySession(gateway="g", applied=7, lease_until=100.0)
    assert out_of_touch([one], 99.9, 600.0) == []
    assert out_of_touch([one], 100.0, 600.0) == ["g"]
    assert out_of_touch([one], 699.9, 600.0) == ["g"]
    assert out_of_touch([one], 700.0, 600.0) == []
    returned = msgspec.structs.replace(one, lease_until=200.0, caught_up_at=9)
    assert out_of_touch([returned], 150.0, 600.0) == ["g"]
    assert out_of_touch([msgspec.structs.replace(returned, applied=9)], 150.0, 600.0) == []
