"""A serializer of one's own: the book's Customer, written as its id and its name.

Any object with serialize(topic, data), or serialize(topic, data, headers), will do; configure() and close() are called
if it has them. Schemas, Avro and the like fit in the same place.

Run it with the brokers' addresses: python examples/library/custom_serializer.py kafka-1:9092
"""

import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingestd.client.errors import SerializationException
from ingestd.producer import Producer, ProducerRecord


@dataclass
class Customer:
    """A customer."""

    id: int
    name: str


class CustomerSerializer:
    """4 bytes of id, 4 bytes of length, the name in UTF-8."""

    def configure(self, configs: Mapping[str, Any], is_key: bool) -> None:
        """Nothing to configure."""

    def serialize(self, topic: str, data: Customer) -> bytes:  # noqa: ARG002 (the book's interface)
        """Raises SerializationException, which the caller of send() gets."""
        if not isinstance(data, Customer):
            raise SerializationException(f"not a Customer: {data!r}")
        name = data.name.encode()
        return struct.pack(">ii", data.id, len(name)) + name

    def close(self) -> None:
        """Nothing to close."""


config = {
    "bootstrap.servers": sys.argv[1],
    "key.serializer": "StringSerializer",
    "value.serializer": CustomerSerializer(),
}

with Producer(config) as producer:
    customer = Customer(7, "Precision Products")
    metadata = producer.send(ProducerRecord("customers", customer, key=customer.name)).result(timeout=30)
    print(f"{metadata.serialized_value_size} bytes in partition {metadata.partition} at offset {metadata.offset}")

    try:
        producer.send(ProducerRecord("customers", "not a customer", key="x"))
    except SerializationException as error:
        print("not sent:", error)
