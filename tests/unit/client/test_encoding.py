import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.client.encoding import DecodedRecord, Records, decode_records, encode_record, frame_head
from ingestd.client.frame import FrameError, FrameReader

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
RECORDS = st.builds(
    DecodedRecord,
    value=st.none() | st.binary(max_size=50),
    key=st.none() | st.binary(max_size=50),
    partition=st.none() | st.integers(0, (1 << 31) - 1),
    timestamp_ms=st.none() | st.integers(0, (1 << 63) - 1),
    headers=st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=20)), max_size=3).map(tuple),
)


def encoded(record: DecodedRecord) -> bytes:
    return encode_record(record.value, record.key, record.partition, record.timestamp_ms, record.headers)


def encode_frame(first_sequence: int, records: list[bytes], topic: str | None, topic_id: int = 0) -> bytes:
    return frame_head(first_sequence, records, topic, topic_id) + b"".join(records)


@given(
    first=st.integers(0, (1 << 64) - 1),
    records=st.lists(RECORDS, max_size=5).map(tuple),
    topic=st.none() | NAMES,
    topic_id=st.integers(0, 1023),
)
def test_round_trip(first: int, records: tuple[DecodedRecord, ...], topic: str | None, topic_id: int) -> None:
    data = encode_frame(first, [encoded(record) for record in records], topic, topic_id)
    [(_, flags, body)] = FrameReader().feed(data)
    assert decode_records(body, flags) == Records(first, records, topic, topic_id)


@given(record=RECORDS)
def test_the_length_counts_what_is_behind_it(record: DecodedRecord) -> None:
    data = encoded(record)
    assert int.from_bytes(data[:4], "little") == len(data) - 4


def test_null_and_empty_differ() -> None:
    assert len({encode_record(value, key, None, 1, ()) for value in (None, b"") for key in (None, b"")}) == 4


@given(record=RECORDS, cut=st.data())
def test_a_frame_that_was_cut_is_an_error(record: DecodedRecord, cut: st.DataObject) -> None:
    [(_, flags, body)] = FrameReader().feed(encode_frame(1, [encoded(record)], "topic"))
    with pytest.raises(FrameError):
        decode_records(body[: cut.draw(st.integers(24, len(body) - 1))], flags)


def test_surplus_bytes_are_an_error() -> None:
    [(_, flags, body)] = FrameReader().feed(encode_frame(1, [encode_record(b"v", None, None, 1, ())], "t"))
    with pytest.raises(FrameError, match="1 bytes behind"):
        decode_records(body + b"x", flags)
