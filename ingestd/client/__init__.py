"""The client: a Kafka producer's face over a socket of this host. Standard library only, an island in the package."""
