"""Until when our own certificate is valid, for who reads that a broker refuses it.

Python's ssl tells it of a peer's certificate only, and the import of cryptography takes megabytes of memory for one
sentence: the few steps through the certificate (RFC 5280, 4.1) are made here.
"""

import ssl
from typing import Final

from ingestd.config.faults import RefusedError
from ingestd.config.security import Security
from ingestd.config.variables import read_file

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
"""With two digits of the year, up to 2049."""


def our_end(settings: Security) -> str:
    """The end of our certificate, in UTC; "" where it is not to be had: in PKCS#12, for one."""
    text = settings.ssl_keystore_certificate_chain.reveal()
    if settings.ssl_keystore_location:
        try:
            text = read_file(settings.ssl_keystore_location)
        except RefusedError:
            return ""
    return certificate_end(text)


def certificate_end(pem: str) -> str:
    """The end of the first certificate in ``pem``, such as 2027-01-31T12:00:00Z; "" where there is none."""
    try:
        begin = pem.index(_BEGIN)
        der = ssl.PEM_cert_to_DER_cert(pem[begin : pem.index(_END, begin) + len(_END)])
        at = _content(der, _content(der, 0)[0])[0]
        if der[at] == _VERSION:
            at = _content(der, at)[1]
        for _ in ("serial number", "signature", "issuer"):
            at = _content(der, at)[1]
        behind_begin = _content(der, _content(der, at)[0])[1]
        start, stop = _content(der, behind_begin)
        digits = der[start:stop].decode("ascii").removesuffix("Z")
        if der[behind_begin] == _UTC_TIME:
            digits = ("19" if digits[:2] >= "50" else "20") + digits
    except (ValueError, IndexError):
        return ""
    if len(digits) != len("YYYYMMDDhhmmss") or not digits.isdigit():
        return ""
    day, hour = "-".join((digits[:4], digits[4:6], digits[6:8])), ":".join((digits[8:10], digits[10:12], digits[12:]))
    return f"{day}T{hour}Z"


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the value at ``at`` begins and ends."""
    size, start = der[at + 1], at + 2
    if size & 0x80:
        size_bytes = size & 0x7F
        size, start = int.from_bytes(der[start : start + size_bytes]), start + size_bytes
    return start, start + size
