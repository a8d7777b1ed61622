"""The Kafka protocol without I/O: error policy, messages, produce requests, and the state of one connection."""
