"""PLAIN and OAUTHBEARER: what goes out, byte for byte, and what a refusal says."""

import pytest

from ingestd.kafka.errors import AuthenticationError
from ingestd.kafka.sasl import OAuthBearer, Plain


def test_plain_is_authzid_user_password() -> None:
    mechanism = Plain("user", "pw")
    assert mechanism.first().hex() == "0075736572007077"
    assert mechanism.work(b"") is None
    assert mechanism.respond(b"") is None


def test_plain_has_no_challenge() -> None:
    with pytest.raises(AuthenticationError):
        Plain("user", "pw").respond(b"what?")


def test_a_bearer_token_goes_with_its_extensions() -> None:
    mechanism = OAuthBearer("abc.def", [("logicalCluster", "lkc-1"), ("identityPoolId", "p")])
    assert mechanism.first() == b"n,,\x01auth=Bearer abc.def\x01logicalCluster=lkc-1\x01identityPoolId=p\x01\x01"
    assert OAuthBearer("the-token").first() == b"n,,\x01auth=Bearer the-token\x01\x01"
    assert mechanism.respond(b"") is None


def test_one_that_repeats_a_token_is_not_quoted_however_long_that_is() -> None:
    mechanism = OAuthBearer("c4n4ry" * 200)
    mechanism.respond(b'{"status":"you said %s"}' % (b"c4n4ry" * 200))
    assert mechanism.refusal == "no reason given"


@pytest.mark.parametrize(
    ("challenge", "reason"),
    [
        (b'{"status":"invalid_token","scope":"kafka"}', "invalid_token kafka"),
        (b'{"status":"insufficient_scope"}', "insufficient_scope"),
        (b"[1]", "no reason given"),
        (b"nonsense", "no reason given"),
        (b"[" * 100_000, "no reason given"),
        (b"\xff", "no reason given"),
    ],
)
def test_a_refused_token_is_confirmed_so_that_the_error_code_comes(challenge: bytes, reason: str) -> None:
    mechanism = OAuthBearer("the-token")
    assert mechanism.respond(challenge) == b"\x01"
    assert mechanism.refusal == reason
    with pytest.raises(AuthenticationError, match="refused"):
        mechanism.respond(b"")
