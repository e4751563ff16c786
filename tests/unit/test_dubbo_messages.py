"""Frames and bodies of Dubbo: the same whatever pieces they come in, and whatever comes is read or said to be wrong."""

import contextlib
import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.clients.dubbo import (
    Call,
    DamagedFrame,
    DubboError,
    Refused,
    RemoteException,
    Result,
    Unreadable,
    generic_call,
    plain,
)
from coldchain.clients.dubbo.errors import StackElement
from coldchain.clients.dubbo.frame import HEADER_BYTES, Frame, FrameReader, encode_frame, request_frame
from coldchain.clients.dubbo.generic import meant_call
from coldchain.clients.dubbo.message import (
    decode_call,
    decode_result,
    encode_call,
    encode_result,
    refusal,
    takes_attachments,
)
from coldchain.clients.dubbo.types import descriptor, type_of, types_in
from coldchain.clients.hessian2 import Encoder, HessianError, JavaObject, Key, Long, TypedList, TypedMap, encode

LIMIT = 50
FRAMES = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=2 * LIMIT))
)
JAVA_TYPES = st.sampled_from(["int", "long", "boolean", "char", "java.lang.String", "a.B$C", "Zoo"])
TYPES = st.lists(st.builds(lambda name, count: name + "[]" * count, JAVA_TYPES, st.integers(0, 3)))


@given(FRAMES, st.lists(st.integers(0, 3000)))
def test_any_pieces_make_the_same_frames_and_large_ones_are_told_but_not_kept(
    frames: list[tuple[int, int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(encode_frame(*frame) for frame in frames)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    reader = FrameReader(LIMIT)
    came: list[Frame] = []
    for begin, end in itertools.pairwise(places):
        came += reader.feed(stream[begin:end])
        assert reader.kept_bytes < HEADER_BYTES + LIMIT
    assert came == [
        Frame(flags | 2, status, number, len(body), body if len(body) <= LIMIT else None)
        for flags, status, number, body in frames
    ]
    assert reader.between_frames


@given(st.binary(max_size=200))
def test_whatever_comes_is_frames_or_said_to_be_none(stream: bytes) -> None:
    reader = FrameReader(LIMIT)
    with contextlib.suppress(DamagedFrame):
        frames = reader.feed(stream)
        assert sum(HEADER_BYTES + frame.length for frame in frames) + reader.kept_bytes <= len(stream)


@pytest.mark.parametrize("header", [b"GET / HTTP/1.1\r\n", bytes.fromhex("dabbc200" + "00" * 8 + "ffffffff")])
def test_another_protocol_and_a_length_below_zero_are_no_frames(header: bytes) -> None:
    with pytest.raises(DamagedFrame):
        FrameReader().feed(header)


def test_the_header_is_dubbos() -> None:
    """As Dubbo's documentation has it: magic, request and two-way and Hessian 2, status, id, length."""
    assert request_frame(7, b"abc") == bytes.fromhex("dabb c2 00 0000000000000007 00000003") + b"abc"
    assert request_frame(7, b"", two_way=False)[2] == 0x82


@given(TYPES)
def test_descriptors_name_the_types_they_are_of(types: list[str]) -> None:
    assert types_in(descriptor(types)) == types


def test_descriptors_are_javas() -> None:
    types = ["int", "java.lang.String", "long[]", "java.util.Map", "java.lang.Object[][]", "boolean"]
    assert descriptor(types) == "ILjava/lang/String;[JLjava/util/Map;[[Ljava/lang/Object;Z"


@pytest.mark.parametrize("text", ["Q", "L;", "Ljava/lang/String", "[", "V", "I[", "I" * 256])
def test_what_is_no_descriptor_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unreadable):
        types_in(text)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "java.lang.Object"),
        (True, "boolean"),
        (1, "int"),
        (2**31, "long"),
        (Long(1), "long"),
        (1.5, "double"),
        ("é", "java.lang.String"),
        (b"", "byte[]"),
        (datetime(2026, 1, 1, tzinfo=UTC), "java.util.Date"),
        ([1], "java.util.List"),
        ({}, "java.util.Map"),
        (JavaObject("a.B", {}), "a.B"),
        (TypedMap("java.util.TreeMap", {}), "java.util.TreeMap"),
        (TypedList("[string", []), "java.lang.String[]"),
        (TypedList("[[int", []), "int[][]"),
        (TypedList("java.util.LinkedList", []), "java.util.LinkedList"),
    ],
)
def test_a_value_has_the_type_that_its_parameter_is_likely_to_have(value: object, name: str) -> None:
    assert type_of(value) == name


