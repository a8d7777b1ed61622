"""Settings of Kafka's producer that are taken and change nothing here: each says why, once, where it is given.

A value that would have changed what is sent is refused instead: taking it would be a lie.
"""

from collections.abc import Callable, Mapping
from typing import Final

from ingestd.config.faults import RefusedError, toml_text

Notice = Callable[[object], str]

_JAVA: Final = "org.apache.kafka.common.serialization."
_BYTES_CLASSES: Final = frozenset(
    _JAVA + name
    for name in ("StringSerializer", "ByteArraySerializer", "VoidSerializer", "ByteBufferSerializer", "BytesSerializer")
)
_CLIENT_SERIALIZERS: Final[Mapping[str, str]] = {
    "Integer": 'struct.pack(">i", value)',
    "Long": 'struct.pack(">q", value)',
    "Short": 'struct.pack(">h", value)',
    "Float": 'struct.pack(">f", value)',
    "Double": 'struct.pack(">d", value)',
    "UUID": "str(value).encode()",
    "Boolean": 'b"\\x01" if value else b"\\x00"',
}
"""What the ``serialize`` of a client's serializer returns for the same bytes as Kafka's class of that name."""


def _ignored(why: str) -> Notice:
    return lambda _: f"changes nothing here: {why}"


def _only(*taken: object, why: str, cure: str = "Leave it out") -> Notice:
    """Taken where it is empty or one of ``taken`` (Kafka's default, or what ingestd does too); refused otherwise."""
    legal = {"", *(str(value).lower() for value in taken)}

    def notice(given: object) -> str:
        items = given if isinstance(given, list) else [given]
        if all(str(item).strip().lower() in legal for item in items):
            return ""
        raise RefusedError(why, cure)

    return notice


def _serializer(what: str) -> Notice:
    def notice(given: object) -> str:
        if not isinstance(given, str):
            raise RefusedError("not the name of a class", "Leave it out: records come as bytes")
        name = given.strip()
        if name in _BYTES_CLASSES:
            return ""
        simple = name.rpartition(".")[2].removesuffix("Serializer")
        how = _CLIENT_SERIALIZERS.get(simple) if name.startswith(_JAVA) else None
        body = f"serialize() returns {how}" if how else f"serialize(topic, value, headers) returns what {simple} writes"
        cure = f"Leave it out, and give the clients ingestd.client.Producer(..., {what}_serializer=...) whose {body}"
        raise RefusedError(f"records come to the daemon as bytes: it runs no {toml_text(name)}", cure)

    return notice


_METRICS: Final = _ignored("metrics are those of admin.listen and `ingestd status`")
_JVM: Final = _ignored("it speaks to a Java virtual machine")
_KERBEROS: Final = _ignored("there is no Kerberos (GSSAPI) here")
_VALIDATION: Final = _ignored("a client does not look into its token")
_TRANSACTIONS: Final = "there are no transactions: an idempotent producer per worker survives crashes"
_NO_RACK: Final = "partitions are chosen without regard to racks"
_NO_JAVA: Final = "there is no Java virtual machine to run a class of yours"
_OAUTH: Final = "org.apache.kafka.common.security.oauthbearer."
_LOGIN_CURE: Final = "Use PLAIN, SCRAM-SHA-512, or OAUTHBEARER with a token endpoint or a token file"
_LOGIN_HANDLERS: Final = (
    f"{_OAUTH}OAuthBearerLoginCallbackHandler",
    f"{_OAUTH}secured.OAuthBearerLoginCallbackHandler",
)
_GRANT_CURE: Final = "Use the client credentials grant, or let another program renew a token file"

