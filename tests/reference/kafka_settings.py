"""Every setting of Kafka's producer, written out: name, type, default, range, and whether ingestd has to have it.

The rows of TABLE are those of Kafka 4.1.1 (``ProducerConfig.configDef``; ``tests/kafka/test_properties.py`` asks it);
NEWER has what other versions have besides. The last column: E and U are read, the others may be ignored or refused.
"""

from typing import Final, NamedTuple


class KafkaSetting(NamedTuple):
    """``default`` as Java prints it; ``range``: ``[low,...,high]``, "" for none."""

    name: str
    type: str
    default: str
    range: str
    mark: str


TABLE: Final = """
bootstrap.servers | LIST | [] | | E
client.dns.lookup | STRING | use_all_dns_ips | | E
buffer.memory | LONG | 33554432 | [0,...] | E
retries | INT | 2147483647 | [0,...,2147483647] | E
acks | STRING | all | | E
compression.type | STRING | none | | E
compression.gzip.level | INT | -1 | [1,...,9] or -1 | U
compression.lz4.level | INT | 9 | [1,...,17] | U
compression.zstd.level | INT | 3 | [-131072,...,22] | U
batch.size | INT | 16384 | [0,...] | E
partitioner.adaptive.partitioning.enable | BOOLEAN | true | | U
partitioner.availability.timeout.ms | LONG | 0 | [0,...] | U
partitioner.ignore.keys | BOOLEAN | false | | E
linger.ms | LONG | 5 | [0,...] | E
delivery.timeout.ms | INT | 120000 | [0,...] | E
client.id | STRING | | | E
send.buffer.bytes | INT | 131072 | [-1,...] | U
receive.buffer.bytes | INT | 32768 | [-1,...] | U
max.request.size | INT | 1048576 | [0,...] | E
reconnect.backoff.ms | LONG | 50 | [0,...] | E
reconnect.backoff.max.ms | LONG | 1000 | [0,...] | E
retry.backoff.ms | LONG | 100 | [0,...] | E
retry.backoff.max.ms | LONG | 1000 | [0,...] | E
enable.metrics.push | BOOLEAN | true | | -
max.block.ms | LONG | 60000 | [0,...] | E
request.timeout.ms | INT | 30000 | [0,...] | E
metadata.max.age.ms | LONG | 300000 | [0,...] | E
metadata.max.idle.ms | LONG | 300000 | [5000,...] | E
metrics.sample.window.ms | LONG | 30000 | [0,...] | -
metrics.num.samples | INT | 2 | [1,...] | -
metrics.recording.level | STRING | INFO | | -
metric.reporters | LIST | [org.apache.kafka.common.metrics.JmxReporter] | | -
max.in.flight.requests.per.connection | INT | 5 | [1,...] | E
key.serializer | CLASS | REQUIRED | | -
value.serializer | CLASS | REQUIRED | | -
socket.connection.setup.timeout.ms | LONG | 10000 | | E
socket.connection.setup.timeout.max.ms | LONG | 30000 | | E
connections.max.idle.ms | LONG | 540000 | | E
partitioner.class | CLASS | null | | E
interceptor.classes | LIST | [] | | -
security.protocol | STRING | PLAINTEXT | | E
security.providers | STRING | null | | -
ssl.protocol | STRING | TLSv1.3 | | U
ssl.provider | STRING | null | | -
ssl.cipher.suites | LIST | null | | U
ssl.enabled.protocols | LIST | [TLSv1.2, TLSv1.3] | | E
ssl.keystore.type | STRING | JKS | | E
ssl.keystore.location | STRING | null | | E
ssl.keystore.password | PASSWORD | null | | E
ssl.key.password | PASSWORD | null | | E
ssl.keystore.key | PASSWORD | null | | E
ssl.keystore.certificate.chain | PASSWORD | null | | E
ssl.truststore.certificates | PASSWORD | null | | E
ssl.truststore.type | STRING | JKS | | E
ssl.truststore.location | STRING | null | | E
ssl.truststore.password | PASSWORD | null | | E
ssl.keymanager.algorithm | STRING | SunX509 | | -
ssl.trustmanager.algorithm | STRING | PKIX | | -
ssl.endpoint.identification.algorithm | STRING | https | | E
ssl.secure.random.implementation | STRING | null | | -
ssl.engine.factory.class | CLASS | null | | -
sasl.kerberos.service.name | STRING | null | | -
sasl.kerberos.kinit.cmd | STRING | /usr/bin/kinit | | -
sasl.kerberos.ticket.renew.window.factor | DOUBLE | 0.8 | | -
sasl.kerberos.ticket.renew.jitter | DOUBLE | 0.05 | | -
sasl.kerberos.min.time.before.relogin | LONG | 60000 | | -
sasl.login.refresh.window.factor | DOUBLE | 0.8 | [0.5,...,1.0] | U
sasl.login.refresh.window.jitter | DOUBLE | 0.05 | [0.0,...,0.25] | U
sasl.login.refresh.min.period.seconds | SHORT | 60 | [0,...,900] | U
sasl.login.refresh.buffer.seconds | SHORT | 300 | [0,...,3600] | U
sasl.mechanism | STRING | GSSAPI | | E
sasl.jaas.config | PASSWORD | null | | -
sasl.client.callback.handler.class | CLASS | null | | -
sasl.login.callback.handler.class | CLASS | null | | -
sasl.login.class | CLASS | null | | -
sasl.login.connect.timeout.ms | INT | null | | U
sasl.login.read.timeout.ms | INT | null | | U
sasl.login.retry.backoff.max.ms | LONG | 10000 | | U
sasl.login.retry.backoff.ms | LONG | 100 | | U
sasl.oauthbearer.jwt.retriever.class | CLASS | org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever | | -
sasl.oauthbearer.jwt.validator.class | CLASS | org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator | | -
sasl.oauthbearer.scope | STRING | null | | U
sasl.oauthbearer.client.credentials.client.id | STRING | null | | U
sasl.oauthbearer.client.credentials.client.secret | PASSWORD | null | | U
sasl.oauthbearer.assertion.algorithm | STRING | RS256 | | -
sasl.oauthbearer.assertion.claim.aud | STRING | null | | -
sasl.oauthbearer.assertion.claim.exp.seconds | INT | 300 | [0,...,86400] | -
sasl.oauthbearer.assertion.claim.iss | STRING | null | | -
sasl.oauthbearer.assertion.claim.jti.include | BOOLEAN | false | | -
sasl.oauthbearer.assertion.claim.nbf.seconds | INT | 60 | [0,...,3600] | -
sasl.oauthbearer.assertion.claim.sub | STRING | null | | -
sasl.oauthbearer.assertion.file | STRING | null | | -
sasl.oauthbearer.assertion.private.key.file | STRING | null | | -
sasl.oauthbearer.assertion.private.key.passphrase | PASSWORD | null | | -
sasl.oauthbearer.assertion.template.file | STRING | null | | -
sasl.oauthbearer.scope.claim.name | STRING | scope | | -
sasl.oauthbearer.sub.claim.name | STRING | sub | | -
sasl.oauthbearer.token.endpoint.url | STRING | null | | U
sasl.oauthbearer.jwks.endpoint.url | STRING | null | | -
sasl.oauthbearer.jwks.endpoint.refresh.ms | LONG | 3600000 | | -
sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms | LONG | 10000 | | -
sasl.oauthbearer.jwks.endpoint.retry.backoff.ms | LONG | 100 | | -
sasl.oauthbearer.clock.skew.seconds | INT | 30 | | -
sasl.oauthbearer.expected.audience | LIST | null | | -
sasl.oauthbearer.expected.issuer | STRING | null | | -
sasl.oauthbearer.header.urlencode | BOOLEAN | false | | -
enable.idempotence | BOOLEAN | true | | E
transaction.timeout.ms | INT | 60000 | | -
transactional.id | STRING | null | | -
transaction.two.phase.commit.enable | BOOLEAN | false | | -
metadata.recovery.strategy | STRING | rebootstrap | | E
metadata.recovery.rebootstrap.trigger.ms | LONG | 300000 | [0,...] | E
"""

NEWER: Final = frozenset(
    {
        "auto.include.jmx.reporter",
        "bootstrap.resolve.timeout.ms",
        "buffer.memory.allocation.strategy",
        "client.rack",
        "config.providers",
        "metadata.cluster.check.enable",
        "partitioner.rack.aware",
        "sasl.oauthbearer.allow.unverified.audience",
        "sasl.oauthbearer.allow.unverified.issuer",
    }
)


def kafka_settings() -> list[KafkaSetting]:
    """The rows of TABLE."""
    return [KafkaSetting(*(cell.strip() for cell in row.split("|"))) for row in TABLE.strip().splitlines()]
