"""Every setting as data: name, kind, default, unit, when to change it; in the order of ``configs/ingestd.toml``.

Producer settings have Kafka's names and ranges and, but for those in ``OWN_DEFAULTS``, Kafka's defaults. A default of
REQUIRED must be given; one of UNSET is derived (from another setting, the format, the host).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from ingestd.config import values as v
from ingestd.config.values import INT_MAX, LONG_MAX, Setting
from ingestd.limits import SHARDS_MAX, WORKERS_MAX


class Default(Enum):
    """Defaults that are not values."""

    REQUIRED = "required"
    UNSET = "derived"


REQUIRED: Final = Default.REQUIRED
UNSET: Final = Default.UNSET

_INTEGER: Final = v.integer(0, INT_MAX)
_LONG: Final = v.integer(0, LONG_MAX)
_TIMEOUT: Final = v.integer(1, INT_MAX)
_BUFFER: Final = v.integer(-1, INT_MAX)
_PARTITIONS: Final = v.integer(1, 1_000_000)
_COMPRESSION: Final = v.choice("none", "lz4", "zstd", later=("gzip", "snappy"))

_DAEMON: Final = (
    Setting(
        "workers",
        v.integer_or("auto", 1, WORKERS_MAX),
        1,
        "processes",
        'Raise it when one core is not enough, "auto" is one per core; memory grows with it.',
    ),
    Setting(
        "state.directory",
        v.text(),
        "/var/lib/ingestd",
        "",
        "Scoreboard, dead letters, quarantine; one daemon per directory.",
    ),
    Setting(
        "arena.directory",
        v.text(),
        UNSET,
        "",
        "Where the buffers are, by default the state directory; /dev/shm spares the disk and forgets at a reboot.",
    ),
    Setting(
        "durability",
        v.choice("process", "memory", later=("power",)),
        "process",
        "",
        "process: accepted records survive the death of every ingestd process; memory: they do not.",
    ),
    Setting(
        "stop.timeout.ms",
        _INTEGER,
        30_000,
        "ms",
        "How long SIGTERM lets batches drain to Kafka; what is left stays in the arena. Keep it below TimeoutStopSec.",
    ),
    Setting(
        "pressure.high",
        v.share(),
        0.9,
        "",
        "Share of the arena in use, or of the host's memory, above which senders wait or are shed.",
    ),
    Setting("pressure.low", v.share(), 0.75, "", "Share below which they go on again."),
)

_PRODUCER: Final = (
    Setting("bootstrap.servers", v.servers(), REQUIRED, "", "Seeds for the first contact; name two or three brokers."),
    Setting(
        "client.id", v.text(empty=True, bytes_max=200), "", "", "Shown in broker logs and quotas; -<worker> is added."
    ),
    Setting("acks", v.acks(), -1, "", "1 or 0 are faster and void the promises on loss and duplicates."),
    Setting("enable.idempotence", v.boolean(), True, "", "false gives up exactly once; acks 1 and 0 need it said."),
    Setting("linger.ms", _LONG, 5, "ms", "Raise it for larger batches and less CPU, lower it for less latency."),
    Setting(
        "batch.size", _INTEGER, 131_072, "bytes", "Raise it for throughput at high rates; memory is taken as needed."
    ),
    Setting(
        "buffer.memory",
        v.integer(0, 1 << 44),
        67_108_864,
        "bytes",
        "One worker's arena: size it for the longest outage.",
    ),
    Setting(
        "compression.type", _COMPRESSION, "none", "", "lz4 or zstd where network or broker disk is dearer than CPU."
    ),
    Setting(
        "max.request.size",
        v.integer(1024, INT_MAX),
        1_048_576,
        "bytes",
        "Raise it with the broker's message.max.bytes.",
    ),
    Setting("max.block.ms", _LONG, 60_000, "ms", "How long records wait for a topic that the cluster does not show."),
    Setting(
        "delivery.timeout.ms", v.integer_or("never", 0, INT_MAX), None, "ms", "Set it where old records are worthless."
    ),
    Setting("topic.denied.timeout.ms", _LONG, 600_000, "ms", "When records of a denied or missing topic are given up."),
    Setting("request.timeout.ms", _TIMEOUT, 30_000, "ms", "Keep it above the brokers' replica.lag.time.max.ms."),
    Setting(
        "max.in.flight.requests.per.connection",
        v.integer(1, INT_MAX),
        5,
        "requests",
        "Lower it on slow, shaky lines; brokers remember five.",
    ),
    Setting("retries", _INTEGER, INT_MAX, "attempts", "Leave it: delivery.timeout.ms is the better bound."),
    Setting("retry.backoff.ms", _LONG, 100, "ms", "First pause before a batch or metadata request is tried again."),
    Setting("retry.backoff.max.ms", _LONG, 1_000, "ms", "Longest such pause; raise it to go easy on a sick cluster."),
    Setting("reconnect.backoff.ms", _LONG, 50, "ms", "First pause before a broker is connected to again."),
    Setting(
        "reconnect.backoff.max.ms", _LONG, 1_000, "ms", "Longest such pause; alone, reconnect.backoff.ms sets both."
    ),
    Setting("socket.connection.setup.timeout.ms", _TIMEOUT, 10_000, "ms", "Raise it for satellite and mobile lines."),
    Setting("socket.connection.setup.timeout.max.ms", _TIMEOUT, 30_000, "ms", "Longest such limit after failures."),
    Setting("connections.max.idle.ms", _LONG, 540_000, "ms", "Keep it below the brokers' own (600000)."),
    Setting("metadata.max.age.ms", v.integer(100, LONG_MAX), 300_000, "ms", "Lower it to see new partitions sooner."),
    Setting("send.buffer.bytes", _BUFFER, -1, "bytes", "Set it to bound kernel memory; -1 leaves it to the kernel."),
    Setting(
        "receive.buffer.bytes", _BUFFER, 32_768, "bytes", "Answers are small: leave it; -1 leaves it to the kernel."
    ),
)

_TOPIC: Final = (
    Setting("partitions", _PARTITIONS, UNSET, "partitions", "Lets a first start without Kafka accept records at once."),
    *(
        setting._replace(default=UNSET)
        for setting in _PRODUCER
        if setting.name in ("linger.ms", "batch.size", "compression.type", "delivery.timeout.ms")
    ),
)

_LISTENER: Final = (
    Setting(
        "name",
        v.text(bytes_max=64),
        REQUIRED,
        "",
        "Appears in metrics and answers; FileDescriptorName in a socket unit.",
    ),
    Setting("listen", v.text(), REQUIRED, "", "unix-stream:PATH, unix-datagram:PATH or udp:HOST:PORT."),
    Setting(
        "format",
        v.choice("raw", "lines", "frames"),
        REQUIRED,
        "",
        "raw: a datagram is a record; lines; frames: native.",
    ),
    Setting("topic", v.text(), UNSET, "", "The topic of every record (raw, lines)."),
    Setting("topics", v.texts(), (), "", "The topics that senders may name (frames)."),
    Setting("key", v.anything(), "none", "", '"none", "sender", or { field = 1, delimiter = "\\t" } (raw, lines).'),
    Setting(
        "timestamp", v.choice("record", "arrival"), UNSET, "", "arrival replaces the time that a sender gives (frames)."
    ),
    Setting("timestamp_past_ms", _LONG, 604_800_000, "ms", "Raise it to send older data on."),
    Setting("timestamp_future_ms", _LONG, 3_000_000, "ms", "Keep it below the broker's bound of one hour."),
    Setting(
        "timestamp_out_of_bounds",
        v.choice("arrival", "refuse"),
        "arrival",
        "",
        "refuse: better no record than one with another time.",
    ),
    Setting("headers", v.anything(), {}, "", 'Static headers of every record, such as { host = "gateway-7" }.'),
    Setting(
        "when_full", v.choice("block", "shed_newest"), UNSET, "", "A blocked syslog-like socket hangs its writers."
    ),
    Setting(
        "receive_buffer_bytes", v.integer(1, INT_MAX), UNSET, "bytes", "Raise it (and net.core.rmem_max) for bursts."
    ),
    Setting("mode", v.socket_mode(), 0o660, "", "Permissions of the socket file; every writer needs write permission."),
    Setting("owner", v.text(bytes_max=64), UNSET, "", "User that the socket file is given to."),
    Setting("group", v.text(bytes_max=64), UNSET, "", "Group that the socket file is given to."),
    Setting(
        "shards", v.integer(1, SHARDS_MAX), 1, "paths", "Spreads a Unix datagram listener over PATH.0, PATH.1, ..."
    ),
    Setting(
        "connections_max", v.integer(1, 1_000_000), 4_096, "connections", "Per worker; file descriptors bound it too."
    ),
    Setting(
        "record_bytes_max",
        v.integer(1, INT_MAX),
        UNSET,
        "bytes",
        "Lower it to refuse large records that Kafka would take.",
    ),
)


def _by_name(settings: tuple[Setting, ...]) -> Mapping[str, Setting]:
    return {setting.name: setting for setting in settings}


DAEMON: Final = _by_name(_DAEMON)
PRODUCER: Final = _by_name(_PRODUCER)
TOPIC: Final = _by_name(_TOPIC)
LISTENER: Final = _by_name(_LISTENER)

OWN_DEFAULTS: Final[Mapping[str, object]] = {
    "delivery.timeout.ms": 120_000,
    "batch.size": 16_384,
    "buffer.memory": 33_554_432,
    "client.id": "producer-N",
}
"""Settings whose default is not Kafka's, with Kafka's: an outage must not become a loss unless it was asked for."""

DAEMON_NOT_YET: Final[Mapping[str, str]] = {
    "admin.listen": "Leave it out; `ingestd status` shows the same figures",
}

PRODUCER_NOT_YET: Final[Mapping[str, str]] = {
    "security.protocol": "Leave it out: connections are PLAINTEXT",
    "metadata.max.idle.ms": "Leave it out: all topics of the configuration are asked for",
    "metadata.recovery.strategy": "Leave it out: seeds are asked again when no broker answers",
    "metadata.recovery.rebootstrap.trigger.ms": "Leave it out",
    "client.dns.lookup": "Leave it out: every address of a broker is tried",
    "partitioner.class": "Leave it out: Kafka's built-in partitioner is used",
    "partitioner.ignore.keys": "Leave it out: keys choose the partition",
    "partitioner.adaptive.partitioning.enable": "Leave it out",
    "partitioner.availability.timeout.ms": "Leave it out",
    "compression.gzip.level": "Leave it out",
    "compression.lz4.level": "Leave it out: the fast compressor is used, as in Kafka",
    "compression.zstd.level": "Leave it out: level 3 is used, as in Kafka",
    **dict.fromkeys(
        (
            "sasl.mechanism",
            "sasl.login.connect.timeout.ms",
            "sasl.login.read.timeout.ms",
            "sasl.login.retry.backoff.ms",
            "sasl.login.retry.backoff.max.ms",
            "sasl.login.refresh.window.factor",
            "sasl.login.refresh.window.jitter",
            "sasl.login.refresh.min.period.seconds",
            "sasl.login.refresh.buffer.seconds",
            "sasl.oauthbearer.token.endpoint.url",
            "sasl.oauthbearer.scope",
            "sasl.oauthbearer.client.credentials.client.id",
            "sasl.oauthbearer.client.credentials.client.secret",
            "ssl.protocol",
            "ssl.enabled.protocols",
            "ssl.cipher.suites",
            "ssl.truststore.location",
            "ssl.truststore.password",
            "ssl.truststore.type",
            "ssl.truststore.certificates",
            "ssl.keystore.location",
            "ssl.keystore.password",
            "ssl.keystore.type",
            "ssl.keystore.key",
            "ssl.keystore.certificate.chain",
            "ssl.key.password",
            "ssl.endpoint.identification.algorithm",
        ),
        "Use a listener of the cluster without TLS and SASL, or a local tunnel",
    ),
}
"""Kafka's settings that a later version reads; until then they are refused rather than ignored."""