_RUNTIME: Final[Mapping[str, Notice]] = {
    "key.serializer": _serializer("key"),
    "value.serializer": _serializer("value"),
    "interceptor.classes": _only(why=_NO_JAVA, cure="Leave it out: what it does belongs to the programs that send"),
    "buffer.memory.allocation.strategy": _ignored("the arena takes pages as batches need them"),
    "client.rack": _ignored(_NO_RACK),
    "partitioner.rack.aware": _only(False, why=_NO_RACK),
    "metadata.cluster.check.enable": _ignored("the cluster's id is checked always"),
    "bootstrap.resolve.timeout.ms": _ignored("seeds are resolved again and again until one answers"),
    "transaction.timeout.ms": _ignored("there are no transactions"),
    "transaction.two.phase.commit.enable": _only(False, why=_TRANSACTIONS),
    "transactional.id": _only(why=_TRANSACTIONS),
    "security.providers": _JVM,
    "ssl.keymanager.algorithm": _JVM,
    "ssl.trustmanager.algorithm": _JVM,
    "ssl.secure.random.implementation": _JVM,
    "ssl.provider": _JVM,
    "ssl.engine.factory.class": _only(why=_NO_JAVA, cure="Use ssl.keystore.* and ssl.truststore.*"),
    **dict.fromkeys(
        (
            "enable.metrics.push",
            "metric.reporters",
            "auto.include.jmx.reporter",
            "metrics.num.samples",
            "metrics.recording.level",
            "metrics.sample.window.ms",
        ),
        _METRICS,
    ),
}

_LOGIN: Final[Mapping[str, Notice]] = {
    "sasl.client.callback.handler.class": _only(why=_NO_JAVA, cure=_LOGIN_CURE),
    "sasl.login.callback.handler.class": _only(*_LOGIN_HANDLERS, why=_NO_JAVA, cure=_LOGIN_CURE),
    "sasl.login.class": _only(why=_NO_JAVA, cure=_LOGIN_CURE),
    **dict.fromkeys(
        (
            "sasl.kerberos.service.name",
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.ticket.renew.window.factor",
            "sasl.kerberos.ticket.renew.jitter",
            "sasl.kerberos.min.time.before.relogin",
        ),
        _KERBEROS,
    ),
    **dict.fromkeys(
        (
            "sasl.oauthbearer.jwt.validator.class",
            "sasl.oauthbearer.scope.claim.name",
            "sasl.oauthbearer.sub.claim.name",
            "sasl.oauthbearer.jwks.endpoint.url",
            "sasl.oauthbearer.jwks.endpoint.refresh.ms",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
            "sasl.oauthbearer.clock.skew.seconds",
            "sasl.oauthbearer.expected.audience",
            "sasl.oauthbearer.expected.issuer",
            "sasl.oauthbearer.allow.unverified.audience",
            "sasl.oauthbearer.allow.unverified.issuer",
        ),
        _VALIDATION,
    ),
    "sasl.oauthbearer.header.urlencode": _only(
        False, why="client id and secret are sent as they are", cure="Leave it out, or write them encoded"
    ),
    "sasl.oauthbearer.jwt.retriever.class": _only(
        *(f"{_OAUTH}{name}JwtRetriever" for name in ("Default", "ClientCredentials", "File")),
        why="no other grant is spoken",
        cure=_GRANT_CURE,
    ),
    **dict.fromkeys(
        (
            "sasl.oauthbearer.assertion.algorithm",
            "sasl.oauthbearer.assertion.claim.aud",
            "sasl.oauthbearer.assertion.claim.exp.seconds",
            "sasl.oauthbearer.assertion.claim.iss",
            "sasl.oauthbearer.assertion.claim.jti.include",
            "sasl.oauthbearer.assertion.claim.nbf.seconds",
            "sasl.oauthbearer.assertion.claim.sub",
            "sasl.oauthbearer.assertion.file",
            "sasl.oauthbearer.assertion.private.key.file",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.template.file",
        ),
        _only(why="the grant with a signed assertion is not spoken", cure=_GRANT_CURE),
    ),
}

PRODUCER_IGNORED: Final[Mapping[str, Notice]] = {**_RUNTIME, **_LOGIN}
