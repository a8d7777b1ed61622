"""What must hold between the settings of TLS and SASL, and what an operator should be told of them."""

import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ingestd.config.ciphers import chosen, unknown
from ingestd.config.faults import ABSENT, Faults, RefusedError
from ingestd.config.jaas import Credentials, credentials
from ingestd.config.security import NO_SECRET, Security
from ingestd.config.settings_security import MECHANISMS
from ingestd.secret import Secret

_WITHOUT_KERBEROS: Final = f"Use one of {', '.join(MECHANISMS)} (ingestd has no Kerberos)"
_PLAIN_SETTINGS: Final = (
    "sasl.username",
    "sasl.password",
    "sasl.login.password.file",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
)
_BELONGS: Final = {"ssl.keystore.location": "a private key", "sasl.login.password.file": "a password"}
"""What nobody else may read; another program's token is its own business."""


def check_security(settings: Security, given: frozenset[str], faults: Faults) -> None:
    """Contradictions; ``given`` holds the names that the file sets."""
    if settings.uses_sasl:
        _check_login(settings, given, faults)
    if settings.uses_tls:
        _check_stores(settings, faults)
        _check_ciphers(settings, faults)
    if settings.sasl_login_retry_backoff_ms > settings.sasl_login_retry_backoff_max_ms:
        text = f"above sasl.login.retry.backoff.max.ms = {settings.sasl_login_retry_backoff_max_ms}"
        faults.add("producer.sasl.login.retry.backoff.ms", settings.sasl_login_retry_backoff_ms, text, "Lower it")


def _check_login(settings: Security, given: frozenset[str], faults: Faults) -> None:
    mechanism = settings.sasl_mechanism
    place = "producer.sasl."
    if any(fault.key.endswith("sasl.mechanism") for fault in faults.found):
        return  # the default stands in for a value that was refused
    if mechanism == "GSSAPI":
        value: object = mechanism if "sasl.mechanism" in given else ABSENT
        text = "Kafka's default, GSSAPI (Kerberos), is not supported"
        faults.add(f"{place}mechanism", value, text, _WITHOUT_KERBEROS)
        return
    twice = [name for name in _PLAIN_SETTINGS if name in given]
    if settings.sasl_jaas_config != NO_SECRET and twice:
        text = f"given together with {', '.join(twice)}"
        faults.add(f"{place}jaas.config", settings.sasl_jaas_config, text, "Write either the one or the other")
    try:
        found = credentials(settings)
    except RefusedError as refused:
        faults.add(f"{place}jaas.config", settings.sasl_jaas_config, refused.text, refused.cure)
        return
    if mechanism == "OAUTHBEARER":
        _check_endpoint(settings, bool(found.client_id), found.client_secret != NO_SECRET, faults)
        return
    _check_password(settings, found, faults)


def _check_password(settings: Security, found: Credentials, faults: Faults) -> None:
    mechanism = settings.sasl_mechanism
    place = "producer.sasl."
    path = settings.sasl_login_password_file
    if path and not path.startswith("/"):
        # Not shown: it may be the password itself.
        faults.add(f"{place}login.password.file", Secret(path), "not an absolute path", "Begin it with /")
    wanted = [("username", found.username)]
    if settings.sasl_jaas_config != NO_SECRET or not settings.sasl_login_password_file:
        wanted.append(("password", found.password.reveal()))
    elif settings.sasl_password != NO_SECRET:
        text = "given with sasl.password"
        faults.add(f"{place}login.password.file", settings.sasl_login_password_file, text, "Write one of them")
    for name, text in wanted:
        if not text:
            faults.add(f"{place}{name}", ABSENT, f"missing for {mechanism}", f"Write sasl.{name}, or sasl.jaas.config")
        elif "\0" in text:
            faults.add(f"{place}{name}", ABSENT, "holds a NUL character", "Correct it")


