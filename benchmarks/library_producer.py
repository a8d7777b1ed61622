"""ingestd's producer as a library, on the records that ``rival_producer`` gives to confluent-kafka's.

Run as a process of its own: ``python -m benchmarks.library_producer WAY BOOTSTRAP TOPIC FRAMES RECORDS``. WAY is
``send`` (each record's future is looked at in the end) or ``callback``. Prints one JSON line with the costs from the
first call to the last acknowledgement.
"""

import json
import resource
import sys
import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks.rival_producer import KeyAndValue, records_of
from ingestd.client.errors import KafkaException
from ingestd.client.records import RecordMetadata
from ingestd.producer import Producer, ProducerRecord


class Deliveries:
    """Counts what the callbacks say."""

    def __init__(self) -> None:
        self.failed = 0
        self.delivered = 0

    def __call__(self, _metadata: RecordMetadata | None, error: KafkaException | None) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failed += 1


def by_callback(producer: Producer, topic: str, records: list[KeyAndValue], deliveries: Deliveries) -> None:
    """A callback per record."""
    for key, value in records:
        producer.send(ProducerRecord(topic, value, key), deliveries)
    producer.flush()


def by_send(producer: Producer, topic: str, records: list[KeyAndValue], deliveries: Deliveries) -> None:
    """No callback; the futures are kept and looked at once all is flushed."""
    futures = [producer.send(ProducerRecord(topic, value, key)) for key, value in records]
    producer.flush()
    for future in futures:
        deliveries(None, future.exception(0))


def main() -> None:
    """Delivers the records; exits with 1 when one failed."""
    way, bootstrap, topic, frames, count = sys.argv[1:]
    records = list(islice(cycle(records_of(Path(frames).read_bytes())), int(count)))
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.partitions_for(topic)
    deliveries = Deliveries()
    before, started_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    (by_send if way == "send" else by_callback)(producer, topic, records, deliveries)
    elapsed_s, after = time.monotonic() - started_s, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    report = {"delivered": deliveries.delivered, "failed": deliveries.failed, "cpu_s": cpu_s, "elapsed_s": elapsed_s}
    print(json.dumps(report))
    producer.close()
    sys.exit(0 if deliveries.delivered == len(records) else 1)


if __name__ == "__main__":
    main()
