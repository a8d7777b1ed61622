"""What ``send()`` does in the caller's thread: settings, serializers, partitioner, size; whatever need not wait."""

import itertools
from collections.abc import Mapping
from operator import index
from time import time_ns
from typing import Any, Final

from ingestd.client.errors import (
    BufferExhaustedException,
    ConfigException,
    IllegalStateException,
    KafkaException,
    RecordTooLargeException,
    TimeoutException,
    UnknownTopicOrPartitionException,
    failed,
)
from ingestd.client.records import ProducerRecord
from ingestd.config.library import read_library_settings
from ingestd.config.model import Producer as Settings
from ingestd.errors import ConfigurationError
from ingestd.hotpath.batch import encode_headers
from ingestd.hotpath.sending import FastSend
from ingestd.kafka.errors import UNKNOWN_TOPIC_OR_PARTITION, error_of
from ingestd.log import counted
from ingestd.metrics import Failed
from ingestd.producer.common import log
from ingestd.producer.library.cluster import Cluster
from ingestd.producer.library.engine import Engine
from ingestd.producer.library.future import Callback, Future, Owner
from ingestd.producer.library.serializers import FieldSerializer
from ingestd.producer.library.topics import NO_ROW, KnownTopic

BOUND_BYTES: Final = 512
"""Records smaller than max.request.size by that much are not measured exactly."""
YEAR_S: Final = 365 * 86_400.0
"""Longer waits are for ever; clocks of event loops and locks do not take every number."""
ASK_AGAIN_S: Final = 0.5
"""How often the cluster is asked again while a caller waits for a topic to have more partitions."""
_numbers = itertools.count(1)


