"""A partitioner of one's own: the book's one big customer has the last partition to itself, all others share the rest.

partition() is called in the thread that sends, once per record that names no partition itself.

Run it with the brokers' addresses: python examples/library/custom_partitioner.py kafka-1:9092
"""

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ingestd.producer import Cluster, Producer, ProducerRecord, partition_for_key


class BananaPartitioner:
    """Kafka's own hash for everybody but the one."""

    def configure(self, configs: Mapping[str, Any]) -> None:
        """The configuration is the producer's: names of one's own have no place in it."""

    def partition(
        self,
        topic: str,
        key: object,
        key_bytes: bytes | None,
        value: object,  # noqa: ARG002 (the book's interface)
        value_bytes: bytes | None,  # noqa: ARG002
        cluster: Cluster,
    ) -> int:
        """A number from 0 to the topic's partition count - 1; whatever is raised here, the caller of send() gets."""
        count = cluster.partition_count_for_topic(topic)
        if key_bytes is None:
            raise ValueError("every record has a customer's name as its key")
        if key == "Banana" or count == 1:
            return count - 1
        return partition_for_key(key_bytes, count - 1)

    def close(self) -> None:
        """Nothing to close."""


config = {"bootstrap.servers": sys.argv[1], "partitioner.class": BananaPartitioner()}

with Producer(config) as producer:
    names = ["Banana", "Apple", "Cherry", "Date"] * 250
    orders = [ProducerRecord("orders", f"order {number}", key=name) for number, name in enumerate(names)]
    futures = [producer.send(order) for order in orders]
    places = Counter((order.key, future.result().partition) for order, future in zip(orders, futures, strict=True))
    for (name, partition), count in sorted(places.items()):
        print(f"{name}: partition {partition}, {count} records")

    try:
        producer.send(ProducerRecord("orders", "whose?"))
    except ValueError as error:
        print("not sent:", error)
