"""The producer inside a Python program: Kafka's own face over the core that the daemon's workers use."""
