"""Hessian 2: each form of each value byte by byte, what is read beyond what we write, and what is refused where."""

import enum
from datetime import UTC, datetime, timedelta, timezone

import pytest

from coldchain.clients.hessian2 import (
    Decoder,
    Encoder,
    HessianError,
    JavaObject,
    Key,
    Limits,
    Long,
    TypedList,
    TypedMap,
    decode,
    encode,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CAR = "43 09 66726573682e436172 92 06 636f6c6f7572 05 646f6f7273"
"""The definition of fresh.Car, which has colour and doors."""

WRITTEN = [
    (None, "4e"),
    (True, "54"),
    (False, "46"),
    (0, "90"),
    (-16, "80"),
    (47, "bf"),
    (-17, "c7ef"),
    (48, "c830"),
    (-2048, "c000"),
    (2047, "cfff"),
    (-262144, "d00000"),
    (262143, "d7ffff"),
    (262144, "4900040000"),
    (-(2**31), "4980000000"),
    (2**31, "4c0000000080000000"),
    (-(2**63), "4c8000000000000000"),
    (Long(0), "e0"),
    (Long(-8), "d8"),
    (Long(15), "ef"),
    (Long(-9), "f7f7"),
    (Long(-2048), "f000"),
    (Long(2048), "3c0800"),
    (Long(-262144), "380000"),
    (Long(262144), "5900040000"),
    (0.0, "5b"),
    (-0.0, "448000000000000000"),
    (1.0, "5c"),
    (-128.0, "5d80"),
    (128.0, "5e0080"),
    (-32768.0, "5e8000"),
    (32768.0, "4440e0000000000000"),
    (12.25, "444028800000000000"),
    (EPOCH, "4b00000000"),
    (EPOCH - timedelta(minutes=1), "4bffffffff"),
    (EPOCH + timedelta(milliseconds=1), "4a0000000000000001"),
    ("", "00"),
    ("é", "01c3a9"),
    ("鲜", "01e9b29c"),
    ("🥬", "02eda0beedb5ac"),
    ("\ud83e", "01eda0be"),
    ("a" * 32, "3020" + "61" * 32),
    ("a" * 1023, "33ff" + "61" * 1023),
    ("a" * 1024, "530400" + "61" * 1024),
    ("a" * 0x8001, "528000" + "61" * 0x8000 + "0161"),
    ("a" * 0x7FFF + "🥬", "527fff" + "61" * 0x7FFF + "02eda0beedb5ac"),
    (b"", "20"),
    (b"\x01" * 15, "2f" + "01" * 15),
    (b"\x01" * 16, "3410" + "01" * 16),
    (b"\x01" * 1024, "420400" + "01" * 1024),
    (b"\x01" * 0x8001, "418000" + "01" * 0x8000 + "2101"),
    ([], "78"),
    ([0, [1]], "7a 90 79 91"),
    ([0] * 8, "58 98" + "90" * 8),
    (TypedList("[int", [0]), "71 04 5b696e74 90"),
    (TypedList("[int", [0] * 8), "56 04 5b696e74 98" + "90" * 8),
    ([TypedList("[int", []), TypedList("[int", [])], "7a 70 04 5b696e74 70 90"),
    (["鲜", 0, "é", 1, "🥬", 2], "7e 01e9b29c 90 01c3a9 91 02eda0beedb5ac 92"),
    ({}, "48 5a"),
    ({1: "a", "b": None}, "48 91 0161 0162 4e 5a"),
    (TypedMap("M", {1: 2}), "4d 014d 91 92 5a"),
    (JavaObject("fresh.Car", {"colour": "red", "doors": 3}), CAR + "60 03726564 93"),
    ([JavaObject("E", {}), JavaObject("E", {})], "7a 43 0145 90 60 60"),
]

READ = [
    ("a double in thousandths", "5f00002fda", 0.001 * 12250),
    ("a string in short pieces", "52 0001 61 52 0001 62 0163", "abc"),
    ("a string that ends in a long piece", "52 0001 61 53 0002 6263", "abc"),
    ("a pair of surrogates in two pieces", "52 0001 eda0be 01 edb5ac", "🥬"),
    ("a character in UTF-8's four bytes", "02 f09fa5ac", "🥬"),
    ("two bytes and three bytes and four", "05 61c3a9e9b29cf09fa5ac", "aé鲜🥬"),
    ("binary data in pieces", "41 0001 01 41 0001 02 2103", b"\1\2\3"),
    ("a list that ends where it ends", "57 91 92 5a", [1, 2]),
    ("a list with a type that ends where it ends", "55 0141 91 5a", TypedList("A", [1])),
    ("a direct length in its long form", "58 c802 91 92", [1, 2]),
    ("an object by the long number of its class", "43 0141 91 0178 4f 90 91", JavaObject("A", {"x": 1})),
    ("several definitions before one object", "43 0141 90 43 0142 90 61", JavaObject("B", {})),
    ("a definition before something else", "43 0141 90 91", 1),
    ("a type by its number", "7a 71 0141 91 4d 90 5a", [TypedList("A", [1]), TypedMap("A", {})]),
    ("a field that two classes of a line have: the last", "43 0141 92 0178 0178 60 91 92", JavaObject("A", {"x": 2})),
    ("a map whose key comes twice: the last", "48 91 92 91 93 5a", {1: 3}),
]  # fmt: skip

REFUSED = [
    ("", 0, "more bytes"),
    ("40", 0, "a value"),
    ("5a", 0, "a value"),
    ("49000000", 4, "more bytes"),
    ("c8", 1, "more bytes"),
    ("44", 1, "more bytes"),
    ("0361", 1, "3 units of a string"),
    ("53ffff61", 3, "65535 units of a string"),
    ("01ff", 1, "1 units of a string"),
    ("01c3", 1, "1 units of a string"),
    ("01c080", 1, "UTF-8"),
    ("02806161", 1, "UTF-8"),
    ("02 6180 61", 2, "UTF-8"),
    ("01f09fa5ac", 1, "its end within a character"),
    ("03e9b2", 1, "3 units of a string"),
    ("52000161 90", 4, "the rest of a string"),
    ("41000101 90", 4, "the rest of binary data"),
    ("2f01", 1, "15 bytes of binary data"),
    ("4a7fffffffffffffff", 0, "a date of the years 1 to 9999"),
    ("79", 1, "1 values"),
    ("58 497fffffff", 6, "2147483647 values"),
    ("58 8f", 2, "-1 values"),
    ("58 e0", 1, "the length of a list"),
    ("58 54", 1, "the length of a list"),
    ("5791", 2, "more bytes"),
    ("71 90 91", 1, "one of 0 types"),
    ("71 4e", 1, "a type"),
    ("4891", 2, "more bytes"),
    ("48915a", 2, "a value"),
    ("60", 1, "one of 0 classes"),
    ("4f54", 1, "the number of a class"),
    ("43 90", 1, "the name of a class"),
    ("43 0141 0141", 3, "the number of its fields"),
    ("43 0141 91 90", 4, "the name of a field"),
    ("43 0141 497fffffff", 8, "2147483647 values"),
    ("43 0141 8f 60", 4, "-1 values"),
    ("43 0141 90", 4, "more bytes"),
    ("51 90", 0, "one of 0 values"),
    ("79 51 91", 1, "one of 1 values"),
    ("51 8f", 0, "one of 0 values"),
    ("51 4e", 1, "the number of a value"),
]
"""Bytes, the position of the error, and a part of what it says."""


def content(digits: str) -> bytes:
    return bytes.fromhex(digits)


@pytest.mark.parametrize(("value", "digits"), WRITTEN)
def test_each_form_is_written_and_read(value: object, digits: str) -> None:
    assert encode(value).hex() == content(digits).hex()
    (read,) = decode(content(digits))
    assert read == value
    assert type(read) is (int if isinstance(value, Long) else type(value))


def test_a_double_is_no_int_and_no_number_is_a_number() -> None:
    read = decode(content("5b 5c 5d80 5e8000 447ff8000000000000"))
    assert [type(one) for one in read] == [float] * 5
    assert read[4] != read[4]
    assert str(decode(encode(-0.0))[0]) == "-0.0"


@pytest.mark.parametrize(
    ("digits", "value"), [(digits, value) for _, digits, value in READ], ids=[one[0] for one in READ]
)
def test_what_others_write_is_read(digits: str, value: object) -> None:
    assert decode(content(digits)) == [value]


@pytest.mark.parametrize(("digits", "position", "expected"), REFUSED)
def test_what_is_damaged_is_refused_with_its_place(digits: str, position: int, expected: str) -> None:
    decoder = Decoder(content(digits))
    with pytest.raises(HessianError, match=expected) as refused:
        decoder.read()
    assert refused.value.position == position


def test_each_byte_has_the_meaning_that_the_specification_gives_it() -> None:
    """Those that have none, and the one that ends something, begin no value."""
    without = [code for code in range(256) if _begins_no_value(code)]
    assert without == [0x40, 0x45, 0x47, 0x50, 0x5A]


def _begins_no_value(code: int) -> bool:
    try:
        Decoder(bytes([code]) + bytes(10)).read()
    except HessianError as refused:
        return refused.expected == "a value" and refused.position == 0
    return False


def test_one_message_has_one_table_of_references_and_classes() -> None:
    car = JavaObject("fresh.Car", {"colour": "red", "doors": 3})
    message = encode(car, [car], JavaObject("fresh.Car", {"colour": "blue", "doors": 5}))
    assert message.hex() == content(CAR + "60 03726564 93 79 51 90 60 04626c7565 95").hex()
    decoder = Decoder(memoryview(message))
    first, second = decoder.read(), decoder.read()
    assert isinstance(second, list)
    assert second[0] is first
    assert not decoder.at_end
    assert decoder.position == len(message) - 7
    decoder.read()
    assert decoder.at_end


@pytest.mark.parametrize(
    "digits", ["79 51 90", "57 51 90 5a", "71 0141 51 90", "48 90 51 90 5a", "43 0141 91 0178 60 51 90"]
)
def test_what_holds_itself_is_one_thing(digits: str) -> None:
    (read,) = decode(content(digits))
    held = {
        list: lambda: read[0],
        TypedList: lambda: read.items[0],
        dict: lambda: read[0],
        JavaObject: lambda: read.fields["x"],
    }[type(read)]()
    assert held is read
    assert decode(encode(read))[0] is not read


def test_what_is_gone_is_not_referred_to() -> None:
    """The next list may be where the last one was."""
    encoder = Encoder()
    for number in range(50):
        encoder.write([number])
    assert decode(encoder.getvalue()) == [[number] for number in range(50)]


def test_a_string_ends_before_what_comes_after_it() -> None:
    """Whatever that looks like: characters, or parts of one."""
    for text, digits in (("é", "01c3a9"), ("鲜", "01e9b29c"), ("🥬", "02eda0beedb5ac"), ("a🥬", "0361f09fa5ac")):
        for value, after in ((0, "90"), (7, "97"), (47, "bf"), ("aaa", "03616161"), ("鲜鲜", "02e9b29ce9b29c")):
            assert decode(content(digits + after)) == [text, value]


def test_a_class_with_other_fields_is_defined_again() -> None:
    both = [JavaObject("A", {"x": 1}), JavaObject("A", {"y": 2})]
    assert encode(both).hex() == content("7a 43 0141 91 0178 60 91 43 0141 91 0179 61 92").hex()
    assert decode(encode(both)) == [both]


def test_a_key_that_python_cannot_hash_is_itself() -> None:
    red = JavaObject("fresh.Colour", {"name": "RED"})
    (read,) = decode(encode({Key(red): 1, Key([2]): 3}))
    assert isinstance(read, dict)
    assert [key.value for key in read] == [red, [2]]
    assert list(read.values()) == [1, 3]


class Grade(enum.IntEnum):
    FRESH = 1


class Name(str):
    __slots__ = ()


def test_what_is_derived_of_a_type_is_written_as_it() -> None:
    assert encode(Grade.FRESH, Name("a"), (1,), bytearray(b"a"), memoryview(b"a")).hex() == "9101617991" + "2161" * 2


def test_a_date_of_any_zone_is_one_moment() -> None:
    there = datetime(1970, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert encode(there) == encode(EPOCH)
    assert encode(EPOCH + timedelta(microseconds=1999)) == encode(EPOCH + timedelta(milliseconds=1))


def nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({1, 2}, "a value that Hessian has"),
        (object, "a value that Hessian has"),
        (2**63, "an int of at most 64 bits"),
        (-(2**63) - 1, "an int of at most 64 bits"),
        (datetime(2020, 1, 1), "a datetime with its zone"),  # noqa: DTZ001 - that is the point
        (nested(257), "nothing nested in more than 256 others"),
    ],
)
def test_what_has_no_form_is_refused(value: object, expected: str) -> None:
    encoder = Encoder()
    encoder.write("ok")
    with pytest.raises(HessianError, match=expected) as refused:
        encoder.write([value])
    assert refused.value.position >= 4


