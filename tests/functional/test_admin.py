"""The admin process of the real daemon, Kafka away: what it shows, who cannot hold it up, what its death costs."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from ingestd.admin import server
from ingestd.admin.site import TEXT, Answer
from ingestd.scoreboard import FILE_NAME, Reader, Word, WorkerState
from tests.kafka.daemon import Daemon, Setting
from tests.kafka.processes import free_ports
from tests.unit.admin.test_collector import values

LINES: dict[str, Setting] = {"name": "lines", "listen": "unix-stream:{sockets}/lines", "format": "lines", "topic": "t"}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    yield from made_in(tmp_path)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for all tests that leave it as it was."""
    for made in made_in(tmp_path_factory.mktemp("running")):
        made.start()
        wait_admin(made)
        yield made


def made_in(folder: Path) -> Iterator[Daemon]:
    made = Daemon(
        folder / "daemon",
        "127.0.0.1:9",
        [LINES],
        topics={"t": {"partitions": 2}},
        settings={"stop.timeout.ms": 300, "admin.listen": f"127.0.0.1:{free_ports(1)[0]}"},
        producer={"buffer.memory": 8 << 20},
    )
    yield made
    made.close()


def port_of(daemon: Daemon) -> int:
    return int(daemon.configuration.read_text().partition('admin.listen" = "127.0.0.1:')[2].partition('"')[0])


def get(daemon: Daemon, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, str]:
    with contextlib.closing(HTTPConnection("127.0.0.1", port_of(daemon), timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read().decode()


def admin_row(daemon: Daemon) -> tuple[WorkerState, int, int]:
    """(state, pid, restarts)."""
    with Reader.open(daemon.state_directory / FILE_NAME) as board:
        return board.admin.state, board.admin.get(Word.PID), board.admin.get(Word.RESTARTS)


def wait_admin(daemon: Daemon, restarts: int = 0) -> int:
    daemon.wait_for(
        lambda: admin_row(daemon)[0] is WorkerState.READY and admin_row(daemon)[2] >= restarts, 15, "the admin process"
    )
    return admin_row(daemon)[1]


def connected(daemon: Daemon) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(f"{daemon.sockets}/lines")
    return stream


def workers_of(daemon: Daemon) -> list[tuple[int, int]]:
    with Reader.open(daemon.state_directory / FILE_NAME) as board:
        return [(row.get(Word.PID), row.get(Word.RESTARTS)) for row in board.rows]


def test_every_scrape_balances_while_load_runs(daemon: Daemon) -> None:
    daemon.start()
    wait_admin(daemon)
    stop = threading.Event()

    def load() -> None:
        with contextlib.suppress(ConnectionError), connected(daemon) as stream:
            while not stop.wait(0.01):  # the arena holds some seconds of that
                stream.sendall((b"x" * 50 + b"\n") * 100)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()

    def received_in(found: dict[str, float]) -> float:
        return sum(value for name, value in found.items() if "received_records" in name)

    try:
        daemon.wait_for(lambda: received_in(values(get(daemon, "/metrics")[1])) > 0, 10, "the first records")
        received: list[float] = []
        until = time.monotonic() + 2
        while time.monotonic() < until:
            response, text = get(daemon, "/metrics")
            assert response.status == 200
            found = values(text)
            residuals = {name: value for name, value in found.items() if "accounting_residual" in name}
            assert len(residuals) == 4
            assert not any(residuals.values()), residuals
            received.append(received_in(found))
        assert received == sorted(received)
        assert received[-1] > received[0] > 0
        daemon.wait_for(
            lambda: values(get(daemon, "/metrics")[1])['ingestd_topic_waiting_batches{topic="t"}'] > 0, 5, "its batches"
        )
    finally:
        stop.set()
        # Whoever waits for room in the full arena is let go.
        daemon.close()
        for thread in threads:
            thread.join()


def test_health_and_page_tell_of_workers(running: Daemon) -> None:
    daemon = running
    assert get(daemon, "/healthz")[1] == get(daemon, "/readyz")[1] == "ok\n"
    response, text = get(daemon, "/?some=query")
    assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "with 2 workers</h1>" in text
    response, text = get(daemon, "/metrics", "HEAD")
    assert (response.status, text) == (200, "")
    assert int(response.headers["Content-Length"]) > 10_000
    response, _ = get(daemon, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    response, text = get(daemon, "/metrics", "POST")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    pid = workers_of(daemon)[0][0]
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for(
        lambda: values(get(daemon, "/metrics")[1])['ingestd_worker_restarts_total{worker="0"}'] == 1, 10, "a restart"
    )
    daemon.wait_for(lambda: get(daemon, "/readyz")[0].status == 200, 15, "readiness")


def test_its_death_disturbs_no_worker_and_it_comes_back(running: Daemon) -> None:
    daemon = running
    before = workers_of(daemon)
    with connected(daemon) as stream:
        for restarts in (1, 2):
            os.kill(wait_admin(daemon, restarts - 1), signal.SIGKILL)
            stream.sendall(b"one\n")
            wait_admin(daemon, restarts)
            assert get(daemon, "/readyz")[0].status == 200
    assert values(get(daemon, "/metrics")[1])["ingestd_admin_restarts_total"] == 2
    assert workers_of(daemon) == before
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 2, 5, "what was sent meanwhile")


def test_it_has_no_other_descriptors_than_its_own(running: Daemon) -> None:
    pid = wait_admin(running)
    links = [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]  # noqa: PTH115, PTH208
    assert not [link for link in links if link.endswith((".arena", "lock"))]
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    assert not [line for line in maps if ".arena" in line or "ingestd/hotpath" in line]
    (scoreboard,) = [line for line in maps if line.endswith(f"/{FILE_NAME}")]
    assert scoreboard.split()[1] == "r--s"


def test_slow_and_many_requests_hold_nobody_up(running: Daemon) -> None:
    daemon = running
    slow = []
    try:
        for _ in range(3 * server.CONNECTIONS_MAX):
            slow.append(socket.create_connection(("127.0.0.1", port_of(daemon))))
            slow[-1].send(b"GET / HTTP/1.1\r\nHost:")
        began = time.monotonic()
        assert get(daemon, "/healthz")[0].status == 200
        assert time.monotonic() - began < server.REQUEST_SECONDS
        slow[-1].settimeout(server.REQUEST_SECONDS + 5)
        with contextlib.suppress(ConnectionResetError):
            assert slow[-1].recv(100) == b""
        assert time.monotonic() - began < server.REQUEST_SECONDS + 4
    finally:
        for each in slow:
            each.close()


def test_many_that_connected_while_it_stood_still_cost_it_no_turn(running: Daemon) -> None:
    waiting = []
    pid = wait_admin(running)
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3 * server.CONNECTIONS_MAX):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.1", port_of(running)))
        os.kill(pid, signal.SIGCONT)
        assert get(running, "/healthz")[0].status == 200
    finally:
        os.kill(pid, signal.SIGCONT)
        for each in waiting:
            each.close()
    assert "out of system resource" not in running.log.read_text()


def test_requests_sent_all_at_once_leave_the_loop_its_turns(tmp_path: Path) -> None:
    turns = 0
    answered_in: list[int] = []

    def site(_path: str, _accept: str) -> Answer:
        answered_in.append(turns)
        return Answer(200, TEXT, b"ok\n")

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    async def converse(listening: socket.socket) -> None:
        serving = server.Server(site)
        await serving.start(listening)
        turn()
        reader, writer = await asyncio.open_unix_connection(listening.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * (server.REQUESTS_PER_CONNECTION_MAX + 1))
        answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
        assert [answer[:6] for answer in answers] == [b"200 OK"] * server.REQUESTS_PER_CONNECTION_MAX
        assert [b"Connection: close" in answer for answer in answers[-2:]] == [False, True]
        writer.close()
        serving.close()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/admin")
        listening.listen()
        asyncio.run(asyncio.wait_for(converse(listening), 10))
    assert len(set(answered_in)) == server.REQUESTS_PER_CONNECTION_MAX


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"y" * 1_000_000, b"405"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2 * server.HEAD_BYTES_MAX + b"\r\n\r\n", b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"400"),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbody", b"405"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
    ],
    ids=["huge head", "large body", "large head", "TLS", "no host", "a body", "half a body", "HTTP 1.0"],
)
def test_odd_requests_are_answered_and_closed(running: Daemon, request_bytes: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port_of(running)), timeout=10) as client:
        client.sendall(request_bytes)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert answer.split(b" ", 2)[1] == status


