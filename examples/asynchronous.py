"""Sends many records without waiting for each, and counts what became of them.

INGESTD_ADDRESS=unix-stream:/run/ingestd/app.sock python asynchronous.py [TOPIC] [COUNT]
"""

import sys
import time
from collections import Counter

from ingestd.client import KafkaException, Producer, ProducerRecord, RecordMetadata

topic = sys.argv[1] if len(sys.argv) > 1 else "clicks"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
outcomes: Counter[str] = Counter()


def on_completion(metadata: RecordMetadata | None, error: KafkaException | None) -> None:
    """Runs in the producer's own thread: be quick here, and do not wait for the producer."""
    if metadata is not None:
        outcomes[f"partition {metadata.partition}"] += 1
    elif error is not None:
        outcomes[f"{type(error).__name__} ({'may be sent again' if error.retriable else 'final'})"] += 1


started = time.perf_counter()
with Producer(answer="delivered") as producer:
    for number in range(count):
        producer.send(ProducerRecord(topic, f"click {number}", key=f"user-{number % 1000}"), on_completion)
    sent = time.perf_counter()
answered = time.perf_counter()

for outcome, records in sorted(outcomes.items()):
    print(f"{outcome}: {records}")
print(f"handed over in {sent - started:.2f} s, all answered after {answered - started:.2f} s")
