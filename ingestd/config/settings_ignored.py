"""Settings of Kafka's producer that are taken and change nothing here: each says why, once, where it is given.

A value that would have changed what is sent is refused instead: taking it would be a lie.
"""

from collections.abc import Callable, Mapping
from typing import Final

from ingestd.config.faults import RefusedError, toml_text

Notice = Callable[[object], str]

_JAVA: Final = "org.apache.kafka.common.serialization."
_BYTES_CLASSES: Final = frozenset(
    _JAVA + name
    for name in ("StringSerializer", "ByteArraySerializer", "VoidSerializer", "ByteBufferSerializer", "BytesSerializer")
)
_CLIENT_SERIALIZERS: Final[Mapping[str, str]] = {
    "Integer": 'struct.pack(">i", value)',
    "Long": 'struct.pack(">q", value)',
    "Short": 'struct.pack(">h", value)',
    "Float": 'struct.pack(">f", value)',
    "Double": 'struct.pack(">d", value)',
    "UUID": "str(value).encode()",
    "Boolean": 'b"\\x01" if value else b"\\x00"',
}
"""What the ``serialize`` of a client's serializer returns for the same bytes as Kafka's class of that name."""


def _ignored(why: str) -> Notice:
    return lambda _: f"changes nothing here: {why}"


def _only(value: object, why: str, cure: str) -> Notice:
    """Taken with the value that Kafka has by default, or that says what ingestd does; refused with another."""

    def notice(given: object) -> str:
        text = given.strip().lower() if isinstance(given, str) else given
        if text in (value, str(value).lower()):
            return ""
        raise RefusedError(why, cure)

    return notice


def _serializer(what: str) -> Notice:
    def notice(given: object) -> str:
        if not isinstance(given, str):
            raise RefusedError("not the name of a class", "Leave it out: records come as bytes")
        name = given.strip()
        if name in _BYTES_CLASSES:
            return ""
        simple = name.rpartition(".")[2].removesuffix("Serializer")
        how = _CLIENT_SERIALIZERS.get(simple) if name.startswith(_JAVA) else None
        body = f"serialize() returns {how}" if how else f"serialize(topic, value, headers) returns what {simple} writes"
        cure = f"Leave it out, and give the clients ingestd.client.Producer(..., {what}_serializer=...) whose {body}"
        raise RefusedError(f"records come to the daemon as bytes: it runs no {toml_text(name)}", cure)

    return notice


_METRICS: Final = _ignored("metrics are those of admin.listen and `ingestd status`")
_JVM: Final = _ignored("it speaks to a Java virtual machine")

PRODUCER_IGNORED: Final[Mapping[str, Notice]] = {
    "key.serializer": _serializer("key"),
    "value.serializer": _serializer("value"),
    "buffer.memory.allocation.strategy": _ignored("the arena takes pages as batches need them"),
    "client.rack": _ignored("partitions are chosen without regard to racks"),
    "partitioner.rack.aware": _only(
        False, "partitions are chosen without regard to racks", "Leave it out, or write false"
    ),
    "metadata.cluster.check.enable": _ignored("the cluster's id is checked always"),
    "bootstrap.resolve.timeout.ms": _ignored("seeds are resolved again and again until one answers"),
    "transaction.timeout.ms": _ignored("there are no transactions"),
    "transaction.two.phase.commit.enable": _only(False, "there are no transactions", "Leave it out"),
    "interceptor.classes": _only("", "there is no Java virtual machine to run interceptors", "Leave it out"),
    "enable.metrics.push": _METRICS,
    "metric.reporters": _METRICS,
    "auto.include.jmx.reporter": _METRICS,
    "metrics.num.samples": _METRICS,
    "metrics.recording.level": _METRICS,
    "metrics.sample.window.ms": _METRICS,
    "security.providers": _JVM,
    "ssl.keymanager.algorithm": _JVM,
    "ssl.trustmanager.algorithm": _JVM,
    "ssl.secure.random.implementation": _JVM,
    "ssl.provider": _JVM,
}
