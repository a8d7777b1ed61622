"""What goes in and what comes out: ProducerRecord and RecordMetadata, after Kafka's classes of these names."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

Header = tuple[str, bytes | None]

INT32_MAX: Final = (1 << 31) - 1
INT64_MAX: Final = (1 << 63) - 1


class ProducerRecord:
    """A record to send.

    `key` and `value` are what the producer's serializers take. A key of None is no key (not an empty one), a value of
    None a tombstone. Without `partition` the daemon chooses: by the key's hash, or as batches fill. Without
    `timestamp_ms` (since 1970) it is the time of send(). `headers`: (name, bytes or None) pairs, or a dict of them.
    Raises TypeError or ValueError as Java's constructor does: no topic, a negative partition or timestamp.
    """

    __slots__ = ("headers", "key", "partition", "timestamp_ms", "topic", "value")

    def __init__(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Iterable[Header] | Mapping[str, bytes | None] = (),
    ) -> None:
        if type(topic) is not str:
            topic = _exact(topic)
        if not topic:
            raise ValueError("a record needs a topic")
        if partition is not None and not 0 <= partition <= INT32_MAX:
            raise ValueError(f"partition {partition}: give one from 0 to {INT32_MAX}, or None to let the key decide")
        if timestamp_ms is not None and not 0 <= timestamp_ms <= INT64_MAX:
            raise ValueError(f"timestamp_ms {timestamp_ms}: give milliseconds since 1970, or None for now")
        self.topic = topic
        self.value = value
        self.key = key
        self.partition = partition
        self.timestamp_ms = timestamp_ms
        self.headers: tuple[Header, ...] = _checked(headers) if headers else ()

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in ("topic", "value", "key", "partition", "timestamp_ms"))
        return f"ProducerRecord({', '.join(fields)}, headers={self.headers!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProducerRecord):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # its fields can be changed


def _exact(topic: object) -> str:
    """A member of a StrEnum and the like as the plain str that it is: compiled code takes nothing else."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, not {type(topic).__name__}")
    return str.__str__(topic)


def _checked(headers: Iterable[Header] | Mapping[str, bytes | None]) -> tuple[Header, ...]:
    checked = []
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        if not isinstance(name, str):
            raise TypeError(f"a header's name is a str, not {type(name).__name__}")
        if not (value is None or isinstance(value, bytes)):
            raise TypeError(f"header {name!r}: a value is bytes or None, not {type(value).__name__}")
        checked.append((name, value))
    return tuple(checked)


class RecordMetadata(NamedTuple):
    """Where a record went. At level `delivered` all is known; at `accepted` and `none` partition and offset are -1.

    An offset of -1 at level `delivered`: it is in the partition, but the broker did not say where. `timestamp_ms` is
    the log's append time if the topic asks for that, else the record's own. Sizes are of the serialized key and value,
    -1 for None.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    serialized_key_size: int
    serialized_value_size: int

    @property
    def has_offset(self) -> bool:
        """Whether the offset is known."""
        return self.offset >= 0
