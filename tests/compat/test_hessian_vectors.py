"""Our Hessian 2 against hessian.js, which Dubbo services in Node.js speak: what either writes the other reads, and
where there is one shortest form both write the same bytes."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings

from coldchain.clients.hessian2 import JavaObject, Key, Long, TypedList, TypedMap, decode, encode
from coldchain.testing.hessian_peer import HessianPeer, described, heard
from coldchain.testing.hessian_values import VALUES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT_BORDERS = (0, 16, 47, 48, 2047, 2048, 262143, 262144, 2**31 - 1)
LONG_BORDERS = (0, 7, 8, 15, 16, 2047, 2048, 262143, 262144, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1)
STRING_BORDERS = (0, 1, 31, 32, 255, 256, 1023, 1024, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x10000, 0x10001, 100_000)


def around_zero(borders: tuple[int, ...]) -> list[int]:
    """Each, and on the other side of zero its twin and the next two."""
    return sorted({sign for border in borders for sign in (border, -border, -border - 1)})


def itself(kind: str) -> object:
    """A value that holds itself."""
    if kind == "list":
        items: list[object] = [1]
        items.append(items)
        return items
    if kind == "map":
        entries: dict[object, object] = {"a": 1}
        entries["self"] = entries
        return entries
    # As Java's exceptions do: one that nothing has caused is its own cause.
    made = JavaObject("fresh.market.Failure", {"detailMessage": "out of stock"})
    made.fields |= {"cause": made, "stackTrace": TypedList("[java.lang.StackTraceElement", [])}
    return made


def shared() -> object:
    box = JavaObject("fresh.Box", {"name": "crate", "weight": 1 / 3})
    labels = ["cold", "fragile"]
    return {"first": box, "second": box, "labels": labels, "again": [labels, box, box]}


def deep(levels: int) -> object:
    value: object = "bottom"
    for _ in range(levels):
        value = {"next": [value]}
    return value


def many_classes() -> object:
    """More than have a byte of their own; each twice."""
    return [JavaObject(f"fresh.Kind{number % 20}", {"number": number}) for number in range(40)]


def cars() -> object:
    return [JavaObject("fresh.Car", {"colour": colour, "doors": doors}) for colour, doors in (("red", 3), ("green", 5))]


def colours() -> object:
    red, green = (JavaObject("fresh.Colour", {"name": name}) for name in ("RED", "GREEN"))
    return TypedList("[fresh.Colour", [red, green, red, green])


SAME_BYTES: dict[str, Callable[[], object]] = {
    "null": lambda: None,
    "booleans": lambda: [True, False],
    "ints": lambda: around_zero(INT_BORDERS),
    "longs": lambda: [Long(number) for number in around_zero(LONG_BORDERS)],
    "doubles": lambda: [float(number) for number in (0, 1, 2, -1, 127, 128, -128, -129, 32767, -32768, 1e300, -1e-300)],
    "infinities": lambda: [float("inf"), float("-inf"), 1 / 3, 5e-324],
    "dates": lambda: [
        EPOCH + timedelta(milliseconds=number) for number in (0, 1, -1, 60_000, -60_000, 1_700_000_000_123)
    ],
    "strings": lambda: ["a" * length for length in STRING_BORDERS],
    "strings of two bytes": lambda: ["é" * length for length in STRING_BORDERS],
    "strings of three bytes": lambda: ["鲜" * length for length in STRING_BORDERS],
    "strings of pairs": lambda: ["🥬" * length for length in STRING_BORDERS],
    "strings with a pair at the border": lambda: [
        "a" * length + "🥬🧊" for length in (28, 29, 30, 1020, 1022, 0x7FFE, 0x7FFF)
    ],
    "strings of all kinds": lambda: ["a\0é鲜🥬\uffff" * length for length in (1, 5, 200, 9000)],
    "strings before numbers": lambda: ["é", 0, "鲜" * 40, -1, "🥬", 47, "a鲜", Long(1), "鲜🥬", 1 / 3],
    "binary": lambda: [bytes(range(256))[:length] for length in (0, 1, 15, 16, 255)] + [b"\xff" * 1023, b"z" * 4000],
    "lists": lambda: [list(range(length)) for length in (0, 1, 7, 8, 100)],
    "typed lists": lambda: [TypedList("[int", [1, 2]), TypedList("[string", ["a"] * 9), TypedList("[int", [3])],
    "maps": lambda: [{}, {"a": 1, "b": None}, {1: "one", 2: "two"}, {"nested": {"list": [{"deep": True}]}}],
    "typed maps": lambda: [TypedMap("java.util.TreeMap", {"a": 1}), TypedMap("java.util.TreeMap", {})],
    "objects": cars,
    "enums": colours,
    "keys that are enums": lambda: {Key(JavaObject("fresh.Colour", {"name": "RED"})): 1},
    "generic box": lambda: JavaObject("fresh.Page", {"total": Long(2), "items": cars(), "extra": {"k": [1 / 3, None]}}),
    "an object without fields": lambda: [JavaObject("fresh.Nothing", {}), JavaObject("fresh.Nothing", {})],
    "many classes": many_classes,
    "shared": shared,
    "a list in itself": lambda: itself("list"),
    "a map in itself": lambda: itself("map"),
    "an object in itself": lambda: itself("object"),
    "deep": lambda: deep(50),
}
OTHER_BYTES: dict[str, Callable[[], object]] = {
    "doubles of thousandths": lambda: [12.25, -0.5, 1.001, 32768.0, -32769.0, 2147483.647, 0.1],
    "negative zero": lambda: -0.0,
    "binary in pieces": lambda: [b"\x5a" * length for length in (0x7FFF, 0x8000, 0x8001, 0x10000, 100_000)],
}
"""Both read them; hessian.js has thousandths for some doubles, no negative zero, and other pieces."""
CHOSEN = SAME_BYTES | OTHER_BYTES


@pytest.fixture(scope="module")
def peer() -> Iterator[HessianPeer]:
    with HessianPeer() as started:
        yield started


@pytest.mark.parametrize("name", CHOSEN)
def test_hessian_js_reads_what_we_write(peer: HessianPeer, name: str) -> None:
    value = CHOSEN[name]()
    assert peer.decode(encode(value)) == heard(value)


@pytest.mark.parametrize("name", CHOSEN)
def test_we_read_what_hessian_js_writes(peer: HessianPeer, name: str) -> None:
    value = CHOSEN[name]()
    (read,) = decode(peer.encode(value))
    assert heard(read) == heard(value)


@pytest.mark.parametrize("name", SAME_BYTES)
def test_both_write_the_same_bytes(peer: HessianPeer, name: str) -> None:
    value = SAME_BYTES[name]()
    assert encode(value).hex() == peer.encode(value).hex()


@settings(max_examples=100)
@given(value=VALUES)
def test_hessian_js_reads_any_values(peer: HessianPeer, value: object) -> None:
    assert peer.decode(encode(value)) == heard(value)


def test_an_exception_keeps_its_words(peer: HessianPeer) -> None:
    raised = JavaObject("java.lang.IllegalStateException", {"detailMessage": "库存不足 🥬", "cause": None})
    assert peer.catch(encode(raised)) == ["error", "库存不足 🥬"]


def test_a_description_tells_the_same_from_the_equal() -> None:
    """Else the comparisons above would show nothing of references."""
    assert described(shared()) != described({"first": 1})
    box: list[object] = []
    assert described([box, box]) != described([box, []])
