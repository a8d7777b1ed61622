"""Faults as people read them: values as TOML, secrets never, near names found."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.config.faults import ABSENT, Faults, is_secret, nearest, shown, toml_key, toml_text
from ingestd.errors import ConfigurationError
from ingestd.secret import Secret

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=8,
)


@given(VALUES, st.text())
def test_values_and_keys_are_written_as_toml_reads_them(value: object, key: str) -> None:
    assert tomllib.loads(f"{toml_key(key)} = {toml_text(value)}") == {key: value}


def test_secrets_are_never_shown() -> None:
    for key in ("ssl.keystore.password", "sasl.oauthbearer.client.credentials.client.secret", "sasl.jaas.config"):
        assert is_secret(key)
        assert "hunter2" not in shown(key, "hunter2")
    for key in ("linger.ms", "sasl.oauthbearer.token.endpoint.url", "ssl.keystore.type", "sasl.password.file"):
        assert not is_secret(key)
    assert "hunter2" not in shown("any", [Secret("hunter2")])


def test_long_values_are_cut_and_absent_ones_are_nothing() -> None:
    assert len(shown("x", "y" * 10_000)) == 120
    assert shown("x", ABSENT) == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [("linger_ms", "linger.ms"), ("Linger.MS", "linger.ms"), ("lingr.ms", "linger.ms"), ("zzz", "")],
)
def test_the_nearest_name_is_what_was_probably_meant(name: str, expected: str) -> None:
    assert nearest(name, ("linger.ms", "batch.size")) == expected


def test_a_fault_says_where_what_and_the_cure() -> None:
    faults = Faults()
    faults.raise_if_any()
    faults.add("a.b", 5, "wrong", "Write 6")
    faults.add("c", ABSENT, "missing", "Add it")
    with pytest.raises(ConfigurationError) as caught:
        faults.raise_if_any()
    assert str(caught.value).split("\n") == [
        "2 faults in the configuration",
        "a.b = 5: wrong. Write 6",
        "c: missing. Add it",
    ]