def test_nesting_has_a_limit_of_its_own() -> None:
    assert decode(encode(nested(256))) == [nested(256)]
    for code in (b"\x79", b"\x57", b"\x48\x90", b"\x71\x01A", b"\x43\x01A\x91\x01x\x60"):
        with pytest.raises(HessianError, match="nested in more than 256"):
            decode(code * 1000)
    with pytest.raises(HessianError, match="nested in more than 3"):
        decode(encode(nested(4)), limits=Limits(depth=3))


def test_a_stack_that_is_full_is_no_other_error() -> None:
    with pytest.raises(HessianError, match="Python's stack"):
        decode(b"\x79" * 100_000, limits=Limits(depth=10**6))
    refused: list[Exception] = []

    def deep_below() -> None:
        try:
            deep_below()
        except RecursionError:
            if not refused:
                try:
                    encode(nested(200))
                except HessianError as error:
                    refused.append(error)
            raise

    with pytest.raises(RecursionError):
        deep_below()
    assert refused


def test_values_and_classes_have_limits() -> None:
    assert decode(encode([1, {2: 3}]), limits=Limits(elements=6)) == [[1, {2: 3}]]
    for digits in ("7a 91 48 92 93 5a", "57 91 48 92 93 5a 5a"):
        with pytest.raises(HessianError, match="at most 4 values"):
            decode(content(digits), limits=Limits(elements=4))
    assert decode(b"\x78" * 4, limits=Limits(elements=4)) == [[]] * 4
    with pytest.raises(HessianError, match="at most 4 values"):
        decode(b"\x78" * 5, limits=Limits(elements=4))
    with pytest.raises(HessianError, match="at most 2 classes"):
        decode(b"\x43\x01A\x90" * 3, limits=Limits(classes=2))


def test_a_string_of_the_greatest_length_is_whole_in_any_kind_of_character() -> None:
    for character in "aé鲜🥬":
        for length in (0x8001, 70_000):
            assert decode(encode(character * length)) == [character * length]
