"""``ssl.cipher.suites``: Java's names (IANA's) in OpenSSL's words.

The suites of TLS 1.3 cannot be chosen one by one in Python's ``ssl``: a list has all of them or none.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ingestd.config.faults import RefusedError, toml_text

TLS_1_3: Final = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
_JAVA: Final = re.compile(
    r"TLS_(?P<exchange>ECDHE|DHE)_(?P<signature>RSA|ECDSA)_WITH_"
    r"(?:AES_(?P<bits>128|256)_(?P<mode>GCM|CBC)_(?P<hash>SHA|SHA256|SHA384)|(?P<chacha>CHACHA20_POLY1305)_SHA256)"
)
_OPENSSL: Final = re.compile(r"[A-Z0-9]+(?:-[A-Z0-9]+)+")


class Suites(NamedTuple):
    """``openssl``: for ``SSLContext.set_ciphers``, "" keeps OpenSSL's own. ``protocols``: those with any suite."""

    openssl: str
    protocols: frozenset[str]


def chosen(names: Sequence[str]) -> Suites:
    """What a list means; RefusedError where it cannot be had."""
    if not names:
        return Suites("", frozenset({"TLSv1.2", "TLSv1.3"}))
    newer = TLS_1_3.intersection(names)
    if newer and newer != TLS_1_3:
        missing = ", ".join(sorted(TLS_1_3 - newer))
        raise RefusedError("TLS 1.3 is to be had with all of its suites or none", f"Add {missing}, or leave all out")
    older = [openssl_name(name) for name in names if name not in TLS_1_3]
    protocols = {"TLSv1.2"} if older else set()
    return Suites(":".join(older), frozenset(protocols | ({"TLSv1.3"} if newer else set())))


def unknown(names: Sequence[str]) -> list[str]:
    """Those of ``names``, which `chosen` takes, that this host's OpenSSL does not have, or holds for too weak."""
    # Only who chooses suites pays for it; the supervisor reads configurations, too.
    import ssl

    found = []
    for name in names:
        if name not in TLS_1_3:
            try:
                # one by one: in a list OpenSSL passes over what it does not know
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(openssl_name(name))
            except ssl.SSLError:
                found.append(name)
    return found


def openssl_name(name: str) -> str:
    """``TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`` → ``ECDHE-RSA-AES128-GCM-SHA256``; OpenSSL's own names stay."""
    found = _JAVA.fullmatch(name)
    if found is None:
        if _OPENSSL.fullmatch(name):
            return name
        cure = "Use Java's or OpenSSL's name of one with ECDHE or DHE, such as TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
        raise RefusedError(f"{toml_text(name)} is not a suite that can be had", cure)
    start = f"{found['exchange']}-{found['signature']}"
    if found["chacha"]:
        return f"{start}-CHACHA20-POLY1305"
    mode = "-GCM" if found["mode"] == "GCM" else ""
    return f"{start}-AES{found['bits']}{mode}-{found['hash']}"
