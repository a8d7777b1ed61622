"""What is kept of records that finally failed."""

import json
import logging
from pathlib import Path

import pytest

from ingestd.hotpath.snapshots import Record
from ingestd.letters import Bounds
from ingestd.producer.dead_letters import DeadLetters, Letter, sender_of

NOW_MS = 1_700_000_000_000
LETTER = Letter("orders", 3, "record_refused", 87, False, NOW_MS - 50, NOW_MS - 10, 2)


def record(index: int, value: bytes | None = b"v\n\0") -> Record:
    headers = ((b"h", b"\xff"), (b"n", None))
    return Record(index, NOW_MS - 60, b"k", value, headers, 0, 2, 7, 99 + index)


def test_a_letter_tells_everything_on_one_line(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, ["app"])
    letters.write(LETTER, [record(0), record(1, None)], {0: "too odd"}, "batch", NOW_MS)
    [first, second] = (tmp_path / "dead-letters-20231114.jsonl").read_text().splitlines()
    token = json.loads(first)["id"].removesuffix("-0")
    assert json.loads(second)["id"] == f"{token}-1"
    assert json.loads(first) == {
        "id": f"{token}-0",
        "time_ms": NOW_MS,
        "topic": "orders",
        "partition": 3,
        "reason": "record_refused",
        "kafka_error": "INVALID_RECORD",
        "may_have_been_written": False,
        "accepted_ms": NOW_MS - 50,
        "first_send_ms": NOW_MS - 10,
        "attempts": 2,
        "text": "too odd",
        "timestamp_ms": NOW_MS - 60,
        "key": "aw==",
        "value": "dgoA",
        "headers": [["h", "/w=="], ["n", None]],
        "listener": "app",
        "sender": "session 7",
        "sequence": 99,
    }
    assert (json.loads(second)["value"], json.loads(second)["text"]) == (None, "batch")
    assert letters.written == 2


def test_letters_are_appended_and_days_have_files_of_their_own(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, [])
    for now_ms in (NOW_MS, NOW_MS, NOW_MS + 86_400_000):
        letters.write(LETTER, [record(0)], {}, "", now_ms)
    sizes = {path.name: len(path.read_text().splitlines()) for path in tmp_path.iterdir()}
    assert sizes == {"dead-letters-20231114.jsonl": 2, "dead-letters-20231115.jsonl": 1}


def test_a_file_that_cannot_be_written_is_said_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    letters = DeadLetters(tmp_path / "absent", [])
    with caplog.at_level(logging.ERROR):
        letters.write(LETTER, [record(0)], {}, "", NOW_MS)
    assert letters.lost == 1
    assert "could not be written" in caplog.text


def test_what_finds_no_room_within_the_bounds_is_said_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    letters = DeadLetters(tmp_path, [], Bounds(1000, 30))
    with caplog.at_level(logging.WARNING):
        letters.write(LETTER, [record(0)], {}, "", NOW_MS)
        letters.write(LETTER, [record(0), record(1)], {}, "", NOW_MS)
        assert (letters.written, letters.lost) == (1, 2)
        assert "dead.letters.bytes.max = 1000" in caplog.text
        letters.write(LETTER, [record(0), record(1)], {}, "", NOW_MS + 86_400_000)
    assert letters.written == 3
    assert "the dead letters of 20231114 were removed" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["dead-letters-20231115.jsonl"]


@pytest.mark.parametrize("bounds", [Bounds(1 << 30, 1), Bounds(10, 30)], ids=["cannot be written", "no room"])
def test_days_that_went_are_said_even_if_the_letters_are_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bounds: Bounds
) -> None:
    DeadLetters(tmp_path, []).write(LETTER, [record(0)], {}, "", NOW_MS)
    (tmp_path / "dead-letters-20231116.jsonl").symlink_to(tmp_path / "elsewhere")
    letters = DeadLetters(tmp_path, [], bounds)
    with caplog.at_level(logging.WARNING):
        letters.write(LETTER, [record(0)], {}, "", NOW_MS + 2 * 86_400_000)
    assert letters.lost == 1
    assert "the dead letters of 20231114 were removed" in caplog.text


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "dead-letters-20231114.jsonl").symlink_to(tmp_path / "elsewhere")
    letters = DeadLetters(tmp_path, [])
    letters.write(LETTER, [record(0)], {}, "", NOW_MS)
    assert letters.lost == 1
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_directory_nothing_is_kept() -> None:
    letters = DeadLetters(None, [])
    letters.write(LETTER, [record(0)], {}, "", NOW_MS)
    assert (letters.written, letters.lost) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "sender", "text"),
    [
        (1, 12, "connection 12"),
        (3, 0, "datagram path"),
        (4, bytes((10, 0, 0, 7)) + (40112).to_bytes(2, "little"), "udp 10.0.0.7:40112"),
        (5, bytes(15) + b"\1" + (514).to_bytes(2, "little"), "udp [::1]:514"),
    ],
)
def test_senders_are_named(kind: int, sender: bytes | int, text: str) -> None:
    assert sender_of(kind, sender) == text
