"""``sasl.jaas.config``: what Java reads is read, what is wrong is said without a word of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.config.faults import RefusedError
from ingestd.config.jaas import credentials
from ingestd.config.security import Security
from ingestd.secret import Secret

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"


def settings(text: str, mechanism: str, **changes: Any) -> Security:
    return Security(sasl_mechanism=mechanism, sasl_jaas_config=Secret(text), **changes)


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (f'{PLAIN} required username="alice" password="secret";', "secret"),
        (f"{PLAIN} required username=alice password=secret;", "secret"),
        (f'{PLAIN}   REQUIRED\n  username = "alice"\n  password="se=c;r et" ;\n', "se=c;r et"),
        (f'{PLAIN} required username="alice" password="a\\"b\\\\c\\n";', 'a"b\\c\n'),
        (f'{PLAIN} required username="alice" password="";', ""),
        (f'{PLAIN} required "username"="alice" password="x";', "x"),
    ],
)
def test_plain_logins_are_read_as_java_reads_them(text: str, password: str) -> None:
    found = credentials(settings(text, "PLAIN"))
    assert (found.username, found.password.reveal()) == ("alice", password)


def test_a_delegation_token_is_one() -> None:
    text = f'{SCRAM} required username="id" password="hmac" tokenauth="true";'
    assert credentials(settings(text, "SCRAM-SHA-512")).token_auth
    assert not credentials(settings(text.replace('"true"', "false"), "SCRAM-SHA-256")).token_auth


def test_oauth_has_client_scope_and_extensions() -> None:
    text = f'{OAUTH} required clientId="c" clientSecret="s" scope="kafka" extension_logicalCluster="lkc-1";'
    found = credentials(settings(text, "OAUTHBEARER"))
    assert (found.client_id, found.client_secret.reveal(), found.scope) == ("c", "s", "kafka")
    assert found.extensions == (("logicalCluster", "lkc-1"),)
    plain = {"sasl_oauthbearer_client_credentials_client_id": "c2", "sasl_oauthbearer_scope": "own"}
    found = credentials(settings(f"{OAUTH} required;", "OAUTHBEARER", **plain))
    assert (found.client_id, found.scope) == ("c2", "own")


def test_without_it_the_plain_settings_count() -> None:
    found = credentials(Security(sasl_mechanism="PLAIN", sasl_username="u", sasl_password=Secret("p")))
    assert (found.username, found.password.reveal()) == ("u", "p")


@pytest.mark.parametrize(
    ("text", "mechanism"),
    [
        ("hunter2", "PLAIN"),
        (f"{PLAIN}", "PLAIN"),
        (f"{PLAIN} hunter2 username=a;", "PLAIN"),
        (f"{PLAIN} required username=a password=hunter2", "PLAIN"),
        (f'{PLAIN} required username=a password="hunter2;', "PLAIN"),
        (f"{PLAIN} required username password=hunter2;", "PLAIN"),
        (f"{PLAIN} required username=;", "PLAIN"),
        (f"{PLAIN} required user=a password=hunter2;", "PLAIN"),
        (f"{PLAIN} required username=a password=my hunter2=x;", "PLAIN"),
        (f"{PLAIN} required username=a; {PLAIN} required password=hunter2;", "PLAIN"),
        (f"{SCRAM} required username=a password=hunter2;", "PLAIN"),
        (f"{PLAIN} required username=a password=hunter2;", "SCRAM-SHA-256"),
        ("com.sun.security.auth.module.Krb5LoginModule required keyTab=hunter2;", "PLAIN"),
        ("= required;", "PLAIN"),
        (f'{OAUTH} required unsecuredLoginStringClaim_sub="hunter2";', "OAUTHBEARER"),
    ],
)
def test_what_is_wrong_is_said_without_the_text(text: str, mechanism: str) -> None:
    with pytest.raises(RefusedError) as caught:
        credentials(settings(text, mechanism))
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f"{PLAIN} required {text}"):
        try:
            credentials(settings(whole, "PLAIN"))
        except RefusedError:
            continue


@given(st.text(max_size=30))
def test_any_password_survives_javas_quotes(password: str) -> None:
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    found = credentials(settings(f'{PLAIN} required username="u" password="{quoted}";', "PLAIN"))
    assert found.password.reveal() == password
