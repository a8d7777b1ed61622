"""Certificates for tests: an authority that issues what is asked for, good, expired, or for somebody else."""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
LOOPBACK = ("127.0.0.1", "localhost")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Issued:
    """A certificate with its key and the authority's certificate."""

    def __init__(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, ca: x509.Certificate):
        self.name = name
        self._key = key
        self.certificate = certificate
        self._ca = ca

    def chain_pem(self) -> bytes:
        """The certificate, then its authority's."""
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (self.certificate, self._ca))

    def key_pem(self, password: str = "") -> bytes:
        """The key as PKCS#8, encrypted if there is a password."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password.encode())
        return self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    def pem(self, path: Path, password: str = "") -> Path:
        """Writes key and chain into one file."""
        path.write_bytes(self.key_pem(password) + self.chain_pem())
        path.chmod(0o600)
        return path

    def pkcs12(self, path: Path, password: str) -> Path:
        """Writes key and chain as PKCS#12."""
        encryption = serialization.BestAvailableEncryption(password.encode())
        path.write_bytes(
            pkcs12.serialize_key_and_certificates(
                self.name.encode(), self._key, self.certificate, [self._ca], encryption
            )
        )
        path.chmod(0o600)
        return path


class Authority:
    """A certificate authority of its own; or one that ``issuer`` vouches for."""

    def __init__(self, name: str = "Test CA", issuer: "Authority | None" = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(self._subject if issuer is None else issuer._subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key if issuer is None else issuer._key, hashes.SHA256())
        )

    def issue(self, name: str = "broker", hosts: Sequence[str] = LOOPBACK, *, ended: bool = False) -> Issued:
        """A certificate for ``hosts``; ``ended``: it was valid until yesterday."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        names = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now - DAY if ended else now + 10 * DAY)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(name, key, certificate, self.certificate)

    def pem(self, path: Path) -> Path:
        """Writes the authority's certificate."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def pkcs12(self, path: Path, password: str) -> Path:
        """Writes it as a PKCS#12 trust store, as keytool makes them."""
        entry = pkcs12.PKCS12Certificate(self.certificate, b"ca")
        encryption = serialization.BestAvailableEncryption(password.encode())
        path.write_bytes(pkcs12.serialize_java_truststore([entry], encryption))
        return path


def tls_contexts(folder: Path, authority: Authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(a client that trusts ``authority``, a server that it vouches for); ``ca.pem`` is left in ``folder``."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(authority.pem(folder / "ca.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.issue().pem(folder / "server.pem"))
    return client, server
