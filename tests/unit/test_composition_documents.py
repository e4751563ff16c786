"""A file of compositions: what is wrong is said all at once with its path; texts become values and values texts."""

import copy
from pathlib import Path
from typing import Any

import pytest

from coldchain.documents.composition import decode_compositions, decode_yaml
from coldchain.documents.composition_request import body_of, parameters_of, passed_headers
from coldchain.documents.composition_steps import needs_of
from coldchain.documents.composition_values import Unreadable, header_text, path_text, query_text, read_text
from coldchain.documents.expression import Expression, Unfit, is_true
from coldchain.documents.text import parse_yaml
from coldchain.model.composition import Composition
from coldchain.model.errors import InvalidDocument, MalformedDocument

EXAMPLE = Path(__file__).parents[2] / "examples" / "04-composition" / "product.yaml"


@pytest.fixture
def document() -> dict[str, Any]:
    found: dict[str, Any] = parse_yaml(EXAMPLE.read_text())
    return copy.deepcopy(found)


def problems(document: object) -> list[str]:
    with pytest.raises(InvalidDocument) as wrong:
        decode_compositions(document)
    return [str(one) for one in wrong.value.problems]


def test_the_example_is_valid_and_its_steps_are_ordered_by_what_they_read() -> None:
    file = decode_yaml(EXAMPLE.read_bytes())
    assert needs_of(file.compositions[0].steps) == {
        "item": frozenset(),
        "price": frozenset(),
        "stock": frozenset({"item"}),
    }
    exposed = file.compositions[1].exposed_method(file.services)
    assert exposed is not None
    assert (exposed.service, exposed.version, exposed.group, exposed.idempotent) == (
        "com.shop.Stock",
        "1.0.0",
        "SOFA",
        True,
    )


def test_all_that_is_wrong_is_said_at_once(document: dict[str, Any]) -> None:
    product = document["compositions"][0]
    product["steps"]["item"]["http"] |= {"service": "itms", "path": "/items/{ident}", "headers": {"Host": "'x'"}}
    product["steps"]["price"] |= {"retries": 2, "after": ["stok"], "timeoutSeconds": 0}
    product["steps"]["price"]["http"]["query"] = {"a": "paramters.currency", "b": "steps", "c": "]", "d": "missing"}
    product["steps"]["stock"]["dubbo"]["values"] = {"itm": "steps.item.id"}
    product["answer"] = "{id: steps.itm.id, all: steps, missing: missing}"
    product["parameters"]["currency"]["default"] = 3
    document["services"]["prices"]["url"] = "http://user:secret@prices/"
    document["services"]["stock"]["url"] = "http://stock"
    document["passHeaders"] = ["Connection"]
    assert problems(document) == [
        "/compositions/0/parameters/currency/default: must be text, not a number (put it in quotes)",
        "/compositions/0/steps/price/timeoutSeconds: must be above 0 and at most 600",
        "/services/prices/url: is no http://HOST[:PORT][/PATH], or https, without a name, a password or a query",
        "/services/stock: is either `url`, for HTTP, or `interface`, for Dubbo",
        "/passHeaders/0: Connection is about one connection, and not for here",
        "/compositions/0/answer: there is no step 'itm' (did you mean 'item'?)",
        "/compositions/0/steps/item/http/service: there is no 'itms' among `services` (did you mean 'items'?)",
        "/compositions/0/steps/item/http/path: {ident} is neither one of `values` nor a parameter",
        "/compositions/0/steps/item/http/headers/Host: Host is set by Coldchain itself",
        "/compositions/0/steps/price/http/query/a: there is no 'paramters' here; there are body, headers,"
        " parameters, steps (did you mean 'parameters'?)",
        "/compositions/0/steps/price/http/query/b: names no step: write steps.NAME (in parentheses after `!`), so that"
        " it is known what waits",
        "/compositions/0/steps/price/http/query/c: is no JMESPath: invalid token: Parse error at column 0,"
        ' token "]" (RBRACKET)',
        "/compositions/0/steps/price/http/query/d: `missing` is known when all steps have ended, in `answer`",
        "/compositions/0/steps/price/after/0: there is no step 'stok' (did you mean 'stock'?)",
        "/compositions/0/steps/price/retries: is for a step that is `idempotent`: to carry it out twice does no harm",
        "/compositions/0/steps/stock/dubbo/values: has to say what 'item' is, since it is not optional",
        "/compositions/0/steps/stock/dubbo/values/itm: echo has no such parameter (did you mean 'item'?)",
    ]


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    here: Any = document
    *way, last = path.split("/")
    for part in way:
        here = here[int(part)] if isinstance(here, list) else here[part]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return document


