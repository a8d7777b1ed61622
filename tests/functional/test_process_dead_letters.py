"""The bounds of dead letters as the daemon keeps them: real processes, a scripted broker that refuses everything."""

import socket
from pathlib import Path

from ingestd import letters
from tests.fakes.broker import PRODUCE, error
from tests.fakes.threaded import scripted
from tests.kafka.daemon import Daemon, Setting

LISTENER = {"name": "t", "listen": "unix-stream:{sockets}/t", "format": "lines", "topic": "t"}
POLICY_VIOLATION = 44


def refused(tmp_path: Path, settings: dict[str, Setting], old_days: list[str]) -> tuple[list[str], str]:
    """One record fails; returns the days that then have letters, and the log."""
    with scripted(t=1) as cluster:
        cluster.call(lambda: cluster.broker.control(PRODUCE, error(POLICY_VIOLATION), times=100))
        changes: dict[str, Setting] = {"linger.ms": 0, "buffer.memory": 4 << 20}
        daemon = Daemon(tmp_path, cluster.bootstrap, [LISTENER], workers=1, producer=changes, settings=settings)
        try:
            daemon.state_directory.mkdir()
            for day in old_days:
                letters.file_of(daemon.state_directory, day).write_bytes(b"{}\n" * 100)
            daemon.start()
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(f"{daemon.sockets}/t")
                peer.sendall(b"value\n")
            assert daemon.wait_settled(1)["failed"] == {"broker_refused": 1}
            assert daemon.stop() == 0
            return letters.days(daemon.state_directory), daemon.log.read_text()
        finally:
            daemon.close()


def test_days_that_are_over_are_removed(tmp_path: Path) -> None:
    days, log = refused(tmp_path, {"dead.letters.days.max": 3}, ["20200101", "20200102"])
    assert len(days) == 1
    assert days[0] > "2020"
    assert "the dead letters of 20200101 were removed" in log


def test_letters_that_find_no_room_are_lost_and_delivery_goes_on(tmp_path: Path) -> None:
    days, log = refused(tmp_path, {"dead.letters.bytes.max": 100, "dead.letters.days.max": 36_500}, ["20200101"])
    assert days == []
    assert "1 dead letter of t lost" in log
    assert "dead.letters.bytes.max = 100" in log