def _check_endpoint(settings: Security, has_id: bool, has_secret: bool, faults: Faults) -> None:
    key = "producer.sasl.oauthbearer.token.endpoint.url"
    url = settings.sasl_oauthbearer_token_endpoint_url
    if not url:
        faults.add(
            key, ABSENT, "missing for OAUTHBEARER", "Write the https:// URL of the token endpoint, or file:///PATH"
        )
        return
    try:
        parts = urlsplit(url)
        legal = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        visible = ABSENT if "@" in url else url  # there may be a password in it
        faults.add(key, visible, "not a URL", "Write https://HOST/PATH, or file:///PATH")
        return
    if parts.username or parts.password:
        faults.add(key, ABSENT, "holds a user name or password", "Write them as client.id and client.secret")
    elif parts.scheme == "file":
        if not parts.path.startswith("/") or parts.netloc:
            faults.add(key, url, "not an absolute path", "Write file:///PATH, with three slashes")
    elif not legal:
        faults.add(key, url, "neither http nor https nor file", "Write https://HOST/PATH, or file:///PATH")
    else:
        for name, there in (("id", has_id), ("secret", has_secret)):
            if not there:
                whole = f"sasl.oauthbearer.client.credentials.client.{name}"
                faults.add(f"producer.{whole}", ABSENT, "missing for a token endpoint", f"Write {whole}")


def _check_stores(settings: Security, faults: Faults) -> None:
    place = "producer.ssl."
    key, chain = settings.ssl_keystore_key, settings.ssl_keystore_certificate_chain
    inline = key != NO_SECRET or chain != NO_SECRET
    if settings.ssl_keystore_location and inline:
        cure = "Write either the file or the texts"
        faults.add(f"{place}keystore.location", settings.ssl_keystore_location, "given with ssl.keystore.key", cure)
    if inline and (key == NO_SECRET or chain == NO_SECRET):
        missing = "key" if key == NO_SECRET else "certificate.chain"
        faults.add(f"{place}keystore.{missing}", ABSENT, "one without the other", "Write key and certificate chain")
    if settings.ssl_truststore_location and settings.ssl_truststore_certificates != NO_SECRET:
        text = "given with ssl.truststore.certificates"
        faults.add(f"{place}truststore.location", settings.ssl_truststore_location, text, "Write one of them")
    texts = (
        ("keystore", settings.ssl_keystore_type, inline),
        ("truststore", settings.ssl_truststore_type, settings.ssl_truststore_certificates != NO_SECRET),
    )
    for store, kind, is_text in texts:
        if is_text and kind == "PKCS12":
            faults.add(f"{place}{store}.type", kind, "text in the configuration is always PEM", "Leave the type out")


def _check_ciphers(settings: Security, faults: Faults) -> None:
    try:
        suites = chosen(settings.ssl_cipher_suites)
    except RefusedError as refused:
        faults.add("producer.ssl.cipher.suites", list(settings.ssl_cipher_suites), refused.text, refused.cure)
        return
    for name in unknown(settings.ssl_cipher_suites):
        cure = "Use names that `openssl ciphers -v` lists, or Java's names of those"
        faults.add("producer.ssl.cipher.suites", name, "not a suite that OpenSSL has here", cure)
    protocols = set(settings.ssl_enabled_protocols)
    if settings.ssl_protocol == "TLSv1.2":
        protocols.discard("TLSv1.3")
    if not protocols:
        text = "leaves no protocol of ssl.enabled.protocols"
        faults.add("producer.ssl.protocol", settings.ssl_protocol, text, "Leave ssl.protocol out")
    elif settings.ssl_cipher_suites and not suites.protocols & protocols:
        text = f"none of them is for {', '.join(sorted(protocols))}"
        faults.add("producer.ssl.cipher.suites", list(settings.ssl_cipher_suites), text, "Add some, or leave it out")


