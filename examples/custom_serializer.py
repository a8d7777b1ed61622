"""A serializer of one's own: the book's Customer, a number and a name, as bytes.

INGESTD_ADDRESS=unix-stream:/run/ingestd/app.sock python custom_serializer.py
"""

import struct
from dataclasses import dataclass

from ingestd.client import Producer, ProducerRecord, StringSerializer


@dataclass(frozen=True)
class Customer:
    customer_id: int
    name: str


class CustomerSerializer:
    """4 bytes customer_id, 4 bytes length of the name in UTF-8, the name; all big-endian."""

    def serialize(self, topic: str, value: Customer, headers: object) -> bytes:  # noqa: ARG002
        name = value.name.encode()
        return struct.pack(">ii", value.customer_id, len(name)) + name


with Producer(key_serializer=StringSerializer(), value_serializer=CustomerSerializer()) as producer:
    customer = Customer(7, "Precision Products")
    record = ProducerRecord("customers", customer, key=customer.name, headers={"format": b"customer-1"})
    metadata = producer.send(record).result(timeout=30)
    print(f"partition {metadata.partition}, offset {metadata.offset}, {metadata.serialized_value_size} bytes")
