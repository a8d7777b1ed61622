"""A daemon that stops where Kafka seems to have lost records, or goes on: real processes, a scripted broker."""

import socket
from pathlib import Path

import pytest

from ingestd.admin.status import copy_status
from ingestd.figures import Count
from ingestd.scoreboard import FILE_NAME, Reader
from tests.fakes.threaded import ThreadedCluster, scripted
from tests.functional.producer_rig import lines_of
from tests.kafka.daemon import Daemon

LISTENER = {"name": "t", "listen": "unix-stream:{sockets}/t", "format": "lines", "topic": "t"}


def send(daemon: Daemon, *values: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(f"{daemon.sockets}/t")
        peer.sendall(b"".join(value + b"\n" for value in values))


def written(cluster: ThreadedCluster) -> list[bytes]:
    return cluster.call(lambda: lines_of(cluster.cluster.log("t")))


def lose(cluster: ThreadedCluster) -> None:
    """All but the first record, and the memory of them, is gone from the log."""
    log = cluster.cluster.log("t")
    for state in log.producers.values():
        del state.batches[1:]
    del log.batches[1:]


@pytest.mark.parametrize("choice", ["stop", "continue"])
def test_what_is_done_about_suspected_data_loss_is_a_setting(choice: str, tmp_path: Path) -> None:
    with scripted(t=1) as cluster:
        daemon = Daemon(
            tmp_path,
            cluster.bootstrap,
            [LISTENER],
            workers=1,
            producer={"linger.ms": 0, "buffer.memory": 4 << 20},
            settings={"data.loss.suspected": choice, "stop.timeout.ms": 300},
        )
        try:
            daemon.start()
            for number in range(3):
                send(daemon, b"%d" % number)
                daemon.wait_settled(number + 1)
            cluster.call(lambda: lose(cluster))
            send(daemon, b"3")
            if choice == "continue":
                daemon.wait_settled(4)
                assert daemon.stop() == 0
            else:
                assert daemon.wait_end() == 65
                assert written(cluster) == [b"0"]
                with Reader.open(daemon.state_directory / FILE_NAME) as board:
                    assert copy_status(board).count(Count.DATA_LOSS_SUSPECTED) == 1
                daemon.configure(workers=1, producer={"buffer.memory": 4 << 20}, settings={"stop.timeout.ms": 300})
                daemon.start()
                daemon.wait_settled(4)
            assert written(cluster) == [b"0", b"3"]
            log = daemon.log.read_text()
            assert "t-0: data loss suspected: producer id 0 epoch 0 sequences 3..3" in log
            assert ('data.loss.suspected = "stop"' in log) is (choice == "stop")
        finally:
            daemon.close()
