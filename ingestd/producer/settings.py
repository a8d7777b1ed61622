"""What the producer is configured with, as the parts of it need it."""

import logging
import time
from typing import Final, Protocol

SOFTWARE_VERSION_FALLBACK: Final = "0"

log = logging.getLogger("ingestd.producer")


class Clock(Protocol):
    """Where loops read the time."""

    def now_ms(self) -> int:
        """Wall clock, ms since 1970."""

    def tick_ms(self) -> int:
        """Monotonic, ms."""


class SystemClock:
    """The host's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def tick_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class ProducerSettings(Protocol):
    """The share of ``ingestd.config.model.Producer`` that is read here; times in ms, sizes in bytes."""

    @property
    def bootstrap_servers(self) -> tuple[str, ...]: ...
    @property
    def acks(self) -> int: ...
    @property
    def enable_idempotence(self) -> bool: ...
    @property
    def request_timeout_ms(self) -> int: ...
    @property
    def max_request_size(self) -> int: ...
    @property
    def max_in_flight_requests_per_connection(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def retry_backoff_ms(self) -> int: ...
    @property
    def retry_backoff_max_ms(self) -> int: ...
    @property
    def reconnect_backoff_ms(self) -> int: ...
    @property
    def reconnect_backoff_max_ms(self) -> int: ...
    @property
    def socket_connection_setup_timeout_ms(self) -> int: ...
    @property
    def socket_connection_setup_timeout_max_ms(self) -> int: ...
    @property
    def connections_max_idle_ms(self) -> int: ...
    @property
    def metadata_max_age_ms(self) -> int: ...
    @property
    def send_buffer_bytes(self) -> int: ...
    @property
    def receive_buffer_bytes(self) -> int: ...
    @property
    def topic_denied_timeout_ms(self) -> int: ...


class TopicSettings(Protocol):
    """The share of ``ingestd.config.model.TopicSettings`` that is read here."""

    @property
    def compression_type(self) -> str: ...
    @property
    def delivery_timeout_ms(self) -> int | None: ...
