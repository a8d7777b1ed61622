"""Why a broker cannot be connected to, for the person who reads the log: what happened, which setting, what to do.

OpenSSL's numbers are those of ``X509_verify_cert_error_string``, its reasons those of ``ssl.SSLError.reason``.
"""

import ssl
from typing import Final

from ingestd.config.security import NO_SECRET, Security
from ingestd.kafka.errors import AuthenticationError, NoLoginWantedError, ProtocolError

EXPIRED: Final = 10
NOT_YET_VALID: Final = 9
OTHER_NAME: Final = frozenset({62, 64})
NO_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
_TLS_ALERT: Final = b"\x15\x03"


def explain(error: BaseException, stage: str, settings: Security) -> str:
    """One sentence or two. ``stage``: what the connection was at when it failed (`Connection.stage`)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error)
    if isinstance(error, ssl.SSLError):
        return _tls(error, settings)
    if isinstance(error, NoLoginWantedError):
        protocol = "SSL" if settings.uses_tls else "PLAINTEXT"
        return f"{error}. Set security.protocol to {protocol}, or use the port of its SASL listener"
    if isinstance(error, AuthenticationError):
        return f"login refused: {error}" + (f". {_login_cure(settings)}" if error.credentials else "")
    if isinstance(error, ProtocolError):
        return f"protocol error: {error}"
    text = str(error) or type(error).__name__
    return f"{text} {_closed_cure(stage, settings)}".rstrip() if _was_closed(error) else text


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    text = error.verify_message.rstrip(".")
    if error.verify_code == EXPIRED:
        return "its certificate has expired. Renew it at the broker (or its CA's, if that is the one)"
    if error.verify_code == NOT_YET_VALID:
        return "its certificate is not valid yet. Compare the clocks of this host and of the broker"
    if error.verify_code in OTHER_NAME:
        return (
            f"its certificate is for another host: {text}. Use a name that is in it, in bootstrap.servers and in the"
            " brokers' advertised.listeners, or give the broker a certificate with this name"
        )
    return f"its certificate is not trusted: {text}. Set ssl.truststore.location to the certificate of the brokers' CA"


def _tls(error: ssl.SSLError, settings: Security) -> str:
    reason = error.reason or str(error)
    words = reason.lower().replace("_", " ")
    if reason in NO_TLS:
        return f"it does not speak TLS on this port ({words}). Set security.protocol to what its listener speaks"
    has_own = _has_certificate(settings)
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        if not has_own:
            return f"it wants a client certificate ({words}). Set ssl.keystore.location to one that the broker trusts"
        cure = "Renew it, or set ssl.keystore.location to one that the broker trusts"
        return f"it refuses our certificate ({words}): the broker does not trust its CA, or it has ended. {cure}"
    if "PROTOCOL" in reason or "VERSION" in reason:
        return f"no version of TLS in common ({words}). Compare ssl.enabled.protocols here and at the broker"
    also = "" if has_own else ", and whether it wants a client certificate"
    return f"no TLS ({words}). Compare ssl.cipher.suites and ssl.enabled.protocols here and at the broker{also}"


def _has_certificate(settings: Security) -> bool:
    return bool(settings.ssl_keystore_location) or settings.ssl_keystore_key != NO_SECRET


def _login_cure(settings: Security) -> str:
    """What to look at, by name; never a value."""
    if settings.sasl_mechanism == "OAUTHBEARER":
        return "Check sasl.oauthbearer.* here and the broker's expected audience, issuer and clock"
    where = "sasl.username and sasl.password"
    if settings.sasl_jaas_config != NO_SECRET:
        where = "sasl.jaas.config"
    elif settings.sasl_login_password_file:
        where = "sasl.username and what is in sasl.login.password.file"
    return f"Check {where}, and that the user exists for sasl.mechanism = {settings.sasl_mechanism}"


def _was_closed(error: BaseException) -> bool:
    return isinstance(error, ConnectionError) or "closed by the broker" in str(error)


def _closed_cure(stage: str, settings: Security) -> str:
    """A connection that ends at once mostly ends because the two sides do not speak the same."""
    if stage == "TLS handshake":
        return (
            "in the TLS handshake. Its listener probably speaks no TLS: use the port of a TLS listener, or set"
            " security.protocol to PLAINTEXT or SASL_PLAINTEXT"
        )
    if stage == "version negotiation" and not settings.uses_tls:
        return (
            "before its first answer. If its listener speaks TLS, set security.protocol to SSL or SASL_SSL, instead of"
            f" {settings.security_protocol}"
        )
    if stage == "first request" and not settings.uses_sasl:
        return (
            "at the first request. If its listener wants a login, set security.protocol to SASL_SSL or SASL_PLAINTEXT"
        )
    if stage == "version negotiation" and not _has_certificate(settings):
        return "right behind the TLS handshake. If it wants a client certificate, set ssl.keystore.location"
    return f"in the {stage}" if stage else ""


def is_tls_alert(data: bytes) -> bool:
    """Whether a peer that was spoken to in plain text answers in TLS."""
    return data.startswith(_TLS_ALERT)