OTHER = {"path": "/products/{number}", "answer": "steps.a", "steps": {"a": {"http": {"service": "items"}}}}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("compositions", [], "/compositions: names nothing"),
        ("dubbo", None, "/: has to say by `dubbo: {registry: zk://...}` where stock is found"),
        ("dubbo/registry", "zookeeper://zk:2181", "/dubbo/registry: 'zookeeper://zk:2181' is no address"),
        ("services/items/version", "1", "/services/items/version: is for services of Dubbo"),
        ("services/stock/host", "x", "/services/stock/host: is for services by HTTP"),
        ("services/stock/interface", "a b", "/services/stock/interface: 'a b' is no interface"),
        ("services/Items", {"url": "http://x"}, "/services/Items: 'Items' is no name"),
        ("compositions/0/path", "products", "/compositions/0/path: must begin with `/`"),
        ("compositions/0/path", "/.coldchain/{id}", "is answered by Coldchain itself"),
        ("compositions/0/path", "/p-{id}", "'p-{id}' is neither a word of a path nor a whole placeholder"),
        ("compositions/0/path", "/{id}/{id}", "{id} stands in it twice"),
        ("compositions/0/path", "/x", "/parameters/id: does not stand in the path, as {id}"),
        ("compositions/0/path", "/{currency}/{id}", "{currency} is a parameter of the query"),
        ("compositions/0/parameters/currency/type", "number", "/parameters/currency/default: must be a number"),
        ("compositions/0/parameters/currency/required", True, "default: is of no use: the parameter is `required`"),
        ("compositions/0/parameters/currency/header", "X-A", "is for a parameter whose `place` is `header`"),
        ("compositions/0/answer", None, "has to say what it answers"),
        ("compositions/0/steps", {}, "has to name one step at least"),
        ("compositions/0/steps/item/dubbo", {"service": "stock", "method": "a"}, "has to have one of `http` and"),
        ("compositions/0/steps/item/http/service", "stock", "stock is a service by Dubbo"),
        ("compositions/0/steps/item/http/body", "body", "/http/body: is not for GET"),
        ("compositions/0/steps/item/http/accept", [404], "404 is an answer, as `accept` says"),
        ("compositions/0/steps/item/http/values", {"x": "body"}, "/http/values/x: stands nowhere in the path"),
        ("compositions/0/steps/item/http/path", "/items/{id", "has a brace that belongs to no placeholder"),
        ("compositions/0/steps/item/http/path", "/items?id={id}", "is no path"),
        ("compositions/0/steps/item/fallback", "body", "fallback: is for a step that is `optional`"),
        ("compositions/0/steps/item/after", ["stock"], "need each other in a circle: item → stock → item"),
        ("compositions/0/answer", "nothing(body)", "/answer: there is no function nothing() in JMESPath"),
        ("compositions/0/answer", "body[].{a: abs(x, y)}", "/answer: abs() takes 1 arguments, not 2"),
        ("compositions/1/method", "GET", "must be one of POST, PUT, PATCH"),
        ("compositions/1/answer", "body", "is not for a composition that `exposes` a method"),
        ("compositions/1/path", "/sums/{id}", "has no placeholders where a method is exposed"),
        ("compositions/1/exposes/parameters", [{"name": "a", "type": "a b"}], "/type: 'a b' is no type of Java's"),
        ("compositions/1/exposes/parameters", [{"name": "a", "type": "int"}] * 2, "/parameters/1/name: 'a' is named"),
        ("compositions/1/exposes/service", "items", "items is no service of Dubbo"),
        ("compositions/1/name", "product", "'product' is the name of /compositions/0 too"),
        ("compositions/1", OTHER, "GET /products/{number} is answered by /compositions/0 already"),
        ("limits", {"requestsMax": 0}, "/limits/requestsMax: must be at least 1"),
    ],
)
def test_each_rule(document: dict[str, Any], path: str, value: object, said: str) -> None:
    way = path.split("/")
    if way[-1].isdigit():
        document["compositions"][int(way[-1])] = value
    else:
        changed(document, path, value)
    assert any(said in one for one in problems(document)), problems(document)


