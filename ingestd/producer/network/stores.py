"""Trust stores and key stores: PEM or PKCS#12, from a file or from the configuration, as PEM for OpenSSL."""

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ingestd.config.security import NO_SECRET, Security
from ingestd.secret import Secret

if TYPE_CHECKING:
    from ingestd.producer.network.pkcs12 import Unpacked

BYTES_MAX: Final = 16 << 20
_JKS_MAGICS: Final = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
_DER: Final = b"\x30"
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_KEY: Final = b"PRIVATE KEY-----"
_TEXT: Final = b"-----BEGIN"
_UNREADABLE: Final = {
    errno.ENOENT: "Correct the path",
    errno.ENOTDIR: "Correct the path",
    errno.EISDIR: "Name a file",
    errno.EACCES: "Let the daemon's user read it",
    errno.EPERM: "Let the daemon's user read it",
}


class StoreError(OSError):
    """A store cannot be used; the text names the setting, the file and what to do, and holds no secret.

    An OSError, since for who connects it is one more way in which that fails for now.
    """


class KeyStore(NamedTuple):
    """Private key and certificate chain as PEM; ``password`` is the key's, "" where it is not encrypted. ``setting``
    says where they come from."""

    pem: bytes
    password: Secret
    setting: str


def read_trust_store(settings: Security) -> str:
    """The trusted CAs as PEM; "" where the system's are to be used."""
    if settings.ssl_truststore_certificates != NO_SECRET:
        return _checked("ssl.truststore.certificates", settings.ssl_truststore_certificates.reveal())
    path = settings.ssl_truststore_location
    if not path:
        return ""
    setting = f"ssl.truststore.location = {path}"
    content = _read(setting, path)
    if _is_pem(setting, content, settings.ssl_truststore_type, path):
        return _checked(setting, content.decode("utf-8", "replace"))
    store = _pkcs12(setting, content, settings.ssl_truststore_password, "ssl.truststore.password")
    return _checked(setting, (store.own + store.others).decode())


def _checked(setting: str, pem: str) -> str:
    if _CERTIFICATE.decode() not in pem:
        raise StoreError(f"{setting}: there is no certificate in it. Give it the certificate of the brokers' CA")
    # Bundles have the CAs' names as comments between certificates, in any language; Python takes ASCII only.
    return pem.encode("ascii", "ignore").decode()


def read_key_store(settings: Security) -> KeyStore | None:
    """Who we are in TLS; None where no client certificate is configured."""
    if settings.ssl_keystore_key != NO_SECRET:
        texts = (settings.ssl_keystore_certificate_chain.reveal(), settings.ssl_keystore_key.reveal())
        return KeyStore("\n".join(texts).encode(), settings.ssl_key_password, "ssl.keystore.key")
    path = settings.ssl_keystore_location
    if not path:
        return None
    setting = f"ssl.keystore.location = {path}"
    content = _read(setting, path)
    if _is_pem(setting, content, settings.ssl_keystore_type, path):
        for part, what in ((_CERTIFICATE, "certificate"), (_KEY, "private key")):
            if part not in content:
                raise StoreError(
                    f"{setting}: there is no {what} in it. Put key and certificate chain into that one file"
                )
        return KeyStore(content, settings.ssl_key_password, setting)
    store = _pkcs12(setting, content, settings.ssl_keystore_password, "ssl.keystore.password")
    if not store.key or not store.own:
        raise StoreError(f"{setting}: there is no private key with a certificate in it. Export the key's own entry")
    return KeyStore(store.own + store.others + store.key, NO_SECRET, setting)


def _read(setting: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        cure = _UNREADABLE.get(error.errno or 0, "Correct the path or its owner")
        raise StoreError(f"{setting} cannot be read: {error.strerror}. {cure}") from None
    if len(content) > BYTES_MAX:
        raise StoreError(f"{setting} is larger than {BYTES_MAX} bytes. Name a PEM or PKCS#12 file")
    return content


def _is_pem(setting: str, content: bytes, kind: str, path: str) -> bool:
    """Whether it is PEM (else PKCS#12): as configured, or by what is in it."""
    if content.startswith(_JKS_MAGICS):
        target = f"{path.removesuffix('.jks')}.p12"
        command = f"keytool -importkeystore -srckeystore {path} -destkeystore {target} -deststoretype PKCS12"
        raise StoreError(f"{setting} is a JKS file, which only Java reads. Convert it: {command}")
    is_text = _TEXT in content
    if not is_text and _is_certificate(content):
        cure = f"Convert it: openssl x509 -inform der -in {path} -out {Path(path).with_suffix('.pem')}"
        if setting.startswith("ssl.keystore."):
            cure = "Put the private key and the certificate chain into one file, as PEM or PKCS#12"
        raise StoreError(f"{setting} is a DER certificate. {cure}")
    is_binary = not is_text and content.startswith(_DER)
    if not kind and not is_text and not is_binary:
        raise StoreError(f"{setting} is neither PEM nor PKCS#12. Name a file of one of these kinds")
    if (kind == "PKCS12" and is_text) or (kind == "PEM" and is_binary):
        found = "PEM" if is_text else "PKCS#12"
        type_setting = setting.partition(".location")[0] + ".type"
        raise StoreError(f"{setting}: {type_setting} = {kind}, but the file is {found}. Leave the type out")
    return kind == "PEM" or (not kind and is_text)


def _is_certificate(content: bytes) -> bool:
    """Whether it is one as DER: a sequence that begins with another one, where PKCS#12 has its version."""
    if len(content) < 2 or not content.startswith(_DER):
        return False
    length_bytes = content[1] & 0x7F if content[1] & 0x80 else 0
    return content[2 + length_bytes :].startswith(_DER)


def _pkcs12(setting: str, content: bytes, password: Secret, password_setting: str) -> "Unpacked":
    # Few have such a store, and every worker would pay for the import.
    from ingestd.producer.network.pkcs12 import unpack

    text = password.reveal()
    try:
        return unpack(content, text)
    except ValueError:
        what = "is wrong" if text else "is missing"
        raise StoreError(
            f"{setting}: no PKCS#12 file, or {password_setting} {what}. Try: openssl pkcs12 -info"
        ) from None
