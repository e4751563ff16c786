"""Rules by domain, and who has a place that two apps want."""

from hypothesis import given
from hypothesis import strategies as st

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


def test_what_says_more_of_a_request_is_asked_first() -> None:
    one = app(
        "/a",
        Route(domains=("x.test",), path="/a"),
        Route(domains=("x.test",), path="/a/b", headers={"X-B": "1"}),
        Route(domains=("x.test",), path="/a/b", headers={"X-B": "1", "X-A": "*"}),
        Route(domains=("x.test",), path="/a/b", methods=("GET",)),
        Route(domains=("x.test",), path="/a/b"),
        Route(domains=("x.test",), path="/a", path_kind="exact"),
        Route(domains=("x.test",), path="/.*", path_kind="regex"),
        Route(domains=("x.test",), path="/a/[0-9]+", path_kind="regex"),
        Route(domains=("x.test",), path="/", priority=1, methods=("PUT", "POST")),
        Route(domains=("x.test",), priority=-1, path="/z/very/long"),
    )
    assert [(rule.path_kind, rule.path, len(rule.headers), rule.methods) for rule in rules([one])["x.test"]] == [
        ("prefix", "/", 0, ("POST", "PUT")),
        ("exact", "/a", 0, ()),
        ("regex", "/a/[0-9]+", 0, ()),
        ("regex", "/.*", 0, ()),
        ("prefix", "/a/b", 2, ()),
        ("prefix", "/a/b", 1, ()),
        ("prefix", "/a/b", 0, ("GET",)),
        ("prefix", "/a/b", 0, ()),
        ("prefix", "/a", 0, ()),
        ("prefix", "/z/very/long", 0, ()),
    ]


def test_routes_that_differ_in_what_they_want_are_no_conflict_and_equal_ones_are_named_whole() -> None:
    holder = app("/a", Route(domains=("x.test",), path="/c", path_kind="exact", methods=("GET", "PUT")))
    other = app("/b", Route(domains=("x.test",), path="/c", methods=("PUT", "GET")))
    equal = app("/c", Route(domains=("x.test",), path="/c", path_kind="exact", methods=("PUT", "GET"), priority=5))
    assert conflicts(other, [holder]) == []
    assert [one.reason for one in conflicts(equal, [holder])] == ["GET,PUT x.test =/c belongs to /a"]


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


domains = st.lists(st.sampled_from(["x.test", "y.test", "*"]), min_size=1, max_size=2, unique=True).map(tuple)
given_routes = st.lists(
    st.builds(Route, domains=domains, path=st.sampled_from(["/", "/a", "/a/b", "/ab"]), port_index=st.integers(0, 2)),
    max_size=3,
)


@given(st.dictionaries(st.sampled_from(["/a", "/b", "/c"]), given_routes))
def test_each_place_leads_to_the_first_app_that_has_it_and_longer_paths_come_first(
    apps: dict[str, list[Route]],
) -> None:
    made = [app(name, *routes) for name, routes in apps.items()]
    found = rules(made)
    assert found == rules(made[::-1])
    for domain, given_rules in found.items():
        lengths = [len(rule.path) for rule in given_rules]
        assert lengths == sorted(lengths, reverse=True)
        for rule in given_rules:
            holders = [name for name, routes in sorted(apps.items()) if wants(routes, domain, rule.path)]
            assert rule.service.partition(".")[0] == holders[0].strip("/")
    wanted = {
        (domain, route.path)
        for routes in apps.values()
        for route in routes
        if route.port_index < 2
        for domain in route.domains
    }
    assert {(domain, rule.path) for domain, given_rules in found.items() for rule in given_rules} == wanted


def wants(routes: list[Route], domain: str, path: str) -> bool:
    return any(domain in route.domains and route.path == path and route.port_index < 2 for route in routes)


@given(given_routes, given_routes)
def test_two_apps_without_conflicts_share_no_place(first: list[Route], second: list[Route]) -> None:
    one, other = app("/a", *first), app("/b", *second)
    places = [{(domain, route.path) for route in each for domain in route.domains} for each in (first, second)]
    assert bool(conflicts(one, [other])) == bool(places[0] & places[1])
    assert bool(conflicts(one, [other])) == bool(conflicts(other, [one]))
