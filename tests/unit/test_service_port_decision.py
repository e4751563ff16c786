"""Service ports: one of its own for each port in the whole cluster, and for as long as the app lives."""

from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.service_port import FIRST, LAST, assigned, assigned_among, kept, shared
from coldchain.model.app import App, Container, Docker, Network, PortDefinition, PortMapping


def packed(*ports: int, name: str = "/shop") -> App:
    mappings = tuple(PortMapping(container_port=80 + n, service_port=port) for n, port in enumerate(ports))
    return App(id=name, container=Container(docker=Docker(image="shop"), port_mappings=mappings))


def process(*ports: int) -> App:
    return App(id="/shop", cmd="serve", port_definitions=tuple(PortDefinition(port=port) for port in ports))


def test_what_is_open_gets_the_first_that_nobody_has() -> None:
    assert assigned(packed(0, 7, 0), None, {10000, 10002}).service_ports == (10001, 7, 10003)
    assert assigned(process(0, 10000), None, ()).service_ports == (10001, 10000)
    host = App(id="/a", container=Container(docker=Docker(image="a")), networks=(Network(mode="host"),))
    assert assigned(host, None, ()) is host


def test_only_the_port_on_the_agent_that_is_asked_for_is_wanted() -> None:
    app = assigned(process(0, 9000), None, ())
    assert app.wanted_host_ports == (0, 0)
    strict = App(id="/a", cmd="x", port_definitions=app.port_definitions, require_ports=True)
    assert strict.wanted_host_ports == (10000, 9000)


def test_what_it_had_it_keeps_and_what_is_named_counts() -> None:
    before = packed(10004, 9000, 10002)
    assert assigned(packed(0, 0, 0), before, {10004, 10002, 10000}).service_ports == (10004, 10002, 10001)
    assert assigned(packed(10004, 0), before, ()).service_ports == (10004, 10002)
    assert kept(packed(0, 0, 0), before).service_ports == (10004, 10002, 0)
    assert kept(packed(0), None).service_ports == (0,)


def test_when_all_are_taken_it_has_none() -> None:
    assert assigned(packed(0, 0), None, {*range(FIRST, LAST)}).service_ports == (LAST, 0)


@given(st.lists(st.sampled_from([0, 0, 8080, 10001, 10003]), max_size=4), st.sets(st.integers(9998, 10006)))
def test_nothing_is_given_twice_nor_again(ports: list[int], taken: set[int]) -> None:
    wanted = packed(*ports)
    app = assigned(wanted, None, taken)
    new = [after for before, after in zip(ports, app.service_ports, strict=True) if not before]
    assert len(set(new)) == len(new)
    assert not set(new) & (taken | set(ports))
    assert all(FIRST <= port <= LAST for port in new)
    assert assigned(wanted, app, taken) == app
    assert assigned(app, None, taken) == app


def test_apps_of_one_change_get_different_ones_and_keep_what_they_had() -> None:
    apps = {
        "/new": packed(0, 0, name="/new"),
        "/old": packed(0, 0, name="/old"),
        "/named": packed(10001, name="/named"),
    }
    before = {"/old": packed(10000, name="/old")}
    found = assigned_among(apps, before, {10000, 10003})
    assert {name: app.service_ports for name, app in found.items()} == {
        "/new": (10002, 10004),
        "/old": (10000, 10005),
        "/named": (10001,),
    }


def test_others_with_the_same_ones_are_named() -> None:
    others = [packed(8080, 9, name="/a"), packed(8080, name="/b"), packed(8080), packed(0, name="/c")]
    assert shared(packed(8080, 9, 0), others) == {8080: ["/a", "/b"], 9: ["/a"]}
