"""Names of cipher suites: Java's become OpenSSL's, which OpenSSL itself must know."""

import ssl

import pytest

from ingestd.config.ciphers import TLS_1_3, chosen, openssl_name, unknown
from ingestd.config.faults import RefusedError

PAIRS = [
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
    ("TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "DHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
]


@pytest.mark.parametrize(("java", "openssl"), PAIRS)
def test_names_are_those_that_openssl_knows(java: str, openssl: str) -> None:
    assert openssl_name(java) == openssl
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(openssl)


@pytest.mark.parametrize(
    "names", [["TLS_RSA_WITH_AES_128_CBC_SHA"], ["ALL"], ["TLS_ECDHE_RSA_WITH_RC4_128_SHA"], ["TLS_AES_128_GCM_SHA256"]]
)
def test_what_cannot_be_had_is_refused(names: list[str]) -> None:
    with pytest.raises(RefusedError):
        chosen(names)


def test_openssl_is_asked_for_each_name_alone() -> None:
    known = [java for java, _ in PAIRS]
    assert unknown([*known, *TLS_1_3]) == []
    absent = ["TLS_DHE_ECDSA_WITH_AES_128_GCM_SHA256", "NO-SUCH"]
    assert unknown([known[0], *absent, known[1]]) == absent


def test_a_list_tells_which_protocols_it_leaves() -> None:
    assert chosen([]).protocols == {"TLSv1.2", "TLSv1.3"}
    assert chosen([PAIRS[0][0]]).protocols == {"TLSv1.2"}
    assert chosen(sorted(TLS_1_3)).protocols == {"TLSv1.3"}
    both = chosen([*sorted(TLS_1_3), PAIRS[0][0], PAIRS[1][0]])
    assert both.protocols == {"TLSv1.2", "TLSv1.3"}
    assert both.openssl == f"{PAIRS[0][1]}:{PAIRS[1][1]}"
