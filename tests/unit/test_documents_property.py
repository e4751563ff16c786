"""Properties of app definitions: no document surprises the validator, and what it accepts keeps its meaning."""

import contextlib
import json
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coldchain.documents import stored
from coldchain.documents.application import decode_app, decode_yaml, encode_app, merge_app
from coldchain.model.app import App
from coldchain.model.errors import InvalidDocument, MalformedDocument

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
SECONDS = st.floats(0.01, 100) | st.integers(1, 100)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
MAP = st.dictionaries(TEXT.filter(lambda name: name and "=" not in name), TEXT, max_size=3)


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


PATH = st.lists(LABEL, max_size=3).map(lambda parts: "/" + "/".join(parts))
PORTS = st.just(["http", "admin"])
DEFINITIONS = some(
    {
        "id": st.lists(LABEL, min_size=1, max_size=3).map(lambda parts: "/" + "-".join(parts)),
        "container": some(
            {
                "docker": some(
                    {"image": st.sampled_from(["x", "r.example:5000/a/b:1"])}, {"forcePullImage": st.booleans()}
                ),
                "portMappings": st.just([{"containerPort": 80, "name": "http"}, {"containerPort": 0, "hostPort": 81}]),
            },
            {"type": st.just("DOCKER")},
        ),
    },
    {
        "cmd": TEXT.filter(str.strip),
        "cpus": st.floats(0.001, 64) | st.integers(1, 64),
        "instances": st.integers(0, 10_000),
        "env": MAP,
        "labels": MAP,
        "networks": st.sampled_from([[], [{}], [{"mode": "container/bridge"}], [{"mode": "container", "name": "n"}]]),
        "healthChecks": st.lists(
            some(
                {},
                {
                    "path": PATH,
                    "protocol": st.sampled_from(["HTTP", "TCP"]),
                    "portIndex": st.integers(0, 1),
                    "intervalSeconds": SECONDS,
                    "gracePeriodSeconds": SECONDS,
                },
            ),
            max_size=2,
        ),
        "readinessChecks": st.lists(some({"portName": st.just("http")}, {"path": PATH}), max_size=1),
        "upgradeStrategy": some({}, {"minimumHealthCapacity": st.floats(0, 1), "maximumOverCapacity": st.floats(0, 9)}),
        "routes": st.lists(some({"domains": st.lists(LABEL, min_size=1, unique=True)}, {}), max_size=1),
        "service": LABEL,
        "backoffSeconds": SECONDS,
        "rollbackOnFailure": st.booleans(),
    },
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["path", "mode", "docker", "portName"]), inside, max_size=3
        )
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for name, member in inside for place in places(member, (*path, name))]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A sound definition in which a few places hold anything, or nothing."""
    document = json.loads(json.dumps(draw(DEFINITIONS)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(places(document)))
        if not place:
            continue
        parent = document
        for part in place[:-1]:
            parent = parent[part]
        if draw(st.booleans()) and isinstance(parent, dict):
            if draw(st.booleans()):
                del parent[place[-1]]
            else:
                parent[draw(TEXT)] = draw(ANYTHING)
        else:
            parent[place[-1]] = draw(ANYTHING)
    return document


def resolve(document: Any, pointer: str) -> Any:
    """What a JSON pointer names; raises LookupError."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def check(document: Any) -> None:
    """Accepted, or refused with problems whose places are in the document."""
    try:
        app = decode_app(document)
    except InvalidDocument as error:
        problems = error.problems
    else:
        assert msgspec.convert(encode_app(app), App) == app
        return
    assert problems
    for problem in problems:
        missing = problem.reason == "is missing"
        resolve(document, problem.path.rpartition("/")[0] if missing else problem.path)
        msgspec.json.encode(problem)


@given(damaged())
@settings(max_examples=300)
def test_a_damaged_definition_is_refused_at_places_it_has(document: Any) -> None:
    check(document)


