"""What ``metrics()`` makes of the arena's books and the producer's figures."""

import pytest

from ingestd.figures import Count, Figures, Gauge, Histogram
from ingestd.hotpath.arena import Arena
from ingestd.limits import PAGE_BYTES
from ingestd.producer.library.metrics import producer_metrics


@pytest.fixture
def arena() -> Arena:
    return Arena.create(None, buffer_bytes=1 << 20, session_capacity=1, now_ms=1)


def test_counts_and_gauges_go_by_kafkas_names(arena: Arena) -> None:
    figures = Figures()
    figures.add(Count.REQUESTS, 3)
    figures.add(Count.CONNECTIONS_MADE, 2)
    figures.gauges[Gauge.REQUESTS_IN_FLIGHT] = 1
    found = producer_metrics(arena, figures)
    assert (found["request-total"], found["connection-creation-total"], found["requests-in-flight"]) == (3, 2, 1)
    assert (found["buffer-total-bytes"], found["buffer-available-bytes"]) == (1 << 20, arena.page_count * PAGE_BYTES)
    logins = (Count.AUTHENTICATIONS, Count.AUTHENTICATIONS_FAILED, Count.REAUTHENTICATIONS)
    for number, count in enumerate((*logins, Count.REAUTHENTICATIONS_FAILED), 11):
        figures.add(count, number)
    found = producer_metrics(arena, figures)
    kinds = ("successful-authentication", "failed-authentication", "successful-reauthentication")
    assert [found[f"{kind}-total"] for kind in (*kinds, "failed-reauthentication")] == [11, 12, 13, 14]
    assert (found["record-send-total"], found["record-error-total"]) == (0, 0)


def test_averages_are_over_everything_observed_and_0_over_nothing(arena: Arena) -> None:
    figures = Figures()
    figures.tallies[Histogram.REQUEST_LATENCY][10] += 1
    figures.tallies[Histogram.REQUEST_LATENCY][30] += 1
    figures.tallies[Histogram.QUEUE_TIME][4] += 3
    figures.tallies[Histogram.QUEUE_TIME][0] += 1
    found = producer_metrics(arena, figures)
    assert (found["request-latency-avg"], found["record-queue-time-avg"], found["batch-size-avg"]) == (20, 3, 0)