PRODUCER_FOREIGN: Final[Mapping[str, str]] = {
    "key.serializer": "keys are bytes here, serialised by their senders",
    "value.serializer": "values are bytes here, serialised by their senders",
    "interceptor.classes": "there is no Java virtual machine to load classes",
    "config.providers": "there is no Java virtual machine to load classes",
    "buffer.memory.allocation.strategy": "the arena takes pages as batches need them",
    "partitioner.rack.aware": "the producer has no rack",
    "client.rack": "the producer has no rack",
    "transactional.id": "there are no transactions: an idempotent producer per worker survives crashes",
    "transaction.timeout.ms": "there are no transactions",
    "transaction.two.phase.commit.enable": "there are no transactions",
    "metadata.cluster.check.enable": "the cluster id is checked always",
    "bootstrap.resolve.timeout.ms": "seeds are resolved again and again until one answers",
    "sasl.jaas.config": "that is Java's syntax",
    "security.providers": "that belongs to Java",
    "enable.metrics.push": "ingestd has metrics of its own",
    "metric.reporters": "ingestd has metrics of its own",
    "metrics.num.samples": "ingestd has metrics of its own",
    "metrics.recording.level": "ingestd has metrics of its own",
    "metrics.sample.window.ms": "ingestd has metrics of its own",
}
"""Kafka's settings that mean nothing in this daemon, and why."""
