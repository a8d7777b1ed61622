"""The client: a Kafka producer's face over a socket of this host. Standard library only, an island in the package."""

from ingestd.client.errors import KafkaException
from ingestd.client.future import Future
from ingestd.client.producer import Producer
from ingestd.client.records import ProducerRecord, RecordMetadata
from ingestd.client.serializers import BytesSerializer, StringSerializer

__all__ = [
    "BytesSerializer",
    "Future",
    "KafkaException",
    "Producer",
    "ProducerRecord",
    "RecordMetadata",
    "StringSerializer",
]
