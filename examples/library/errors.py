"""Two kinds of errors, as the book tells them apart: retriable ones, which the producer has tried for
delivery.timeout.ms, and the others, which trying again does not mend.

Run it with the brokers' addresses: python examples/library/errors.py kafka-1:9092
"""

import sys

from ingestd.client.errors import KafkaException, OutcomeUnknownException, TimeoutException
from ingestd.producer import Future, Producer, ProducerRecord


def tell(what: str, future: Future) -> None:
    """What a program does with each kind."""
    error: KafkaException | None = future.exception(timeout=60)
    if error is None:
        print(f"{what}: in Kafka, at offset {future.offset}")
    elif isinstance(error, OutcomeUnknownException):
        print(f"{what}: may be in Kafka or not; sending it again may write it twice ({error})")
    elif error.retriable:
        print(f"{what}: retriable, {type(error).__name__}: send it again later, or keep it elsewhere ({error})")
    else:
        print(f"{what}: fatal for this record, {type(error).__name__}: mend its cause first ({error})")


with Producer({"bootstrap.servers": sys.argv[1], "max.block.ms": 2000}) as producer:
    tell("a good record", producer.send(ProducerRecord("orders", "good")))

    # Larger than max.request.size: no attempt would ever succeed.
    tell("a giant", producer.send(ProducerRecord("orders", bytes(2_000_000))))

# What no broker answers is tried until delivery.timeout.ms is over. send() itself waits at most max.block.ms, for a
# topic that is not known or for room, and then raises.
nobody = {"bootstrap.servers": "127.0.0.1:1", "max.block.ms": 500}
with Producer(nobody) as producer:
    try:
        producer.send(ProducerRecord("orders", "to nobody"))
    except TimeoutException as error:
        print(f"no broker: {type(error).__name__}, retriable: {error.retriable} ({error})")
