"""The TLS context of this process's connections, made anew when a certificate file has changed.

Files are looked at whenever a connection is made. What cannot be read or used is said once, and the last good context
goes on; connections that are there live on with theirs.
"""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ingestd.config.ciphers import chosen
from ingestd.config.security import Security
from ingestd.producer.common import log
from ingestd.producer.network.stores import KeyStore, StoreError, read_key_store, read_trust_store

_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

Stamp = tuple[int, int, int, int] | None


class TlsContexts:
    """``get`` gives the context for a connection that is about to be made."""

    def __init__(self, settings: Security) -> None:
        self._settings = settings
        self._paths = [path for path in (settings.ssl_truststore_location, settings.ssl_keystore_location) if path]
        self._stamps: list[Stamp] = []
        self._context: ssl.SSLContext | None = None
        self._fault: StoreError | None = None

    def stale(self) -> bool:
        """Whether ``get`` will read files, which takes a moment: a loop lets a thread do that."""
        return self._context is None or self._stamps != self._look()

    def get(self) -> ssl.SSLContext:
        """StoreError: there never was a good one, and this is why."""
        stamps = self._look()
        # Without a first context every attempt looks again: what is not in the files may be to blame.
        if self._context is None or stamps != self._stamps:
            self._renew(stamps)
        if self._context is None:
            raise self._fault or StoreError("no TLS context")
        return self._context

    def _renew(self, stamps: list[Stamp]) -> None:
        first = self._context is None
        try:
            self._context = make_context(self._settings)
        except StoreError as error:
            self._fault = error
            if not first:
                log.error("%s; new connections go on with the certificates as they were read before", error)
        else:
            if not first:
                log.info("certificate files have changed: new connections use them")
        self._stamps = stamps

    def _look(self) -> list[Stamp]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> Stamp:
    """What tells one content of a file from the next."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def make_context(settings: Security) -> ssl.SSLContext:
    """StoreError names the setting and what to do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = bool(settings.ssl_endpoint_identification_algorithm)
    suites = chosen(settings.ssl_cipher_suites)
    protocols = suites.protocols.intersection(settings.ssl_enabled_protocols)
    if settings.ssl_protocol == "TLSv1.2":
        protocols -= {"TLSv1.3"}
    context.minimum_version = _VERSIONS[min(protocols)]
    context.maximum_version = _VERSIONS[max(protocols)]
    if suites.openssl:
        _tell(
            "ssl.cipher.suites",
            "Use names that `openssl ciphers -v` lists",
            lambda: context.set_ciphers(suites.openssl),
        )
    trusted = read_trust_store(settings)
    if trusted:
        # As in Java, what is in it is trusted by itself: an intermediate CA without its root, a broker's certificate.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        cure = "It must hold certificates of CAs"
        path = settings.ssl_truststore_location
        setting = f"ssl.truststore.location = {path}" if path else "ssl.truststore.certificates"
        _tell(setting, cure, lambda: context.load_verify_locations(cadata=trusted))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    own = read_key_store(settings)
    if own is not None:
        _load_own(context, own)
    return context


def _load_own(context: ssl.SSLContext, own: KeyStore) -> None:
    """Python's ssl takes certificate and key from files only: they are given ones in memory."""
    descriptor = os.memfd_create("ingestd-key", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(own.pem)
        password = own.password.reveal()
        # A function: OpenSSL would ask a terminal for what it is not given.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: password)
    except (ssl.SSLError, ValueError) as error:
        raise StoreError(f"{own.setting}: {_own_fault(own, error)}") from None
    finally:
        os.close(descriptor)


def _own_fault(own: KeyStore, error: ssl.SSLError | ValueError) -> str:
    """What is wrong with key and certificate, and what to do: OpenSSL says the same of most of it."""
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "key and first certificate do not belong together. Put the key's own certificate before its chain"
    if b"ENCRYPTED" in own.pem and _has_certificates(own.pem):
        if not own.password.reveal():
            return "its private key is encrypted and ssl.key.password is missing. Write it"
        return "ssl.key.password does not open its private key. Correct it"
    reason = getattr(error, "reason", None) or str(error)
    return f"cannot be used: {reason}. It must hold a private key and its certificate, both whole"


def _has_certificates(pem: bytes) -> bool:
    """Whether the certificates can be used: else the key was not even looked at."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        return False
    return True


def _tell(setting: str, cure: str, use: Callable[[], None]) -> None:
    try:
        use()
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise StoreError(f"{setting} cannot be used: {reason}. {cure}") from None
