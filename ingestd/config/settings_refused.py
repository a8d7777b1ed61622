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
    "config.providers": "write ${NAME} or ${file:PATH} (config.providers counts in a properties file)",
    "sasl.jaas.config": "that is Java's syntax",
}
"""Kafka's settings that mean nothing in this daemon, and why."""