def test_a_call_is_read_as_it_was_written() -> None:
    call = Call(
        interface="com.shop.Stock",
        method="take",
        arguments=["🥦 salad", Long(3), {"a": [1, None]}, JavaObject("com.shop.Item", {"id": 1})],
        types=["java.lang.String", "long", "java.util.Map", "com.shop.Item"],
        version="1.0.0",
        group="SOFA",
        path="stock",
        attachments={"trace": "7f"},
    )
    read = decode_call(encode_call(call, 1.5))
    assert read.attachments == {
        "path": "stock",
        "interface": "com.shop.Stock",
        "version": "1.0.0",
        "group": "SOFA",
        "timeout": "1500",
        "trace": "7f",
    }
    assert list(read.arguments) == list(call.arguments)
    assert (read.words, read.types, read.path, read.protocol) == (call.words, call.types, "stock", "2.0.2")


def test_types_that_do_not_fit_the_arguments_are_not_sent() -> None:
    with pytest.raises(ValueError, match="1 arguments for 2 types"):
        encode_call(Call(interface="a.B", method="c", arguments=[1], types=["int", "int"]))


@given(
    st.binary(max_size=60)
    | st.lists(st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1) | st.none()).map(lambda v: encode(*v))
)
def test_whatever_body_comes_is_read_or_said_to_be_wrong(body: bytes) -> None:
    for read in (decode_call, decode_result):
        with contextlib.suppress(DubboError):
            read(body)
    assert isinstance(refusal(40, body), Refused)


@given(st.data())
def test_a_call_that_was_damaged_on_its_way_is_read_or_said_to_be_wrong(data: st.DataObject) -> None:
    call = generic_call("a.B", "c", ["int", "java.util.Map"], [1, {"a": JavaObject("x.Y", {"z": "w"})}])
    body = bytearray(encode_call(call))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DubboError):
        meant = decode_call(bytes(body[: data.draw(st.integers(0, len(body)))]))
        if len(meant.arguments) == 3:
            plain(list(meant_call(meant).arguments))


@pytest.mark.parametrize(
    ("result", "protocol", "kind"),
    [
        (Result("x"), "2.0.2", 1),
        (Result(), "2.0.2", 2),
        (Result("x", {"a": "b"}), "2.0.2", 4),
        (Result(None, {"a": "b"}), "2.0.2", 5),
        (Result("x", {"a": "b"}), "2.4.10", 1),
    ],
)
def test_results_are_of_the_kind_that_the_consumer_understands(result: Result, protocol: str, kind: int) -> None:
    body = encode_result(result, protocol)
    assert body[0] - 0x90 == kind
    assert decode_result(body) == (result if kind > 2 else Result(result.value))


@pytest.mark.parametrize(("told", "kind"), [(False, 0), (True, 3)])
def test_an_exception_is_data(told: bool, kind: int) -> None:
    cause = RemoteException("java.io.IOException", "disk")
    stack = [StackElement("com.shop.Stock", "take", "Stock.java", 12), StackElement("java.lang.Thread", "run", "", -2)]
    error = RemoteException("com.shop.SoldOut", "no 🥦 left", stack=stack, cause=cause)
    body = encode_result(error)
    if told:
        body = bytes([0x90 + kind]) + body[1:] + encode({"trace": "7f"})
    with pytest.raises(RemoteException) as caught:
        decode_result(body)
    came = caught.value
    assert str(came) == "com.shop.SoldOut: no 🥦 left"
    assert [str(one) for one in came.stack] == [
        "com.shop.Stock.take(Stock.java:12)",
        "java.lang.Thread.run(Native Method)",
    ]
    assert came.cause is not None
    assert (came.cause.kind, came.cause.words) == ("java.io.IOException", "disk")
    assert came.heard


def test_an_exception_that_is_its_own_cause_has_none() -> None:
    """Java's have themselves as their cause until they are given one."""
    thrown = JavaObject("java.lang.RuntimeException", {"detailMessage": None, "stackTrace": []})
    thrown.fields["cause"] = thrown
    with pytest.raises(RemoteException) as caught:
        decode_result(encode(0, thrown))
    assert (str(caught.value), caught.value.cause) == ("java.lang.RuntimeException", None)


