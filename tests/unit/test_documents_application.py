"""App definitions: what is accepted, how it is normalised, and every way to be told what is wrong."""

import json
from typing import Any

import pytest
from msgspec import structs

from coldchain.documents.application import decode_app, decode_yaml, encode_app, merge_app
from coldchain.model.app import App, HealthCheck
from coldchain.model.errors import InvalidDocument, Problem


def definition(**fields: Any) -> dict[str, Any]:
    """A definition with two ports, one of them named; `fields` take the place of its own, None takes one away."""
    given: dict[str, Any] = {
        "id": "/shop/cart",
        "container": {
            "docker": {"image": "registry.example:5000/shop/cart:1.0"},
            "portMappings": [{"containerPort": 8080, "name": "http"}, {"containerPort": 9090}],
        },
    }
    return {name: value for name, value in (given | fields).items() if value is not None}


def problems(document: Any, **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidDocument) as caught:
        decode_app(document, **options)
    return caught.value.problems


def test_defaults_are_marathons() -> None:
    app = decode_app(definition())
    assert (app.cpus, app.mem, app.disk, app.instances) == (1.0, 128.0, 0.0, 1)
    assert (app.backoff_seconds, app.backoff_factor, app.max_launch_delay_seconds) == (1.0, 1.15, 300.0)
    assert (app.upgrade_strategy.minimum_health_capacity, app.upgrade_strategy.maximum_over_capacity) == (1.0, 1.0)
    assert decode_app(definition(healthChecks=[{}])).health_checks == (HealthCheck(port_index=0),)


def test_json_text_bytes_and_objects_are_the_same() -> None:
    text = json.dumps(definition(env={"GREETING": "grüß dich"}))
    assert decode_app(text) == decode_app(text.encode()) == decode_app(b"\xef\xbb\xbf" + text.encode())
    assert decode_app(text) == decode_app(json.loads(text)) == decode_yaml(text)


def test_a_command_alone_is_a_process_with_a_port_on_its_machine() -> None:
    app = decode_app({"id": "/a", "cmd": "serve $PORT0"})
    assert (app.network.mode, app.wanted_host_ports, app.port_names) == ("host", (0,), ("default",))
    assert decode_app({"id": "/a", "cmd": "work", "portDefinitions": []}).ports == ()
    assert decode_app(encode_app(app)) == app


def test_a_command_is_asked_beside_the_task_and_has_no_port() -> None:
    (asked,) = decode_app(definition(**check(protocol="COMMAND", command={"value": "test -e up"}))).health_checks
    assert asked.command is not None
    assert (asked.command.value, asked.port_index) == ("test -e up", None)


def test_null_means_not_given() -> None:
    nothing = dict.fromkeys(["cmd", "args", "cpus", "env", "healthChecks", "upgradeStrategy", "service", "target"])
    assert decode_app(definition() | nothing) == decode_app(definition())


@pytest.mark.parametrize(("given", "kept"), [("shop/cart", "/shop/cart"), ("/a.b-c/1/", "/a.b-c/1"), ("x", "/x")])
def test_ids_are_absolute(given: str, kept: str) -> None:
    assert decode_app(definition(id=given)).id == kept


def test_routes_are_written_in_one_way() -> None:
    app = decode_app(definition(routes=[{"domains": ["Shop.Example", "*"], "path": "/cart/"}, {"domains": ["a"]}]))
    assert [(route.domains, route.path) for route in app.routes] == [(("shop.example", "*"), "/cart"), (("a",), "/")]


def test_whole_numbers_may_be_written_with_a_point() -> None:
    assert decode_app(definition(instances=3.0, cpus=1)).instances == 3
    assert type(decode_app(definition(instances=3.0)).instances) is int
    assert type(decode_app(definition(cpus=1)).cpus) is float


@pytest.mark.parametrize(
    ("checks", "deadline", "seconds"),
    [
        ([{"gracePeriodSeconds": 60}], None, 600),
        ([{"gracePeriodSeconds": 1800, "delaySeconds": 60}, {}], None, 2160),
        ([{"gracePeriodSeconds": 60}], 90, 90),
    ],
)
def test_the_deadline_leaves_time_for_the_grace(checks: Any, deadline: float | None, seconds: float) -> None:
    assert decode_app(definition(healthChecks=checks, deadlineSeconds=deadline)).deadline_seconds == seconds


