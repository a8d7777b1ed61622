"""The tests: helpers are imported as ``tests.kafka.cluster`` and the like, from the top of the repository."""
