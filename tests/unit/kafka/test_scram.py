"""SCRAM against the example of RFC 7677 and a server of the test's own; whatever a server may lie about is refused."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.kafka.errors import AuthenticationError
from ingestd.kafka.scram import HASHES, ITERATIONS_MAX, SaltedKeys, Scram
from tests.fakes.sasl import SaslServer

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CHALLENGE = b"r=" + SERVER_NONCE + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def answered(mechanism: Scram, challenge: bytes) -> bytes | None:
    work = mechanism.work(challenge)
    if work is not None:
        work()
    return mechanism.respond(challenge)


def test_the_example_of_rfc_7677() -> None:
    mechanism = Scram("SCRAM-SHA-256", "user", "pencil", {}, nonce=NONCE)
    assert mechanism.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert answered(mechanism, CHALLENGE) == (
        b"c=biws,r=" + SERVER_NONCE + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert answered(mechanism, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") is None


def test_an_exchange_with_another_salt_at_the_same_time_takes_nothing_away() -> None:
    """A password is set anew, and not every broker knows it yet: each has its own salt."""
    keys: SaltedKeys = {}
    mechanism = Scram("SCRAM-SHA-256", "user", "pencil", keys, nonce=NONCE)
    work = mechanism.work(CHALLENGE)
    assert work is not None
    work()
    other = Scram("SCRAM-SHA-256", "user", "pencil", keys, nonce=NONCE).work(CHALLENGE.replace(b"s=W2", b"s=X2"))
    assert other is not None
    other()
    said = mechanism.respond(CHALLENGE)
    assert said is not None
    assert said.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")


@pytest.mark.parametrize("digits", [b"9" * 5000, b"00004096"], ids=["many", "zeros"])
def test_an_endless_number_of_iterations_is_refused(digits: bytes) -> None:
    mechanism = Scram("SCRAM-SHA-256", "user", "pencil", {}, nonce=NONCE)
    with pytest.raises(AuthenticationError, match="iterations"):
        mechanism.work(CHALLENGE.replace(b"i=4096", b"i=" + digits))


def test_rfc_5802_with_sha_512_is_what_the_formula_says() -> None:
    """There is no published vector: the formula of RFC 5802 3, written out once more."""
    mechanism = Scram("SCRAM-SHA-512", "user", "pencil", {}, nonce=NONCE)
    said = answered(mechanism, CHALLENGE)
    assert said is not None
    without_proof, _, proof = said.rpartition(b",p=")
    salted = hashlib.pbkdf2_hmac("sha512", b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    auth = b",".join((b"n=user,r=" + NONCE.encode(), CHALLENGE, without_proof))
    key = hmac.digest(salted, b"Client Key", "sha512")
    signature = hmac.digest(hashlib.sha512(key).digest(), auth, "sha512")
    assert base64.b64decode(proof) == bytes(a ^ b for a, b in zip(key, signature, strict=True))


def test_names_are_escaped_and_a_delegation_token_says_so() -> None:
    assert Scram("SCRAM-SHA-256", "a=b,c", "p", {}, nonce="n").first() == b"n,,n=a=3Db=2Cc,r=n"
    assert Scram("SCRAM-SHA-256", "id", "p", {}, nonce="n", token_auth=True).first() == b"n,,n=id,r=n,tokenauth=true"


@pytest.mark.parametrize("name", HASHES)
@given(password=st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text))
def test_the_right_password_gets_in_and_another_does_not(name: str, password: str) -> None:
    for given_password, wanted in ((password, 0), (password + "x", 58)):
        login = SaslServer(name, users={"u": password}).login()
        login.handshake(name)
        mechanism = Scram(name, "u", given_password, {})
        said = answered(mechanism, login.authenticate(mechanism.first()).auth_bytes)
        assert said is not None
        last = login.authenticate(said)
        assert last.code == wanted
        if not wanted:
            assert answered(mechanism, last.auth_bytes) is None


@pytest.mark.parametrize(
    "last",
    [
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G8=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4",
        b"v=",
        b"",
        b"e=invalid-proof",
        b"v=AAAA",
        b"x",
    ],
)
def test_a_server_that_does_not_know_the_password_is_refused(last: bytes) -> None:
    mechanism = Scram("SCRAM-SHA-256", "user", "pencil", {}, nonce=NONCE)
    answered(mechanism, CHALLENGE)
    with pytest.raises(AuthenticationError):
        answered(mechanism, last)


@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE.replace(b"i=4096", b"i=1"),
        CHALLENGE.replace(b"i=4096", b"i=4095"),
        CHALLENGE.replace(b"i=4096", b"i=%d" % (ITERATIONS_MAX + 1)),
        CHALLENGE.replace(b"i=4096", b"i=-4096"),
        CHALLENGE.replace(b"i=4096", b"i="),
        CHALLENGE.replace(b"r=rOpr", b"r=xOpr"),
        b"r=" + NONCE.encode() + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        CHALLENGE.replace(b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s="),
        CHALLENGE.replace(b"s=W22Z", b"s=W2 Z"),
        b"m=x," + CHALLENGE,
        b"",
        b",,,",
    ],
)
def test_a_first_message_that_would_weaken_us_is_refused(challenge: bytes) -> None:
    mechanism = Scram("SCRAM-SHA-256", "user", "pencil", {}, nonce=NONCE)
    with pytest.raises(AuthenticationError):
        answered(mechanism, challenge)


@given(st.binary(max_size=80))
def test_foreign_bytes_are_refused_and_nothing_else(challenge: bytes) -> None:
    with pytest.raises(AuthenticationError):
        answered(Scram("SCRAM-SHA-256", "user", "pencil", {}, nonce=NONCE), challenge)


def test_the_long_work_is_done_once_per_salt() -> None:
    keys: SaltedKeys = {}
    first = Scram("SCRAM-SHA-256", "user", "pencil", keys, nonce=NONCE)
    work = first.work(CHALLENGE)
    assert work is not None
    work()
    assert Scram("SCRAM-SHA-256", "user", "pencil", keys, nonce=NONCE).work(CHALLENGE) is None
    assert first.respond(CHALLENGE) is not None
    other = CHALLENGE.replace(b"s=W22Z", b"s=W22Y")
    again = Scram("SCRAM-SHA-256", "user", "pencil", keys, nonce=NONCE).work(other)
    assert again is not None
    again()
    assert len(keys) == 1


def test_no_secret_is_in_an_error() -> None:
    mechanism = Scram("SCRAM-SHA-256", "user", "pencil", {}, nonce=NONCE)
    answered(mechanism, CHALLENGE)
    with pytest.raises(AuthenticationError) as caught:
        answered(mechanism, b"e=pencil".replace(b"pencil", b"other-error"))
    assert "pencil" not in str(caught.value)
    assert "other-error" in str(caught.value)
