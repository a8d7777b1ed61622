"""The way to the brokers: metadata, connections, TLS and logins, the producer id. Knows nothing of batches."""
