"""Kinds of values: as TOML has them, and as the text of a Kafka properties file."""

from typing import Any

import pytest

from ingestd.config import values as v
from ingestd.config.faults import RefusedError
from ingestd.config.settings import PRODUCER
from ingestd.config.values import Kind
from ingestd.secret import Secret

CASES: list[tuple[Kind, str, Any]] = [
    (v.integer(0, 10), "7", 7),
    (v.integer(-1, 10), "-1", -1),
    (v.integer(0, v.LONG_MAX), "9223372036854775807", v.LONG_MAX),
    (v.integer_or("never", 0, 10), "7", 7),
    (v.integer_or("never", 0, 10), "never", None),
    (v.share(), "0.5", 0.5),
    (v.boolean(), "TRUE", True),
    (v.boolean(), "false", False),
    (v.choice("lz4", "zstd"), "zstd", "zstd"),
    (v.text(), "a,b", "a,b"),
    (v.texts(), "a , b,c", ("a", "b", "c")),
    (v.texts(), "", ()),
    (v.acks(), "ALL", -1),
    (v.acks(), "1", 1),
    (v.servers(), "a:1, b:2 ,SASL_SSL://[::1]:9093", ("a:1", "b:2", "[::1]:9093")),
    (v.secret(), "two\nlines", Secret("two\nlines")),
]


@pytest.mark.parametrize(("kind", "text", "value"), CASES, ids=lambda case: str(getattr(case, "name", case)))
def test_a_text_is_read_as_kafka_reads_it(kind: Kind, text: str, value: object) -> None:
    assert kind.read(kind.from_text(text)) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (v.integer(0, 10), "5x"),
        (v.integer(0, 10), ""),
        (v.integer(0, 10), "1_0"),
        (v.integer(0, 10), "11"),
        (v.integer(0, 10), "5.0"),
        (v.integer_or("never", 0, 10), "ever"),
        (v.share(), "half"),
        (v.boolean(), "yes"),
        (v.texts(), "a,a"),
        (v.servers(), ""),
        (v.servers(), "a:1,,b:1"),
        (v.secret(), ""),
    ],
)
def test_a_text_that_kafka_would_not_take_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(RefusedError):
        kind.read(kind.from_text(text))


@pytest.mark.parametrize("value", [5, "", None, ["x"], "x" * 2_000_000])
def test_what_is_no_secret_is_refused_and_not_shown(value: object) -> None:
    with pytest.raises(RefusedError) as caught:
        v.secret().read(value)
    assert "xx" not in str(caught.value)


@pytest.mark.parametrize("setting", PRODUCER.values(), ids=lambda setting: setting.name)
def test_every_producer_setting_can_come_from_a_text(setting: v.Setting) -> None:
    default = setting.default
    if default in (v.REQUIRED, v.UNSET, None) or isinstance(default, Secret):
        return
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    if text or setting.kind.name == "list":
        assert setting.kind.read(setting.kind.from_text(text)) == default
