"""Settings of Kafka's producer that are refused, each with what to do instead."""

from collections.abc import Mapping
from typing import Final

DAEMON_NOT_YET: Final[Mapping[str, str]] = {
    "admin.listen": "Leave it out; `ingestd status` shows the same figures",
}

PRODUCER_NOT_YET: Final[Mapping[str, str]] = {
    "security.protocol": "Leave it out: connections are PLAINTEXT",
    "partitioner.class": "Leave it out: Kafka's built-in partitioner is used",
    "partitioner.ignore.keys": "Leave it out: keys choose the partition",
    "partitioner.adaptive.partitioning.enable": "Leave it out",
    "partitioner.availability.timeout.ms": "Leave it out",
    "compression.gzip.level": "Leave it out",
    "compression.lz4.level": "Leave it out: the fast compressor is used, as in Kafka",
    "compression.zstd.level": "Leave it out: level 3 is used, as in Kafka",
    **dict.fromkeys(
        (
            "sasl.mechanism",
            "sasl.login.connect.timeout.ms",
            "sasl.login.read.timeout.ms",
            "sasl.login.retry.backoff.ms",
            "sasl.login.retry.backoff.max.ms",
            "sasl.login.refresh.window.factor",
            "sasl.login.refresh.window.jitter",
            "sasl.login.refresh.min.period.seconds",
            "sasl.login.refresh.buffer.seconds",
            "sasl.oauthbearer.token.endpoint.url",
            "sasl.oauthbearer.scope",
            "sasl.oauthbearer.client.credentials.client.id",
            "sasl.oauthbearer.client.credentials.client.secret",
            "ssl.protocol",
            "ssl.enabled.protocols",
            "ssl.cipher.suites",
            "ssl.truststore.location",
            "ssl.truststore.password",
            "ssl.truststore.type",
            "ssl.truststore.certificates",
            "ssl.keystore.location",
            "ssl.keystore.password",
            "ssl.keystore.type",
            "ssl.keystore.key",
            "ssl.keystore.certificate.chain",
            "ssl.key.password",
            "ssl.endpoint.identification.algorithm",
        ),
        "Use a listener of the cluster without TLS and SASL, or a local tunnel",
    ),
}
"""Kafka's settings that a later version reads; until then they are refused rather than ignored."""

PRODUCER_FOREIGN: Final[Mapping[str, str]] = {
    "key.serializer": "keys are bytes here, serialised by their senders",
    "value.serializer": "values are bytes here, serialised by their senders",
    "interceptor.classes": "there is no Java virtual machine to load classes",
    "config.providers": "there is no Java virtual machine to load classes",
    "buffer.memory.allocation.strategy": "the arena takes pages as batches need them",
    "partitioner.rack.aware": "the producer has no rack",
    "client.rack": "the producer has no rack",
    "transactional.id": "there are no transactions: an idempotent producer per worker survives crashes",
    "transaction.timeout.ms": "there are no transactions",
    "transaction.two.phase.commit.enable": "there are no transactions",
    "metadata.cluster.check.enable": "the cluster id is checked always",
    "bootstrap.resolve.timeout.ms": "seeds are resolved again and again until one answers",
    "sasl.jaas.config": "that is Java's syntax",
    "security.providers": "that belongs to Java",
    "enable.metrics.push": "ingestd has metrics of its own",
    "metric.reporters": "ingestd has metrics of its own",
    "metrics.num.samples": "ingestd has metrics of its own",
    "metrics.recording.level": "ingestd has metrics of its own",
    "metrics.sample.window.ms": "ingestd has metrics of its own",
}
"""Kafka's settings that mean nothing in this daemon, and why."""
