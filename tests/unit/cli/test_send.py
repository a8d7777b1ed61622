"""``ingestd send``: lines out of files, contradictions between arguments, and the tally."""

import argparse
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ingestd.cli import send
from ingestd.client import RecordMetadata
from ingestd.client.errors import OutcomeUnknownException, RecordTooLargeException
from ingestd.errors import HostDaemonAbsentError, OperatorError
from ingestd.limits import LINE_BYTES_MAX

STREAM = "unix-stream:/nowhere/app.sock"


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    send.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INGESTD_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "--to"),
        (("--to", "nowhere"), "no kind in front"),
        (("--to", STREAM), "needs --topic"),
        (("--to", STREAM, "--format", "lines", "--topic", "t"), "leave out --topic"),
        (("--to", STREAM, "--format", "lines", "--key", "k"), "leave out --topic and --key"),
        (("--to", STREAM, "--format", "lines", "--ack", "accepted"), "--ack accepted needs"),
        (("--to", "udp:127.0.0.1:1", "--topic", "t", "--ack", "delivered"), "--ack delivered needs"),
        (("--to", STREAM, "--topic", "t", "--rate", "0"), "no rate"),
        (("--to", STREAM, "--topic", "t", "--rate", "many"), "no rate"),
        (("--to", STREAM, "--topic", "t", "--ack", "maybe"), "invalid choice"),
    ],
)
def test_contradictions_are_a_wrong_command_line(
    words: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        send.execute(parsed(*words))
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_the_environment_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGESTD_ADDRESS", "udp:127.0.0.1:5514")
    assert parsed("--topic", "t").to.port == 5514


def test_a_missing_file_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"a\n")
    with pytest.raises(OperatorError, match="missing"):
        send.execute(parsed("--to", STREAM, "--topic", "t", str(good), str(tmp_path / "missing")))


class Refused:
    """A socket that connects to nobody."""

    error: OSError = FileNotFoundError(2, "No such file or directory")

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> "Refused":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect(self, _path: str) -> None:
        raise self.error


@pytest.mark.parametrize("words", [("--topic", "t"), ("--format", "lines")], ids=["frames", "lines"])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory"), "no daemon at unix-stream:.*: No such file"),
        (ConnectionRefusedError(111, "Connection refused"), "no daemon at unix-stream:.*: Connection refused"),
        (PermissionError(13, "Permission denied"), "unix-stream:.*: Permission denied: .* socket's group"),
    ],
)
def test_where_nobody_listens_the_daemon_is_absent(
    words: tuple[str, ...],
    error: OSError,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("socket.socket", Refused)
    monkeypatch.setattr(Refused, "error", error)
    with pytest.raises(HostDaemonAbsentError, match=text):
        send.execute(parsed("--to", STREAM, *words))
    assert capsys.readouterr().err == "", "no sum of what was not begun"


def test_a_stream_of_lines_connects_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener's last place would be taken by a connection that sends nothing."""
    connected: list[str] = []
    sent: list[bytes] = []

    class Taken(Refused):
        def connect(self, path: str) -> None:
            connected.append(path)

        def sendall(self, chunk: bytes) -> None:
            sent.append(chunk)

    monkeypatch.setattr("socket.socket", Taken)
    (tmp_path / "lines").write_bytes(b"a\nb")
    assert send.execute(parsed("--to", STREAM, "--format", "lines", str(tmp_path / "lines"))) == 0
    assert (connected, sent) == (["/nowhere/app.sock"], [b"a\nb", b"\n"])


def test_lines_lose_their_newline_and_nothing_else(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"a\r\n\n\xff\x00 b\nlast")
    second.write_bytes(b"next\n")
    assert list(send._lines([str(first), str(second)])) == [b"a\r", b"", b"\xff\x00 b", b"last", b"next"]


def test_a_line_beyond_the_limit_is_left_out_and_the_next_one_found(tmp_path: Path) -> None:
    file = tmp_path / "file"
    longest = b"x" * LINE_BYTES_MAX
    file.write_bytes(longest + b"\n" + b"y" * (3 * LINE_BYTES_MAX) + b"\nafter\n" + longest)
    assert list(send._lines([str(file)])) == [longest, None, b"after", longest]
    file.write_bytes(longest + b"z\nafter\n" + longest + b"z")
    assert list(send._lines([str(file)])) == [None, b"after", None]


def test_stdin_is_read_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb")))
    assert list(send._lines([send.STDIN, send.STDIN])) == [b"a", b"b"]


def test_a_closed_stdin_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OperatorError, match="stdin"):
        send.execute(parsed("--to", STREAM, "--topic", "t"))


def test_the_tally_counts_tells_offsets_and_shows_some_failures(capsys: pytest.CaptureFixture[str]) -> None:
    tally = send.Tally(tell_offsets=True)
    tally.begun = 101
    tally.done(RecordMetadata("t", 3, 17, 0, -1, 1), None)
    for number in range(100):
        tally.done(None, RecordTooLargeException(f"record {number} is\ntoo large"))
    tally.tell()
    assert not tally.well
    out, err = capsys.readouterr()
    assert out == "t\t3\t17\n"
    assert err.splitlines()[0] == "ingestd send: record 0 is\\ntoo large"
    assert err.splitlines()[-1] == "ingestd send: 1 sent, 100 failed"
    assert len(err.splitlines()) == send.ERRORS_SHOWN_MAX + 1


def test_offsets_that_nobody_reads_are_told_to_the_one_who_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def write(text: str) -> int:
        written.append(text)
        raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=write))
    tally = send.Tally(tell_offsets=True)
    for _ in range(2):
        tally.done(RecordMetadata("t", 3, 17, 0, -1, 1), None)
    assert (tally.sent, len(written), type(tally.unheard)) == (2, 1, BrokenPipeError)


def test_nothing_failed_is_success(capsys: pytest.CaptureFixture[str]) -> None:
    tally = send.Tally(tell_offsets=False)
    tally.tell()
    assert tally.well
    assert capsys.readouterr().err == "ingestd send: 0 sent, 0 failed\n"


def test_what_has_no_answer_has_not_failed(capsys: pytest.CaptureFixture[str]) -> None:
    tally = send.Tally(tell_offsets=False)
    tally.begun = 5
    for _ in range(3):
        tally.done(None, OutcomeUnknownException("outcome not known"))
    tally.done(None, OutcomeUnknownException("given up", reason="delivery_timeout"))
    tally.tell()
    assert not tally.well
    assert capsys.readouterr().err.splitlines() == [
        "ingestd send: given up (delivery.timeout.ms passed before it was ever sent)",
        "ingestd send: outcome not known",
        "ingestd send: 0 sent, 1 failed, 4 without an answer: they may be in Kafka, or arrive yet",
    ]


def test_an_absent_file_and_an_absent_address_are_told_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OperatorError, match="cannot read /nonexistent: No such file or directory"):
        send.execute(parsed("--to", STREAM, "--topic", "t", "/nonexistent"))
    monkeypatch.delenv("INGESTD_ADDRESS", raising=False)
    with pytest.raises(SystemExit):
        send.execute(parsed("--topic", "t"))
    assert "no address: give --to, or set INGESTD_ADDRESS" in capsys.readouterr().err


def test_a_pace_waits_for_its_rate_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    waits: list[float] = []
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", waits.append)
    pace = send.Pace(10.0)
    pace.sent(5)
    clock[0] = 102.0
    pace.sent(5)
    assert waits == [pytest.approx(0.5)]
    send.Pace(0.0).sent(1000)
    assert len(waits) == 1
