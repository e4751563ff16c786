"""Rules by domain, and who has a place that two apps want."""

from coldchain.decisions.route import conflicts, rules
from coldchain.model.app import App, Container, Docker, PortMapping, Route


def app(name: str, *routes: Route, service: str | None = None, ports: int = 2) -> App:
    mappings = tuple(PortMapping(container_port=80 + number) for number in range(ports))
    container = Container(docker=Docker(image="shop"), port_mappings=mappings)
    return App(id=name, container=container, routes=routes, service=service)


def test_the_longest_path_comes_first_and_the_first_app_by_id_has_a_place() -> None:
    first = app(
        "/a", Route(domains=("x.test", "y.test"), path="/"), Route(domains=("x.test",), path="/api", port_index=1)
    )
    second = app("/b", Route(domains=("x.test",), path="/"), Route(domains=("x.test",), path="/api/deep"))
    found = rules([second, first])
    assert [(one.path, one.service) for one in found["x.test"]] == [("/api/deep", "b"), ("/api", "a.1"), ("/", "a")]
    assert [(one.path, one.service) for one in found["y.test"]] == [("/", "a")]


def test_a_route_to_a_port_that_is_not_there_leads_nowhere() -> None:
    assert rules([app("/a", Route(domains=("x.test",), port_index=5), ports=0)]) == {}


def test_conflicts_name_the_holder() -> None:
    holder = app("/a", Route(domains=("x.test",), path="/"))
    wanted = app("/b", Route(domains=("y.test", "x.test"), path="/"), service="a")
    found = {one.path: one.reason for one in conflicts(wanted, [holder, wanted])}
    assert found == {
        "/service": "the service name 'a' belongs to /a",
        "/routes/0/domains/1": "x.test/ belongs to /a",
    }
    assert conflicts(holder, [holder]) == []


def test_a_service_name_is_held_by_instances_that_still_run() -> None:
    former = app("/a", Route(domains=("x.test",), path="/"))
    heir = app("/b", Route(domains=("x.test",), path="/"), service="a")
    assert [one.path for one in conflicts(heir, [], [former])] == ["/service"]
    assert conflicts(app("/b", Route(domains=("x.test",))), [], [former]) == []