def test_host_mode_has_port_definitions() -> None:
    app = decode_app(
        definition(
            container={"docker": {"image": "x"}},
            networks=[{"mode": "host"}],
            portDefinitions=[{"port": 0, "name": "http"}, {"port": 8080}],
            healthChecks=[{"portName": "http"}, {"portIndex": 1}],
        )
    )
    assert app.port_names == ("http", None)


def test_the_id_may_come_from_the_address() -> None:
    assert decode_app(definition(id=None), app_id="/shop/cart").id == "/shop/cart"
    assert decode_app(definition(), app_id="shop/cart").id == "/shop/cart"
    (problem,) = problems(definition(), app_id="/other")
    assert (problem.path, problem.reason) == ("/id", "is not the app it was sent to, /other")


def container(**docker: Any) -> dict[str, Any]:
    return {"container": {"docker": {"image": "x"} | docker}}


def volume(**fields: Any) -> dict[str, Any]:
    return {"container": {"docker": {"image": "x"}, "volumes": [{"containerPath": "/x", **fields}]}}


def check(**fields: Any) -> dict[str, Any]:
    return {"healthChecks": [fields]}


def process(**fields: Any) -> dict[str, Any]:
    return {"container": None, "cmd": "serve $PORT0"} | fields


def ready(**fields: Any) -> dict[str, Any]:
    return {"readinessChecks": [{"portName": "http"} | fields]}


def mapping(**fields: Any) -> dict[str, Any]:
    return {"container": {"docker": {"image": "x"}, "portMappings": [fields]}}


