"""Settings of ``[producer]`` about TLS and SASL, in the order of ``configs/ingestd.toml``."""

from typing import Final

from ingestd.config import values as v
from ingestd.config.faults import RefusedError, toml_text
from ingestd.config.values import INT_MAX, LONG_MAX, Kind, Setting
from ingestd.secret import Secret

_LONG: Final = v.integer(0, LONG_MAX)
_TIMEOUT: Final = v.integer(1, INT_MAX)
_TEXT: Final = v.text(empty=True, bytes_max=4096)
_SECRET: Final = v.secret(empty=True)
_NONE: Final = Secret("")
_PROTOCOLS: Final = ("TLSv1.2", "TLSv1.3")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


def _security_protocol() -> Kind:
    """Kafka's four, in any case."""
    kind = v.choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    return kind._replace(read=lambda value: kind.read(value.upper() if isinstance(value, str) else value))


def _mechanism() -> Kind:
    """GSSAPI is Kafka's default and legal as long as SASL is off: ``checks_security`` refuses it otherwise."""
    kind = v.choice(*MECHANISMS)

    def read(value: object) -> object:
        if value == "GSSAPI":
            return value
        if isinstance(value, str) and value.upper() in MECHANISMS and value not in MECHANISMS:
            raise RefusedError("not a known value", f"Write it in capitals: {toml_text(value.upper())}")
        return kind.read(value)

    return kind._replace(read=read)


def _store_type(key: str) -> Kind:
    kind = v.choice("", "PEM", "PKCS12")

    def read(value: object) -> object:
        word = value.upper() if isinstance(value, str) else value
        if word in ("JKS", "JCEKS"):
            command = f"keytool -importkeystore -srckeystore {key}.jks -destkeystore {key}.p12 -deststoretype PKCS12"
            raise RefusedError("Java's own format, which only Java reads", f"Convert it: {command}")
        return kind.read(word)

    return kind._replace(read=read)


def _protocols() -> Kind:
    texts = v.texts()

    def read(value: object) -> object:
        found = texts.read(value)
        if not isinstance(found, tuple) or not found or not set(found) <= set(_PROTOCOLS):
            raise RefusedError("not a list of protocols", f"Use one or both of {', '.join(_PROTOCOLS)}")
        return found

    return texts._replace(valid=", ".join(f'"{name}"' for name in _PROTOCOLS), read=read)


TLS: Final = (
    Setting(
        "security.protocol",
        _security_protocol(),
        "PLAINTEXT",
        "",
        "What the cluster's listener speaks: SSL is TLS, SASL_* wants a login; docs/security.md has whole set-ups.",
    ),
    Setting(
        "ssl.truststore.location",
        _TEXT,
        "",
        "",
        "The cluster's own CA; without it the system's CAs are trusted. Read again when it changes.",
    ),
    Setting("ssl.truststore.type", _store_type("truststore"), "", "", "Told from the file's content unless set."),
    Setting("ssl.truststore.password", _SECRET, _NONE, "", "Where the PKCS#12 file has one."),
    Setting("ssl.truststore.certificates", _SECRET, _NONE, "", "CAs as PEM text, instead of a file."),
    Setting(
        "ssl.keystore.location",
        _TEXT,
        "",
        "",
        "Client certificate with its chain and key, where brokers ask for one. Read again when it changes.",
    ),
    Setting("ssl.keystore.type", _store_type("keystore"), "", "", "Told from the file's content unless set."),
    Setting("ssl.keystore.password", _SECRET, _NONE, "", "Where the PKCS#12 file has one."),
    Setting("ssl.keystore.key", _SECRET, _NONE, "", "The private key as PEM text, instead of a file."),
    Setting("ssl.keystore.certificate.chain", _SECRET, _NONE, "", "Its certificate and chain as PEM text."),
    Setting("ssl.key.password", _SECRET, _NONE, "", "Where the private key in PEM is encrypted."),
    Setting(
        "ssl.endpoint.identification.algorithm",
        v.choice("https", ""),
        "https",
        "",
        "Empty switches the check of host names off: then anybody with a certificate of that CA may be the broker.",
    ),
    Setting("ssl.enabled.protocols", _protocols(), _PROTOCOLS, "", "Leave out TLSv1.2 where every broker has 1.3."),
    Setting("ssl.protocol", v.choice("TLSv1.3", "TLSv1.2", "TLS"), "TLSv1.3", "", "TLSv1.2 is an upper bound."),
    Setting("ssl.cipher.suites", v.texts(), (), "", "Java's or OpenSSL's names, to have fewer than OpenSSL has."),
)

SASL: Final = (
    Setting(
        "sasl.mechanism",
        _mechanism(),
        "GSSAPI",
        "",
        "Must be set for SASL_*: Kafka's default, Kerberos, is not to be had.",
    ),
    Setting("sasl.username", _TEXT, "", "", "For PLAIN and SCRAM; Kafka has it in sasl.jaas.config only."),
    Setting("sasl.password", _SECRET, _NONE, "", 'Best "${file:PATH}", for nobody else can read it there.'),
    Setting(
        "sasl.login.password.file",
        _TEXT,
        "",
        "",
        "Instead of sasl.password: read at every login, so that a new password needs no restart.",
    ),
    Setting("sasl.jaas.config", _SECRET, _NONE, "", "Java's syntax, instead of user name, password, client id."),
    Setting(
        "sasl.oauthbearer.token.endpoint.url",
        _TEXT,
        "",
        "",
        "Where tokens come from: https:// (http:// with a note), or file:///PATH for one that another program renews.",
    ),
    Setting("sasl.oauthbearer.client.credentials.client.id", _TEXT, "", "", "Who asks the token endpoint."),
    Setting("sasl.oauthbearer.client.credentials.client.secret", _SECRET, _NONE, "", "Its secret."),
    Setting("sasl.oauthbearer.scope", _TEXT, "", "", "Where the token endpoint wants one."),
    Setting("sasl.login.connect.timeout.ms", _TIMEOUT, 10_000, "ms", "Raise it for a distant token endpoint."),
    Setting("sasl.login.read.timeout.ms", _TIMEOUT, 10_000, "ms", "Raise it for a slow token endpoint."),
    Setting("sasl.login.retry.backoff.ms", _LONG, 100, "ms", "First pause before the token endpoint is asked again."),
    Setting("sasl.login.retry.backoff.max.ms", _LONG, 10_000, "ms", "Longest such pause."),
    Setting(
        "sasl.login.refresh.window.factor",
        v.number(0.5, 1.0),
        0.8,
        "",
        "A token is renewed at this share of its life; lower it for an endpoint that is often away.",
    ),
    Setting("sasl.login.refresh.window.jitter", v.number(0.0, 0.25), 0.05, "", "At most so much later, at random."),
    Setting(
        "sasl.login.refresh.min.period.seconds",
        v.integer(0, 900),
        60,
        "seconds",
        "Not sooner than this, unless the token lives shorter than this and the next together.",
    ),
    Setting(
        "sasl.login.refresh.buffer.seconds",
        v.integer(0, 3600),
        300,
        "seconds",
        "So long before its end at the latest, with the same exception.",
    ),
)

SETTINGS: Final = (*TLS, *SASL)
