"""Every metric that /metrics shows: name, kind, labels, and one line for people. ``docs/metrics.md`` lists the same.

Names are Prometheus style: seconds and bytes, ``_total`` for counters. Those of the producer follow Kafka's sensors
(``SenderMetricsRegistry``); rates and averages are left to the one who asks, so there are totals and histograms.
"""

from typing import Final, Literal, NamedTuple

from ingestd.figures import Count, Gauge, Histogram, TopicWord
from ingestd.metrics import LEDGER_TEXT, Ledger

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """``scale``: what a stored number is divided by to get the metric's unit."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    scale: int = 1


_WORKER: Final = ("worker",)

PROCESSES: Final = (
    Metric("ingestd_info", "gauge", "1, with the version as a label", ("version",)),
    Metric("ingestd_start_time_seconds", "gauge", "when the daemon started, seconds since 1970"),
    Metric("ingestd_stopping", "gauge", "1 while the daemon drains"),
    Metric("ingestd_supervisor_heartbeat_age_seconds", "gauge", "time since the supervisor's loop came by"),
    Metric("ingestd_admin_restarts_total", "counter", "times the admin process was started again"),
    Metric("ingestd_worker_up", "gauge", "1 if the worker is ready and its heartbeat is fresh", _WORKER),
    Metric("ingestd_worker_state", "gauge", "1 for the state that the worker is in", ("worker", "state")),
    Metric("ingestd_worker_pressure", "gauge", "1 for what its listeners are asked to do", ("worker", "pressure")),
    Metric("ingestd_worker_heartbeat_age_seconds", "gauge", "time since the worker's event loop came by", _WORKER),
    Metric("ingestd_worker_start_time_seconds", "gauge", "when the worker's process started", _WORKER),
    Metric("ingestd_worker_restarts_total", "counter", "times the worker died and was started again", _WORKER),
    Metric("ingestd_worker_resident_memory_bytes", "gauge", "memory of the process, its arena included", _WORKER),
    Metric("ingestd_worker_connections", "gauge", "connections of senders", _WORKER),
    Metric("ingestd_worker_sessions", "gauge", "sessions of the native protocol, those away included", _WORKER),
    Metric("ingestd_worker_listener_errors_total", "counter", "connections not accepted or not kept", _WORKER),
)

LEDGER: Final = {
    word: Metric(name, "counter", LEDGER_TEXT[word], _WORKER)
    for word, name in {
        Ledger.RECEIVED: "ingestd_received_records_total",
        Ledger.ACCEPTED: "ingestd_accepted_records_total",
        Ledger.DELIVERED: "ingestd_delivered_records_total",
        Ledger.REPEATED: "ingestd_repeated_records_total",
        Ledger.RECEIVED_BYTES: "ingestd_received_bytes_total",
        Ledger.ACCEPTED_BYTES: "ingestd_accepted_bytes_total",
        Ledger.DELIVERED_BYTES: "ingestd_delivered_bytes_total",
        Ledger.POSSIBLE_DUPLICATES: "ingestd_possible_duplicate_records_total",
        Ledger.KERNEL_DROPPED: "ingestd_kernel_dropped_datagrams_total",
        Ledger.DELIVERED_UNCONFIRMED_OFFSETS: "ingestd_delivered_unconfirmed_offset_records_total",
        Ledger.TIMESTAMPS_REPLACED: "ingestd_timestamp_replaced_records_total",
    }.items()
}

BOOKS: Final = (
    Metric("ingestd_rejected_records_total", "counter", "records that were not accepted", ("worker", "reason")),
    Metric("ingestd_failed_records_total", "counter", "accepted records that were given up", ("worker", "reason")),
    Metric("ingestd_dropped_records_total", "counter", "accepted records that left the books", ("worker", "reason")),
    Metric("ingestd_buffered_records", "gauge", "accepted records that wait or are in flight", _WORKER),
    Metric(
        "ingestd_accounting_residual",
        "gauge",
        "records missing from received = accepted + rejected (intake), and from accepted = delivered + failed +"
        " dropped + buffered (delivery): 0 when all is well",
        ("worker", "identity"),
    ),
    Metric("ingestd_books_consistent", "gauge", "0 if the worker died while it published its books", _WORKER),
    Metric("ingestd_buffered_batches", "gauge", "batches in the arena by state", ("worker", "state")),
    Metric("ingestd_in_doubt_batches", "gauge", "batches sent whose outcome is not known", _WORKER),
    Metric("ingestd_oldest_buffered_age_seconds", "gauge", "age of the oldest buffered record, 0 if none", _WORKER),
    Metric("ingestd_arena_bytes", "gauge", "what intake may fill of the arena", _WORKER),
    Metric("ingestd_arena_free_bytes", "gauge", "what is free of it", _WORKER),
    Metric("ingestd_arena_level_ratio", "gauge", "share of it in use, 0 to 1", _WORKER),
    Metric(
        "ingestd_drain_only_arenas",
        "gauge",
        "arenas of another size, full of former topics, or of a removed worker, that are being emptied",
        _WORKER,
    ),
    Metric("ingestd_drain_only_arena_bytes", "gauge", "what is in them", _WORKER),
)

_RECOVERED: Final = "ingestd_producer_recovered_batches_total"
_RECOVERED_TEXT: Final = "recovered batches in doubt, by how they ended"

PRODUCER: Final = {
    Count.REQUESTS: Metric("ingestd_producer_request_total", "counter", "produce requests sent", _WORKER),
    Count.BATCHES_SENT: Metric("ingestd_producer_batch_send_total", "counter", "batches sent, retries too", _WORKER),
    Count.BYTES_SENT: Metric("ingestd_producer_outgoing_byte_total", "counter", "bytes of batches sent", _WORKER),
    Count.BATCHES_DELIVERED: Metric("ingestd_producer_batch_delivered_total", "counter", "batches in Kafka", _WORKER),
    Count.BATCHES_FAILED: Metric("ingestd_producer_batch_failed_total", "counter", "batches given up whole", _WORKER),
    Count.BATCHES_SPLIT: Metric(
        "ingestd_producer_batch_split_total", "counter", "batches cut in two as too large for the broker", _WORKER
    ),
    Count.THROTTLES: Metric(
        "ingestd_producer_produce_throttle_total", "counter", "answers with which a broker asked for a pause", _WORKER
    ),
    Count.THROTTLE_MS: Metric(
        "ingestd_producer_produce_throttle_time_seconds_total",
        "counter",
        "pauses that brokers want",
        _WORKER,
        1000,
    ),
    Count.CONNECTIONS_MADE: Metric(
        "ingestd_producer_connection_creation_total", "counter", "connections to brokers that were made", _WORKER
    ),
    Count.CONNECTIONS_ENDED: Metric(
        "ingestd_producer_connection_close_total",
        "counter",
        "connections ended, and attempts failed",
        _WORKER,
    ),
    Count.AUTHENTICATIONS: Metric(
        "ingestd_producer_successful_authentication_total",
        "counter",
        "connections that TLS and the login, as far as wanted, let in",
        _WORKER,
    ),
    Count.AUTHENTICATIONS_FAILED: Metric(
        "ingestd_producer_failed_authentication_total",
        "counter",
        "connections that failed in the TLS handshake or in the login",
        _WORKER,
    ),
    Count.HANDSHAKES_FAILED: Metric(
        "ingestd_producer_failed_handshake_total", "counter", "those of them that failed in the TLS handshake", _WORKER
    ),
    Count.REAUTHENTICATIONS: Metric(
        "ingestd_producer_successful_reauthentication_total", "counter", "logins renewed on their connection", _WORKER
    ),
    Count.REAUTHENTICATIONS_FAILED: Metric(
        "ingestd_producer_failed_reauthentication_total", "counter", "renewals of logins that were refused", _WORKER
    ),
    Count.METADATA_ANSWERS: Metric("ingestd_producer_metadata_total", "counter", "updates of the metadata", _WORKER),
    Count.PRODUCER_IDS: Metric("ingestd_producer_id_total", "counter", "producer ids obtained", _WORKER),
    Count.EPOCH_BUMPS: Metric(
        "ingestd_producer_epoch_bump_total", "counter", "times a partition went on at its next epoch", _WORKER
    ),
    Count.DATA_LOSS_SUSPECTED: Metric(
        "ingestd_producer_data_loss_suspected_total",
        "counter",
        "times acknowledged records were missing",
        _WORKER,
    ),
    Count.DEAD_LETTERS_WRITTEN: Metric(
        "ingestd_dead_letters_written_total", "counter", "records written to the dead letters", _WORKER
    ),
    Count.DEAD_LETTERS_LOST: Metric(
        "ingestd_dead_letters_lost_total", "counter", "failed records that could not be written there", _WORKER
    ),
    Count.BUFFERPOOL_WAIT_MS: Metric(
        "ingestd_producer_bufferpool_wait_time_seconds_total",
        "counter",
        "time in which some sender waited for room in the arena",
        _WORKER,
        1000,
    ),
    Count.RECOVERED_IN_DOUBT: Metric(
        "ingestd_producer_recovered_in_doubt_batches_total",
        "counter",
        "batches left in doubt by a dead process",
        _WORKER,
    ),
    Count.RECOVERED_ANSWERED: Metric(_RECOVERED, "counter", _RECOVERED_TEXT, ("worker", "outcome")),
    Count.RECOVERED_PROVEN: Metric(_RECOVERED, "counter", _RECOVERED_TEXT, ("worker", "outcome")),
    Count.RECOVERED_AT_RISK: Metric(_RECOVERED, "counter", _RECOVERED_TEXT, ("worker", "outcome")),
    Count.RECOVERED_FAILED: Metric(_RECOVERED, "counter", _RECOVERED_TEXT, ("worker", "outcome")),
}
OUTCOMES: Final = {
    Count.RECOVERED_ANSWERED: "answered",
    Count.RECOVERED_PROVEN: "proven",
    Count.RECOVERED_AT_RISK: "possible_duplicate",
    Count.RECOVERED_FAILED: "failed",
}

GAUGES: Final = {
    Gauge.REQUESTS_IN_FLIGHT: Metric(
        "ingestd_producer_requests_in_flight", "gauge", "requests to brokers without an answer", _WORKER
    ),
    Gauge.METADATA_TICK_MS: Metric(
        "ingestd_producer_metadata_age_seconds", "gauge", "age of the metadata in use; absent before the first", _WORKER
    ),
    Gauge.PARKED_BATCHES: Metric(
        "ingestd_producer_parked_batches", "gauge", "batches of another cluster, which stay in the arena", _WORKER
    ),
    Gauge.HELD_PARTITIONS: Metric(
        "ingestd_producer_held_partitions", "gauge", "sick partitions held back so that others keep room", _WORKER
    ),
    Gauge.BROKERS_UNREACHABLE: Metric(
        "ingestd_producer_unreachable_brokers", "gauge", "brokers that cannot be reached or do not let us in", _WORKER
    ),
}
CONNECTIONS: Final = Metric(
    "ingestd_producer_connection_count", "gauge", "brokers connected that are not in trouble", _WORKER
)

ERRORS: Final = Metric(
    "ingestd_producer_batch_error_total",
    "counter",
    "times a batch's request met this error of Kafka; NETWORK_EXCEPTION: no answer came",
    ("error",),
)

_OF_TOPICS: Final[dict[TopicWord, tuple[str, Kind, str]]] = {
    TopicWord.RECORDS_SENT: ("ingestd_producer_record_send_total", "counter", "records sent, retries included"),
    TopicWord.RECORDS_RETRIED: ("ingestd_producer_record_retry_total", "counter", "records sent again"),
    TopicWord.RECORDS_FAILED: ("ingestd_producer_record_error_total", "counter", "records given up"),
    TopicWord.BYTES_SENT: ("ingestd_producer_byte_total", "counter", "bytes of batches sent, retries included"),
    TopicWord.RECORDS_DELIVERED: ("ingestd_topic_delivered_records_total", "counter", "records in Kafka"),
    TopicWord.BYTES_DELIVERED: ("ingestd_topic_delivered_bytes_total", "counter", "bytes of batches in Kafka"),
    TopicWord.BYTES_FAILED: ("ingestd_topic_failed_bytes_total", "counter", "bytes of what was given up"),
    TopicWord.BYTES_PLAIN: (
        "ingestd_producer_uncompressed_bytes_total",
        "counter",
        "bytes of sealed batches before compression",
    ),
    TopicWord.BYTES_SEALED: ("ingestd_producer_compressed_bytes_total", "counter", "bytes of them after it"),
    TopicWord.OLDEST_CREATED_MS: (
        "ingestd_topic_oldest_undelivered_age_seconds",
        "gauge",
        "age of the oldest sealed batch without an outcome, 0 if none",
    ),
    TopicWord.BATCHES_WAITING: ("ingestd_topic_waiting_batches", "gauge", "sealed batches without an outcome"),
    TopicWord.BYTES_WAITING: ("ingestd_topic_waiting_bytes", "gauge", "their bytes"),
}
TOPICS: Final = {word: Metric(name, kind, text, ("topic",)) for word, (name, kind, text) in _OF_TOPICS.items()}

HISTOGRAMS: Final = {
    histogram: Metric(name, "histogram", text, (), scale)
    for histogram, (name, text, scale) in {
        Histogram.ACCEPT_TO_SEAL: (
            "ingestd_accept_to_seal_seconds",
            "records by the time from their batch's first record to its sealing",
            1000,
        ),
        Histogram.SEAL_TO_SEND: (
            "ingestd_seal_to_send_seconds",
            "records by the time from their batch's sealing to its first request",
            1000,
        ),
        Histogram.SEND_TO_ACK: (
            "ingestd_send_to_ack_seconds",
            "records by the time from their batch's first request to its acknowledgement",
            1000,
        ),
        Histogram.ACCEPT_TO_DELIVERED: (
            "ingestd_accept_to_delivered_seconds",
            "records by the time from their batch's first record to its acknowledgement",
            1000,
        ),
        Histogram.QUEUE_TIME: (
            "ingestd_producer_record_queue_time_seconds",
            "records by the time from their batch's first record to its first request",
            1000,
        ),
        Histogram.REQUEST_LATENCY: (
            "ingestd_producer_request_latency_seconds",
            "produce requests by the time to their answer",
            1000,
        ),
        Histogram.BATCH_SIZE: ("ingestd_producer_batch_size_bytes", "sealed batches by their size on the wire", 1),
    }.items()
}

METRICS: Final = {
    metric.name: metric
    for metric in (
        *PROCESSES,
        *LEDGER.values(),
        *BOOKS,
        *PRODUCER.values(),
        *GAUGES.values(),
        CONNECTIONS,
        ERRORS,
        *TOPICS.values(),
        *HISTOGRAMS.values(),
    )
}
"""All of them, in the order in which they are shown."""
