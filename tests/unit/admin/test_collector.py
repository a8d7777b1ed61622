"""/metrics over a scoreboard made by hand: names, values, labels, and that every metric of the catalogue is shown."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from ingestd.admin import catalogue, collector
from ingestd.admin.catalogue import METRICS
from ingestd.admin.status import copy_status
from ingestd.figures import Count, Figures, Gauge, Histogram, TopicWord
from ingestd.hotpath.publisher import store_block
from ingestd.metrics import Failed, Ledger, Rejected, word_of
from ingestd.scoreboard import Reader, Word, WorkerState, Writer
from tests.unit.admin.test_status import store

ROOT = Path(__file__).parents[3]
NOW_MS = 1_700_000_100_000
TICK_MS = 1_000_000


@pytest.fixture
def board(tmp_path: Path) -> Iterator[tuple[Writer, Reader]]:
    path = tmp_path / "scoreboard"
    started_ms = NOW_MS - 100_000
    with (
        Writer.create(path, workers=2, supervisor_pid=1, now_ms=started_ms, topics=("orders", "clicks")) as writer,
        Reader.open(path) as reader,
    ):
        for index, row in enumerate(writer.rows):
            row.set(Word.STATE, WorkerState.READY)
            row.beat(TICK_MS - 500)
            store(row, Word.LEDGER + Ledger.RECEIVED, 12 + index)
            store(row, Word.LEDGER + Ledger.ACCEPTED, 10 + index)
            store(row, Word.LEDGER + Ledger.DELIVERED, 6)
            store(row, Word.LEDGER + word_of(Rejected.CUT), 2)
            store(row, Word.LEDGER + word_of(Failed.TOPIC_DENIED), 1)
            store(row, Word.BUFFERED_RECORDS, 3 + index)
            store(row, Word.OLDEST_CREATED_MS, NOW_MS - 2_500)
            store(row, Word.TOTAL_PAGES, 100)
            store(row, Word.FREE_PAGES, 25)
            figures = Figures(writer.topics)
            figures.add(Count.REQUESTS, 5 + index)
            figures.add(Count.RECOVERED_PROVEN, 2)
            figures.add(Count.THROTTLE_MS, 1500)
            figures.gauges[Gauge.METADATA_TICK_MS] = TICK_MS - 3_000
            orders = figures.topic("orders")
            orders[TopicWord.RECORDS_SENT] = 70
            orders[TopicWord.OLDEST_CREATED_MS] = NOW_MS - 1_000 * (index + 1)
            figures.tallies[Histogram.SEND_TO_ACK][3] += 10
            figures.tallies[Histogram.SEND_TO_ACK][5] += 1
            figures.error("NOT_ENOUGH_REPLICAS")
            store_block(writer.block(index), memoryview(figures.pack()))
        yield writer, reader


def scrape(reader: Reader, accept: str = "") -> str:
    body, _ = collector.render(copy_status(reader), NOW_MS, TICK_MS, accept)
    return body.decode()


def values(text: str) -> dict[str, float]:
    """By ``name{labels}`` as written."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_what_stands_on_the_scoreboard_is_shown(board: tuple[Writer, Reader]) -> None:
    found = values(scrape(board[1]))
    for name, value in {
        'ingestd_worker_up{worker="1"}': 1,
        'ingestd_worker_state{state="ready",worker="0"}': 1,
        'ingestd_worker_state{state="backoff",worker="0"}': 0,
        'ingestd_worker_heartbeat_age_seconds{worker="0"}': 0.5,
        'ingestd_received_records_total{worker="1"}': 13,
        'ingestd_rejected_records_total{reason="cut",worker="0"}': 2,
        'ingestd_failed_records_total{reason="topic_denied",worker="0"}': 1,
        'ingestd_dropped_records_total{reason="quarantined",worker="0"}': 0,
        'ingestd_buffered_records{worker="1"}': 4,
        'ingestd_accounting_residual{identity="intake",worker="0"}': 0,
        'ingestd_accounting_residual{identity="delivery",worker="1"}': 0,
        'ingestd_arena_level_ratio{worker="0"}': 0.75,
        'ingestd_oldest_buffered_age_seconds{worker="0"}': 2.5,
        'ingestd_producer_request_total{worker="1"}': 6,
        'ingestd_producer_recovered_batches_total{outcome="proven",worker="0"}': 2,
        'ingestd_producer_produce_throttle_time_seconds_total{worker="0"}': 1.5,
        'ingestd_producer_metadata_age_seconds{worker="0"}': 3,
        'ingestd_producer_batch_error_total{error="NOT_ENOUGH_REPLICAS"}': 2,
        'ingestd_producer_record_send_total{topic="orders"}': 140,
        'ingestd_topic_oldest_undelivered_age_seconds{topic="orders"}': 2,
        'ingestd_topic_oldest_undelivered_age_seconds{topic="clicks"}': 0,
        'ingestd_send_to_ack_seconds_bucket{le="0.002"}': 0,
        'ingestd_send_to_ack_seconds_bucket{le="0.004"}': 20,
        'ingestd_send_to_ack_seconds_bucket{le="0.008"}': 22,
        'ingestd_send_to_ack_seconds_bucket{le="+Inf"}': 22,
        "ingestd_send_to_ack_seconds_count": 22,
        "ingestd_send_to_ack_seconds_sum": 0.07,
        'ingestd_producer_batch_size_bytes_bucket{le="256"}': 0,
    }.items():
        assert found[name] == pytest.approx(value), name