class Front:
    """The caller's side of one producer. Raises ConfigException with every fault of the settings in ``config``; those
    of serializers and of a partitioner come behind them, one at a time."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._brought: list[Any] = []
        """What the program brought along, to be closed with the producer."""
        try:
            settings, notes = self._read(config)
        except BaseException:
            self.close()
            raise
        for note in notes:
            log.info("%s", note)
        self.settings = settings
        self.client_id = settings.client_id or f"producer-{next(_numbers)}"
        self.max_block_s = min(settings.max_block_ms / 1000, YEAR_S)
        self._cluster: Cluster | None = None
        self._bytes_max = settings.max_request_size
        self.sure_bytes = settings.max_request_size - BOUND_BYTES
        """``size_bytes`` up to which a record is surely not too large."""
        self._key_passes = self.key_serializer.passes_bytes
        self._value_passes = self.value_serializer.passes_bytes

    def _read(self, config: Mapping[str, Any]) -> tuple[Settings, list[str]]:
        """Settings and notes; makes serializers and partitioner."""
        try:
            settings, objects, notes = read_library_settings(config)
            self.key_serializer = FieldSerializer(objects.get("key.serializer"), config, is_key=True)
            self._brought.append(self.key_serializer)
            self.value_serializer = FieldSerializer(objects.get("value.serializer"), config, is_key=False)
            self._brought.append(self.value_serializer)
        except (ConfigurationError, ValueError) as error:
            raise ConfigException(str(error)) from None
        self._partitioner = _partitioner(objects.get("partitioner.class"), config)
        self._brought.append(self._partitioner)
        return settings, notes

    def begin(self, engine: Engine) -> None:
        self._cluster = Cluster(engine.topics.known)

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise IllegalStateException("the producer has not begun")
        return self._cluster

    def encode(self, record: ProducerRecord, topic: KnownTopic, owner: Owner, callback: Callback | None) -> Future:
        """The record as it is handed over. Raises SerializationException, and what a partitioner raises."""
        name, headers, key, value = record.topic, record.headers, record.key, record.value
        if key is not None and not (self._key_passes and type(key) is bytes):
            key = self.key_serializer.serialize(name, key, headers)
        if value is not None and not (self._value_passes and type(value) is bytes):
            value = self.value_serializer.serialize(name, value, headers)
        partition = record.partition
        if partition is None:
            partition = -1
            if self._partitioner is not None and not topic.refuses:
                partition = self._choose(record, key, value, topic)
        timestamp_ms = record.timestamp_ms
        if timestamp_ms is None:
            timestamp_ms = time_ns() // 1_000_000
        encoded = encode_headers(headers) if headers else None
        return Future(owner, name, topic.index, partition, timestamp_ms, key, value, encoded, len(headers), callback)

    def quick(self, engine: Engine, owner: Owner) -> FastSend | None:
        """The quick way to send; None: something of the program's own is asked about every record."""
        if not (self._key_passes and self._value_passes and self._partitioner is None):
            return None
        return FastSend(engine.handover, engine.topics.known, owner, Future, self.sure_bytes)

    def refusal(self, future: Future, topic: KnownTopic) -> KafkaException | None:
        """Why the record fails before it is handed over, if it does: its topic, or its size.

        The size is Kafka's own estimate, before compression, against max.request.size.
        """
        if topic.refuses:
            return self.denied(topic)
        bound_bytes = future.batch_bytes_bound()
        if bound_bytes <= self._bytes_max:
            return None
        return RecordTooLargeException(
            f"a record of {future.topic!r} takes up to {bound_bytes} bytes, more than max.request.size ="
            f" {self._bytes_max}: raise it, with the broker's message.max.bytes",
            reason="record_too_large",
        )

    def _choose(self, record: ProducerRecord, key: bytes | None, value: bytes | None, topic: KnownTopic) -> int:
        chosen = self._partitioner.partition(record.topic, record.key, key, record.value, value, self.cluster)
        try:
            number = index(chosen)
        except TypeError:
            number = -1
        if not 0 <= number < topic.count:
            raise ValueError(
                f"the partitioner chose {chosen!r} of the {counted(topic.count, 'partition')} of {topic.name!r}"
            )
        return number

    def close(self) -> None:
        """Closes what the program brought along, once; one that cannot be closed does not keep the others open."""
        brought, self._brought = self._brought, []
        for part in brought:
            if callable(getattr(part, "close", None)):
                try:
                    part.close()
                except Exception:
                    log.exception("closing a serializer or the partitioner")

    def close_ms(self, timeout: float | None) -> int | None:
        """``timeout`` of a ``close()``, from seconds; None: for ever."""
        return None if timeout is None or timeout > YEAR_S else round(max(timeout, 0.0) * 1000)

    # -- why a caller is not let in

    def check_topic(self, topic: object) -> None:
        """A record's topic may have been set after the record was made."""
        if type(topic) is not str:
            raise TypeError(f"a topic is a str, not {type(topic).__name__}")

    def closed(self, engine: Engine) -> KafkaException:
        """For calls on a producer that takes no more."""
        if engine.failure is None:
            return IllegalStateException("this producer is closed")
        # It is raised by every call: it must not collect the traceback of each.
        return engine.failure.with_traceback(None)

    def denied(self, topic: KnownTopic) -> KafkaException:
        """For the future of a record whose topic will not become writable by waiting."""
        if topic.index == NO_ROW and not topic.code:
            return IllegalStateException(f"no room for topic {topic.name!r}: raise buffer.memory, or use fewer topics")
        return failed(int(Failed.TOPIC_DENIED), topic.code, topic.name, False)

    def not_admitted(self, record: ProducerRecord, topic: KnownTopic | None, engine: Engine) -> TimeoutException:
        """max.block.ms is over, and the topic does not take the record; the cause says why, if that is known."""
        if topic is not None and topic.held:
            return self.no_room(topic)
        after = f"after max.block.ms = {self.settings.max_block_ms}"
        if topic is not None and topic.count:
            have = counted(topic.count, "partition")
            text = f"topic {record.topic!r} has {have}, and no partition {record.partition}, {after}"
        elif not engine.brokers_connected:
            why = engine.trouble or ", ".join(self.settings.bootstrap_servers)
            text = f"topic {record.topic!r} is not known, no broker could be reached ({why}), {after}"
        else:
            text = f"topic {record.topic!r} is not in the cluster's metadata {after}"
        error = TimeoutException(text)
        if topic is not None and topic.code:
            name = error_of(topic.code).name
            kind = UnknownTopicOrPartitionException if topic.code == UNKNOWN_TOPIC_OR_PARTITION else KafkaException
            error.__cause__ = kind(name)
        return error

    def no_room(self, topic: KnownTopic) -> BufferExhaustedException:
        """max.block.ms is over, and there is no room."""
        what = (
            f"a partition of {topic.name!r} takes no more: its broker is away, and others need the room"
            if topic.held
            else f"buffer.memory = {self.settings.buffer_memory} is full"
        )
        return BufferExhaustedException(f"{what}, after max.block.ms = {self.settings.max_block_ms}")


def _partitioner(given: Any, config: Mapping[str, Any]) -> Any:
    if given is None:
        return None
    made = given() if isinstance(given, type) else given
    if not callable(getattr(made, "partition", None)):
        raise ConfigException(
            f"partitioner.class: {made!r} has no partition(topic, key, key_bytes, value, value_bytes, cluster)"
        )
    if callable(getattr(made, "configure", None)):
        made.configure(dict(config))
    return made
