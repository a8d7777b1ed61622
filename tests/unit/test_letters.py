"""The files of dead letters: what is appended is read back, bounds are kept, marks count, damage is passed over."""

import json
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from ingestd import letters
from ingestd.letters import Bounds, FullError, Letter

DAY_MS = 86_400_000
NOW_MS = 1_764_000_000_000
ROOMY = Bounds(1 << 30, 30)


def line(name: str = "a-0", value: bytes | None = b"v", **changes: Any) -> bytes:
    entry = {
        "id": name,
        "time_ms": NOW_MS,
        "topic": "t",
        "partition": 3,
        "reason": "record_refused",
        "kafka_error": "INVALID_RECORD",
        "text": "no key",
        "may_have_been_written": False,
        "accepted_ms": 1,
        "first_send_ms": 2,
        "attempts": 1,
        "timestamp_ms": 5,
        "key": None,
        "value": None if value is None else b64encode(value).decode(),
        "headers": [["h", None]],
        "listener": "app",
        "sender": "session 3",
        "sequence": 9,
        **changes,
    }
    return json.dumps(entry).encode() + b"\n"


def found(directory: Path, now_ms: int = NOW_MS) -> list[str | None]:
    return [None if letter is None else letter.id for letter in letters.read_day(directory, letters.day_of(now_ms))]


def gone(directory: Path, lines: bytes, bounds: Bounds, now_ms: int) -> list[str]:
    """Appends ``lines``; returns the days that went for them."""
    before = letters.days(directory)
    letters.append(directory, lines, bounds, now_ms)
    return [day for day in before if day not in letters.days(directory)]


def test_a_letter_comes_back_as_it_was_written(tmp_path: Path) -> None:
    letters.append(tmp_path, line(value=b"\x00\xff"), ROOMY, NOW_MS)
    [day] = letters.days(tmp_path)
    [letter] = letters.read_day(tmp_path, day)
    assert isinstance(letter, Letter)
    assert (letter.value, letter.key, letter.headers) == (b"\x00\xff", None, (("h", None),))
    assert (letter.topic, letter.partition, letter.sender, letter.sequence) == ("t", 3, "session 3", 9)
    assert letters.file_of(tmp_path, day).stat().st_mode & 0o777 & ~0o640 == 0


