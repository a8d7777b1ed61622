"""The first program of every Kafka book, with ingestd behind it: one record, sent in the three ways.

INGESTD_ADDRESS=unix-stream:/run/ingestd/app.sock python first_record.py
"""

from ingestd.client import KafkaException, Producer, ProducerRecord, RecordMetadata

# Strings go as UTF-8; say key_serializer=, value_serializer= for anything else. The address is INGESTD_ADDRESS.
producer = Producer()
record = ProducerRecord("CustomerCountry", "France", key="Precision Products")

# Fire and forget: it will arrive, but if not, we do not care to know.
producer.send(record)

# Synchronous: wait for Kafka's answer.
try:
    metadata = producer.send(record).result(timeout=30)
    print(f"synchronous: partition {metadata.partition}, offset {metadata.offset}")
except KafkaException as error:
    print(f"synchronous: {error}")


# Asynchronous: go on, and be called when the answer is there.
def on_completion(metadata: RecordMetadata | None, error: KafkaException | None) -> None:
    if metadata is not None:
        print(f"asynchronous: partition {metadata.partition}, offset {metadata.offset}")
    else:
        print(f"asynchronous: {error}")


producer.send(record, on_completion)

producer.close()  # sends what is left and waits for its answers
