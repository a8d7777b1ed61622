"""The configuration as the daemon sees it: frozen, every default filled in, checked. Sizes in bytes, times in ms."""

from typing import Any, Final, Literal

from msgspec import Struct

from ingestd.client.address import Address
from ingestd.config.security import Security

NEVER_MS: Final = 1 << 62
"""A topic's ``delivery.timeout.ms = "never"`` where the producer's own is not; longer than any daemon runs."""

Durability = Literal["process", "memory"]
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
LEVELLED: Final = ("gzip", "lz4", "zstd")
"""Codecs that have a ``compression.<codec>.level``."""
Format = Literal["raw", "lines", "frames"]


class Daemon(Struct, frozen=True, forbid_unknown_fields=True):
    """Section ``[daemon]``."""

    workers: int
    state_directory: str
    arena_directory: str
    durability: Durability
    stop_timeout_ms: int
    """How long SIGTERM lets the batches drain; what is left stays in the arena."""
    pressure_high: float
    """Share of the arena in use, or of the host's memory, above which listeners pause or shed."""
    pressure_low: float
    """Share below which they run again."""
    dead_letters_bytes_max: int
    dead_letters_days_max: int
    data_loss_suspected: Literal["continue", "stop"]
    admin_listen: str | None = None
    """As ``config.admin_address`` reads it; None: no admin process."""


class Producer(Security, frozen=True, forbid_unknown_fields=True):
    """Section ``[producer]``: Kafka's settings by Kafka's names, dots written as underscores."""

    bootstrap_servers: tuple[str, ...]
    acks: int
    enable_idempotence: bool
    linger_ms: int
    batch_size: int
    buffer_memory: int
    compression_type: Compression
    compression_gzip_level: int
    """1 to 9, or -1: the default."""
    compression_lz4_level: int
    """1 to 17; 9 is the fast compressor."""
    compression_zstd_level: int
    request_timeout_ms: int
    delivery_timeout_ms: int | None
    """None: never."""
    max_request_size: int
    max_in_flight_requests_per_connection: int
    max_block_ms: int
    retries: int
    retry_backoff_ms: int
    retry_backoff_max_ms: int
    reconnect_backoff_ms: int
    reconnect_backoff_max_ms: int
    socket_connection_setup_timeout_ms: int
    socket_connection_setup_timeout_max_ms: int
    connections_max_idle_ms: int
    metadata_max_age_ms: int
    metadata_max_idle_ms: int
    metadata_recovery_strategy: Literal["rebootstrap", "none"]
    metadata_recovery_rebootstrap_trigger_ms: int
    client_dns_lookup: Literal["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]
    send_buffer_bytes: int
    """-1: what the kernel chooses."""
    receive_buffer_bytes: int
    client_id: str
    """Without the worker's number; empty: ``ingestd-<host>``. Each worker appends ``-<index>``."""
    topic_denied_timeout_ms: int
    partitioner_class: str
    """One of ``config.partitioner.CHOICES`` (empty: Kafka's built-in), or ``module:Class``."""
    partitioner_ignore_keys: bool
    partitioner_adaptive_partitioning_enable: bool
    partitioner_availability_timeout_ms: int
    """0: off."""


class Topic(Struct, frozen=True, forbid_unknown_fields=True):
    """A topic that some listener may write to.

    None inherits the producer's setting; ``partitions`` None: as many as the cluster says.
    """

    name: str
    partitions: int | None = None
    linger_ms: int | None = None
    batch_size: int | None = None
    compression_type: Compression | None = None
    compression_gzip_level: int | None = None
    compression_lz4_level: int | None = None
    compression_zstd_level: int | None = None
    delivery_timeout_ms: int | None = None
    """NEVER_MS: never."""
    partitioner_class: str | None = None
    partitioner_ignore_keys: bool | None = None
    partitioner_adaptive_partitioning_enable: bool | None = None
    partitioner_availability_timeout_ms: int | None = None


class Key(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a record's key comes from in formats that have none; ``field`` counts from 1."""

    kind: Literal["none", "sender", "field"] = "none"
    field: int = 0
    delimiter: str = ""


class Listener(Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[listeners]]``. ``topic`` is the fixed one of raw and lines, ``topics`` the allow-list of frames."""

    name: str
    address: Address
    format: Format
    topic: str | None
    topics: tuple[str, ...]
    key: Key
    timestamp: Literal["record", "arrival"]
    timestamp_past_ms: int
    timestamp_future_ms: int
    timestamp_out_of_bounds: Literal["arrival", "refuse"]
    headers: tuple[tuple[str, bytes], ...]
    when_full: Literal["block", "shed_newest"]
    receive_buffer_bytes: int | None
    """None: what the kernel chooses."""
    mode: int
    owner: str | None
    group: str | None
    shards: int
    """Paths of a Unix datagram listener; more than one are named PATH.0, PATH.1 and so on."""
    connections_max: int
    """Connections per worker."""
    record_bytes_max: int
    """Key, value and headers of one record; what lines, datagrams and frames bound besides is in ingestd.limits."""


class Partitioning(Struct, frozen=True):
    """How records that name no partition get one: the four ``partitioner`` settings in force for one topic."""

    partitioner_class: str
    ignore_keys: bool
    adaptive: bool
    availability_timeout_ms: int


def partitioning(producer: Producer, topic: Topic | None = None) -> Partitioning:
    """What ``topic`` says itself, else ``producer``."""

    def own(name: str) -> Any:
        found = getattr(topic, name, None)
        return getattr(producer, name) if found is None else found

    return Partitioning(
        partitioner_class=own("partitioner_class"),
        ignore_keys=own("partitioner_ignore_keys"),
        adaptive=own("partitioner_adaptive_partitioning_enable"),
        availability_timeout_ms=own("partitioner_availability_timeout_ms"),
    )


class TopicSettings(Struct, frozen=True):
    """What is in force for one topic, inheritance resolved; ``delivery_timeout_ms`` None: never."""

    linger_ms: int
    batch_size: int
    compression_type: Compression
    compression_level: int
    """Of that type; 0 where it has none."""
    delivery_timeout_ms: int | None
    partitioning: Partitioning


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration. ``topics`` holds every topic that a listener names, in the order of first mention."""

    daemon: Daemon
    producer: Producer
    topics: tuple[Topic, ...]
    listeners: tuple[Listener, ...]

    def topic_settings(self, topic: Topic) -> TopicSettings:
        """The settings of ``topic``: its own, else the producer's."""
        return topic_settings(topic, self.producer)


def topic_settings(topic: Topic, producer: Producer) -> TopicSettings:
    """The settings of ``topic``: its own, else the producer's."""

    def own(field: str) -> Any:
        value = getattr(topic, field)
        return getattr(producer, field) if value is None else value

    compression_type: Compression = own("compression_type")
    timeout_ms = own("delivery_timeout_ms")
    return TopicSettings(
        linger_ms=own("linger_ms"),
        batch_size=own("batch_size"),
        compression_type=compression_type,
        compression_level=own(f"compression_{compression_type}_level") if compression_type in LEVELLED else 0,
        delivery_timeout_ms=None if timeout_ms == NEVER_MS else timeout_ms,
        partitioning=partitioning(producer, topic),
    )