MAPPINGS = ANYTHING | st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "containerPort": st.sampled_from([0, 80]) | ANYTHING,
            "hostPort": st.sampled_from([0, 81]) | ANYTHING,
            "servicePort": st.sampled_from([0, 10000]) | ANYTHING,
            "networkNames": st.just(["n"]) | ANYTHING,
            "number": st.just(80) | ANYTHING,
        },
    )
    | ANYTHING,
    max_size=2,
)
OLD_FORMS = st.fixed_dictionaries(
    {},
    optional={
        "cmd": st.just("serve"),
        "uris": st.lists(ANYTHING, max_size=2) | ANYTHING,
        "fetch": st.lists(st.fixed_dictionaries({"uri": ANYTHING}), max_size=2),
        "ports": st.lists(st.sampled_from([0, 10000]) | ANYTHING, max_size=2) | ANYTHING,
        "portDefinitions": st.lists(st.fixed_dictionaries({"port": st.just(0) | ANYTHING}), max_size=2) | ANYTHING,
        "networks": st.lists(st.fixed_dictionaries({"mode": st.just("host") | ANYTHING}, optional={"labels": ANYTHING}))
        | ANYTHING,
        "ipAddress": ANYTHING
        | st.fixed_dictionaries(
            {},
            optional={
                "networkName": st.just("n") | ANYTHING,
                "groups": ANYTHING,
                "discovery": ANYTHING | st.fixed_dictionaries({"ports": MAPPINGS}),
            },
        ),
        "container": ANYTHING
        | st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(["MESOS", "DOCKER"]) | ANYTHING,
                "volumes": st.lists(ANYTHING | st.fixed_dictionaries({"persistent": ANYTHING}), max_size=2) | ANYTHING,
                "portMappings": MAPPINGS,
                "docker": ANYTHING
                | st.fixed_dictionaries(
                    {"image": st.just("x")},
                    optional={
                        "network": st.sampled_from(["BRIDGE", "HOST", "USER", "NONE"]) | ANYTHING,
                        "portMappings": MAPPINGS,
                    },
                ),
            },
        ),
        **dict.fromkeys(["executor", "storeUrls", "residency", "version", "tasks", "dependencies"], ANYTHING),
        "resourceLimits": st.fixed_dictionaries({}, optional={"cpus": ANYTHING, "mem": ANYTHING}),
        "unreachableStrategy": ANYTHING,
        "acceptedResourceRoles": ANYTHING,
    },
)


@given(OLD_FORMS)
@example({"portDefinitions": [{"port": 0}], "container": {"type": "MESOS", "portMappings": [None, {"": False}]}})
@settings(max_examples=200)
def test_whatever_stands_in_an_old_form_is_refused_at_places_that_are_there(document: Any) -> None:
    check({"id": "/shop"} | document)
    with contextlib.suppress(InvalidDocument):
        merge_app(decode_app({"id": "/shop", "cmd": "serve"}), document)


@given(ANYTHING.filter(lambda value: not isinstance(value, str)))
@settings(max_examples=150)
def test_anything_at_all_is_refused_at_places_it_has(document: Any) -> None:
    check(document)


@given(st.binary(max_size=60) | st.text(max_size=60) | st.text('{}[]",:0e-.tnul ', max_size=30))
@settings(max_examples=200)
def test_no_text_raises_anything_else(text: bytes | str) -> None:
    for decode in (decode_app, decode_yaml):
        try:
            decode(text)
        except (InvalidDocument, MalformedDocument) as error:
            str(error).encode()


@given(st.text("{}[]:,-?&*!|>'\"%@` \n\tab1.~#", max_size=40))
@settings(max_examples=300)
def test_no_yaml_raises_anything_else(text: str) -> None:
    try:
        decode_yaml(text)
    except (InvalidDocument, MalformedDocument) as error:
        str(error).encode()


@given(DEFINITIONS)
@settings(max_examples=150)
def test_what_is_accepted_comes_back_the_same(document: Any) -> None:
    app = decode_app(document)
    assert decode_app(encode_app(app)) == app
    assert decode_app(json.dumps(encode_app(app))) == app
    assert merge_app(app, {}) == app
    assert stored.decode(stored.encode(app), App) == app
