"""The client: a Kafka producer's face over a socket of this host. Standard library only; imports nothing else of ingestd."""
