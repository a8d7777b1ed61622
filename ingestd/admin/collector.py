"""From a copy of the scoreboard to Prometheus's exposition formats: the one place that imports prometheus-client."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

import ingestd
from ingestd.admin import catalogue
from ingestd.admin.catalogue import METRICS
from ingestd.admin.status import HEARTBEAT_STALE_MS, Status, WorkerStatus
from ingestd.figures import BOUNDS, SUM_WORD, Gauge, TopicWord
from ingestd.limits import PAGE_BYTES
from ingestd.metrics import REASON_TEXT, Dropped, Failed, Reason, Rejected, name_of, word_of
from ingestd.scoreboard import Pressure, Word, WorkerState

_BY_REASON: Final[tuple[tuple[str, type[Reason]], ...]] = (
    ("ingestd_rejected_records_total", Rejected),
    ("ingestd_failed_records_total", Failed),
    ("ingestd_dropped_records_total", Dropped),
)
_ROW_WORDS: Final = {
    "ingestd_worker_restarts_total": Word.RESTARTS,
    "ingestd_worker_resident_memory_bytes": Word.RSS_BYTES,
    "ingestd_worker_connections": Word.CONNECTIONS,
    "ingestd_worker_sessions": Word.SESSIONS,
    "ingestd_worker_listener_errors_total": Word.LISTENER_ERRORS,
    "ingestd_producer_connection_count": Word.BROKERS_CONNECTED,
}


class _Families:
    """Metric families by name, made when their first value comes."""

    def __init__(self) -> None:
        self._made: dict[str, Metric] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        metric = METRICS[name]
        family = self._made.get(name)
        if family is None:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = self._made[name] = kind(name, metric.text, labels=metric.labels)
        family.add_metric(labels, value / metric.scale)  # type: ignore[attr-defined]

    def add_histogram(self, name: str, bounds: tuple[int, ...], words: tuple[int, ...]) -> None:
        metric = METRICS[name]
        family = HistogramMetricFamily(name, metric.text)
        buckets, below = [], 0
        for bound, count in zip(bounds, words, strict=False):
            below += count
            buckets.append((_number(bound / metric.scale), float(below)))
        buckets.append(("+Inf", float(below + words[len(bounds)])))
        family.add_metric((), buckets, words[SUM_WORD] / metric.scale)
        self._made[name] = family

    def __iter__(self) -> Iterator[Metric]:
        return (self._made[name] for name in METRICS if name in self._made)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


class _Board(Collector):
    """A status as prometheus-client wants it."""

    def __init__(self, families: _Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def render(status: Status, now_ms: int, tick_ms: int, accept: str) -> tuple[bytes, str]:
    """The exposition and its content type; ``accept``: the request's header of that name."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Board(families(status, now_ms, tick_ms)))
    encode: Callable[[Collector], bytes]
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number: whoever asks so gets what everybody reads
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


def families(status: Status, now_ms: int, tick_ms: int) -> _Families:
    """Every metric that has a value in ``status``. ``now_ms``: wall clock, ``tick_ms``: monotonic."""
    found = _Families()
    found.add("ingestd_info", 1, ingestd.__version__)
    found.add("ingestd_start_time_seconds", status.header.started_ms / 1000)
    found.add("ingestd_stopping", status.header.stopping)
    found.add("ingestd_supervisor_heartbeat_age_seconds", status.supervisor_silent_ms(tick_ms) / 1000)
    found.add("ingestd_admin_restarts_total", status.admin.words[Word.RESTARTS])
    for worker in status.workers:
        _add_process(found, worker, tick_ms)
        _add_books(found, worker, now_ms)
        _add_producer(found, worker, tick_ms)
    for name, count in status.errors.items():
        found.add(catalogue.ERRORS.name, count, name)
    for topic in status.topics:
        _add_topic(found, topic, status.topic(topic), now_ms)
    for histogram, metric in catalogue.HISTOGRAMS.items():
        found.add_histogram(metric.name, BOUNDS[histogram], status.histogram(histogram))
    return found