WRONG: list[tuple[dict[str, Any], str, str, str | None]] = [
    # The id
    ({"id": None}, "/id", "is missing", None),
    ({"id": 5}, "/id", "must be text, not a number", None),
    ({"id": "/"}, "/id", "is no id", None),
    ({"id": "/Shop/Cart_1"}, "/id", "is no id", "/shop/cart-1"),
    ({"id": "/a//b"}, "/id", "is no id", None),
    ({"id": "/-a"}, "/id", "is no id", "/a"),
    ({"id": "/a."}, "/id", "is no id", "/a"),
    ({"id": "/a\n"}, "/id", "is no id", "/a"),
    ({"id": "../a"}, "/id", "must be absolute", None),
    ({"id": "/a/../b"}, "/id", "must be absolute", None),
    ({"id": "/" + "a" * 200}, "/id", "at most 200 characters, not 201", None),
    # Fields that are not ours, types, ranges
    ({"instancs": 3}, "/instancs", "is not a field of this object", "instances"),
    ({"health_checks": []}, "/health_checks", "is not a field of this object", "healthChecks"),
    ({"HealthChecks": []}, "/HealthChecks", "is not a field of this object", "healthChecks"),
    ({"zzz": 1}, "/zzz", "is not a field of this object", None),
    ({"a/b~c": 1}, "/a~1b~0c", "is not a field of this object", None),
    ({"residency": {"size": 1}}, "/residency", "Coldchain does not have yet", None),
    ({"container": {"docker": {"image": "x"}, "linuxInfo": {"seccomp": {}}}}, "/container/linuxInfo", "not have", None),
    ({"cpus": "1"}, "/cpus", "must be a number, not the text '1'", None),
    ({"cpus": True}, "/cpus", "must be a number, not true", None),
    ({"cpus": 0}, "/cpus", "must be at least 0.001", None),
    ({"cpus": float("inf")}, "/cpus", "must be a number, not inf", None),
    ({"cpus": 10**400}, "/cpus", "at most 10000", None),
    ({"mem": 3}, "/mem", "must be at least 6 (MiB)", None),
    ({"instances": -1}, "/instances", "must be at least 0", None),
    ({"instances": 10_001}, "/instances", "at most 10000", None),
    ({"instances": 1.5}, "/instances", "must be a whole number, not 1.5", None),
    ({"instances": [1]}, "/instances", "must be a whole number, not an array", None),
    ({"env": []}, "/env", "must be an object, not an array", None),
    ({"env": {"PORT": 80}}, "/env/PORT", "must be text, not a number (put it in quotes)", None),
    ({"env": {"A/B": None}}, "/env/A~1B", "must be text, not null", None),
    ({"env": {"A=B": "c"}}, "/env/A=B", "must not contain `=`", None),
    ({"env": {"": "c"}}, "/env/", "must not be empty", None),
    ({"env": {"A": "b\0"}}, "/env/A", "NUL", None),
    ({"env": {"A": "\ud800"}}, "/env/A", "half of a character", None),
    ({"env": {"A": "x" * 65537}}, "/env/A", "at most 65536 characters, not 65537", None),
    ({"env": {f"A{n}": "x" * 65536 for n in range(9)}}, "/env", "all together", None),
    ({"labels": {"x" * 256: ""}}, "/labels/" + "x" * 256, "at most 255 characters", None),
    ({"upgradeStrategy": {"minimumHealthCapacity": 1.1}}, "/upgradeStrategy/minimumHealthCapacity", "at most 1", None),
    ({"upgradeStrategy": {"maximumOverCapacity": -1}}, "/upgradeStrategy/maximumOverCapacity", "at least 0", None),
    ({"backoffFactor": 0.9}, "/backoffFactor", "at least 1", None),
    ({"backoffSeconds": -1}, "/backoffSeconds", "at least 0", None),
    ({"deadlineSeconds": 0}, "/deadlineSeconds", "above 0", None),
    ({"drainSeconds": 1e300}, "/drainSeconds", "at most 31536000", None),
    ({"rollbackOnFailure": "no"}, "/rollbackOnFailure", "must be true or false, not the text 'no'", None),
    # What runs
    ({"container": None}, "", "say which image to run (container.docker.image), or which command", None),
    (
        {"container": None, "cmd": "x", "networks": [{"mode": "container"}]},
        "/networks/0/mode",
        "needs a container",
        "host",
    ),
    ({"user": "a b"}, "/user", "is no user of an image", None),
    (container(parameters=[{"key": "user", "value": "1"}]) | {"user": "2"}, "/user", "parameter user says it", None),
    ({"executor": "/bin/mine"}, "/executor", "must be empty or //cmd", None),
    (process(tty=True), "/tty", "needs a container", None),
    (process(resourceLimits={"cpus": 2}), "/resourceLimits", "is for apps with a container so far", None),
    ({"resourceLimits": {"cpus": 0.5}}, "/resourceLimits/cpus", "must be at least cpus (1)", None),
    ({"resourceLimits": {"mem": "none"}}, "/resourceLimits/mem", "must be unlimited, not 'none'", None),
    ({"resourceLimits": {"mem": True}}, "/resourceLimits/mem", "must be a number, not true", None),
    ({"gpus": 0.5}, "/gpus", "must be a whole number", None),
    ({"gpus": -1}, "/gpus", "at least 0", None),
    ({"role": "a b"}, "/role", "is no role", None),
    ({"acceptedResourceRoles": ["*", "-x"]}, "/acceptedResourceRoles/1", "is no role", None),
    ({"unreachableStrategy": "never"}, "/unreachableStrategy", "must be disabled, not 'never'", None),
    ({"unreachableStrategy": 3}, "/unreachableStrategy", "must be an object, not a number", None),
    (
        {"unreachableStrategy": {"inactiveAfterSeconds": 9, "expungeAfterSeconds": 5}},
        "/unreachableStrategy/expungeAfterSeconds",
        "must be at least inactiveAfterSeconds (9)",
        None,
    ),
    ({"fetch": [{"uri": "http://h/x"}]}, "/fetch", "is for apps without a container", None),
    (process(user="no body"), "/user", "is no name of a user", None),
    (process(fetch=[{"uri": "ftp://h/x"}]), "/fetch/0/uri", "begins with http://", None),
    (process(fetch=[{"uri": "http://h/"}]), "/fetch/0", "does not end with a file's name", None),
    (
        process(fetch=[{"uri": "http://h/x", "destFile": "../x"}]),
        "/fetch/0/destFile",
        "a name in the task's folder",
        None,
    ),
    (process(fetch=[{"uri": "http://h/x", "sha256": "AB" * 32}]), "/fetch/0/sha256", "64 hexadecimal", "ab" * 32),
    (process(fetch=[{"uri": "http://h/x", "cache": True}]), "/fetch/0/cache", "nothing is cached", None),
    (check(protocol="COMMAND"), "/healthChecks/0", "needs what to run", None),
    (check(protocol="TCP", command={"value": "x"}), "/healthChecks/0/command", "only COMMAND does", None),
    (check(protocol="COMMAND", command={"value": "x"}, portIndex=0), "/healthChecks/0/portIndex", "leave it out", None),
    ({"container": {}}, "/container/docker", "is missing", None),
    ({"container": {"docker": {}}}, "/container/docker/image", "is missing", None),
    ({"container": {"type": "MESOS", "docker": {"image": "x"}}}, "/container/type", "must be DOCKER", "DOCKER"),
    (
        {"container": {"type": "MESOS", "volumes": [{"hostPath": "/a", "containerPath": "/b"}]}},
        "/container/type",
        "must be DOCKER",
        "DOCKER",
    ),
    (volume(persistent={"size": 5}), "/container/volumes/0/persistent", "are not there yet: give hostPath", None),
    (volume(external={"name": "x"}), "/container/volumes/0/external", "are not there yet: give hostPath", None),
    (volume(secret="x"), "/container/volumes/0/secret", "not there as files yet", None),
    (container(image="Shop/Cart:1"), "/container/docker/image", "is no image", "shop/cart:1"),
    (container(image=""), "/container/docker/image", "is no image", None),
    (container(image="a b"), "/container/docker/image", "is no image", None),
    (container(image="x;y"), "/container/docker/image", "is no image", None),
    (container(image="-x"), "/container/docker/image", "is no image", None),
    (container(image="https://hub.example/x"), "/container/docker/image", "is no image", None),
    (container(imge="x"), "/container/docker/imge", "is not a field", "image"),
    (
        container(parameters=[{"key": "--cap-add", "value": "x"}]),
        "/container/docker/parameters/0/key",
        "is no option of `docker run`",
        "cap-add",
    ),
    (container(parameters=[{"key": "x"}]), "/container/docker/parameters/0/value", "is missing", None),
    (container(pullConfig={"secret": "a\nb"}), "/container/docker/pullConfig/secret", "must name an entry", None),
    ({"cmd": "a", "args": ["b"]}, "/args", "exclude each other", None),
    ({"cmd": " "}, "/cmd", "must not be empty", None),
    ({"args": ["a", 1]}, "/args/1", "must be text", None),
    # Networks and ports
    ({"networks": [{"mode": "bridge"}]}, "/networks/0/mode", "must be one of container, ", "container/bridge"),
    ({"networks": [{}, {}]}, "/networks", "an app joins one network, and here are 2", None),
    ({"networks": [{"labels": {"a": 1}}]}, "/networks/0/labels/a", "must be text", None),
    (process(networks=[{"mode": "host", "labels": {"a": "b"}}]), "/networks/0/labels", "mode host has no labels", None),
    ({"networks": [{"name": "none"}]}, "/networks/0/name", "'none' means no network to Docker", None),
    ({"networks": [{"mode": "container/bridge", "name": "a"}]}, "/networks/0/name", "only mode container has", None),
    ({"networks": [{"name": "a b"}]}, "/networks/0/name", "is no name of a network", None),
    ({"networks": [{"mode": "host"}]}, "/container/portMappings", "list the ports in portDefinitions", None),
    ({"portDefinitions": [{}]}, "/portDefinitions", "only for network mode host", None),
    (process(portDefinitions=[{"port": 9}] * 2), "/portDefinitions/1/port", "port 0 has the number 9 already", None),
    (
        mapping(containerPort=1, networkNames=["other"]),
        "/container/portMappings/0/networkNames",
        "must name the one network",
        None,
    ),
    (mapping(containerPort=65536), "/container/portMappings/0/containerPort", "at most 65535", None),
    (mapping(name="a"), "/container/portMappings/0", "hostPort is not given", None),
    (mapping(containerPort=1, name="A"), "/container/portMappings/0/name", "is no port name", None),
    (mapping(containerPort=1, protocol="tpc"), "/container/portMappings/0/protocol", "must be one of", "tcp"),
    (
        {
            "container": {
                "docker": {"image": "x"},
                "portMappings": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}],
            }
        },
        "/container/portMappings/1/name",
        "port 0 has the name a already",
        None,
    ),
    # Checks
    (check(protocol="HTPS"), "/healthChecks/0/protocol", "must be one of COMMAND, HTTP, HTTPS, MESOS_HTTP", "HTTPS"),
    (check(protocol="HTTP", serverName="shop.internal"), "/healthChecks/0/serverName", "has no certificate", None),
    (check(protocol="MESOS_TCP", serverName="shop.internal"), "/healthChecks/0/serverName", "use HTTPS", None),
    (check(protocol="MESOS_HTTPS", path="x"), "/healthChecks/0/path", "must begin with `/`", None),
    (check(portIndex=2), "/healthChecks/0/portIndex", "the app has ports 0 to 1: there is no port 2", None),
    (check(portIndex=-1), "/healthChecks/0/portIndex", "at least 0", None),
    (check(portName="htp"), "/healthChecks/0/portName", "no port of the app has the name", "http"),
    (check(port=0), "/healthChecks/0/port", "at least 1", None),
    (check(port=80, portIndex=0), "/healthChecks/0/port", "portIndex and port exclude each other", None),
    (check(path="health"), "/healthChecks/0/path", "must begin with `/`", None),
    (check(path="/a\r\nX: y"), "/healthChecks/0/path", "control characters", None),
    (check(intervalSeconds=0), "/healthChecks/0/intervalSeconds", "above 0", None),
    (
        check(gracePeriodSeconds=700) | {"deadlineSeconds": 600},
        "/healthChecks/0/gracePeriodSeconds",
        "raise deadlineSeconds",
        None,
    ),
    (check() | {"container": {"docker": {"image": "x"}}}, "/healthChecks/0", "has no ports: there is no port 0", None),
    (ready(portName="web"), "/readinessChecks/0/portName", "no port of the app has the name 'web'", None),
    ({"readinessChecks": [{}]}, "/readinessChecks/0", "no port of the app has the name 'http-api'", None),
    (ready(serverName="shop.internal"), "/readinessChecks/0/serverName", "protocol HTTP has no certificate", None),
    (ready(timeoutSeconds=30), "/readinessChecks/0/timeoutSeconds", "must be below intervalSeconds (30)", None),
    (ready(httpStatusCodesForReady=[]), "/readinessChecks/0/httpStatusCodesForReady", "1 to 100 members", None),
    (ready(httpStatusCodesForReady=[99]), "/readinessChecks/0/httpStatusCodesForReady/0", "at least 100", None),
    ({"readinessChecks": [{"portName": "http"}] * 2}, "/readinessChecks", "at most one readiness check", None),
    # Service and routes
    ({"service": "Shop"}, "/service", "1 to 63 lower-case letters", None),
    ({"target": "a_b"}, "/target", "1 to 63 lower-case letters", None),
    ({"id": "/a.b", "routes": [{"domains": ["a"]}]}, "/id", "the service name made of the id, 'a.b'", None),
    ({"rollout": {"steps": [{}]}}, "/rollout/steps/0", "needs instances or share", None),
    ({"rollout": {"steps": [{"instances": 1, "share": 0.5}]}}, "/rollout/steps/0", "exclude each other", None),
    ({"rollout": {"steps": [{"instances": 0}]}}, "/rollout/steps/0/instances", "at least 1", None),
    ({"rollout": {"steps": [{"share": 1.5}]}}, "/rollout/steps/0/share", "at least 0 and at most 1", None),
    ({"rollout": {"steps": [{"instances": 2}, {"instances": 2}]}}, "/rollout/steps/1/instances", "above", None),
    (
        {"rollout": {"steps": [{"share": 0.5}, {"instances": 9}, {"share": 0.25}]}},
        "/rollout/steps/2/share",
        "must be above that of the steps before it (0.5)",
        None,
    ),
    ({"rollout": {"steps": [{"share": 0.5, "pauseSeconds": -1}]}}, "/rollout/steps/0/pauseSeconds", "at least 0", None),
    ({"rollout": {"stepps": []}}, "/rollout/stepps", "is not a field", "steps"),
]


