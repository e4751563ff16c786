"""The OpenAPI document says all that there is, leads nowhere wrong, and leaves nothing free that has a form."""

import json
import re
from collections.abc import Iterator
from typing import Any

import schemathesis
from jsonschema_rs import Draft202012Validator

from coldchain.api.server import ApiServer
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.documents.openapi.document import OPERATIONS, document
from coldchain.documents.openapi.operation import ALWAYS
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_prober import FakeProber
from coldchain.testing.openapi import described, template, unfit, whole

FREE: dict[str, str] = {
    "limits": "by what a gateway calls each limit of a route",
    "shares": "by what a gateway calls each limit of a route",
    "nobody": "by names of rules, which are the user's",
    "headers": "names and values are the user's",
    "set": "names and values of headers are the user's",
    "labels": "names and values are the user's",
    "env": "names and values are the user's",
    "secrets": "by names that the app's env uses",
    "secretEnv": "as env, in what a bundle keeps",
    "versions": "in a bundle: by their ids",
    "drains": "in a bundle: by agents",
    "seen": "in a bundle: by the ids of instances",
    "constraintValues": "in a bundle: by fields of constraints",
    "reasons": "how many agents, by reason",
    "shortages": "what lacks, by reason",
    "constraints": "how many agents, by constraint",
    "attributes": "names and values are the operator's",
    "instancesOf": "by apps",
    "gauges": "numbers by name",
    "counters": "numbers by name",
    "inFlight": "open requests, by instance",
    "streams": "open streams, by instance",
    "cut": "streams that were ended, by instance",
    "traffic": "what was counted, by instance",
    "services": "endpoints, by service",
    "routes": "rules, by domain",
    "resources": "what gateways know beside them, by kind and name",
    "apps": "routes, by app",
    "domains": "rules, by domain",
}
"""Members that are maps, and why; every other object says what it has."""
REFUSED = {
    "abdicate": "there is one controller",
    **{f"{method}Pods": "there are none" for method in ("get", "post", "put", "delete")},
    **{f"{method}EventSubscriptions": "there are none" for method in ("get", "post", "delete")},
}
"""Operations that never do anything, by id, and why they are there."""
ANYTHING = {"Difference": "what stood at one place of a definition, and what stands there now"}
"""Schemas whose members may be anything, and why."""
FREE_ANSWERS = {"GET /openapi.json": "its form is OpenAPI's own"}


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every object of the document with where it stands."""
    if isinstance(value, dict):
        yield path, value
        for name, member in value.items():
            yield from places(member, (*path, str(name)))
    elif isinstance(value, list):
        for position, member in enumerate(value):
            yield from places(member, (*path, str(position)))


def schemas_within(value: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Those that are schemas: not the members of `properties` by name, nor examples and defaults."""
    for path, found in places(value):
        if path and path[-1] == "properties" and not (len(path) > 1 and path[-2] == "properties"):
            continue
        if {"default", "example", "examples", "links"} & set(path):
            continue
        if {"type", "$ref", "anyOf", "properties", "additionalProperties"} & found.keys():
            yield path, found


async def test_every_route_is_described_and_nothing_else() -> None:
    clock = SystemClock()
    server = ApiServer(Controller(MemoryStore(), FakeEngine(clock), FakeProber(clock), clock), "127.0.0.1", 0)
    routes = {template(route) for route in server.application.router.routes() if route.method != "HEAD"}
    assert routes - described() == set()
    assert described() - routes == set()


def test_it_is_openapi() -> None:
    schemathesis.openapi.from_dict(json.loads(json.dumps(whole()))).validate()
    assert whole()["openapi"].startswith("3.1")


def test_every_schema_is_one() -> None:
    components = whole()["components"]["schemas"]
    # One that leads to all of them: what makes sure of one would make sure of the others again each time.
    Draft202012Validator(
        {
            "components": {"schemas": components},
            "allOf": [{"$ref": f"#/components/schemas/{name}"} for name in components],
        }
    )
    assert [name for name, schema in components.items() if not schema["description"]] == []


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used = set()
    for path, found in places(whole()):
        if "$ref" in found:
            target: Any = whole()
            for part in found["$ref"].removeprefix("#/").split("/"):
                assert part in target, (path, found)
                target = target[part]
            if path[:3] != ("components", "schemas", found["$ref"].rpartition("/")[2]):
                used.add(found["$ref"].rpartition("/")[2])
    components = whole()["components"]
    assert {*components["schemas"], *components["responses"], *components["headers"]} - used == set()


