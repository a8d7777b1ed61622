"""ingestd: hands a host's records to Apache Kafka, exactly once and in order."""

__version__ = "0.1.0"
