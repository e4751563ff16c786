"""A method of a service behind HTTP: its parameters by name, all mistakes at once, and answers that JSON has."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.composition.exposed_method import answer
from coldchain.documents.exposed_method import call_of
from coldchain.model.errors import InvalidDocument, MalformedDocument
from coldchain.model.service_call import ExposedMethod, Parameter, RaisedByService
from coldchain.testing.fake_service_caller import FakeServiceCaller
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

EXPOSED = ExposedMethod(
    service="com.shop.Stock",
    method="take",
    version="1.0.0",
    parameters=(
        Parameter(name="item", type="java.lang.String"),
        Parameter(name="count", type="int"),
        Parameter(name="price", type="double"),
        Parameter(name="ids", type="long[]", optional=True),
        Parameter(name="buyer", type="com.shop.Buyer", optional=True),
    ),
    timeout_seconds=2.0,
    idempotent=True,
)
GOOD = {"item": "kohlrabi 🥬", "count": 3, "price": 2, "ids": [1, 2**40], "buyer": {"name": "李雷"}}


def body_of(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def test_parameters_by_name_become_arguments_in_their_order() -> None:
    call = call_of(EXPOSED, body_of())
    assert call.arguments == ("kohlrabi 🥬", 3, 2.0, [1, 2**40], {"name": "李雷"})
    assert isinstance(call.arguments[2], float)
    assert call.parameter_types == ("java.lang.String", "int", "double", "long[]", "com.shop.Buyer")
    assert (str(call), call.timeout_seconds, call.idempotent) == ("com.shop.Stock:1.0.0#take", 2.0, True)


def test_all_that_is_wrong_is_said_at_once() -> None:
    body = json.dumps({"itm": "x", "count": 2**31, "price": "2", "ids": [1, "two"]}).encode()
    with pytest.raises(InvalidDocument) as wrong:
        call_of(EXPOSED, body)
    assert [str(one) for one in wrong.value.problems] == [
        "/itm: take has no such parameter (did you mean 'item'?)",
        "/item: has to be given, as text",
        "/count: has to be an integer of 32 bits, not 2147483648",
        "/price: has to be a number, not '2'",
        "/ids: has to be an array (long[]), not [1, 'two']",
    ]


@pytest.mark.parametrize("body", [b"[1]", b"3", b'"x"'])
def test_a_body_that_is_no_object_is_none(body: bytes) -> None:
    with pytest.raises(InvalidDocument, match="by name"):
        call_of(EXPOSED, body)


@given(st.binary(max_size=30), st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3), max_size=3))
def test_whatever_body_comes_is_a_call_or_an_error(raw: bytes, document: dict[str, object]) -> None:
    for body in (raw, json.dumps(document).encode()):
        with pytest.raises((InvalidDocument, MalformedDocument)):
            call_of(EXPOSED, body)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("boolean", [True], [0, None, "true"]),
        ("java.lang.Boolean", [False, None], [1]),
        ("byte", [-128, 127], [128, 1.0, True]),
        ("java.lang.Long", [2**63 - 1, None], [2**63]),
        ("float", [1, 1.5], [True, "1"]),
        ("char", ["x"], ["", "xy", 1]),
        ("java.lang.String", ["", None], [1, []]),
        ("java.util.List", [[], [1, "x"]], [{}, 1]),
        ("java.util.Map", [{}], [[]]),
        ("java.lang.String[][]", [[["x"], []]], [["x"], [[1]]]),
        ("com.shop.Buyer", [{"name": "x"}, None, 3], []),
    ],
)
def test_what_fits_a_type(kind: str, good: list[Any], bad: list[Any]) -> None:
    exposed = ExposedMethod(service="a.B", method="c", parameters=(Parameter(name="x", type=kind),))
    for value in good:
        assert call_of(exposed, json.dumps({"x": value}).encode()).arguments == (value,)
    for value in bad:
        with pytest.raises(InvalidDocument):
            call_of(exposed, json.dumps({"x": value}).encode())


def answered(method: Callable[..., Any], body: bytes = b"") -> tuple[int, Any]:
    loop = SimulatedLoop(1)
    caller = FakeServiceCaller(SimulatedClock(loop))
    caller.services["a.B", "", ""] = {"c": method}
    exposed = ExposedMethod(service="a.B", method="c", timeout_seconds=2.0)
    status, content = simulate(answer(caller, exposed, body), loop)
    return status, json.loads(content)


def test_answers_are_json() -> None:
    async def method() -> object:
        when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        return {"when": when, "data": b"\x00", 3: [None, float("nan"), 2**53 + 1], None: True, when: 1, True: "🥬"}

    assert answered(method) == (
        200,
        {
            "when": "2026-01-02T03:04:05Z",
            "data": "AA==",
            "3": [None, None, 2**53 + 1],
            "null": True,
            "2026-01-02T03:04:05+00:00": 1,
            "true": "🥬",
        },
    )


def test_what_the_method_raises_is_named() -> None:
    async def method() -> object:
        raise RaisedByService("a.B#c: no more", kind="com.shop.SoldOut", words="no more")

    assert answered(method) == (502, {"message": "no more", "raised": "com.shop.SoldOut"})


def test_other_errors_have_the_apis_form() -> None:
    async def method() -> object:
        return None

    assert answered(method, b'{"x": 1}')[0] == 422
    status, document = answered(method, b"{")
    assert (status, document["message"]) == (400, "Invalid JSON")
    loop = SimulatedLoop(1)
    caller = FakeServiceCaller(SimulatedClock(loop))
    nowhere = ExposedMethod(service="a.B", method="c")
    assert simulate(answer(caller, nowhere, b""), loop)[0] == 503