def security_notes(settings: Security) -> list[str]:
    """What is allowed and yet worth a second look, one sentence each."""
    found = []
    if settings.uses_tls and not settings.ssl_endpoint_identification_algorithm:
        found.append(
            'ssl.endpoint.identification.algorithm = "": host names are NOT checked, anybody with a certificate of a'
            " trusted CA can pass for a broker and read everything"
        )
    if settings.security_protocol == "SASL_PLAINTEXT":
        what = "the token" if settings.sasl_mechanism == "OAUTHBEARER" else "the password"
        also = f"{what} and " if settings.sasl_mechanism in ("PLAIN", "OAUTHBEARER") else ""
        found.append(f"security.protocol = SASL_PLAINTEXT: {also}every record can be read on the network; use SASL_SSL")
    if settings.uses_sasl and settings.sasl_oauthbearer_token_endpoint_url.startswith("http:"):
        found.append("sasl.oauthbearer.token.endpoint.url without TLS: the client's secret can be read on the network")
    for what in _without_effect(settings):
        found.append(f"{what}: without effect, for security.protocol = {settings.security_protocol}")
    certificates = settings.ssl_truststore_certificates.reveal()
    if _trusts(settings) and certificates and "-----BEGIN CERTIFICATE-----" not in certificates:
        text = "there is no certificate in it: it wants PEM text, a file's path belongs into ssl.truststore.location"
        found.append(f"ssl.truststore.certificates: {text}")
    found += [note for name, path in _files(settings) for note in _file_notes(name, path)]
    return found


def _trusts(settings: Security) -> bool:
    """Whether the trust store is of any use: the token endpoint's certificate is judged by it, too."""
    url = settings.sasl_oauthbearer_token_endpoint_url
    return settings.uses_tls or (_wants_token(settings) and url.startswith("https:"))


def _wants_token(settings: Security) -> bool:
    return settings.uses_sasl and settings.sasl_mechanism == "OAUTHBEARER"


def _without_effect(settings: Security) -> list[str]:
    """What is set and belongs to a protocol that is not, by the beginning of its names."""
    trust = settings.ssl_truststore_location or settings.ssl_truststore_certificates != NO_SECRET
    keys = (settings.ssl_keystore_key, settings.ssl_keystore_certificate_chain, settings.ssl_key_password)
    own = settings.ssl_keystore_location or any(key != NO_SECRET for key in keys)
    login = (
        settings.sasl_username
        or settings.sasl_login_password_file
        or settings.sasl_oauthbearer_token_endpoint_url
        or settings.sasl_oauthbearer_client_credentials_client_id
    )
    secrets = (
        settings.sasl_password,
        settings.sasl_jaas_config,
        settings.sasl_oauthbearer_client_credentials_client_secret,
    )
    found = []
    if not settings.uses_tls and (own or (trust and not _trusts(settings))):
        found.append("ssl.keystore.*" if _trusts(settings) else "ssl.*")
    if not settings.uses_sasl and (login or any(secret != NO_SECRET for secret in secrets)):
        found.append("sasl.*")
    return found


def _files(settings: Security) -> list[tuple[str, str]]:
    """Setting and path of the files that are read while the daemon runs."""
    url = settings.sasl_oauthbearer_token_endpoint_url
    token = unquote(urlsplit(url).path) if _wants_token(settings) and url.lower().startswith("file:") else ""
    login = settings.uses_sasl and settings.sasl_mechanism != "OAUTHBEARER"
    files = (
        ("ssl.keystore.location", settings.ssl_keystore_location if settings.uses_tls else ""),
        ("ssl.truststore.location", settings.ssl_truststore_location if _trusts(settings) else ""),
        ("sasl.login.password.file", settings.sasl_login_password_file if login else ""),
        ("sasl.oauthbearer.token.endpoint.url", token),
    )
    return [(name, path) for name, path in files if path]


def _file_notes(name: str, path: str) -> list[str]:
    try:
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            return [f"{name}: {path} is not a regular file"]
        # Not a look at its permissions: who is root, an access list or a security module may decide otherwise.
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "no path"
        return [f"{name}: {path} cannot be read now ({reason})"]
    what = _BELONGS.get(name)
    if what and mode & (stat.S_IRWXO & ~stat.S_IXOTH):
        return [f"{name}: everybody on this host can read {path}: chmod o= it, {what} belongs there"]
    return []
