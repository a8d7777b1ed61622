"""Sealed batches out to Kafka: metadata, connections, idempotent delivery, recovery, dead letters.

The public face for Python programs, loaded when it is first asked for (``docs/library.md``)::

    from ingestd.producer import Producer, ProducerRecord

    with Producer({"bootstrap.servers": "kafka-1:9092"}) as producer:
        producer.send(ProducerRecord("orders", "France"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ingestd.client.records import ProducerRecord as ProducerRecord
    from ingestd.client.records import RecordMetadata as RecordMetadata
    from ingestd.hotpath.partition import partition_for_key as partition_for_key
    from ingestd.producer.library.async_producer import AsyncProducer as AsyncProducer
    from ingestd.producer.library.cluster import Cluster as Cluster
    from ingestd.producer.library.cluster import Node as Node
    from ingestd.producer.library.cluster import PartitionInfo as PartitionInfo
    from ingestd.producer.library.future import Future as Future
    from ingestd.producer.library.producer import Producer as Producer

_HOMES: Final = {
    "AsyncProducer": "ingestd.producer.library.async_producer",
    "Cluster": "ingestd.producer.library.cluster",
    "Future": "ingestd.producer.library.future",
    "Node": "ingestd.producer.library.cluster",
    "PartitionInfo": "ingestd.producer.library.cluster",
    "Producer": "ingestd.producer.library.producer",
    "ProducerRecord": "ingestd.client.records",
    "RecordMetadata": "ingestd.client.records",
    "partition_for_key": "ingestd.hotpath.partition",
}


def __getattr__(name: str) -> Any:
    # A worker imports this package too: it must not load what only programs need.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