def test_links_lead_to_operations_and_give_what_their_paths_need() -> None:
    paths = {operation.id: set(re.findall(r"{(\w+)}", operation.path)) for operation in OPERATIONS}
    assert len(paths) == len(OPERATIONS), "an id is given twice"
    links = [(path, found) for path, found in places(whole()) if len(path) > 1 and path[-2] == "links"]
    assert links
    for path, link in links:
        assert set(link["parameters"]) == paths[link["operationId"]], path
        for source in link["parameters"].values():
            names = re.findall(r"^\$request\.path\.(\w+)$", source)
            assert names or source.startswith("$response.body#/"), source
            if names:
                assert f"{{{names[0]}}}" in path[1], path


def test_no_answer_is_left_open() -> None:
    for method, path in described():
        operation = whole()["paths"][path][method.lower()]
        assert all(re.fullmatch("[1-5][0-9][0-9]", status) for status in operation["responses"]), (method, path)
        refused = not any(status[0] in "12" for status in operation["responses"])
        assert refused == (operation["operationId"] in REFUSED), (method, path)
        assert {str(status) for status in ALWAYS} <= operation["responses"].keys(), (method, path)
        if "requestBody" in operation:
            assert "413" in operation["responses"], (method, path)


def test_only_maps_are_free() -> None:
    """No object without a form, but those whose names are data; and no list of anything."""
    met, free_answers = set(), set()
    for path, schema in schemas_within(whole()):
        if schema.get("type") == "array":
            assert "items" in schema, path
        if schema.get("type") != "object" or schema.get("additionalProperties") is False:
            continue
        if path[0] == "paths" and f"{path[2].upper()} {path[1]}" in FREE_ANSWERS:
            free_answers.add(f"{path[2].upper()} {path[1]}")
            continue
        name = path[path.index("properties") + 1] if "properties" in path else ""
        assert name in FREE, path
        assert isinstance(schema["additionalProperties"], dict), path
        assert schema["additionalProperties"], path
        met.add(name)
    assert met == set(FREE)
    assert free_answers == set(FREE_ANSWERS)


def test_no_schema_takes_anything() -> None:
    for path, found in places(whole()["components"]["schemas"]):
        if path and path[-1] in ("items", "additionalProperties"):
            assert found, path
        if len(path) > 2 and path[-2] == "properties" and path[0] not in ANYTHING:
            assert {"type", "$ref", "anyOf", "enum", "const"} & found.keys(), path


def test_what_differs_is_found() -> None:
    place = ("GET", "/v2/leader")
    assert unfit(place, 200, "application/json", {"leader": "127.0.0.1:8080"}) == []
    assert unfit(place, 200, "application/json", {"leader": 1}) != []
    assert unfit(place, 200, "application/json", {}) != []
    assert unfit(place, 200, "application/json", {"leader": "x", "more": 1}) != []


def test_descriptions_call_fields_as_documents_do() -> None:
    for name, schema in document()["components"]["schemas"].items():
        for word in re.findall("`([a-z]+_[a-z_]+)`", schema["description"]):
            camel = re.sub("_([a-z])", lambda found: found[1].upper(), word)
            assert camel not in schema.get("properties", {}), (name, word)


def test_ranges_come_from_the_definition() -> None:
    schemas = whole()["components"]["schemas"]
    read, shown = schemas["AppRequest"]["properties"], schemas["AppAnswer"]["properties"]
    assert read["instances"]["anyOf"] == [{"type": "integer", "minimum": 0, "maximum": 10_000}, {"type": "null"}]
    assert shown["instances"] == {"type": "integer", "minimum": 0, "maximum": 10_000}
    assert schemas["AppRequest"]["required"] == ["id"]
    assert "secretEnv" not in read
    assert "secretEnv" not in shown
