"""confluent-kafka's Python producer, as its documentation says to use it, on records prepared beforehand.

Run as a process of its own: ``python -m benchmarks.rival_producer WAY BOOTSTRAP TOPIC FRAMES RECORDS``. WAY is
``produce`` or ``produce_batch``; FRAMES is a file of the native protocol (``generator --write``), so both sides deliver
the same keys and values. Prints one JSON line with the costs from the first call to the last acknowledgement.
"""

import json
import resource
import struct
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

KeyAndValue = tuple[bytes | None, bytes]
RECORDS_FRAME: Final = 0x02
KEY: Final = 0x04
CALL_RECORDS: Final = 1000
"""Records per call of produce_batch, and between two looks at the delivery reports otherwise."""


def records_of(frames: bytes) -> Iterator[tuple[bytes | None, bytes]]:
    """Key and value of each record in RECORDS frames of the generator, which have no partition, timestamp, headers."""
    at = 0
    while at < len(frames):
        length, kind = struct.unpack_from("<IB", frames, at)
        end, at = at + 4 + length, at + 24
        while kind == RECORDS_FRAME and at < end:
            record_length, flags = struct.unpack_from("<IB", frames, at)
            record_end, at, key = at + 4 + record_length, at + 5, None
            if flags & KEY:
                (key_bytes,) = struct.unpack_from("<I", frames, at)
                key, at = frames[at + 4 : at + 4 + key_bytes], at + 4 + key_bytes
            yield key, frames[at:record_end]
            at = record_end
        at = end


class Deliveries:
    """Counts what the delivery reports say."""

    def __init__(self) -> None:
        self.failed = 0
        self.delivered = 0

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failed += 1


def by_produce(producer: Producer, topic: str, records: list[KeyAndValue], deliveries: Deliveries) -> None:
    """One call per record."""
    for index, (key, value) in enumerate(records):
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=deliveries)
                break
            except BufferError:
                producer.poll(0.05)
        if index % CALL_RECORDS == 0:
            producer.poll(0)


def by_produce_batch(producer: Producer, topic: str, records: list[KeyAndValue], deliveries: Deliveries) -> None:
    """One call per CALL_RECORDS records. The dicts that it wants are part of its cost, as they are of its caller's."""
    for start in range(0, len(records), CALL_RECORDS):
        left = [{"key": key, "value": value} for key, value in records[start : start + CALL_RECORDS]]
        while left:
            try:
                producer.produce_batch(topic, left, on_delivery=deliveries)
                left = [{"key": one["key"], "value": one["value"]} for one in left if "_error" in one]
            except BufferError:
                pass
            producer.poll(0.05 if left else 0)


def main() -> None:
    """Delivers the records; exits with 1 when one failed."""
    way, bootstrap, topic, frames, count = sys.argv[1:]
    records = list(islice(cycle(records_of(Path(frames).read_bytes())), int(count)))
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 5})
    producer.list_topics(topic, timeout=10)
    deliveries = Deliveries()
    before, started_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    (by_produce if way == "produce" else by_produce_batch)(producer, topic, records, deliveries)
    producer.flush()
    elapsed_s, after = time.monotonic() - started_s, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    report = {"delivered": deliveries.delivered, "failed": deliveries.failed, "cpu_s": cpu_s, "elapsed_s": elapsed_s}
    print(json.dumps(report))
    sys.exit(0 if deliveries.delivered == len(records) else 1)


if __name__ == "__main__":
    main()
