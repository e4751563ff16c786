"""JSON and YAML as text: what is no document is refused with its place, and without much work."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from coldchain.documents.application import decode_app, decode_yaml
from coldchain.documents.text import DOCUMENT_BYTES_MAX, parse_json, parse_yaml
from coldchain.model.errors import InvalidDocument, MalformedDocument
from coldchain.testing.counted_calls import counted_calls

CALLS_MAX = 3_000
"""To refuse what is no document. Reading all of a large one takes a million."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "line 1, column 1: expecting value"),
        (b'{"a": 1,\n  "b" 2}', "line 2, column 7: expecting ':' delimiter"),
        (b'{"a": 1} {}', "line 1, column 10: extra data"),
        (b'{"a": {"b": 1, "b": 2}}', '"b" is given twice in one object'),
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is not a number of JSON"),
        (b'{"a":\n"\xff"}', "line 2: not UTF-8 text"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "thousands of digits"),
        (b"x" * (DOCUMENT_BYTES_MAX + 1), f"at most {DOCUMENT_BYTES_MAX} are read"),
        (b"{" + b" " * 10_000_000 + b"}", "the document has 10000002 bytes"),
    ],
)
def test_json_that_is_none(text: bytes, message: str) -> None:
    with counted_calls() as calls, pytest.raises(MalformedDocument) as caught:
        parse_json(text)
    assert message in caught.value.message
    assert caught.value.todo
    assert caught.value.status == 400
    assert calls.number < CALLS_MAX


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the document is empty"),
        ("a: [1", "line 2, column 1: did not find expected ',' or ']'"),
        ("a: 1\n\tb: 2", "line 2, column 1: "),
        ("a: 1\nb: 2\na: 3", 'line 3, column 1: "a" is given twice'),
        ("a: &x 1\nb: *x", "line 1, column 4: anchors and aliases are not read"),
        ("b: *x", "anchors and aliases are not read"),
        ("&x a: 1", "must be plain text"),
        ("a: !!python/object/apply:os.system [ls]", "tags are not read"),
        ("a: !!int 1", "tags are not read"),
        ("? [a]\n: b", "the name of a field must be plain text"),
        ("a: 1\n---\nb: 2", "line 2, column 1: a second document begins"),
        ("a: \x01", "control characters are not allowed"),
        ("[" * 1_000_000, "nested too deeply"),
        ("- " * 500_000, "nested too deeply"),
        ("x" * (DOCUMENT_BYTES_MAX + 1), "at most"),
    ],
)
def test_yaml_that_is_none(text: str, message: str) -> None:
    with counted_calls() as calls, pytest.raises(MalformedDocument) as caught:
        parse_yaml(text)
    assert message in caught.value.message
    assert caught.value.todo
    assert calls.number < CALLS_MAX


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("''", ""),
        # What YAML 1.1 makes something else of:
        ("on", "on"),
        ("no", "no"),
        ("YES", "YES"),
        ("22:22", "22:22"),
        ("012", "012"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("2001-01-01", "2001-01-01"),
        ("1e400", float("inf")),
        ("9" * 32, "9" * 32),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_yaml_scalars_are_read_as_json_would(text: str, value: Any) -> None:
    assert parse_yaml(f"field: {text}") == {"field": value}


@pytest.mark.parametrize("dump", [json.dumps, lambda value: json.dumps(value, indent=2)])
def test_json_is_yaml(dump: Callable[[Any], str]) -> None:
    value = {"a": [1, 2.5, None, True, "x: y", "é\n\t\"'"], "b": {}, "c": []}
    assert parse_yaml(dump(value)) == parse_json(dump(value)) == value


def test_a_definition_in_yaml() -> None:
    text = """
        id: shop/cart
        instances: 4
        env: {SWITCH: on, TIME: 22:22, CODE: 012}
        container:
          docker: {image: "shop:1"}
    """
    app = decode_yaml(text)
    assert (app.id, app.instances) == ("/shop/cart", 4)
    assert app.env == {"SWITCH": "on", "TIME": "22:22", "CODE": "012"}


@pytest.mark.parametrize(("scalar", "kind"), [("012", "'012'"), ("22:22", "'22:22'"), ("on", "'on'")])
def test_a_pitfall_of_yaml_is_a_clear_problem(scalar: str, kind: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        decode_yaml(f"id: a\ninstances: {scalar}\ncontainer: {{docker: {{image: x}}}}")
    assert [str(problem) for problem in caught.value.problems] == [
        f"/instances: must be a whole number, not the text {kind}"
    ]


def test_of_a_document_full_of_mistakes_only_the_first_are_looked_into() -> None:
    text = "{" + ",".join(f'"instancez{number}": 1' for number in range(45_000)) + "}"
    with counted_calls() as calls, pytest.raises(InvalidDocument):
        decode_app(text)
    assert calls.number < 500_000
