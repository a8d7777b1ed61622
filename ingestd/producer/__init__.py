"""Sealed batches out to Kafka: metadata, connections, idempotent delivery, recovery, dead letters."""
