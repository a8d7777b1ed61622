"""PROTOCOL.md, its vectors and the codec say the same."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ingestd import config
from ingestd.client import answers, frame
from ingestd.client.encoding import DecodedRecord, Records, decode_records, encode_record
from ingestd.client.errors import FAILED_REASONS, REJECTED_REASONS
from ingestd.client.frame import FrameReader
from ingestd.limits import (
    DATAGRAM_BYTES_MAX,
    FRAME_BYTES_MAX,
    HOLD_BYTES_MAX,
    RECORD_OVERHEAD_BYTES_MAX,
    SESSION_REJECTIONS_MAX,
)
from ingestd.listeners.connection import PARTIAL_MS, TURN_MS
from tests.unit.client.test_encoding import encode_frame

ROOT = Path(__file__).parents[3]
VECTORS: list[dict[str, Any]] = json.loads((ROOT / "tests/vectors/protocol.json").read_text())["vectors"]
BY_NAME = {vector["name"]: vector for vector in VECTORS}


def named(frame_name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS if vector["frame"] == frame_name]


def unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def split(vector: dict[str, Any]) -> tuple[int, int, bytes]:
    [(kind, flags, body)] = FrameReader().feed(bytes.fromhex(vector["hex"]))
    return kind, flags, body


@pytest.mark.parametrize("vector", named("RECORDS"))
def test_records(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    records = [
        DecodedRecord(
            unhex(r["value"]),
            unhex(r["key"]),
            r["partition"],
            r["timestamp_ms"],
            tuple((name, unhex(value)) for name, value in r["headers"]),
        )
        for r in fields["records"]
    ]
    kind, flags, body = split(vector)
    assert kind == frame.RECORDS
    assert decode_records(body, flags) == Records(
        fields["first_sequence"], tuple(records), fields["topic"], fields["topic_id"]
    )
    encoded = [encode_record(r.value, r.key, r.partition, r.timestamp_ms, r.headers) for r in records]
    data = encode_frame(fields["first_sequence"], encoded, fields["topic"], fields["topic_id"])
    assert data.hex() == vector["hex"]


@pytest.mark.parametrize("vector", named("HELLO"))
def test_hello(vector: dict[str, Any]) -> None:
    fields = dict(vector["fields"], session_id=bytes.fromhex(vector["fields"]["session_id"]))
    hello = frame.Hello(**fields)
    kind, flags, body = split(vector)
    assert hello.encode().hex() == vector["hex"]
    assert (kind, frame.Hello.decode(body, flags)) == (frame.HELLO, hello)


@pytest.mark.parametrize("vector", named("TOPIC") + named("CONFIRM"))
def test_the_clients_other_frames(vector: dict[str, Any]) -> None:
    made: frame.Topic | frame.Confirm
    made = frame.Topic(**vector["fields"]) if vector["frame"] == "TOPIC" else frame.Confirm(**vector["fields"])
    _, _, body = split(vector)
    assert made.encode().hex() == vector["hex"]
    assert type(made).decode(body) == made


def test_close() -> None:
    assert frame.frame(frame.CLOSE, b"").hex() == BY_NAME["close"]["hex"]


ANSWERS: dict[str, type[Any]] = {
    "GRANT": answers.Grant,
    "ACCEPTED": answers.Accepted,
    "REJECTED": answers.Rejected,
    "DELIVERED": answers.Delivered,
    "FAILED": answers.Failed,
    "OUTCOME_UNKNOWN": answers.OutcomeUnknown,
    "ERROR": answers.Error,
    "CLOSED": answers.Closed,
    "REDIRECT": answers.Redirect,
}


@pytest.mark.parametrize(
    "vector", [pytest.param(vector, id=vector["name"]) for vector in VECTORS if vector["direction"] == "daemon"]
)
def test_the_daemons_frames(vector: dict[str, Any]) -> None:
    fields = dict(vector["fields"])
    if "session_id" in fields:
        fields["session_id"] = bytes.fromhex(fields["session_id"])
    if "runs" in fields:
        fields["runs"] = tuple(answers.Run(**dict(run, gaps=tuple(run["gaps"]))) for run in fields["runs"])
    made = ANSWERS[vector["frame"]](**fields)
    kind, _, body = split(vector)
    assert made.encode().hex() == vector["hex"]
    assert answers.decode_answer(kind, body) == made


def test_every_frame_type_has_a_vector() -> None:
    assert {vector["frame"] for vector in VECTORS} == {*ANSWERS, "HELLO", "RECORDS", "TOPIC", "CONFIRM", "CLOSE"}


def test_grants_say_what_a_daemon_with_default_settings_says() -> None:
    listener = next(found for found in config.load(ROOT / "configs/ingestd.toml").listeners if found.format == "frames")
    for vector in named("GRANT"):
        fields = vector.values[0]["fields"]
        limits = (fields["frame_bytes_max"], fields["record_bytes_max"])
        assert limits == (FRAME_BYTES_MAX, listener.record_bytes_max)


def test_the_documents_examples_are_vectors() -> None:
    text = (ROOT / "PROTOCOL.md").read_text()
    examples = re.findall(r"(?m)^`([^`]+)`:\n\n((?:    [0-9a-f ]+\n)+)", text)
    assert len(examples) >= 18
    for name, block in examples:
        assert re.sub(r"\s", "", block) == BY_NAME[name]["hex"], name
    known = {vector["hex"] for vector in VECTORS}
    blocks = re.findall(r"(?m)((?:^    [0-9a-f ]+\n)+)", text)
    assert {re.sub(r"\s", "", block) for block in blocks} <= known


def test_the_documents_bounds_are_the_daemons() -> None:
    text = " ".join((ROOT / "PROTOCOL.md").read_text().split())
    for said in (
        f"nothing taken for {PARTIAL_MS // 1000} seconds; {SESSION_REJECTIONS_MAX} rejections without a CONFIRM",
        f"hold {HOLD_BYTES_MAX >> 20} MiB of what is not finished, each gets in its turn {TURN_MS // 1000} seconds",
        f"A datagram above {DATAGRAM_BYTES_MAX} bytes",
        f"| `truncated` | a datagram above {DATAGRAM_BYTES_MAX} bytes |",
        f"may have up to `record_bytes_max` + {RECORD_OVERHEAD_BYTES_MAX} bytes",
    ):
        assert said in text


def test_the_documents_reasons_are_the_clients() -> None:
    text = (ROOT / "PROTOCOL.md").read_text()
    rejected, failed = text.split("## 8. Reasons")[1].split("## 9.")[0].split("In FAILED:")
    for part, table in ((rejected, REJECTED_REASONS), (failed, FAILED_REASONS)):
        rows = {int(number): name for number, name in re.findall(r"(?m)^\| (\d+) \| `(\w+)`", part)}
        assert rows == {number: name for number, (name, _) in table.items()}
