"""Settings of ``[producer]`` about records, batches and delivery, in the order of ``configs/ingestd.toml``.

They have Kafka's names and ranges and, but for those in ``settings.OWN_DEFAULTS``, Kafka's defaults.
"""

from typing import Final

from ingestd.config import values as v
from ingestd.config.values import INT_MAX, LONG_MAX, REQUIRED, UNSET, Setting

_INTEGER: Final = v.integer(0, INT_MAX)
_LONG: Final = v.integer(0, LONG_MAX)
_TIMEOUT: Final = v.integer(1, INT_MAX)

SETTINGS: Final = (
    Setting("bootstrap.servers", v.servers(), REQUIRED, "", "Seeds for the first contact; name two or three brokers."),
    Setting(
        "properties.file",
        v.text(),
        UNSET,
        "",
        "A Java producer's properties, taken as they are; what stands here overrides them.",
    ),
    Setting(
        "client.id",
        v.text(empty=True, bytes_max=200),
        "",
        "",
        "Shown in broker logs and quotas, if empty ingestd-<host>; -<worker> is added.",
    ),
    Setting("acks", v.acks(), -1, "", "1 or 0 are faster and void the promises on loss and duplicates."),
    Setting("enable.idempotence", v.boolean(), True, "", "false gives up exactly once; acks 1 and 0 need it said."),
    Setting("linger.ms", _LONG, 5, "ms", "Raise it for larger batches and less CPU, lower it for less latency."),
    Setting(
        "batch.size",
        _INTEGER,
        131_072,
        "bytes",
        "Raise it for throughput at high rates; memory is taken as needed. At most max.request.size, less if"
        " buffer.memory is small.",
    ),
    Setting(
        "buffer.memory",
        v.integer(0, 1 << 44),
        67_108_864,
        "bytes",
        "One worker's arena: size it for the longest outage. At least 1048576, and 4 x max.request.size.",
    ),
    Setting(
        "max.request.size",
        v.integer(1024, INT_MAX),
        1_048_576,
        "bytes",
        "Raise it with the broker's message.max.bytes.",
    ),
    Setting(
        "max.block.ms",
        _LONG,
        60_000,
        "ms",
        "How long records of streams wait for a topic that the cluster does not show; datagrams only at the start.",
    ),
    Setting(
        "delivery.timeout.ms",
        v.integer_or("never", 0, INT_MAX),
        None,
        "ms",
        "Set it where old records are worthless; not below linger.ms + request.timeout.ms.",
    ),
    Setting("topic.denied.timeout.ms", _LONG, 600_000, "ms", "When records of a denied or missing topic are given up."),
    Setting("request.timeout.ms", _TIMEOUT, 30_000, "ms", "Keep it above the brokers' replica.lag.time.max.ms."),
    Setting(
        "max.in.flight.requests.per.connection",
        v.integer(1, INT_MAX),
        5,
        "requests",
        "Lower it on slow, shaky lines; brokers remember five, more need enable.idempotence = false.",
    ),
    Setting(
        "retries",
        _INTEGER,
        INT_MAX,
        "attempts",
        "Leave it: delivery.timeout.ms is the better bound. 0 needs enable.idempotence = false.",
    ),
    Setting("retry.backoff.ms", _LONG, 100, "ms", "First pause before a batch or metadata request is tried again."),
    Setting("retry.backoff.max.ms", _LONG, 1_000, "ms", "Longest such pause; raise it to go easy on a sick cluster."),
)
