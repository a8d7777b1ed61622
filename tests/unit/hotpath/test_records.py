"""Decoding and repairing records, against the slow reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.hotpath.records import decode_records, encode_provenance, halved, repaired, varint
from ingestd.hotpath.snapshots import Run
from tests.model.arena_kit import run_bytes
from tests.reference.batch_decoder import decode_records as reference
from tests.reference.batch_decoder import encode_record, encode_varint

FIELD = st.none() | st.binary(max_size=40)
RECORD = st.tuples(
    st.integers(-(10**9), 10**12), FIELD, FIELD, st.lists(st.tuples(st.binary(max_size=9), FIELD), max_size=3)
)
RUN = st.builds(
    lambda row, first, gaps: Run(
        1, 2, row, first, len(gaps) + 1, 0, b"".join(gaps) if any(map(any, gaps)) else b"", True
    ),
    st.integers(0, 4095),
    st.integers(1, 1 << 40),
    st.lists(st.sampled_from([b"\x00", b"\x05", b"\x80\x01"]), max_size=5),
)


def numbered(runs: list[Run]) -> list[Run]:
    """The runs with their first index in the batch."""
    first = 0
    found = []
    for run in runs:
        found.append(run._replace(first_index=first))
        first += run.record_count
    return found


def payload(records: list[tuple[int, bytes | None, bytes | None, list[tuple[bytes, bytes | None]]]]) -> bytes:
    """Encoded by the reference, base timestamp 0."""
    return b"".join(
        encode_record(offset, delta_ms, key, value, tuple(headers))
        for offset, (delta_ms, key, value, headers) in enumerate(records)
    )


@given(st.lists(RUN, min_size=1, max_size=4).map(numbered), st.data())
def test_records_come_back_with_their_senders_and_repair_keeps_the_good_ones(
    runs: list[Run], data: st.DataObject
) -> None:
    count = sum(run.record_count for run in runs)
    records = data.draw(st.lists(RECORD, min_size=count, max_size=count))
    got = list(decode_records(payload(records), count, 1000, runs))
    assert [(one.timestamp_ms - 1000, one.key, one.value, list(one.headers)) for one in got] == records
    bad = data.draw(st.frozensets(st.integers(0, count - 1), max_size=count - 1))
    new_payload, new_provenance, base_ms, max_ms, _ = repaired(payload(records), count, 1000, runs, bad)
    left = reference(new_payload, count - len(bad), base_ms)
    kept = [one for one in got if one.index not in bad]
    assert [tuple(one) for one in left] == [(one.timestamp_ms, one.key, one.value, one.headers) for one in kept]
    assert (base_ms, max_ms) == (kept[0].timestamp_ms, max(one.timestamp_ms for one in kept))
    assert len(new_provenance) >= 18


@given(st.lists(RUN, min_size=1, max_size=4).map(numbered), st.data())
def test_two_halves_are_the_whole_and_as_equal_as_its_records_allow(runs: list[Run], data: st.DataObject) -> None:
    count = sum(run.record_count for run in runs)
    if count < 2:
        return
    records = data.draw(st.lists(RECORD, min_size=count, max_size=count))
    whole = list(decode_records(payload(records), count, 1000, runs))
    parts = halved(payload(records), count, 1000, runs)
    assert sum(part.record_count for part in parts) == count
    assert all(part.record_count for part in parts)
    found = [one for part in parts for one in reference(part.payload, part.record_count, part.base_timestamp_ms)]
    assert [tuple(one) for one in found] == [(one.timestamp_ms, one.key, one.value, one.headers) for one in whole]
    sizes = [len(part.payload) for part in parts]
    assert max(sizes) - min(sizes) <= 2 * max(len(payload([record])) for record in records) + 10 * count
    for part, kept in zip(parts, (whole[: parts[0].record_count], whole[parts[0].record_count :]), strict=True):
        times = [one.timestamp_ms for one in kept]
        assert (part.base_timestamp_ms, part.max_timestamp_ms) == (times[0], max(times))


@given(st.lists(RUN, max_size=4))
def test_provenance_is_encoded_as_the_layout_says(runs: list[Run]) -> None:
    expected = b"".join(run_bytes(run) for run in reversed(runs))
    assert encode_provenance(runs) == expected


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_varints(value: int) -> None:
    assert varint(value) == encode_varint(value)


@given(st.binary(max_size=60), st.integers(1, 3))
def test_malformed_records_are_one_named_error(data: bytes, count: int) -> None:
    try:
        list(decode_records(data, count, 0, []))
    except ValueError:
        return
    assert len(data) >= 7 * count


def test_a_record_cut_short_is_an_error() -> None:
    whole = payload([(0, b"k", b"v", [])])
    with pytest.raises(ValueError, match="bytes at"):
        list(decode_records(whole[:-2], 1, 0, []))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("of_one_sender", [True, False])
def test_a_batch_of_very_many_records_is_halved(of_one_sender: bool) -> None:
    """On the event loop of a worker, which must not be silent for long: at a cost that grows with the square of the
    records this would take minutes instead of a second."""
    count = 100_000
    run = Run(1, 2, 7, 1, count, 0, b"", True)
    runs = [run] if of_one_sender else numbered([run._replace(record_count=1)] * count)
    first, second = halved(payload([(0, None, b"", [])] * count), count, 1000, runs)
    assert (first.record_count, second.record_count) == (count // 2, count - count // 2)
