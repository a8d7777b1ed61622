"""The real daemon with real workers, Kafka away: what it takes, keeps and answers, through deaths and bad clients.

Partition counts are declared, so that records are accepted without a broker.
"""

import contextlib
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ingestd.client import answers, frame
from tests.fakes.threaded import scripted
from tests.kafka.daemon import Daemon, Setting

APP: dict[str, Setting] = {
    "name": "app",
    "listen": "unix-stream:{sockets}/app",
    "format": "frames",
    "topics": ["t", "nowhere"],
}
LINES: dict[str, Setting] = {"name": "lines", "listen": "unix-stream:{sockets}/lines", "format": "lines", "topic": "t"}
NOWHERE: dict[str, Setting] = {**LINES, "topic": "nowhere"}
LOG: dict[str, Setting] = {"name": "log", "listen": "unix-datagram:{sockets}/log", "format": "raw", "topic": "t"}

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[MakeDaemon]:
    made: list[Daemon] = []

    def make(
        *listeners: Mapping[str, Setting],
        settings: Mapping[str, Setting] | None = None,
        bootstrap: str = "127.0.0.1:9",
        topics: Mapping[str, Mapping[str, Setting]] | None = None,
        **more: Any,
    ) -> Daemon:
        daemon = Daemon(
            tmp_path / str(len(made)),
            bootstrap,
            listeners or (APP,),
            topics={"t": {"partitions": 2}, **(topics or {})},
            settings={"stop.timeout.ms": 300, **(settings or {})},
            **{"producer": {"buffer.memory": 8 << 20, "max.block.ms": 500}, **more},
        )
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


def records(first: int, *values: bytes, topic: str = "t") -> bytes:
    name = topic.encode()
    body = struct.pack("<HHIQH", 0, 0, len(values), first, len(name)) + name
    for value in values:
        body += struct.pack("<IB", 1 + len(value), 0x10) + value
    return frame.frame(frame.RECORDS, body, frame.TOPIC_NAME)


OPEN: list[socket.socket] = []