def _add_process(found: _Families, worker: WorkerStatus, tick_ms: int) -> None:
    label, words = str(worker.index), worker.words
    beat_ms = words[Word.HEARTBEAT_TICK_MS]
    fresh = beat_ms > 0 and tick_ms - beat_ms <= HEARTBEAT_STALE_MS
    found.add("ingestd_worker_up", worker.state is WorkerState.READY and fresh, label)
    for state in WorkerState:
        found.add("ingestd_worker_state", worker.state is state, label, state.name.lower())
    for pressure in Pressure:
        found.add("ingestd_worker_pressure", worker.pressure is pressure, label, pressure.name.lower())
    if beat_ms:
        found.add("ingestd_worker_heartbeat_age_seconds", max(tick_ms - beat_ms, 0) / 1000, label)
    found.add("ingestd_worker_start_time_seconds", words[Word.STARTED_MS] / 1000, label)
    for name, word in _ROW_WORDS.items():
        found.add(name, words[word], label)


def _add_books(found: _Families, worker: WorkerStatus, now_ms: int) -> None:
    label, published = str(worker.index), worker.published
    for word, metric in catalogue.LEDGER.items():
        found.add(metric.name, published.ledger[word], label)
    for reason in REASON_TEXT:
        name = next(name for name, kind in _BY_REASON if isinstance(reason, kind))
        found.add(name, published.ledger[word_of(reason)], label, name_of(reason))
    found.add("ingestd_buffered_records", published.buffered_records, label)
    found.add("ingestd_books_consistent", published.consistent, label)
    if published.consistent:
        found.add("ingestd_accounting_residual", worker.balance.intake_residual, label, "intake")
        found.add("ingestd_accounting_residual", worker.balance.delivery_residual, label, "delivery")
    for state, batches in (
        ("open", published.open_batches),
        ("sealed", published.sealed_batches),
        ("stamped", published.stamped_batches),
    ):
        found.add("ingestd_buffered_batches", batches, label, state)
    found.add("ingestd_in_doubt_batches", published.in_doubt_batches, label)
    found.add("ingestd_oldest_buffered_age_seconds", _age_seconds(published.oldest_created_ms, now_ms), label)
    found.add("ingestd_arena_bytes", published.total_pages * PAGE_BYTES, label)
    found.add("ingestd_arena_free_bytes", published.free_pages * PAGE_BYTES, label)
    found.add("ingestd_arena_level_ratio", worker.arena_level, label)
    found.add("ingestd_drain_only_arenas", published.drain_only_arenas, label)
    found.add("ingestd_drain_only_arena_bytes", published.drain_only_pages * PAGE_BYTES, label)


def _add_producer(found: _Families, worker: WorkerStatus, tick_ms: int) -> None:
    label, figures = str(worker.index), worker.figures
    for count, metric in catalogue.PRODUCER.items():
        outcome = catalogue.OUTCOMES.get(count)
        found.add(metric.name, figures.counts[count], *((label, outcome) if outcome else (label,)))
    for gauge, metric in catalogue.GAUGES.items():
        value: float = figures.gauges[gauge]
        if gauge is Gauge.METADATA_TICK_MS:
            if not value:
                continue
            value = max(tick_ms - value, 0) / 1000
        found.add(metric.name, value, label)


def _add_topic(found: _Families, topic: str, words: tuple[int, ...], now_ms: int) -> None:
    for word, metric in catalogue.TOPICS.items():
        value: float = words[word]
        if word is TopicWord.OLDEST_CREATED_MS:
            value = _age_seconds(words[word], now_ms)
        found.add(metric.name, value, topic)


def _age_seconds(created_ms: int, now_ms: int) -> float:
    """Of what was accepted then; 0: nothing waits."""
    return max(now_ms - created_ms, 0) / 1000 if created_ms else 0.0
