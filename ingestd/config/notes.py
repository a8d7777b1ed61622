"""Settings that are legal together and probably not meant so, one sentence each."""

from collections.abc import Iterator
from typing import Final

from ingestd.config import settings_compression
from ingestd.config.model import LEVELLED, Config, Producer, Topic

BATCH_BYTES_SMALL: Final = 1024
LINGER_LONG_MS: Final = 60_000


def timing_notes(producer: Producer) -> Iterator[str]:
    """Times that undo each other (Kafka's ``ExponentialBackoff``, KIP-91)."""
    timeout_ms, request_ms = producer.delivery_timeout_ms, producer.request_timeout_ms
    if timeout_ms is not None and request_ms > timeout_ms // 2:
        yield (
            f"request.timeout.ms = {request_ms} is more than half of delivery.timeout.ms = {timeout_ms}: a batch whose"
            " first request finds no answer has no time for a second one"
        )
    for name, low, high in (
        ("retry.backoff", producer.retry_backoff_ms, producer.retry_backoff_max_ms),
        ("reconnect.backoff", producer.reconnect_backoff_ms, producer.reconnect_backoff_max_ms),
    ):
        if low > high:
            yield f"{name}.ms = {low} is above {name}.max.ms = {high}: every pause is {high} ms, without jitter"
    setup_ms, setup_max_ms = (
        producer.socket_connection_setup_timeout_ms,
        producer.socket_connection_setup_timeout_max_ms,
    )
    if setup_ms > setup_max_ms:
        yield (
            f"socket.connection.setup.timeout.ms = {setup_ms} is above socket.connection.setup.timeout.max.ms ="
            f" {setup_max_ms}, which counts"
        )
    if not producer.enable_idempotence and producer.retries and producer.max_in_flight_requests_per_connection > 1:
        yield (
            "retries without idempotence and with max.in.flight.requests.per.connection ="
            f" {producer.max_in_flight_requests_per_connection}: a retried batch may come behind a later one"
        )


def topic_notes(topic: Topic, config: Config) -> Iterator[str]:
    """What a topic sets for itself to little purpose."""
    producer = config.producer
    name = f"topics.{topic.name}"
    if topic.batch_size is not None and topic.batch_size < BATCH_BYTES_SMALL <= producer.batch_size:
        yield f"{name}: batch.size = {topic.batch_size} makes a batch, and its overhead, of almost every record"
    if topic.linger_ms is not None and topic.linger_ms > LINGER_LONG_MS >= producer.linger_ms:
        yield f"{name}: linger.ms = {topic.linger_ms} holds every record back for so long while batches are not full"
    own = config.topic_settings(topic)
    timeout_ms = own.delivery_timeout_ms
    if (
        topic.delivery_timeout_ms is not None
        and timeout_ms is not None
        and producer.request_timeout_ms > timeout_ms // 2
    ):
        yield (
            f"{name}: delivery.timeout.ms = {timeout_ms} leaves no time for a second request behind"
            f" request.timeout.ms = {producer.request_timeout_ms}"
        )


def compression_notes(config: Config) -> Iterator[str]:
    """Compression levels that somebody has changed for a codec that no topic uses."""
    used = {config.topic_settings(topic).compression_type for topic in config.topics}
    for setting in settings_compression.SETTINGS:
        field = setting.name.replace(".", "_")
        given = [getattr(config.producer, field), *(getattr(topic, field) for topic in config.topics)]
        codec = setting.name.split(".")[1]
        if codec in LEVELLED and codec not in used and any(level not in (None, setting.default) for level in given):
            yield f'{setting.name} has no effect: no topic has compression.type = "{codec}"'