def test_a_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        letters.days(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        letters.days(tmp_path / "file")


def test_days_are_files_of_their_own(tmp_path: Path) -> None:
    letters.append(tmp_path, line("a-0"), ROOMY, NOW_MS)
    letters.append(tmp_path, line("b-0"), ROOMY, NOW_MS + DAY_MS)
    assert len(letters.days(tmp_path)) == 2
    assert found(tmp_path, NOW_MS + DAY_MS) == ["b-0"]


def test_what_a_death_has_cut_is_one_damaged_line(tmp_path: Path) -> None:
    letters.append(tmp_path, line("a-0") + line("b-0")[:40], ROOMY, NOW_MS)
    letters.append(tmp_path, line("c-0"), ROOMY, NOW_MS)
    assert found(tmp_path) == ["a-0", None, "c-0"]


@pytest.mark.parametrize(
    "damage",
    [
        {"time_ms": "soon"},
        {"topic": 5},
        {"topic": ""},
        {"partition": -1},
        {"timestamp_ms": -1},
        {"reason": None},
        {"id": "two words"},
        {"id": "é"},
        {"headers": [["h"]]},
        {"key": "no base64"},
    ],
    ids=str,
)
def test_what_is_json_and_no_letter_is_damaged(damage: dict[str, Any]) -> None:
    assert letters.read(line()) is not None
    assert letters.read(line(**damage)) is None


@pytest.mark.parametrize("text", [b"[" * 100_000, b"5", b"null", b"{}", b"\xff", b""], ids=lambda text: repr(text[:9]))
def test_what_is_no_object_is_damaged(text: bytes) -> None:
    assert letters.read(text) is None


def test_marks_are_whole_even_if_the_kernel_takes_them_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr("ingestd.letters.os.write", lambda fd, data: write(fd, data[:5]))
    letters.mark_replayed(tmp_path, "20260101", ["aaaa-0", "bbbb-1"])
    assert letters.replayed(tmp_path, "20260101") == {"aaaa-0", "bbbb-1"}


def test_what_a_full_disk_has_cut_is_taken_off_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letters.append(tmp_path, line("a-0"), ROOMY, NOW_MS)
    write = os.write
    monkeypatch.setattr("ingestd.letters.os.write", lambda fd, data: write(fd, data[:30]))
    with pytest.raises(OSError, match="No space"):
        letters.append(tmp_path, line("b-0"), ROOMY, NOW_MS)
    monkeypatch.undo()
    letters.append(tmp_path, line("c-0"), ROOMY, NOW_MS)
    assert found(tmp_path) == ["a-0", "c-0"]


def test_the_oldest_days_go_when_the_bytes_are_used_up(tmp_path: Path) -> None:
    size = len(line())
    for day in range(4):
        letters.append(tmp_path, line() * 10, ROOMY, NOW_MS + day * DAY_MS)
    letters.mark_replayed(tmp_path, letters.days(tmp_path)[0], ["a-0"])
    removed = gone(tmp_path, line(), Bounds(31 * size, 30), NOW_MS + 3 * DAY_MS)
    assert removed == [letters.day_of(NOW_MS)]
    assert len(letters.days(tmp_path)) == 3
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(FullError, match=r"dead.letters.bytes.max"):
        letters.append(tmp_path, line(), Bounds(10 * size, 30), NOW_MS + 3 * DAY_MS)
    # the day's own letters stay
    assert letters.days(tmp_path) == [letters.day_of(NOW_MS + 3 * DAY_MS)]
    assert len(found(tmp_path, NOW_MS + 3 * DAY_MS)) == 11


def test_no_day_goes_for_letters_that_find_no_room_anyway(tmp_path: Path) -> None:
    size = len(line())
    letters.append(tmp_path, line() * 5, ROOMY, NOW_MS)
    letters.append(tmp_path, line() * 4, ROOMY, NOW_MS + DAY_MS)
    with pytest.raises(FullError):
        letters.append(tmp_path, line() * 7, Bounds(10 * size, 30), NOW_MS + DAY_MS)
    assert letters.days(tmp_path) == [letters.day_of(NOW_MS + day * DAY_MS) for day in range(2)]


def test_marks_count_as_letters_do(tmp_path: Path) -> None:
    yesterday, ids = letters.day_of(NOW_MS), [f"aaaa-{number:03}" for number in range(100)]
    letters.append(tmp_path, line(), ROOMY, NOW_MS)
    letters.append(tmp_path, line(), ROOMY, NOW_MS + DAY_MS)
    letters.mark_replayed(tmp_path, yesterday, ids)
    used = sum(path.stat().st_size for path in tmp_path.iterdir())
    bounds = Bounds(used + len(line()), 30)
    assert used > 2 * len(line()) + 900
    assert gone(tmp_path, line(), bounds, NOW_MS + DAY_MS) == []
    assert gone(tmp_path, line(), bounds, NOW_MS + DAY_MS) == [yesterday]
    # this day's own marks count, too, and stay
    today = letters.day_of(NOW_MS + DAY_MS)
    assert gone(tmp_path, line(), Bounds(4 * len(line()) + 900, 30), NOW_MS + DAY_MS) == []
    letters.mark_replayed(tmp_path, today, ids)
    with pytest.raises(FullError):
        letters.append(tmp_path, line(), Bounds(5 * len(line()) + 900, 30), NOW_MS + DAY_MS)
    assert letters.replayed(tmp_path, today) == set(ids)


def test_marks_whose_letters_have_gone_go_first(tmp_path: Path) -> None:
    """A replay notes what it has settled even if the day was removed meanwhile."""
    first, second = (letters.day_of(NOW_MS + day * DAY_MS) for day in range(2))
    letters.append(tmp_path, line(), ROOMY, NOW_MS)
    letters.mark_replayed(tmp_path, second, ["aaaa-0"])
    letters.append(tmp_path, line(), ROOMY, NOW_MS + 2 * DAY_MS)
    assert letters.days(tmp_path) == [first, letters.day_of(NOW_MS + 2 * DAY_MS)]
    assert not letters.marks_of(tmp_path, second).exists()


def test_days_that_a_clock_ahead_has_left_go_last_and_not_never(tmp_path: Path) -> None:
    size = len(line())
    days = [letters.day_of(NOW_MS + day * DAY_MS) for day in (0, 1, 400)]
    for day in (400, 0, 1):
        letters.append(tmp_path, line() * 10, Bounds(1 << 30, 365), NOW_MS + day * DAY_MS)
    assert gone(tmp_path, line() * 10, Bounds(30 * size, 365), NOW_MS + DAY_MS) == days[:1]
    assert gone(tmp_path, line() * 10, Bounds(30 * size, 365), NOW_MS + DAY_MS) == days[2:]
    assert letters.days(tmp_path) == days[1:2]


def test_newcomers_are_those_that_come_from_then_on(tmp_path: Path) -> None:
    letters.append(tmp_path, line("a-0"), ROOMY, NOW_MS)
    newcomers = letters.Newcomers(tmp_path, NOW_MS)
    assert list(newcomers.take()) == []
    letters.append(tmp_path, line("b-0") + b"{\n" + line("b-1"), ROOMY, NOW_MS)
    letters.append(tmp_path, line("c-0"), ROOMY, NOW_MS + DAY_MS)
    with letters.file_of(tmp_path, letters.day_of(NOW_MS + DAY_MS)).open("ab") as file:
        file.write(line("c-1")[:9])
    assert [letter.id for letter in newcomers.take()] == ["b-0", "b-1", "c-0"]
    with letters.file_of(tmp_path, letters.day_of(NOW_MS + DAY_MS)).open("ab") as file:
        file.write(line("c-1")[9:])
    assert [letter.id for letter in newcomers.take()] == ["c-1"]


def test_days_that_are_over_go(tmp_path: Path) -> None:
    for day in range(4):
        letters.append(tmp_path, line(), Bounds(1 << 30, 2), NOW_MS + day * DAY_MS)
    assert letters.days(tmp_path) == [letters.day_of(NOW_MS + day * DAY_MS) for day in (1, 2, 3)]


def test_marks_add_up_and_a_cut_one_marks_nothing(tmp_path: Path) -> None:
    day = letters.day_of(NOW_MS)
    letters.append(tmp_path, line("aaaa-0") + line("aaaa-1"), ROOMY, NOW_MS)
    assert letters.replayed(tmp_path, day) == set()
    letters.mark_replayed(tmp_path, day, ["aaaa-0"])
    with letters.marks_of(tmp_path, day).open("ab") as marks:
        marks.write(b"\naaaa-")
    letters.mark_replayed(tmp_path, day, ["bbbb-7"])
    assert letters.replayed(tmp_path, day) == {"aaaa-0", "aaaa-", "bbbb-7"}


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("dead-letters-2025.jsonl", "dead-letters-yesterday.jsonl", "worker-0.arena"):
        (tmp_path / name).write_bytes(b"x")
    letters.append(tmp_path, line(), Bounds(len(line()), 1), NOW_MS)
    assert len(list(tmp_path.iterdir())) == 4
    assert letters.days(tmp_path) == [letters.day_of(NOW_MS)]


def test_marks_are_for_whom_the_letters_are(tmp_path: Path) -> None:
    """Also where a superuser with a narrow umask replays: the daemon's user goes on with them, its group reads them."""
    letters.append(tmp_path, line(), ROOMY, NOW_MS)
    day = letters.day_of(NOW_MS)
    kept = letters.file_of(tmp_path, day)
    kept.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(kept, 65534, 65534)
    umask = os.umask(0o077)
    try:
        letters.mark_replayed(tmp_path, day, ["aaaa-0"])
    finally:
        os.umask(umask)
    found, wanted = letters.marks_of(tmp_path, day).stat(), kept.stat()
    assert (found.st_uid, found.st_gid, found.st_mode) == (wanted.st_uid, wanted.st_gid, wanted.st_mode)


def test_marks_that_cannot_be_removed_cost_no_letter(tmp_path: Path) -> None:
    letters.marks_of(tmp_path, "20200101").mkdir()
    letters.append(tmp_path, line(), ROOMY, NOW_MS)
    assert letters.days(tmp_path) == [letters.day_of(NOW_MS)]
