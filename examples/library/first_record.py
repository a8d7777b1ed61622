"""The three ways to send, as in "Kafka: The Definitive Guide", chapter 3; here the program talks to Kafka itself.

Run it with the brokers' addresses: python examples/library/first_record.py kafka-1:9092
"""

import sys

from ingestd.client.errors import KafkaException
from ingestd.producer import Producer, ProducerRecord, RecordMetadata

config = {
    "bootstrap.servers": sys.argv[1],
    "key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
    "value.serializer": "org.apache.kafka.common.serialization.StringSerializer",
}


def show(metadata: RecordMetadata | None, error: KafkaException | None) -> None:
    """Called in the sender thread: quick, and without waiting for anything."""
    if metadata is not None:
        print("asynchronous: partition", metadata.partition, "offset", metadata.offset)
    else:
        print("asynchronous:", error)


with Producer(config) as producer:
    record = ProducerRecord("CustomerCountry", "France", key="Precision Products")

    # Fire and forget: errors would only be in the log.
    producer.send(record)

    # Synchronous: the future's result, or its error as an exception.
    try:
        metadata = producer.send(record).result(timeout=30)
        print("synchronous: partition", metadata.partition, "offset", metadata.offset)
    except KafkaException as error:
        print("synchronous:", error)

    # Asynchronous: the callback comes once Kafka has answered. close(), at the end of the block, waits for it.
    producer.send(record, show)
