"""Arenas that are given up, under the real supervisor: a fresh one goes on, books balance, sessions resume."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.client import frame
from ingestd.metrics import Dropped
from tests.functional.process_rig import Rig
from tests.functional.test_process_daemon import LINES, OPEN, MakeDaemon, Peer, connect, hello, make_daemon, records
from tests.kafka.daemon import Daemon

__all__ = ["make_daemon"]


@pytest.fixture(autouse=True)
def close_sockets() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.configure(
        f"[topics.t]\npartitions = 2\n"
        f"[[listeners]]\nname = 'b'\nlisten = 'unix-stream:{made.folder}/b'\nformat = 'frames'\ntopics = ['t']\n"
    )
    yield made
    made.close()


def wait_accepted(daemon: Daemon, count: int) -> None:
    daemon.wait_for(lambda: bool(daemon.ledger()["accepted"] == count), 10, f"{count} accepted")


def wait_replaced(daemon: Daemon, pid: int) -> None:
    daemon.wait_for(lambda: daemon.worker_pids()[0] not in (0, pid), 10, "the successor")
    daemon.wait_ready()


def test_a_fresh_arena_goes_on_for_one_that_failed_three_times(rig: Rig) -> None:
    rig.order("real", "damaged", "faulty", "faulty", "real")
    rig.start()
    pid = rig.wait_ready()
    peer = Peer(f"{rig.folder}/b", hello())
    grant = peer.grant()
    peer.socket.sendall(records(1, b"x", b"y", b"z"))
    assert peer.accepted() == (1, 3)
    os.kill(pid, signal.SIGKILL)
    rig.wait_for(lambda: len(rig.starts()) == 5 and rig.row()[1] == "READY", "the successor")
    assert re.findall(r"died: (.*?);", rig.text) == ["SIGKILL", "SIGSEGV", "exit status 70", "exit status 70"]
    assert not rig.starts()[-1][2], "the successor must not find the old arena"
    assert (rig.state / "worker-0.arena.set-aside-1.booked").exists()
    again = Peer(grant.path, hello(session_id=grant.session_id), records(3, b"z", b"new"))
    assert again.grant()[1:4] == (frame.SESSION_RESUMED, grant.session_id, 3)
    assert [again.accepted(), again.accepted()] == [(1, 3), (4, 4)]
    rig.wait_for(lambda: rig.books()[0].accepted == 4, "the books")
    books, reasons = rig.books()
    assert (books.received, books.dropped, books.buffered, books.balanced) == (4, 3, 1, True)
    assert [(counted.reason, counted.records) for counted in reasons] == [(Dropped.SET_ASIDE, 3)]


def test_a_fresh_arena_goes_on_for_one_with_a_damaged_header(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(workers=1)
    daemon.start()
    peer = Peer(f"{daemon.sockets}/app", hello())
    grant = peer.grant()
    peer.socket.sendall(records(1, b"x", b"y", b"z"))
    assert peer.accepted() == (1, 3)
    daemon.kill_all()
    with (daemon.state_directory / "worker-0.arena").open("r+b") as file:
        file.write(bytes(3 * 4096))
    for _ in range(2):
        daemon.start()
        assert (daemon.state_directory / "worker-0.arena.set-aside-1.booked").exists()
        books = daemon.ledger()
        assert (books["accepted"], books["dropped"], books["balanced"]) == (3, {"set_aside": 3}, True)
        again = Peer(grant.path, hello(session_id=grant.session_id))
        assert again.grant()[1:4] == (frame.SESSION_RESUMED, grant.session_id, 3)
        daemon.stop()


def test_an_arena_of_which_nothing_can_be_read_does_not_stop_the_daemon(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(LINES, workers=1)
    daemon.state_directory.mkdir(parents=True)
    (daemon.state_directory / "worker-0.arena").write_bytes(os.urandom(1 << 16))
    for accepted in (1, 2):
        daemon.start()
        assert (daemon.state_directory / "worker-0.arena.set-aside-1").exists()
        connect(f"{daemon.sockets}/lines").sendall(b"x\n")
        wait_accepted(daemon, accepted)
        assert daemon.status()["set_aside"] == ["worker-0.arena.set-aside-1"]
        daemon.stop()
        assert daemon.log.read_text().count("nothing can be read of") == accepted


def test_what_is_lost_with_a_workers_memory_is_booked(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(LINES, settings={"durability": "memory"}, workers=1)
    daemon.start()
    for number in (1, 2):
        connect(f"{daemon.sockets}/lines").sendall(b"a\nb\nc\n")
        wait_accepted(daemon, 3 * number)
        pid = daemon.worker_pids()[0]
        daemon.kill_worker(0)
        wait_replaced(daemon, pid)
        books = daemon.ledger()
        assert (books["received"], books["buffered"], books["balanced"]) == (3 * number, 0, True)
        assert books["dropped"] == {"memory_lost": 3 * number}