def test_what_is_no_document_is_malformed() -> None:
    with pytest.raises(MalformedDocument, match="line 2"):
        decode_yaml("a: [")
    assert problems([]) == ["/: must be an object, not an array"]


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("steps.a.b", {("steps", "a")}),
        ("steps.a[*].b | [0]", {("steps", "a")}),
        ('steps."a-b"[?x == steps.c]', {("steps", "a-b")}),
        ("{x: steps.a, y: [body, parameters.id]}", {("steps", "a"), ("body", None), ("parameters", "id")}),
        ("sort_by(steps.a[], &steps)", {("steps", "a")}),
        ("join(',', steps.a) || `1`", {("steps", "a")}),
        ("(!(steps.a) && steps.b.c) == 'x'", {("steps", "a"), ("steps", "b")}),
        ("steps.*", {("steps", None)}),
        ("steps.{x: a}", {("steps", None)}),
        ("steps[0]", {("steps", None)}),
        ("@.steps", {("@", None)}),
        ("[0]", {("@", None)}),
        ("`{}`.steps", set()),
    ],
)
def test_what_an_expression_reads(text: str, reads: set[tuple[str, str | None]]) -> None:
    assert Expression(text).reads == reads


def test_what_has_no_value_is_unfit() -> None:
    for text, document in (("length(a)", {"a": 1}), ("abs(a)", {"a": "x"}), ("sum(a)", {"a": ["x"]})):
        with pytest.raises(Unfit):
            Expression(text).value(document)
    with pytest.raises(Unfit, match="is no JMESPath"):
        Expression("a[")
    assert [is_true(one) for one in (0, "x", [None], None, "", [], {}, False)] == [True] * 3 + [False] * 5


def test_values_of_parameters() -> None:
    assert [read_text("integer", one) for one in ("0", "-7")] == [0, -7]
    assert [read_text("number", one) for one in ("1", "1.5", "-2e3")] == [1, 1.5, -2000.0]
    assert [read_text("boolean", one) for one in ("true", "false")] == [True, False]
    assert read_text("text", "x y") == "x y"
    for kind, text in (
        ("integer", "1.0"),
        ("integer", "9" * 25),
        ("number", "nan"),
        ("number", "1e999"),
        ("boolean", "1"),
    ):
        with pytest.raises(Unreadable):
            read_text(kind, text)


def test_no_value_leads_to_another_path_and_none_ends_a_header() -> None:
    assert [path_text(one) for one in ("a b", 7, True, "é?#")] == ["a%20b", "7", "true", "%C3%A9%3F%23"]
    for value in ("", ".", "..", "a/b", "a\\b", "a\0", "a\n", None, [], {}):
        with pytest.raises(Unreadable):
            path_text(value)
    for value in ("a\r\nX: y", "é", "", None):
        with pytest.raises(Unreadable):
            header_text(value)
    assert query_text({"a": "x&y=z", "b": None, "c": [1, "2"], "d": False}) == "a=x%26y%3Dz&c=1&c=2&d=false"


def test_parameters_come_from_path_query_and_headers() -> None:
    document = {
        "path": "/{id}/{other}",
        "parameters": {
            "id": {"place": "path", "type": "integer"},
            "q": {"required": True},
            "n": {"type": "number", "default": "1.5"},
            "tenant": {"place": "header", "header": "X-Tenant"},
        },
        "steps": {"a": {"http": {"service": "s"}}},
        "answer": "steps.a",
    }
    file = decode_compositions({"services": {"s": {"url": "http://s"}}, "compositions": [document]})
    one: Composition = file.compositions[0]
    path = {"id": "7", "other": "x"}
    assert parameters_of(one, path, [("q", "a"), ("unknown", "b")], {"x-tenant": "t"}) == {
        "id": 7,
        "other": "x",
        "q": "a",
        "n": 1.5,
        "tenant": "t",
    }
    with pytest.raises(InvalidDocument) as wrong:
        parameters_of(one, path | {"id": "x"}, [("n", "1"), ("n", "2")], {})
    assert [str(one) for one in wrong.value.problems] == [
        "/parameters/id: must be a whole number of 64 bits",
        "/parameters/q: has to be given in the query",
        "/parameters/n: is given 2 times",
    ]


def test_headers_that_go_along() -> None:
    headers = {"x-request-id": "r-1", "x-gray": "gray", "traceparent": "00-1", "cookie": "secret", "x-team": "web"}
    assert passed_headers(headers, ["X-Team"], "new") == {
        "x-request-id": "r-1",
        "x-gray": "gray",
        "traceparent": "00-1",
        "x-team": "web",
    }
    assert passed_headers({"x-request-id": "a b"}, [], "new") == {"x-request-id": "new"}
    assert (body_of(b" "), body_of(b"[1]")) == (None, [1])