@pytest.fixture(autouse=True)
def close_sockets() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def connect(path: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A connected Unix socket, closed behind the test."""
    OPEN.append(socket.socket(socket.AF_UNIX, kind))
    OPEN[-1].connect(path)
    return OPEN[-1]


class Peer:
    """A client that speaks frames by hand."""

    def __init__(self, path: str, *hello: bytes) -> None:
        self.socket = connect(path)
        self.socket.settimeout(30)
        self._reader = frame.FrameReader()
        self._frames: list[tuple[int, bytes]] = []
        for each in hello:
            self.socket.sendall(each)

    def read(self) -> tuple[int, bytes]:
        """The next frame; (0, b"") at the end."""
        while not self._frames:
            data = self.socket.recv(65536)
            if not data:
                return 0, b""
            self._frames += [(kind, body) for kind, _, body in self._reader.feed(data)]
        return self._frames.pop(0)

    def grant(self) -> answers.Grant:
        kind, body = self.read()
        assert kind == frame.GRANT
        return answers.Grant.decode(body)

    def accepted(self) -> tuple[int, int]:
        kind, body = self.read()
        assert kind == frame.ACCEPTED, (kind, body)
        return answers.Accepted.decode(body)


def hello(answer: int = frame.ANSWER_ACCEPTED, session_id: bytes = frame.NO_SESSION) -> bytes:
    return frame.Hello(answer, True, session_id).encode()


def test_what_was_accepted_survives_the_death_of_everything(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(APP, LINES, LOG)
    daemon.start()
    with socket.socket(socket.AF_UNIX) as lines, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        lines.connect(f"{daemon.sockets}/lines")
        lines.sendall(b"one\ntwo\nthree")
        log.connect(f"{daemon.sockets}/log")
        for number in range(50):
            log.send(b"%d" % number)
    peer = Peer(f"{daemon.sockets}/app", hello())
    grant = peer.grant()
    peer.socket.sendall(records(1, b"a", b"b", b"c"))
    assert peer.accepted() == (1, 3)
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 56, 10, "all accepted")
    daemon.kill_all()
    daemon.start()
    books = daemon.ledger()
    assert (books["received"], books["accepted"], books["buffered"], books["balanced"]) == (56, 56, 56, True)
    again = Peer(grant.path, hello(session_id=grant.session_id), records(2, b"b", b"c", b"d"))
    assert again.grant()[:4] == (frame.ANSWER_ACCEPTED, frame.SESSION_RESUMED, grant.session_id, 3)
    assert [again.accepted(), again.accepted()] == [(1, 3), (4, 4)]
    assert daemon.ledger()["repeated"] == 2
    assert daemon.stop() == 0


def test_a_session_waits_in_the_backlog_while_its_worker_is_replaced(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    first = Peer(f"{daemon.sockets}/app", hello())
    grant = first.grant()
    worker = int(grant.path.rpartition(".")[2])
    daemon.kill_worker(worker)
    began = time.monotonic()
    again = Peer(grant.path, hello(session_id=grant.session_id))
    assert again.grant().resumed == frame.SESSION_RESUMED
    assert time.monotonic() - began < 20
    assert daemon.restarts()[worker] == 1


def test_a_session_survives_another_size_and_number_of_arenas(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(workers=3)
    daemon.start()
    peers = [Peer(f"{daemon.sockets}/app.{worker}", hello()) for worker in range(3)]
    grants = [peer.grant() for peer in peers]
    for peer in peers:
        peer.socket.sendall(records(1, b"x", b"y"))
        assert peer.accepted() == (1, 2)
    daemon.stop()
    daemon.configure(workers=1, producer={"buffer.memory": 4 << 20}, settings={"stop.timeout.ms": 300})
    daemon.start()
    for grant in grants:
        again = Peer(f"{daemon.sockets}/app", hello(session_id=grant.session_id), records(1, b"x", b"y", b"z"))
        assert again.grant()[1:4] == (frame.SESSION_RESUMED, grant.session_id, 2)
        assert [again.accepted(), again.accepted()] == [(1, 2), (3, 3)]
    books = daemon.ledger()
    assert (books["accepted"], books["buffered"], books["repeated"], books["balanced"]) == (9, 9, 6, True)


@pytest.mark.parametrize("durability", ["process", "memory"])
def test_what_an_older_arena_holds_outlives_the_workers_that_drain_it(make_daemon: MakeDaemon, durability: str) -> None:
    daemon = make_daemon(LINES, workers=1)
    daemon.start()
    connect(f"{daemon.sockets}/lines").sendall(b"one\ntwo\n")
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 2, 10, "all accepted")
    daemon.stop()
    settings: dict[str, Setting] = {"stop.timeout.ms": 300, "durability": durability}
    daemon.configure(workers=1, producer={"buffer.memory": 4 << 20}, settings=settings)
    daemon.start()
    daemon.kill_worker(0)
    daemon.wait_for(lambda: daemon.restarts() == [1], 10, "its death to be seen")
    daemon.wait_ready()
    books = daemon.ledger()
    assert (books["accepted"], books["buffered"], books["balanced"]) == (2, 2, True)


def test_a_stop_reads_senders_to_the_end(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(APP, LINES, settings={"stop.timeout.ms": 1500})
    daemon.start()
    peer = Peer(f"{daemon.sockets}/app", hello())
    peer.grant()
    lines = connect(f"{daemon.sockets}/lines")
    os.kill(daemon.worker_pids()[0], signal.SIGSTOP)
    os.kill(daemon.worker_pids()[1], signal.SIGSTOP)
    peer.socket.sendall(b"".join(records(first, b"x" * 1000) for first in range(1, 101)))
    lines.sendall(b"whole\ncut")
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGCONT)
    os.kill(daemon.supervisor_pid, signal.SIGTERM)
    last = 0
    while last < 100:
        _, last = peer.accepted()
    assert peer.read() == (0, b""), "an end, not a reset"
    with pytest.raises(BrokenPipeError):
        # The other worker may be a little later; what it still reads belongs to the line that is cut.
        for _ in range(1000):
            lines.sendall(b"more")
            time.sleep(0.01)
    lines.close()
    assert daemon.wait_end() == 0
    daemon.start()
    books = daemon.ledger()
    assert (books["accepted"], books["rejected"]) == (101, {"cut": 1})


@pytest.mark.parametrize("starved", [False, True], ids=["runs", "sees both at once"])
def test_a_second_sigterm_ends_the_wait_for_kafka(make_daemon: MakeDaemon, *, starved: bool) -> None:
    daemon = make_daemon(LINES, settings={"stop.timeout.ms": 60_000})
    daemon.start()
    with socket.socket(socket.AF_UNIX) as lines:
        lines.connect(f"{daemon.sockets}/lines")
        lines.sendall(b"kept\n")
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 1, 10, "one accepted")
    pids = daemon.worker_pids() if starved else []
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    os.kill(daemon.supervisor_pid, signal.SIGTERM)
    daemon.wait_for(lambda: "DRAINING" in [state.name for state in daemon.worker_states()], 5, "the drain")
    os.kill(daemon.supervisor_pid, signal.SIGTERM)
    daemon.wait_for(lambda: "hurrying" in daemon.report(), 5, "the hurry")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert daemon.wait_end() == 0
    assert daemon.report().count("what stays in the arena: 1 record") == 1


def test_senders_of_an_unknown_topic_wait_and_are_refused(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    waiting = Peer(f"{daemon.sockets}/app", hello())
    waiting.grant()
    began = time.monotonic()
    waiting.socket.sendall(records(1, b"x", topic="nowhere") + records(2, b"y"))
    other = Peer(f"{daemon.sockets}/app", hello(), records(1, b"z"))
    other.grant()
    assert other.accepted() == (1, 1)
    kind, body = waiting.read()
    assert time.monotonic() - began > 0.4
    rejected = answers.Rejected.decode(body)
    assert (kind, rejected.first_sequence, rejected.error_code) == (frame.REJECTED, 1, 3)
    assert waiting.accepted() == (1, 2)


def test_a_line_without_an_end_waits_for_its_topic_and_is_refused(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(LOG, NOWHERE, workers=1)
    daemon.start()
    pids = daemon.worker_pids()
    half_closed, gone = (connect(f"{daemon.sockets}/lines") for _ in range(2))
    began = time.monotonic()
    for lines in (half_closed, gone):
        lines.sendall(b"hello")
    half_closed.shutdown(socket.SHUT_WR)
    gone.close()
    half_closed.settimeout(30)
    assert half_closed.recv(1) == b"", "closed once its record was refused"
    assert time.monotonic() - began > 0.4, "which is after max.block.ms"
    daemon.wait_for(lambda: daemon.ledger()["rejected"] == {"topic_unknown": 2}, 5, "both refused")
    assert daemon.ledger()["balanced"]
    assert daemon.worker_pids() == pids


def test_a_line_without_an_end_waits_for_its_topic_and_is_delivered(make_daemon: MakeDaemon) -> None:
    with scripted(nowhere=1) as cluster:
        cluster.pause()
        patient = {"buffer.memory": 8 << 20, "max.block.ms": 30_000, "reconnect.backoff.max.ms": 100}
        daemon = make_daemon(LOG, NOWHERE, workers=1, producer=patient, bootstrap=cluster.bootstrap)
        daemon.start()
        pids = daemon.worker_pids()
        lines = connect(f"{daemon.sockets}/lines")
        lines.sendall(b"hello")
        lines.close()
        time.sleep(0.3)
        cluster.resume()
        daemon.wait_settled(1)
        assert cluster.call(lambda: cluster.cluster.log("nowhere").end_offset) == 1
        assert daemon.worker_pids() == pids


def send_datagrams(path: str, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(path)
        for datagram in datagrams:
            sender.send(datagram)


@pytest.mark.parametrize("stopped", [False, True], ids=["runs on", "told to stop meanwhile"])
def test_datagrams_wait_at_the_start_for_kafkas_first_answer(make_daemon: MakeDaemon, *, stopped: bool) -> None:
    with scripted(nowhere=1) as cluster:
        cluster.pause()
        daemon = make_daemon(
            LINES,
            {**LOG, "topic": "nowhere"},
            workers=1,
            producer={"buffer.memory": 8 << 20, "reconnect.backoff.max.ms": 100},
            settings={"stop.timeout.ms": 10_000},
            bootstrap=cluster.bootstrap,
        )
        daemon.start()
        send_datagrams(f"{daemon.sockets}/log", b"one", b"two", b"three")
        time.sleep(0.3)
        # a busy host may take seconds to start the command, and so long they do not wait
        assert daemon.look()["ledger"]["received"] == 0
        if stopped:
            os.kill(daemon.supervisor_pid, signal.SIGTERM)
            time.sleep(0.3)
        cluster.resume()
        if stopped:
            assert daemon.wait_end() == 0
        else:
            daemon.wait_settled(3)
            assert daemon.ledger()["rejected"] == {}
        assert cluster.call(lambda: cluster.cluster.log("nowhere").end_offset) == 3


def test_datagrams_do_not_wait_for_long_where_kafka_is_away(make_daemon: MakeDaemon) -> None:
    known = {**LOG, "name": "known", "listen": "unix-datagram:{sockets}/known"}
    daemon = make_daemon({**LOG, "topic": "nowhere"}, known, workers=1)
    daemon.start()
    began = time.monotonic()
    for name in ("log", "known"):
        send_datagrams(f"{daemon.sockets}/{name}", b"one", b"two")
    daemon.wait_for(lambda: daemon.ledger()["rejected"] == {"topic_unknown": 2}, 10, "the refusal after max.block.ms")
    assert time.monotonic() - began < 20
    assert daemon.ledger()["accepted"] == 2
    assert "listener log: the partition count of nowhere is not known yet" in daemon.report()
    assert "listener known" not in daemon.report()


def test_a_fast_topic_does_not_linger_with_a_slow_one(make_daemon: MakeDaemon) -> None:
    slow: dict[str, Setting] = {**NOWHERE, "name": "slow", "listen": "unix-stream:{sockets}/slow"}
    with scripted(t=2, nowhere=1) as cluster:
        daemon = make_daemon(
            LINES, slow, workers=1, topics={"nowhere": {"linger.ms": 80_000}}, bootstrap=cluster.bootstrap
        )
        daemon.start()
        connect(f"{daemon.sockets}/slow").sendall(b"x\n")
        daemon.wait_for(lambda: daemon.ledger()["accepted"] == 1, 10, "the slow one's")
        connect(f"{daemon.sockets}/lines").sendall(b"x\n")
        daemon.wait_for(lambda: daemon.ledger()["delivered"] == 1, 10, "the fast one's")
        assert daemon.ledger()["accepted"] == 2
        assert cluster.call(lambda: cluster.cluster.log("nowhere").end_offset) == 0


def test_a_full_arena_holds_senders_up_and_costs_nothing(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(LINES, workers=1, producer={"buffer.memory": 4 << 20})
    daemon.start()
    lines = connect(f"{daemon.sockets}/lines")
    lines.settimeout(1)

    def full() -> bool:
        """Nothing is taken for a second, and not because the worker gets no turn."""
        with contextlib.suppress(TimeoutError):
            while True:
                lines.sendall(b"x" * 999 + b"\n")
        level: float = daemon.look()["workers"][0]["arena"]["level"]
        return level > 0.95

    daemon.wait_for(full, 30, "a full arena")
    assert daemon.cost_of_waiting(2, 0.06) < 0.06
    books = daemon.ledger()
    assert books["balanced"]
    assert books["rejected"] == {}
    assert books["buffered"] > 500
    lines.close()


def test_a_client_that_reads_no_answers_is_not_read(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(workers=1)
    daemon.start()
    deaf = Peer(f"{daemon.sockets}/app", frame.Hello(frame.ANSWER_ACCEPTED).encode())
    deaf.socket.settimeout(2)
    # Every record is refused, with a sentence: answers far larger than what asks for them.
    sequence = 0
    with pytest.raises(TimeoutError):
        while sequence < 2_000_000:
            frames = b"".join(
                records(sequence + 2 * n + 1, b"", topic="elsewhere") + records(sequence + 2 * n + 2, b"x")
                for n in range(8)
            )
            deaf.socket.sendall(frames)
            sequence += 16
    honest = Peer(f"{daemon.sockets}/app", hello(), records(1, b"z"))
    honest.grant()
    assert honest.accepted() == (1, 1)


def test_descriptors_that_a_peer_passes_are_not_kept(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(LINES, LOG, workers=1)
    daemon.start()
    directory = Path(f"/proc/{daemon.worker_pids()[0]}/fd")
    lines = connect(f"{daemon.sockets}/lines")
    log = connect(f"{daemon.sockets}/log", socket.SOCK_DGRAM)
    lines.sendall(b"x\n")
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 1, 10, "one accepted")
    before = len(list(directory.iterdir()))
    for _ in range(20):
        socket.send_fds(lines, [b"x\n"], [0] * 100)
        socket.send_fds(log, [b"x"], [0] * 100)
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 41, 10, "all accepted")
    assert len(list(directory.iterdir())) == before
    lines.close()
    log.close()


def test_connections_beyond_the_limit_are_turned_away(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon({**LINES, "connections_max": 10}, workers=1)
    daemon.start()
    peers = [connect(f"{daemon.sockets}/lines") for _ in range(30)]
    for peer in peers:
        peer.settimeout(0.2)
    daemon.wait_for(lambda: daemon.status()["workers"][0]["connections"] == 10, 10, "ten connections")
    daemon.wait_for(lambda: daemon.status()["workers"][0]["listener_errors"] == 20, 10, "the others turned away")
    ended = 0
    for peer in peers:
        with contextlib.suppress(TimeoutError):
            ended += peer.recv(1) == b""
        peer.close()
    assert ended == 20
    daemon.wait_for(lambda: daemon.status()["workers"][0]["connections"] == 0, 10, "none")
    late = connect(f"{daemon.sockets}/lines")
    late.sendall(b"late\n")
    daemon.wait_for(lambda: daemon.ledger()["accepted"] == 1, 10, "the late one accepted")
    late.close()


def test_a_worker_without_descriptors_turns_away_and_recovers(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(LINES, workers=1)
    daemon.start()
    pid = daemon.worker_pids()[0]
    used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 5, 1024))
    peers = [connect(f"{daemon.sockets}/lines") for _ in range(40)]
    daemon.wait_for(lambda: daemon.status()["workers"][0]["listener_errors"] >= 30, 10, "connections turned away")
    assert daemon.cost_of_waiting(1, 0.2) < 0.2
    for peer in peers:
        peer.close()
    daemon.wait_for(lambda: daemon.status()["workers"][0]["connections"] == 0, 10, "none")
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(f"{daemon.sockets}/lines")
        late.sendall(b"late\n")
        daemon.wait_for(lambda: daemon.ledger()["accepted"] == 1, 10, "the late one accepted")


@pytest.mark.soak  # it waits as long as a worker does for the lock of one that is dying
def test_an_arena_of_another_daemon_is_named(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    shared = str(tmp_path / "arenas")
    first = make_daemon(LINES, settings={"arena.directory": shared})
    first.start()
    second = make_daemon(LINES, settings={"arena.directory": shared})
    second.start(ready=False)
    assert second.wait_end() == 75
    assert any(f"in use by process {pid}" in second.report() for pid in first.worker_pids())


def test_durability_memory_leaves_no_arena(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(LINES, settings={"durability": "memory"})
    daemon.start()
    assert not list(daemon.state_directory.glob("*.arena"))
    assert daemon.stop() == 0