def test_every_metric_of_the_catalogue_is_shown_and_no_other(board: tuple[Writer, Reader]) -> None:
    shown = re.findall(r"^# TYPE (\S+) (\S+)$", scrape(board[1]), re.M)
    assert shown == [(metric.name, metric.kind) for metric in METRICS.values()]


def test_every_figure_is_in_the_catalogue() -> None:
    assert catalogue.PRODUCER.keys() == set(Count)
    assert catalogue.GAUGES.keys() == set(Gauge)
    assert catalogue.TOPICS.keys() == set(TopicWord)
    assert catalogue.HISTOGRAMS.keys() == set(Histogram)
    assert catalogue.LEDGER.keys() == set(Ledger)


@pytest.mark.parametrize(
    ("accept", "parse", "content_type"),
    [
        ("", plain, "text/plain; version=0.0.4"),
        ("text/plain", plain, "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0, text/plain", open_metrics, "application/openmetrics-text"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(
    board: tuple[Writer, Reader], accept: str, parse: object, content_type: str
) -> None:
    body, said = collector.render(copy_status(board[1]), NOW_MS, TICK_MS, accept)
    assert said.startswith(content_type)
    families = list(parse(body.decode()))  # type: ignore[operator]
    assert {family.name.removesuffix("_total") for family in families} == {
        name.removesuffix("_total") for name in METRICS
    }


@pytest.mark.parametrize("accept", ["text/plain;version=abc", "application/openmetrics-text; version=", "\xff;;=,"])
def test_whoever_asks_for_what_is_no_format_gets_the_plain_one(board: tuple[Writer, Reader], accept: str) -> None:
    body, said = collector.render(copy_status(board[1]), NOW_MS, TICK_MS, accept)
    assert b"ingestd_info" in body
    assert "charset=utf-8" in said


def test_a_workers_death_in_the_middle_shows_no_false_residual(board: tuple[Writer, Reader]) -> None:
    writer, reader = board
    store(writer.rows[0], Word.SEQLOCK, 3)
    store(writer.rows[0], Word.LEDGER + Ledger.RECEIVED, 99)
    found = values(scrape(reader))
    assert found['ingestd_books_consistent{worker="0"}'] == 0
    assert 'ingestd_accounting_residual{identity="intake",worker="0"}' not in found
    assert found['ingestd_accounting_residual{identity="intake",worker="1"}'] == 0


def test_what_is_missing_shows(board: tuple[Writer, Reader]) -> None:
    writer, reader = board
    store(writer.rows[1], Word.BUFFERED_RECORDS, 1)
    writer.rows[0].beat(TICK_MS - 60_000)
    found = values(scrape(reader))
    assert found['ingestd_accounting_residual{identity="delivery",worker="1"}'] == 3
    assert found['ingestd_worker_up{worker="0"}'] == 0


def test_the_documentation_lists_every_metric_with_its_line() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(ingestd_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", text, re.M)
    assert rows == [(metric.name, metric.kind, ", ".join(metric.labels), metric.text) for metric in METRICS.values()]