@pytest.mark.parametrize(("fields", "path", "reason", "suggestion"), WRONG)
def test_what_is_wrong_is_said_once_with_its_place(
    fields: dict[str, Any], path: str, reason: str, suggestion: str | None
) -> None:
    (problem,) = problems(definition(**fields))
    assert problem.path == path
    assert reason in problem.reason
    assert problem.suggestion == suggestion


@pytest.mark.parametrize(
    "image",
    [
        "x",
        "x:1",
        "library/x:latest",
        "localhost/x",
        "localhost:5000/x/y:v1.2-3_4",
        "registry.example/a__b/c-d.e",
        "192.0.2.1:5000/x",
        "x@sha256:" + "0" * 64,
        "r.example/x:1@sha256:" + "0" * 64,
        "sha256:" + "a" * 64,
    ],
)
def test_images_that_docker_takes(image: str) -> None:
    app = decode_app(definition(container={"docker": {"image": image}}))
    assert app.container is not None
    assert app.container.docker.image == image


def test_everything_wrong_is_said_at_once() -> None:
    found = problems(
        {
            "instancs": 3,
            "cpus": 0,
            "container": {"docker": {"imag": "x"}, "portMappings": [{"containerPort": "80"}, {"containerPort": 81}]},
            "healthChecks": [{"portIndex": 1, "path": "x"}, 7, {"portName": "a", "port": 1}],
            "routes": [{"domains": ["a_b"], "path": "/.."}],
            "service": "Ü",
        }
    )
    assert [problem.path for problem in found] == [
        "/instancs",
        "/id",
        "/cpus",
        "/container/docker/imag",
        "/container/docker/image",
        "/container/portMappings/0/containerPort",
        "/healthChecks/1",
        "/service",
        "/routes/0/path",
        "/routes/0/domains/0",
    ]