def test_an_address_in_use_is_told_with_who_uses_it(daemon: Daemon) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import socket,sys,time; s=socket.create_server(('127.0.0.1',int(sys.argv[1]))); print('on',flush=True);"
            " time.sleep(60)",
            str(port_of(daemon)),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"on\n"
        ended = run(daemon, "run", {"WAIT_MS": 0})
        assert ended.returncode == 75
        assert f"admin.listen = 127.0.0.1:{port_of(daemon)} is in use by process {holder.pid}" in ended.stderr
    finally:
        holder.kill()
        holder.communicate()


def run(daemon: Daemon, command: str, patience: dict[str, int]) -> Any:
    program = (
        "import sys; from ingestd.supervisor import lock; from ingestd.cli.main import main;"
        f" lock.WAIT_MS = {patience['WAIT_MS']}; sys.exit(main([{command!r}, '-c', {str(daemon.configuration)!r}]))"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)


def test_the_drain_can_be_watched_to_its_end(running: Daemon) -> None:
    assert running.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        get(running, "/")
    lines = running.log.read_text().splitlines()
    ended = [line for line in lines if " ended: " in line]
    assert "the admin process" in ended[-1]
    assert "exit status 0" in ended[-1]


def test_a_socket_unit_may_bind_it(tmp_path: Path) -> None:
    path = f"{tmp_path}/admin.sock"
    configuration = tmp_path / "ingestd.toml"
    configuration.write_text(
        f'[daemon]\nstate.directory = "{tmp_path}/state"\nadmin.listen = "unix-stream:{path}"\nstop.timeout.ms = 200\n'
        '[producer]\nbootstrap.servers = ["127.0.0.1:9"]\nbuffer.memory = 8388608\n'
        f'[[listeners]]\nname = "l"\nlisten = "unix-datagram:{tmp_path}/l"\nformat = "raw"\ntopic = "t"\n'
        'when_full = "shed_newest"\n[topics.t]\npartitions = 1\n'
    )
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        bound.listen()
        pid = os.fork()
        if pid == 0:
            os.dup2(bound.fileno(), 3)
            environment = {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "admin"}
            os.execve(sys.executable, [sys.executable, "-m", "ingestd", "run", "-c", str(configuration)], environment)
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(path)
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b""
                while chunk := client.recv(4096):
                    answer += chunk
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        finally:
            os.kill(pid, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert Path(path).exists()
