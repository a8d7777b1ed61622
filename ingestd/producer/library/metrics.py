"""``metrics()``: what the arena's books and the producer's figures say, by the names of Kafka's producer metrics."""

from collections.abc import Mapping
from typing import Final

from ingestd.figures import BOUNDS, Count, Figures, Gauge, Histogram, TopicWord, read
from ingestd.hotpath.arena import Arena
from ingestd.limits import PAGE_BYTES

AVERAGES: Final[Mapping[str, Histogram]] = {
    "batch-size-avg": Histogram.BATCH_SIZE,
    "record-queue-time-avg": Histogram.QUEUE_TIME,
    "request-latency-avg": Histogram.REQUEST_LATENCY,
}
"""Over the producer's whole life, in bytes or ms; 0 as long as there is nothing to average."""


def producer_metrics(arena: Arena, figures: Figures) -> dict[str, float]:
    """All of them. ``figures`` are up to date (``BatchProducer.survey``)."""
    ledger = arena.ledger()
    found = read(figures.pack(), ())
    topics = list(found.topics.values())
    metrics: dict[str, float] = {
        "record-send-total": sum(row[TopicWord.RECORDS_SENT] for row in topics),
        "record-retry-total": sum(row[TopicWord.RECORDS_RETRIED] for row in topics),
        "record-error-total": ledger["failed"] + ledger["rejected"],
        "byte-total": sum(row[TopicWord.BYTES_SENT] for row in topics),
        "request-total": found.counts[Count.REQUESTS],
        "requests-in-flight": found.gauges[Gauge.REQUESTS_IN_FLIGHT],
        "connection-creation-total": found.counts[Count.CONNECTIONS_MADE],
        "successful-authentication-total": found.counts[Count.AUTHENTICATIONS],
        "failed-authentication-total": found.counts[Count.AUTHENTICATIONS_FAILED],
        "successful-reauthentication-total": found.counts[Count.REAUTHENTICATIONS],
        "failed-reauthentication-total": found.counts[Count.REAUTHENTICATIONS_FAILED],
        "buffer-total-bytes": arena.buffer_bytes,
        "buffer-available-bytes": arena.free_pages * PAGE_BYTES,
        "records-delivered-total": ledger["delivered"],
        "possible-duplicates-total": ledger["possible_duplicates"],
        "data-loss-suspected-total": found.counts[Count.DATA_LOSS_SUSPECTED],
    }
    for name, histogram in AVERAGES.items():
        words = found.histograms[histogram]
        count = sum(words[: len(BOUNDS[histogram]) + 1])
        metrics[name] = words[-1] / count if count else 0.0
    return metrics
