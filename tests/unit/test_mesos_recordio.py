"""RecordIO: the same records, in whatever pieces they come."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.clients.mesos.recordio import DamagedStream, RecordDecoder

RECORDS = st.lists(st.binary(max_size=40))


def encoded(records: list[bytes]) -> bytes:
    return b"".join(b"%d\n%s" % (len(record), record) for record in records)


@given(RECORDS, st.lists(st.integers(0, 400)))
def test_any_pieces_make_the_same_records(records: list[bytes], cuts: list[int]) -> None:
    stream = encoded(records)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    decoder = RecordDecoder()
    came = [one for begin, end in itertools.pairwise(places) for one in decoder.feed(stream[begin:end])]
    assert came == records
    assert decoder.between_records


@given(RECORDS.filter(bool), st.data())
def test_a_stream_that_ends_within_a_record_is_known_by_it(records: list[bytes], data: st.DataObject) -> None:
    stream = encoded(records)
    last = len(stream) - len(encoded(records[-1:]))
    cut = data.draw(st.integers(last + 1, len(stream) - 1))
    decoder = RecordDecoder()
    assert decoder.feed(stream[:cut]) == records[:-1]
    assert not decoder.between_records


@pytest.mark.parametrize("stream", [b"abc\n", b"-1\nx", b"\n", b"1" * 30, b"3\nabc4x\n", b" 3\nabc"])
def test_what_is_no_record_is_said_to_be_none(stream: bytes) -> None:
    with pytest.raises(DamagedStream):
        RecordDecoder().feed(stream)