def test_what_looks_at_something_unreadable_is_not_said() -> None:
    """Were the ports readable, the check's and the route's might well exist."""
    ports = {"docker": {"image": "x"}, "portMappings": [{"containerPort": 80, "name": 1}]}
    found = problems(definition(container=ports, healthChecks=[{"portName": "http"}], routes=[{"domains": ["a"]}]))
    assert [problem.path for problem in found] == ["/container/portMappings/0/name"]


def test_a_hundred_problems_are_enough() -> None:
    found = problems(definition(**{f"instances{number}": 1 for number in range(50_000)}))
    assert len(found) == 101
    assert found[-1].reason == "only the first 100 problems are listed"


def test_a_document_that_is_no_object() -> None:
    for document in (b"[]", b'"x"', b"3", b"null", [], 3, None):
        (problem,) = problems(document)
        assert (problem.path, problem.reason.startswith("must be an object, not ")) == ("", True)


def test_what_is_encoded_has_no_nothing_in_it() -> None:
    encoded = encode_app(decode_app(definition(healthChecks=[{}])))
    assert "cmd" not in encoded
    assert encoded["networks"] == []
    assert encoded["healthChecks"][0]["portIndex"] == 0
    assert "port" not in encoded["healthChecks"][0]
    assert encoded["container"]["portMappings"][0] == {
        "containerPort": 8080,
        "protocol": "tcp",
        "name": "http",
        "servicePort": 0,
        "labels": {},
    }
    json.dumps(encoded, allow_nan=False)


