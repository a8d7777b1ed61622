"""What ingestd costs, in CPU seconds: next to a bare relay and to confluent-kafka, all in one run (``make bench``)."""
