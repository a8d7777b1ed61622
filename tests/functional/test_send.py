"""``ingestd send`` against sockets of the test: what arrives is what stood in the files."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.daemon import FakeDaemon

LINES = [b"first", b"", b"with \xff\x00 in it", b"x" * 60_000, b"last without a newline"]


def send(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ingestd", "send", *words]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A Unix stream socket that reads one connection to its end, and has no place for another."""
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.settimeout(30)

        def read() -> None:
            connection, _ = server.accept()
            with connection:
                while chunk := connection.recv(65_536):
                    received.append(chunk)

        reader = threading.Thread(target=read)
        reader.start()
        yield f"unix-stream:{tmp_path}/s", received
        reader.join()


def test_lines_reach_a_stream_as_they_are_and_files_do_not_run_together(
    stream: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    address, received = stream
    first = tmp_path / "first"
    first.write_bytes(b"\n".join(LINES))
    ended = send("--to", address, "--format", "lines", str(first), "-", stdin=b"from stdin\n")
    assert ended.returncode == 0, ended.stderr
    for _ in range(100):
        if b"".join(received).endswith(b"from stdin\n"):
            break
        threading.Event().wait(0.05)
    assert b"".join(received) == b"\n".join(LINES) + b"\nfrom stdin\n"
    assert ended.stderr == b"ingestd send: 6 sent, 0 failed\n"


def test_a_datagram_without_a_format_is_a_frame_and_that_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "d"))
        server.settimeout(10)
        to = ("--to", f"unix-datagram:{tmp_path}/d", "--topic", "t")
        silent, told = send(*to, "--format", "frames", stdin=b"a"), send(*to, stdin=b"a")
        frames = server.recv(1000), server.recv(1000)
    assert len(frames[0]) == len(frames[1]) > len(b"a")
    assert silent.stderr == b"ingestd send: 1 sent, 0 failed\n"
    assert told.stderr.startswith(
        b"ingestd send: note: sends frames; a listener of raw or lines takes --format lines\n"
    )


@pytest.mark.parametrize("kind", ["unix-datagram", "udp"])
def test_a_line_is_a_datagram(kind: str, tmp_path: Path) -> None:
    family = socket.AF_UNIX if kind == "unix-datagram" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "d") if kind == "unix-datagram" else ("127.0.0.1", 0))
        server.settimeout(30)
        address = f"udp:127.0.0.1:{server.getsockname()[1]}" if kind == "udp" else f"unix-datagram:{tmp_path}/d"
        ended = send("--to", address, "--format", "lines", stdin=b"\n".join(LINES))
        assert ended.returncode == 0, ended.stderr
        assert [server.recv(65_536) for _ in LINES] == LINES


def test_a_line_beyond_a_datagram_is_told_and_the_others_go(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "d"))
        server.settimeout(30)
        text = b"a\n" + b"x" * 70_000 + b"\nb\n"
        ended = send("--to", f"unix-datagram:{tmp_path}/d", "--format", "lines", stdin=text)
        assert ended.returncode == 1
        assert b"larger than 65535 bytes" in ended.stderr
        assert b"2 sent, 1 failed" in ended.stderr
        assert [server.recv(100), server.recv(100)] == [b"a", b"b"]


def test_a_daemon_that_refuses_the_client_ends_it_with_the_sums(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        daemon.skew = 1
        ended = send("--to", daemon.address, "--topic", "t", stdin=b"a\nb\n")
    assert ended.returncode == 1
    assert b"sequence_gap" in ended.stderr
    assert b"ingestd send: 0 sent, 2 failed\n" in ended.stderr


def test_sending_ends_where_nobody_reads_the_offsets(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ingestd", "send", "--topic", "t", "--ack", "delivered", "--to"]
    with FakeDaemon(tmp_path) as daemon, subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        try:
            with subprocess.Popen(
                [*command, daemon.address], stdin=endless.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as sender:
                assert sender.stdout is not None
                assert sender.stderr is not None
                sender.stdout.readline()
                sender.stdout.close()
                try:
                    assert sender.wait(60) == 1
                finally:
                    sender.kill()
                (said,) = sender.stderr.read().splitlines()
        finally:
            endless.kill()
    assert said.endswith(b" sent, 0 failed")


def interrupted(daemon: FakeDaemon, *words: str, at_its_end: bool) -> bytes:
    """What is said by a sender of two lines that the daemon has when SIGINT comes; ``at_its_end``: stdin is closed."""
    command = [sys.executable, "-m", "ingestd", "send", "--topic", "t", "--to", daemon.address, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as sender:
        assert sender.stdin is not None
        assert sender.stderr is not None
        try:
            sender.stdin.write(b"a\nb\n")
            sender.stdin.flush()
            if at_its_end:
                sender.stdin.close()
            deadline = time.monotonic() + 30
            while len(daemon.values()) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.2)
            sender.send_signal(signal.SIGINT)
            assert sender.wait(60) == -signal.SIGINT
        finally:
            sender.kill()
        return sender.stderr.read()


def test_who_is_interrupted_says_what_was_sent(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        assert interrupted(daemon, at_its_end=False) == b"ingestd send: 2 sent, 0 failed\n"


def test_who_is_interrupted_hears_of_what_is_not_answered(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        said = interrupted(daemon, "--ack", "delivered", at_its_end=True)
    assert b"0 sent, 0 failed, 2 without an answer" in said


def test_without_stdout_and_stdin_no_fault_of_ours_is_told(tmp_path: Path) -> None:
    words = f"{sys.executable} -m ingestd send --to unix-datagram:{tmp_path}/d --format lines"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "d"))
        silent = subprocess.run(f"echo a | {words} >&-", shell=True, capture_output=True, timeout=60, check=False)
        closed = subprocess.run(f"{words} <&-", shell=True, capture_output=True, timeout=60, check=False)
    assert (silent.returncode, silent.stderr) == (0, b"ingestd send: 1 sent, 0 failed\n")
    assert (closed.returncode, b"cannot read stdin: it is closed" in closed.stderr) == (1, True)


@pytest.mark.parametrize("words", [("--topic", "t"), ("--format", "lines")], ids=["frames", "lines"])
def test_where_nobody_listens_the_status_says_try_later(tmp_path: Path, words: tuple[str, ...]) -> None:
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(stale))
    for path in (stale, tmp_path / "missing"):
        ended = send("--to", f"unix-stream:{path}", *words, stdin=b"a\n")
        assert ended.returncode == 75
        assert b"no daemon at unix-stream:" in ended.stderr
