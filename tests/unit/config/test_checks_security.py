"""Contradictions between settings of TLS and SASL: each is told with its key and a cure, and never a secret."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ingestd.config.checks import notes
from ingestd.config.reader import parse
from ingestd.errors import ConfigurationError
from tests.unit.config.test_reader import LISTENER_SECTION, PRODUCER_SECTION, faults_of

DOCUMENT = Path(__file__).parents[3] / "docs/security.md"
SASL = 'security.protocol = "sasl_ssl"\n'
PLAIN = SASL + 'sasl.mechanism = "PLAIN"\n'
OAUTH = SASL + 'sasl.mechanism = "OAUTHBEARER"\n'
TLS = 'security.protocol = "SSL"\n'
CLIENT = "sasl.oauthbearer.client.credentials.client."
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required username=a password=hunter2;"
CASES: list[tuple[str, list[str]]] = [
    (SASL, ["sasl.mechanism"]),
    (SASL + 'sasl.mechanism = "GSSAPI"\n', ["sasl.mechanism"]),
    (SASL + 'sasl.mechanism = "scram-sha-512"\n', ["sasl.mechanism"]),
    (SASL + 'sasl.mechanism = "KERBEROS"\n', ["sasl.mechanism"]),
    (PLAIN, ["sasl.username", "sasl.password"]),
    (PLAIN + 'sasl.username = "u"\n', ["sasl.password"]),
    (PLAIN + 'sasl.username = "u"\nsasl.password = "hunter2\\u0000"\n', ["sasl.password"]),
    (PLAIN + f'sasl.username = "u"\nsasl.jaas.config = "{JAAS}"\n', ["sasl.jaas.config"]),
    (PLAIN + 'sasl.jaas.config = "hunter2"\n', ["sasl.jaas.config"]),
    (
        PLAIN + 'sasl.username = "u"\nsasl.password = "hunter2"\nsasl.login.password.file = "/p"\n',
        ["sasl.login.password.file"],
    ),
    (PLAIN + 'sasl.username = "u"\nsasl.login.password.file = "hunter2"\n', ["sasl.login.password.file"]),
    (PLAIN + f'sasl.login.password.file = "/p"\nsasl.jaas.config = "{JAAS}"\n', ["sasl.jaas.config"]),
    (OAUTH, ["sasl.oauthbearer.token.endpoint.url"]),
    (OAUTH + 'sasl.oauthbearer.token.endpoint.url = "ftp://h/p"\n', ["sasl.oauthbearer.token.endpoint.url"]),
    (OAUTH + 'sasl.oauthbearer.token.endpoint.url = "https://u:hunter2@h/"\n', ["sasl.oauthbearer.token.endpoint.url"]),
    (OAUTH + 'sasl.oauthbearer.token.endpoint.url = "file://token"\n', ["sasl.oauthbearer.token.endpoint.url"]),
    (OAUTH + 'sasl.oauthbearer.token.endpoint.url = "https://[::1"\n', ["sasl.oauthbearer.token.endpoint.url"]),
    (OAUTH + 'sasl.oauthbearer.token.endpoint.url = "https://h/"\n', [f"{CLIENT}id", f"{CLIENT}secret"]),
    (TLS + 'ssl.keystore.key = "hunter2"\n', ["ssl.keystore.certificate.chain"]),
    (TLS + 'ssl.keystore.certificate.chain = "c"\n', ["ssl.keystore.key"]),
    (
        TLS + 'ssl.keystore.location = "/k"\nssl.keystore.key = "hunter2"\nssl.keystore.certificate.chain = "c"\n',
        ["ssl.keystore.location"],
    ),
    (TLS + 'ssl.truststore.location = "/k"\nssl.truststore.certificates = "c"\n', ["ssl.truststore.location"]),
    (TLS + 'ssl.truststore.type = "PKCS12"\nssl.truststore.certificates = "c"\n', ["ssl.truststore.type"]),
    (TLS + 'ssl.truststore.type = "JKS"\n', ["ssl.truststore.type"]),
    (TLS + 'ssl.enabled.protocols = ["TLSv1.1"]\n', ["ssl.enabled.protocols"]),
    (TLS + 'ssl.enabled.protocols = ["TLSv1.3"]\nssl.protocol = "TLSv1.2"\n', ["ssl.protocol"]),
    (TLS + 'ssl.cipher.suites = ["TLS_AES_128_GCM_SHA256"]\n', ["ssl.cipher.suites"]),
    (
        TLS + 'ssl.enabled.protocols = ["TLSv1.3"]\nssl.cipher.suites = ["ECDHE-RSA-AES128-GCM-SHA256"]\n',
        ["ssl.cipher.suites"],
    ),
    (TLS + 'ssl.cipher.suites = ["TLS_DHE_ECDSA_WITH_AES_128_GCM_SHA256"]\n', ["ssl.cipher.suites"]),
    (
        TLS + 'ssl.cipher.suites = ["ECDHE-RSA-AES128-GCM-SHA256", "NO-SUCH", "NOR-THIS"]\n',
        ["ssl.cipher.suites", "ssl.cipher.suites"],
    ),
    ("sasl.login.retry.backoff.ms = 20000\n", ["sasl.login.retry.backoff.ms"]),
    ("sasl.login.refresh.window.factor = 0.4\n", ["sasl.login.refresh.window.factor"]),
]


@pytest.mark.parametrize(("text", "keys"), CASES)
def test_each_contradiction_is_told(text: str, keys: list[str]) -> None:
    found = faults_of(PRODUCER_SECTION + text + LISTENER_SECTION)
    assert [fault.key for fault in found] == [f"producer.{key}" for key in keys]
    assert all(fault.cure for fault in found)
    assert "hunter2" not in "".join(map(str, found))


def test_java_key_stores_come_with_the_command_that_converts_them() -> None:
    [fault] = faults_of(PRODUCER_SECTION + TLS + 'ssl.keystore.type = "jks"\n' + LISTENER_SECTION)
    assert "keytool -importkeystore" in fault.cure


GOOD = [
    PLAIN + 'sasl.username = "u"\nsasl.password = "p"\n',
    PLAIN + f'sasl.jaas.config = "{JAAS}"\n',
    OAUTH + f'sasl.oauthbearer.token.endpoint.url = "file://{DOCUMENT}"\n',
    OAUTH.replace("sasl_ssl", "plaintext"),
    OAUTH + f'sasl.oauthbearer.token.endpoint.url = "https://h:8443/t"\n{CLIENT}id = "i"\n{CLIENT}secret = "s"\n',
    TLS,
    'sasl.mechanism = "GSSAPI"\n',
]


@pytest.mark.parametrize("text", GOOD)
def test_whole_set_ups_are_taken_without_a_note(text: str) -> None:
    assert notes(parse(PRODUCER_SECTION + text + LISTENER_SECTION)) == NOTES_OF_LISTENER


NOTES_OF_LISTENER = notes(parse(PRODUCER_SECTION + LISTENER_SECTION))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (TLS + 'ssl.endpoint.identification.algorithm = ""\n', "NOT checked"),
        (
            PLAIN.replace("sasl_ssl", "sasl_plaintext") + 'sasl.username = "u"\nsasl.password = "p"\n',
            "the password and",
        ),
        ('ssl.keystore.location = "/k"\n', "without effect"),
        ('ssl.truststore.certificates = "c"\n', "ssl.*: without effect"),
        ('ssl.keystore.key = "k"\n', "ssl.*: without effect"),
        ('sasl.username = "u"\n', "without effect"),
        (TLS + 'sasl.password = "hunter2"\n', "sasl.*: without effect"),
        (TLS + 'sasl.login.password.file = "/p"\n', "sasl.*: without effect"),
        (TLS + 'sasl.oauthbearer.token.endpoint.url = "https://h/"\n', "sasl.*: without effect"),
        (TLS + f'{CLIENT}secret = "hunter2"\n', "sasl.*: without effect"),
        (TLS + 'ssl.truststore.location = "/nowhere/ca.pem"\n', "cannot be read now (No such file or directory)"),
        (TLS + 'ssl.truststore.location = "/dev/null"\n', "/dev/null is not a regular file"),
        (TLS + 'ssl.truststore.location = "/"\n', "/ is not a regular file"),
        (
            OAUTH + 'sasl.oauthbearer.token.endpoint.url = "file:///nowhere/to%20ken"\n',
            "/nowhere/to ken cannot be read",
        ),
        (OAUTH + 'sasl.oauthbearer.token.endpoint.url = "file:///a%00"\n', "cannot be read now (no path)"),
        (TLS + 'ssl.truststore.certificates = "/etc/ca.pem"\n', "belongs into ssl.truststore.location"),
    ],
)
def test_what_is_allowed_and_unwise_is_noted(text: str, part: str) -> None:
    found = notes(parse(PRODUCER_SECTION + text + LISTENER_SECTION))
    assert any(part in note for note in found), found
    assert "hunter2" not in "".join(found)


def test_a_url_that_is_none_does_not_show_what_may_be_a_password() -> None:
    url = 'sasl.oauthbearer.token.endpoint.url = "https://me:hunter2@idp:99999/"\n'
    with pytest.raises(ConfigurationError) as caught:
        parse(PRODUCER_SECTION + OAUTH + url + LISTENER_SECTION)
    assert "not a URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_key_that_everybody_can_read_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    path.write_text("")
    path.chmod(0o644)
    text = PRODUCER_SECTION + TLS + f'ssl.keystore.location = "{path}"\n' + LISTENER_SECTION
    assert any("chmod o= it, a private key belongs there" in note for note in notes(parse(text)))
    path.chmod(0o640)
    assert not any("chmod" in note for note in notes(parse(text)))


@pytest.mark.parametrize("name", ["ssl.keystore.location", "ssl.truststore.location", "sasl.login.password.file"])
def test_a_file_that_may_be_seen_and_not_read_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o600)
    opened = os.open

    def refusing(file: Any, *arguments: Any, **named: Any) -> int:
        if str(file) == str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(file, *arguments, **named)

    monkeypatch.setattr(os, "open", refusing)  # root may read everything
    text = PLAIN + f'sasl.username = "u"\n{name} = "{path}"\n'
    text += "" if name.startswith("sasl") else 'sasl.password = "p"\n'
    found = notes(parse(PRODUCER_SECTION + text + LISTENER_SECTION))
    assert f"{name}: {path} cannot be read now (Permission denied)" in found


def test_nobody_waits_for_a_pipe_that_stands_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    text = PRODUCER_SECTION + TLS + f'ssl.keystore.location = "{path}"\n' + LISTENER_SECTION
    assert f"ssl.keystore.location: {path} is not a regular file" in notes(parse(text))


def test_the_trust_store_of_a_token_endpoint_has_an_effect_without_tls_to_the_brokers() -> None:
    url = f'sasl.oauthbearer.token.endpoint.url = "https://h/"\n{CLIENT}id = "i"\n{CLIENT}secret = "s"\n'
    text = OAUTH.replace("sasl_ssl", "sasl_plaintext") + url + f'ssl.truststore.location = "{DOCUMENT}"\n'
    assert not any("without effect" in note for note in notes(parse(PRODUCER_SECTION + text + LISTENER_SECTION)))


def test_kerberos_is_not_offered() -> None:
    for word, cure in (("scram-sha-512", 'Write it in capitals: "SCRAM-SHA-512"'), ("x", 'Use one of "PLAIN"')):
        [fault] = faults_of(PRODUCER_SECTION + SASL + f'sasl.mechanism = "{word}"\n' + LISTENER_SECTION)
        assert fault.cure.startswith(cure)
        assert "GSSAPI" not in str(fault)