def test_causes_in_a_circle_end() -> None:
    one, two = JavaObject("a.One", {}), JavaObject("a.Two", {})
    one.fields["cause"], two.fields["cause"] = two, one
    with pytest.raises(RemoteException, match=r"a\.One"):
        decode_result(encode(0, one))


def test_a_stack_without_an_end_is_cut() -> None:
    stack = [StackElement("a.B", "deeper", "B.java", number) for number in range(1000)]
    with pytest.raises(RemoteException) as caught:
        decode_result(encode_result(RemoteException("java.lang.StackOverflowError", stack=stack)))
    assert list(caught.value.stack) == stack[:200]


def test_what_a_generic_call_raised_is_named_itself() -> None:
    fields: dict[str, object] = {"exceptionClass": "com.shop.SoldOut", "exceptionMessage": "no more"}
    wrapped = JavaObject("org.apache.dubbo.rpc.service.GenericException", fields)
    with pytest.raises(RemoteException, match=r"^com\.shop\.SoldOut: no more$"):
        decode_result(encode(0, wrapped))


@pytest.mark.parametrize("value", [None, False, 0, "", 0.0])
def test_node_leaves_the_kind_away_before_what_javascript_takes_for_false(value: object) -> None:
    assert decode_result(encode(value)).value == value


@pytest.mark.parametrize("kind", [6, -1, True, "x", 3.5])
def test_a_kind_that_is_none_is_unreadable(kind: object) -> None:
    encoder = Encoder()
    encoder.write(kind)
    encoder.write("value")
    with pytest.raises(Unreadable):
        decode_result(encoder.getvalue())


@pytest.mark.parametrize(
    ("status", "words", "heard"),
    [
        (70, "it failed", True),
        (31, "too slow", True),
        (100, "the pool is exhausted", False),
        (60, "no such service", False),
        (70, "org.apache.dubbo.remoting.RemotingException: Not found exported service: a.B:1.0.0", False),
        (80, "not found service: a.B:1.0.0", False),
        (77, "a status that nobody knows", True),
    ],
)
def test_a_refusal_says_whether_the_call_may_have_been_carried_out(status: int, words: str, heard: bool) -> None:
    refused = refusal(status, encode(words))
    assert refused.heard == heard
    assert words in str(refused)


def test_versions_that_understand_attachments_of_results() -> None:
    understand = ["2.0.2", "2.0.9", "2.6.3", "2.7.3", "3.2.0", "2.0.99-x"]
    assert [one for one in (*understand, "2.0.1", "2.4.10", "2.6.2", "2.8.4", "", "x") if takes_attachments(one)] == [
        "2.0.2",
        "2.0.9",
        "2.6.3",
        "2.7.3",
        "3.2.0",
    ]


def test_a_generic_call_means_another_one() -> None:
    call = generic_call("a.B", "c", ["int", "x.Y"], [1, {"class": "x.Y", "z": 2}], version="1", attachments={"k": "v"})
    read = decode_call(encode_call(call))
    assert read.types == ["java.lang.String", "java.lang.String[]", "java.lang.Object[]"]
    assert read.attachments["generic"] == "true"
    meant = meant_call(read)
    assert (meant.words, meant.types, list(meant.arguments)) == (
        "a.B:1#c",
        ["int", "x.Y"],
        [1, {"class": "x.Y", "z": 2}],
    )


def test_plain_values_are_what_a_generic_consumer_gets() -> None:
    colour = JavaObject("a.Colour", {"name": "RED"})
    value = TypedMap(
        "java.util.TreeMap",
        {
            "items": TypedList("[a.Item", [JavaObject("a.Item", {"id": Long(7), "colour": colour})]),
            Key(colour): 1,
            Long(3): TypedMap("a.Record", {"x": b"y"}),
        },
    )
    assert plain(value) == {
        "items": [{"class": "a.Item", "id": 7, "colour": "RED"}],
        "RED": 1,
        3: {"class": "a.Record", "x": b"y"},
    }


def test_objects_that_contain_themselves_have_no_plain_value() -> None:
    circle = JavaObject("a.Node", {"x": 1})
    circle.fields["next"] = circle
    with pytest.raises(Unreadable):
        plain(circle)


def test_a_value_that_cannot_be_written_is_an_error_of_its_sender() -> None:
    with pytest.raises(HessianError):
        encode_call(Call(interface="a.B", method="c", arguments=[object()]))
