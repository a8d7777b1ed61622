"""``ingestd dead-letter`` on files and against a scripted daemon; several processes that write one file."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from ingestd import letters
from ingestd.cli import dead_letter_replay
from ingestd.cli import main as cli
from tests.fakes.daemon import FakeDaemon, Taken

NOW_MS = 1_764_000_000_000
DAY = letters.day_of(NOW_MS)
ROOMY = letters.Bounds(1 << 40, 365)
APPENDS, PROCESSES = 60, 4


def line(number: int, **changes: Any) -> bytes:
    entry = {
        "id": f"aa-{number}",
        "time_ms": NOW_MS,
        "topic": "orders",
        "partition": 2,
        "reason": "record_refused",
        "kafka_error": "INVALID_RECORD",
        "text": "no \x1b[31mkey",
        "may_have_been_written": False,
        "accepted_ms": NOW_MS - 5,
        "first_send_ms": 0,
        "attempts": 1,
        "timestamp_ms": 5 + number,
        "key": None,
        "value": b64encode(b"value %d\x1b" % number).decode(),
        "headers": [["h", "eA=="], ["n", None]],
        "listener": "app",
        "sender": "session 3",
        "sequence": number,
        **changes,
    }
    return json.dumps(entry).encode() + b"\n"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A state directory with five letters, the third and the fourth special, and a damaged line."""
    directory = tmp_path / "state"
    directory.mkdir()
    data = line(0) + line(1) + line(2, may_have_been_written=True, reason="may_have_been_written")
    letters.append(directory, data + line(3, topic="clicks") + b"{\n" + line(4), ROOMY, NOW_MS)
    return directory


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = cli.main(["dead-letter", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def ids(capsys: pytest.CaptureFixture[str], kept: Path, *words: object) -> list[str]:
    _, out, _ = told(capsys, "show", "--json", "--directory", kept, *words)
    return [json.loads(each)["id"] for each in out.splitlines()]


def test_a_time_that_no_calendar_has_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Microseconds for milliseconds: what INVALID_TIMESTAMP is mostly about."""
    letters.append(tmp_path, line(0, timestamp_ms=NOW_MS * 1000), ROOMY, NOW_MS)
    status, out, _ = told(capsys, "show", "--directory", tmp_path)
    assert status == 0
    assert f"timestamp  {NOW_MS * 1000} ms, beyond the year 9999" in out


CREDENTIALS = """
[daemon]
state.directory = "{directory}"
[producer]
bootstrap.servers = ["k:1"]
security.protocol = "SASL_PLAINTEXT"
sasl.mechanism = "PLAIN"
sasl.username = "u"
sasl.password = "${{file:${{CREDENTIALS_DIRECTORY}}/kafka-password}}"
[[listeners]]
name = "app"
listen = "unix-stream:/run/app.sock"
format = "frames"
topics = ["orders"]
"""


def test_who_looks_at_letters_needs_no_secrets(
    kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the unit's own processes have the credentials' directory."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    configuration = kept.parent / "ingestd.toml"
    configuration.write_text(CREDENTIALS.format(directory=kept))
    status, out, _ = told(capsys, "list", "-c", configuration)
    assert status == 0
    assert "clicks" in out
    status, _, err = told(capsys, "replay", "-c", configuration)
    assert status == 78
    assert "CREDENTIALS_DIRECTORY" in err
    assert "--to: not given" in err


def test_a_day_that_is_none_is_refused(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        told(capsys, "list", "--directory", kept, "--day", "2026-01-31")
    assert ended.value.code == 2
    assert "write 20260131" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_fault_of_the_files(tmp_path: Path) -> None:
    letters.append(tmp_path, b"".join(line(number) for number in range(2000)), ROOMY, NOW_MS)
    command = [sys.executable, "-m", "ingestd", "dead-letter", "show", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.readline()
        shown.stdout.close()
        assert (shown.wait(10), shown.stderr.read()) == (1, b"")


def test_a_disk_that_takes_no_output_is_no_fault_of_the_files(tmp_path: Path) -> None:
    letters.append(tmp_path, b"".join(line(number) for number in range(2000)), ROOMY, NOW_MS)
    command = [sys.executable, "-m", "ingestd", "dead-letter", "show", "--directory", str(tmp_path)]
    with Path("/dev/full").open("wb") as full:
        shown = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert shown.returncode == 1
    (told,) = shown.stderr.splitlines()
    assert told.endswith(b"cannot write: No space left on device")


def test_list_counts_by_day_topic_and_reason(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, "list", "--directory", kept)
    assert status == 0
    assert [row.split() for row in out.splitlines()[1:]] == [
        [DAY, "clicks", "record_refused", "INVALID_RECORD", "1", "1"],
        [DAY, "orders", "may_have_been_written", "INVALID_RECORD", "1", "1"],
        [DAY, "orders", "record_refused", "INVALID_RECORD", "3", "3"],
    ]
    assert "1 damaged line in " in err
    _, out, _ = told(capsys, "list", "--json", "--directory", kept, "--topic", "clicks")
    assert json.loads(out) == {
        "day": DAY,
        "topic": "clicks",
        "reason": "record_refused",
        "kafka_error": "INVALID_RECORD",
        "letters": 1,
        "open": 1,
    }


def test_show_filters_and_escapes(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ids(capsys, kept) == ["aa-0", "aa-1", "aa-2", "aa-3", "aa-4"]
    assert ids(capsys, kept, "--reason", "may_have_been_written") == ["aa-2"]
    assert ids(capsys, kept, "--topic", "orders", "aa-1", "aa-3") == ["aa-1"]
    assert ids(capsys, kept, "--listener", "other") == []
    assert ids(capsys, kept, "--day", "20200101") == []
    _, out, _ = told(capsys, "show", "--directory", kept, "aa-4")
    assert "\x1b" not in out
    assert r"'value 4\x1b'" in out
    assert "session 3 by app, sequence 4" in out
    assert "first sent never" in out


def test_replay_sends_what_is_open_and_closes_what_was_delivered(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeDaemon(tmp_path) as daemon:
        status, out, _ = told(capsys, "replay", "--directory", kept, "--to", daemon.address)
        assert status == 0
        assert out.splitlines() == [
            "4 delivered, 0 failed once more (new letters), 0 stay open",
            "1 may have been written and were passed over: --maybe sends them all the same",
        ]
        assert sorted(filter(None, daemon.values())) == [b"value %d\x1b" % number for number in (0, 1, 3, 4)]
        [session] = daemon.sessions.values()
        first = session.records[0]
        assert (first.topic, first.partition, first.timestamp_ms, first.key) == ("orders", None, 5, None)
        assert first.headers == [("h", b"x"), ("n", None)]
        told(capsys, "replay", "--directory", kept, "--to", daemon.address, "--maybe", "--keep-partition")
        assert daemon.values()[4:] == [b"value 2\x1b"]
        last = list(daemon.sessions.values())[-1].records[-1]
        assert last.partition == 2
        _, out, _ = told(capsys, "replay", "--directory", kept, "--to", daemon.address, "--maybe")
        assert out.startswith("0 delivered")
    assert ids(capsys, kept) == []
    assert len(ids(capsys, kept, "--all")) == 5


def test_what_fails_once_more_is_closed_and_what_is_not_taken_stays_open(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(taken: Taken) -> int:
        if taken.value != b"value 1\x1b":
            return 0
        write_anew(kept, 1)
        return 1

    with FakeDaemon(tmp_path) as daemon:
        daemon.fail = fail
        daemon.refuse = lambda taken: 7 if taken.topic == "clicks" else 0
        status, out, err = told(capsys, "replay", "--directory", kept, "--to", daemon.address)
    assert status == 1
    assert out.splitlines()[0] == "2 delivered, 1 failed once more (new letters), 1 stay open"
    assert "aa-1: not delivered, record_refused" in err
    assert "(the broker named this record as bad)" in err
    assert "aa-3: not accepted, topic_not_allowed" in err
    assert ids(capsys, kept) == ["aa-2", "aa-3", "bb-1"]


def write_anew(kept: Path, number: int) -> None:
    """The daemon's letter about a record that has failed once more."""
    now_ms = time.time_ns() // 1_000_000
    letters.append(kept, line(number, id=f"bb-{number}", time_ms=now_ms), letters.Bounds(1 << 40, 36_500), now_ms)


def test_what_fails_once_more_without_a_new_letter_stays_open(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon had no room for one: the old letter is the only one there is."""
    with FakeDaemon(tmp_path) as daemon:
        daemon.fail = lambda taken: 1 if taken.value == b"value 1\x1b" else 0
        status, out, _ = told(capsys, "replay", "--directory", kept, "--to", daemon.address)
    assert status == 1
    assert out.splitlines()[0] == "3 delivered, 0 failed once more (new letters), 1 stay open"
    assert f"1 of those failed once more, and {kept} has no new letter of them" in out
    assert ids(capsys, kept) == ["aa-1", "aa-2"]


@pytest.mark.parametrize(("delivered_after_s", "left"), [(None, 2), (0.6, 0)], ids=["never", "late"])
def test_without_answers_nothing_more_is_sent(
    kept: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    delivered_after_s: float | None,
    left: int,
) -> None:
    """During an outage all of it would be delivered later, and none be noted."""
    for name, value in (("ROUND_RECORDS", 2), ("ANSWER_TIMEOUT_S", 0.2), ("CLOSE_TIMEOUT_S", 3.0 if not left else 0.5)):
        monkeypatch.setattr(dead_letter_replay, name, value)
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        timer = threading.Timer(delivered_after_s or 0, daemon.deliver)
        if delivered_after_s is not None:
            timer.start()
        status, out, _ = told(capsys, "replay", "--directory", kept, "--to", daemon.address)
        timer.cancel()
        assert len([value for value in daemon.values() if value]) == 2
    assert status == 1
    assert out.splitlines()[0] == f"{2 - left} delivered, 0 failed once more (new letters), {left} stay open"
    assert "stopped: answers took longer" in out
    assert ("2 are under way" in out) == (left == 2)
    assert len(ids(capsys, kept)) == 3 + left


def test_an_id_that_is_not_there_is_said(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, "show", "--directory", kept, "nosuchid")
    assert (status, out) == (1, "")
    assert err.endswith("ingestd dead-letter: no open letter has the id nosuchid (--all shows replayed ones, too)\n")
    assert told(capsys, "show", "--json", "--directory", kept, "nosuchid")[:2] == (1, "")


def test_late_answers_to_all_there_was_are_no_stop(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_replay, "ANSWER_TIMEOUT_S", 0.1)
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        timer = threading.Timer(0.5, daemon.deliver)
        timer.start()
        status, out, _ = told(capsys, "replay", "--maybe", "--directory", kept, "--to", daemon.address)
        timer.cancel()
    assert (status, out) == (0, "5 delivered, 0 failed once more (new letters), 0 stay open\n")
    assert ids(capsys, kept) == []


def test_there_is_one_replay_at_a_time(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeDaemon(tmp_path) as daemon:
        descriptor = os.open(kept, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        status, _, err = told(capsys, "replay", "--directory", kept, "--to", daemon.address)
        assert (status, daemon.values()) == (75, [])
        assert "another replay of" in err
        os.close(descriptor)
        assert told(capsys, "replay", "--directory", kept, "--to", daemon.address)[0] == 0


def test_deliveries_that_cannot_be_noted_are_said(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letters.marks_of(kept, DAY).mkdir()
    with pytest.MonkeyPatch.context() as patch, FakeDaemon(tmp_path) as daemon:
        patch.setattr(letters, "replayed", lambda *_: set())
        patch.setattr(letters, "check_marks", lambda *_: None)  # it came to be so while records were on their way
        status, _, err = told(capsys, "replay", "--directory", kept, "--to", daemon.address)
    assert status == 75
    assert "a further replay sends them again" in err


def test_without_a_daemon_nothing_is_closed(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, _ = told(capsys, "replay", "--directory", kept, "--to", f"unix-stream:{tmp_path}/absent")
    assert status == 75
    assert len(ids(capsys, kept)) == 5


def test_the_configuration_names_directory_and_listener(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = tmp_path / "ingestd.toml"
    configuration.write_text(
        f"[daemon]\nstate.directory = '{kept}'\n[producer]\nbootstrap.servers = ['k:9092']\n"
        f"[[listeners]]\nname = 'app'\nlisten = 'unix-stream:{tmp_path}/app.sock'\nformat = 'frames'\n"
        "topics = ['orders', 'clicks']\n"
    )
    with FakeDaemon(tmp_path) as daemon:
        status, _, _ = told(capsys, "replay", "-c", configuration, "--topic", "orders")
        assert (status, len(daemon.values())) == (0, 3)
    assert told(capsys, "list", "--directory", tmp_path / "nowhere")[0] == 1


_WRITER = """
import sys
from pathlib import Path
from ingestd import letters
sys.path.insert(0, sys.argv[4])
from tests.functional.test_dead_letters import NOW_MS, ROOMY, line
for number in range(int(sys.argv[3])):
    data = b"".join(line(number, id=f"{sys.argv[2]}-{number}-{part}", text="x" * 3000) for part in range(8))
    letters.append(Path(sys.argv[1]), data, ROOMY, NOW_MS)
"""


def test_lines_of_several_processes_are_never_mixed(tmp_path: Path) -> None:
    """Each append is 25 KB, more than a pipe would take at once."""
    root = str(Path(__file__).parents[2])
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), str(each), str(APPENDS), root], cwd=root)
        for each in range(PROCESSES)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * PROCESSES
    found = [letter.id if letter else None for letter in letters.read_day(tmp_path, DAY)]
    assert len(found) == PROCESSES * APPENDS * 8
    assert len(set(found)) == len(found)
    assert None not in found
    for each in range(PROCESSES):
        own = [name for name in found if name and name.startswith(f"{each}-")]
        assert own == [f"{each}-{number}-{part}" for number in range(APPENDS) for part in range(8)]
