"""Hessian 2: any values come back as they were, the same things as the same; any bytes give values or HessianError."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.clients.hessian2 import (
    Decoder,
    HessianError,
    JavaObject,
    Key,
    Limits,
    TypedList,
    TypedMap,
    decode,
    encode,
)
from coldchain.testing.hessian_peer import described
from coldchain.testing.hessian_values import VALUES


@settings(max_examples=150)
@given(st.lists(VALUES, max_size=4))
def test_any_values_come_back(values: list[object]) -> None:
    message = encode(*values)
    assert described(decode(message)) == described(values)


@settings(max_examples=50)
@given(VALUES, st.data())
def test_what_is_cut_short_is_refused(value: object, data: st.DataObject) -> None:
    message = encode(value)
    length = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(HessianError) as refused:
        Decoder(message[:length]).read()
    assert 0 <= refused.value.position <= length


@settings(max_examples=250)
@given(st.lists(VALUES, min_size=1, max_size=2).map(lambda values: encode(*values)[:2000]), st.data())
def test_what_is_damaged_gives_values_or_the_error(message: bytes, data: st.DataObject) -> None:
    damaged = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged)))
        piece = data.draw(st.binary(max_size=3))
        damaged[place : place + data.draw(st.integers(0, 2))] = piece
    holds(bytes(damaged))


# Bytes that begin something make deeper nonsense than any bytes.
NONSENSE = st.lists(
    st.sampled_from(
        [b"H", b"M\1A", b"W", b"U\1A", b"Z", b"x", b"z", b"q\x90", b"C\1A\x92\1x\1y", b"`", b"Q\x90", b"Q\x91"]
    )
    | st.binary(min_size=1, max_size=2),
    max_size=40,
).map(b"".join)


@settings(max_examples=250)
@given(NONSENSE)
def test_nonsense_gives_values_or_the_error(message: bytes) -> None:
    holds(message)


def holds(message: bytes) -> None:
    """Nothing but HessianError comes out, its position is one of the message; no more values than allowed; and what
    came has a form, which is read as the same."""
    try:
        values = decode(message, limits=Limits(depth=20, elements=200, classes=5))
    except HessianError as refused:
        if not 0 <= refused.position <= len(message):
            raise
        return
    assert len(set(things(values))) <= 200 + 1
    assert described(decode(encode(*values))) == described(values)


def things(value: Any, seen: set[int] | None = None) -> list[int]:
    """The ids of all lists, maps and objects."""
    seen = set() if seen is None else seen
    held = {
        list: lambda: value,
        dict: lambda: [*value, *value.values()],
        Key: lambda: [value.value],
        TypedList: lambda: value.items,
        TypedMap: lambda: [*value.entries, *value.entries.values()],
        JavaObject: lambda: value.fields.values(),
    }.get(type(value))
    if held is None or id(value) in seen:
        return []
    seen.add(id(value))
    return [id(value), *(found for item in held() for found in things(item, seen))]