@pytest.fixture
def current() -> App:
    return decode_app(definition(cmd="run", instances=3, env={"A": "1", "B": "2"}, deadlineSeconds=900))


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({}, {}),
        ({"instances": 5}, {"instances": 5}),
        ({"env": {"C": "3"}}, {"env": {"C": "3"}}),
        ({"env": None, "instances": None}, {"env": {}, "instances": 1}),
        ({"args": ["a"]}, {"args": ("a",), "cmd": None}),
        ({"cmd": "other"}, {"cmd": "other"}),
        ({"cmd": None}, {"cmd": None}),
        ({"id": "shop/cart", "cpus": 2}, {"cpus": 2.0}),
    ],
)
def test_a_partial_update_replaces_whole_fields(current: App, patch: dict[str, Any], changed: dict[str, Any]) -> None:
    assert merge_app(current, patch) == structs.replace(current, **changed)
    assert merge_app(current, json.dumps(patch)) == structs.replace(current, **changed)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"instancs": 5}, "/instancs"),
        ({"instances": -5}, "/instances"),
        ({"cmd": "a", "args": ["b"]}, "/args"),
        ({"id": "/other"}, "/id"),
        ({"networks": [{"mode": "host"}]}, "/container/portMappings"),
        ([], ""),
    ],
)
def test_a_partial_update_is_checked_as_a_whole(current: App, patch: Any, path: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        merge_app(current, patch)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_a_service_that_others_register_needs_neither_image_nor_command() -> None:
    given = {"id": "/legacy", "service": "legacy", "instances": 0, "routes": [{"domains": ["old.test"]}]}
    app = decode_app(given)
    assert app.external
    assert app.routes[0].port_index == 0
    with pytest.raises(InvalidDocument, match="/instances: must be 0: without image and command"):
        decode_app(given | {"instances": 1})
