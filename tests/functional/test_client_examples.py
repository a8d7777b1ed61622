"""The programs of examples/, run as a reader would run them."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.daemon import FakeDaemon, Taken

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(command: list[str], address: str = "", text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "INGESTD_ADDRESS": address, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, input=text, env=environment, capture_output=True, text=True, timeout=60, check=False)


def python(name: str, address: str, *arguments: str) -> str:
    done = run([sys.executable, str(EXAMPLES / name), *arguments], address)
    assert done.returncode == 0, done.stderr
    return done.stdout


def records(daemon: FakeDaemon) -> list[Taken]:
    return [record for session in daemon.sessions.values() for record in session.records]


def test_first_record(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        out = python("first_record.py", daemon.address)
        sent = [(record.topic, record.key, record.value) for record in records(daemon)]
    assert sent == [("CustomerCountry", b"Precision Products", b"France")] * 3
    assert "synchronous: partition" in out
    assert "asynchronous: partition" in out
    assert out.count("offset") == 2


def test_asynchronous(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        out = python("asynchronous.py", daemon.address, "clicks", "3000")
        assert len(records(daemon)) == 3000
    counts = [int(line.split(": ")[1]) for line in out.splitlines() if line.startswith("partition")]
    assert sum(counts) == 3000
    assert "all answered after" in out


def test_custom_serializer(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as daemon:
        out = python("custom_serializer.py", daemon.address)
        [record] = records(daemon)
    assert record.value == b"\x00\x00\x00\x07\x00\x00\x00\x12Precision Products"
    assert record.headers == [("format", b"customer-1")]
    assert "26 bytes" in out


@pytest.fixture(scope="module")
def c_client(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = str(tmp_path_factory.mktemp("c") / "client")
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    built = run(["cc", "-O1", "-g", *warnings, *sanitizers, "-o", program, str(EXAMPLES / "client.c")])
    assert built.returncode == 0, built.stderr
    return program


def test_the_c_client_compiles_optimised_without_warnings(tmp_path: Path) -> None:
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    built = run(["cc", *flags, "-o", str(tmp_path / "client"), str(EXAMPLES / "client.c")])
    assert built.returncode == 0, built.stderr


def test_the_c_client_sends_lines_and_prints_where_they_are(tmp_path: Path, c_client: str) -> None:
    with FakeDaemon(tmp_path) as daemon:
        done = run([c_client, daemon.path, "CustomerCountry", "Precision Products"], text="France\n\nUSA")
        assert done.returncode == 0, done.stderr
        sent = [(record.topic, record.key, record.value) for record in records(daemon)]
        assert len(daemon.ended) == 1
    assert sent == [("CustomerCountry", b"Precision Products", value) for value in (b"France", b"", b"USA")]
    assert done.stdout == "1 delivered 0 0\n2 delivered 0 1\n3 delivered 0 2\n"


def test_the_c_client_reports_what_was_refused(tmp_path: Path, c_client: str) -> None:
    with FakeDaemon(tmp_path) as daemon:
        daemon.refuse = lambda record: 6 if int(record.value or b"") % 2 else 0
        daemon.fail = lambda record: 1 if record.value == b"4" else 0
        done = run([c_client, daemon.path, "t"], text="".join(f"{number}\n" for number in range(100)))
        [session] = daemon.sessions.values()
        assert len(session.records) == 50
    lines = sorted((int(line.split()[0]), line.split()[1]) for line in done.stdout.splitlines())
    assert [number for number, _ in lines] == list(range(1, 101))
    assert {what for number, what in lines if number % 2 == 0} == {"rejected"}
    assert (5, "failed") in lines
    assert done.returncode == 1


@pytest.mark.parametrize("cut", [1, 7, 50, 333, 2000, 10_000])
def test_the_c_client_resumes(tmp_path: Path, c_client: str, cut: int) -> None:
    text = "".join(f"value {number}\n" for number in range(2000))
    with FakeDaemon(tmp_path) as daemon:
        daemon.cut_received_bytes = 40 + cut * 3
        daemon.cut_sent_bytes = 80 + cut
        done = run([c_client, daemon.path, "t"], text=text)
        assert daemon.values() == [b"value %d" % number for number in range(2000)]
        assert daemon.hellos > 1
    lines = sorted((int(line.split()[0]), line.split()[1]) for line in done.stdout.splitlines())
    assert [number for number, _ in lines] == list(range(1, 2001))
    assert {what for _, what in lines} <= {"delivered", "unknown"}


def test_the_c_client_waits_for_a_daemon_that_restarts(tmp_path: Path, c_client: str) -> None:
    with FakeDaemon(tmp_path) as daemon:
        daemon.delivering = False
        client = subprocess.Popen(
            [c_client, daemon.path, "t"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert client.stdin is not None
        client.stdin.write("one\n")
        client.stdin.flush()
        while not daemon.values():
            time.sleep(0.005)
        daemon.stop()
        client.stdin.write("two\n")
        client.stdin.flush()
        daemon.delivering = True
        daemon.start()
        out, _ = client.communicate("three\n", timeout=30)
        assert daemon.values() == [b"one", b"two", b"three"]
    assert sorted(line.split()[0] for line in out.splitlines()) == ["1", "2", "3"]
    assert client.returncode == 0


def test_the_shell_example_logs_through_logger(tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        environment = {**os.environ, "INGESTD_RAW": str(path)}
        shell = [str(EXAMPLES / "shell.sh"), "syslog"]
        subprocess.run(shell, input="hello\nworld\n", env=environment, text=True, timeout=20, check=True)
        sock.settimeout(5)
        got = [sock.recv(1000) for _ in range(2)]
    assert [data.endswith(word) for data, word in zip(got, (b"hello", b"world"), strict=True)] == [True, True]


def test_the_shell_example_explains_itself_and_names_what_is_missing(tmp_path: Path) -> None:
    shell = str(EXAMPLES / "shell.sh")
    usage = run([shell])
    assert usage.returncode == 2
    assert 'format = "lines"' in usage.stderr
    bare = {"PATH": str(tmp_path)}
    missing = subprocess.run(
        ["/bin/sh", shell, "lines"], env=bare, capture_output=True, text=True, timeout=20, check=False
    )
    assert missing.returncode == 69
    assert "apt-get install socat" in missing.stderr
