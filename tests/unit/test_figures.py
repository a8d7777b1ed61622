"""What is counted is what is read back, buckets hold what a plain model says, and counters outlive a process."""

from bisect import bisect_left
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import figures
from ingestd.figures import (
    BOUNDS,
    COUNT_PLACES,
    ERROR_PLACES,
    GAUGE_PLACES,
    HISTOGRAM_PLACES,
    MANY_ERRORS,
    NOT_CONFIGURED,
    SUM_WORD,
    TROUBLE_PLACES,
    Count,
    Figures,
    Gauge,
    Histogram,
    TopicWord,
    Trouble,
    read,
)
from ingestd.hotpath.publisher import store_block
from ingestd.scoreboard import Reader, Writer

NAMES = ("orders", "clicks")


def test_everything_has_its_place() -> None:
    assert (max(Count) < COUNT_PLACES, max(Gauge) < GAUGE_PLACES) == (True, True)
    assert (len(Histogram) <= HISTOGRAM_PLACES, max(TopicWord) < figures.TOPIC_WORDS) == (True, True)
    assert all(len(bounds) + 1 <= SUM_WORD and list(bounds) == sorted(set(bounds)) for bounds in BOUNDS)
    assert len(Figures(NAMES).pack()) == figures.block_words(len(NAMES))


def test_what_is_packed_is_what_is_read() -> None:
    counted = Figures(NAMES)
    for count in Count:
        counted.add(count, 100 + count)
    for gauge in Gauge:
        counted.gauges[gauge] = 200 + gauge
    counted.topic("clicks")[TopicWord.BYTES_WAITING] = 7
    counted.topic("gone")[TopicWord.RECORDS_SENT] = 9
    counted.error("NOT_ENOUGH_REPLICAS")
    counted.error("TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
    counted.error("NOT_ENOUGH_REPLICAS")
    counted.tallies[Histogram.BATCH_SIZE][300] += 1
    found = read(counted.pack(), NAMES)
    assert [found.counts[count] for count in Count] == [100 + count for count in Count]
    assert [found.gauges[gauge] for gauge in Gauge] == [200 + gauge for gauge in Gauge]
    assert list(found.topics) == [*NAMES, NOT_CONFIGURED]
    assert found.topics["clicks"][TopicWord.BYTES_WAITING] == 7
    assert found.topics[NOT_CONFIGURED][TopicWord.RECORDS_SENT] == 9
    assert found.errors == {"NOT_ENOUGH_REPLICAS": 2, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": 1}
    assert found.histograms[Histogram.BATCH_SIZE][1] == 1
    assert found.histograms[Histogram.BATCH_SIZE][SUM_WORD] == 300


@given(
    st.sampled_from(list(Histogram)),
    st.lists(st.tuples(st.integers(-5, 1 << 26), st.integers(1, 1000)), max_size=30),
)
def test_buckets_hold_what_a_plain_model_says(histogram: Histogram, values: list[tuple[int, int]]) -> None:
    counted = Figures()
    for value, weight in values:
        counted.tallies[histogram][value] += weight
    found = read(counted.pack(), ()).histograms[histogram]
    every = [max(value, 0) for value, weight in values for _ in range(weight)]
    below = 0
    for bound, bucket in zip(BOUNDS[histogram], found, strict=False):
        below += bucket
        assert below == sum(value <= bound for value in every)
    assert below + found[len(BOUNDS[histogram])] == len(every)
    assert found[SUM_WORD] == sum(every)


def test_the_bounds_are_inclusive() -> None:
    assert bisect_left(BOUNDS[Histogram.REQUEST_LATENCY], 8) == 3
    assert BOUNDS[Histogram.REQUEST_LATENCY][3] == 8


def test_more_errors_than_places_are_counted_together() -> None:
    counted = Figures()
    for number in range(ERROR_PLACES + 20):
        counted.error(f"ERROR_{number}")
    errors = read(counted.pack(), ()).errors
    assert len(errors) == ERROR_PLACES
    assert errors[MANY_ERRORS] == 21
    assert sum(errors.values()) == ERROR_PLACES + 20


def test_troubles_are_read_back_and_the_long_and_the_many_are_cut() -> None:
    counted = Figures(NAMES)
    assert read(counted.pack(), NAMES).troubles == ()
    every = [Trouble(number, number + 5, f"kafka-{number}:9092", "gesperrt für immer") for number in range(1, 9)]
    counted.troubles = every
    found = read(counted.pack(), NAMES)
    assert found.troubles == tuple(every[:TROUBLE_PLACES])
    assert list(found.topics) == [*NAMES, NOT_CONFIGURED]
    for length in range(600):
        counted.troubles = [Trouble(1, 2, "kafka:9092", "x" * length + "ü" * 300)]
        (cut,) = read(counted.pack(), NAMES).troubles
        size = len(cut.reason.encode())
        assert counted.troubles[0].reason.startswith(cut.reason), "no half of a letter is left"
        assert 484 <= size <= 485
    counted.troubles = []
    assert read(counted.pack(), NAMES).troubles == ()


def test_a_successor_counts_on_and_begins_with_no_gauges(tmp_path: Path) -> None:
    path = tmp_path / "scoreboard"
    with Writer.create(path, workers=2, supervisor_pid=1, now_ms=1, topics=NAMES) as board, Reader.open(path) as reader:
        first = Figures(board.topics, board.figures(1))
        first.add(Count.REQUESTS, 5)
        first.gauges[Gauge.REQUESTS_IN_FLIGHT] = 3
        first.topic("orders")[TopicWord.RECORDS_DELIVERED] = 11
        first.topic("orders")[TopicWord.OLDEST_CREATED_MS] = 12
        first.tallies[Histogram.SEND_TO_ACK][4] += 10
        first.error("REQUEST_TIMED_OUT")
        first.troubles = [Trouble(1, 2, "kafka:9092", "away")]
        store_block(board.block(1), memoryview(first.pack()))
        second = Figures(board.topics, board.figures(1))
        second.add(Count.REQUESTS)
        second.topic("orders")[TopicWord.RECORDS_DELIVERED] += 1
        second.tallies[Histogram.SEND_TO_ACK][4] += 1
        second.error("REQUEST_TIMED_OUT")
        assert len(reader.figures(1).troubles) == 1
        store_block(board.block(1), memoryview(second.pack()))
        found = reader.figures(1)
        assert found.counts[Count.REQUESTS] == 6
        assert (found.gauges[Gauge.REQUESTS_IN_FLIGHT], found.troubles) == (0, ())
        assert found.topics["orders"][TopicWord.RECORDS_DELIVERED] == 12
        assert found.topics["orders"][TopicWord.OLDEST_CREATED_MS] == 0
        assert (found.histograms[Histogram.SEND_TO_ACK][2], found.errors) == (11, {"REQUEST_TIMED_OUT": 2})
        assert reader.figures(0).counts[Count.REQUESTS] == 0


def test_a_block_is_stored_under_its_seqlock(tmp_path: Path) -> None:
    with Writer.create(tmp_path / "scoreboard", workers=1, supervisor_pid=1, now_ms=1) as board:
        block = board.block(0)
        store_block(block, memoryview(Figures().pack()))
        assert block[figures.SEQLOCK] == 2
        block[figures.SEQLOCK] = 5  # a writer that died in between
        store_block(block, memoryview(Figures().pack()))
        assert block[figures.SEQLOCK] == 8
        with pytest.raises(ValueError, match="do not fit"):
            store_block(block, memoryview(Figures(NAMES).pack()))
