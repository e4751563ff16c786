"""An answer is read the same however the network cuts its bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.testing.load.answer import Answer, MalformedAnswer

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Version: v1\r\nX-Instance: i1\r\nx-request-id: r1\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhe\r\no\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
)
EMPTY = b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH


def read(data: bytes, cuts: list[int]) -> tuple[Answer, list[bool]]:
    answer = Answer()
    edges = [0, *sorted(cut % (len(data) - 1) + 1 for cut in cuts), len(data)]
    return answer, [answer.feed(data[left:right]) for left, right in itertools.pairwise(edges) if left < right]


@pytest.mark.parametrize(("data", "status"), [(LENGTH, 200), (CHUNKED, 503), (EMPTY, 204), (INTERIM, 200)])
@given(cuts=st.lists(st.integers(min_value=0), max_size=6))
def test_complete_exactly_at_its_last_byte(data: bytes, status: int, cuts: list[int]) -> None:
    answer, complete = read(data, cuts)
    assert complete == [False] * (len(complete) - 1) + [True]
    assert answer.status == status
    assert answer.keeps_connection
    if data.endswith(LENGTH):
        assert (answer.version, answer.instance, answer.request_id) == ("v1", "i1", "r1")


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0", True),
        (b"HTTP/1.1 200\r\nContent-Length: 0", True),
    ],
)
def test_says_whether_the_connection_lives_on(head: bytes, kept: bool) -> None:
    answer = Answer()
    assert answer.feed(head + b"\r\n\r\n")
    assert answer.keeps_connection is kept


def test_without_length_it_lasts_to_the_end_of_the_connection() -> None:
    answer = Answer()
    assert not answer.feed(b"HTTP/1.1 200 OK\r\n\r\nsome")
    assert not answer.feed(b" more")
    assert answer.end()
    assert not answer.keeps_connection


@pytest.mark.parametrize("cut", [0, 10, len(LENGTH) - 1])
def test_the_end_of_the_connection_does_not_complete_a_cut_answer(cut: int) -> None:
    answer = Answer()
    answer.feed(LENGTH[:cut])
    assert not answer.end()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnot a header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        LENGTH + b"HTTP/1.1 200 OK\r\n",
        CHUNKED + b"x",
        b"x" * 70000,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        Answer().feed(data)
