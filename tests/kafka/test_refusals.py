"""What the broker or the cluster refuses hurts only those concerned."""

import socket
import time
from collections.abc import Callable
from random import Random

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.load import LineSender, make_lines
from tests.kafka.reader import SentRecord, judge, read_until
from tests.kafka.test_end_to_end import line_listener


def test_a_record_that_the_broker_refuses_does_not_take_its_batch_along(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    kafka.create_topic(topic_name, 1, config={"cleanup.policy": "compact"})
    # A line without a tab has no second field: its key is null, which a compacted topic refuses.
    listener = line_listener(topic_name, key={"field": 2, "delimiter": "\t"})
    daemon = make_daemon(kafka.bootstrap, [listener], workers=1, producer={"linger.ms": 200})
    daemon.start()
    good = [SentRecord(b"k%d" % number, b"v%d\tk%d" % (number, number)) for number in range(300)]
    lines = [record.value if number % 10 else b"bad-%d" % number for number, record in enumerate(good)]
    sent = [record for number, record in enumerate(good) if number % 10]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect(f"{daemon.sockets}/lines")
        stream.sendall(b"\n".join(lines) + b"\n")
    books = daemon.wait_settled(300)
    assert books["failed"] == {"record_refused": 30}
    assert books["delivered"] == 270
    verdict = judge({"a": sent}, read_until(kafka.direct, topic_name, 270, 1))
    assert verdict.clean, verdict
    letters = b"".join(path.read_bytes() for path in daemon.state_directory.rglob("*dead*") if path.is_file())
    assert b"bad-290" in letters or b"YmFkLTI5M" in letters


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_batches_that_are_too_large_for_the_topic_are_split_and_the_next_ones_fit(
    codec: str, kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    kafka.create_topic(topic_name, 1, config={"max.message.bytes": "5000"})
    settings = {"linger.ms": 200, "compression.type": codec}
    daemon = make_daemon(kafka.bootstrap, [line_listener(topic_name)], workers=1, producer=settings)
    daemon.start()
    random = Random(seed)
    sent = [
        SentRecord(b"k%d" % (number % 7), b"k%d\t%d %s" % (number % 7, number, random.randbytes(60).hex().encode()))
        for number in range(2000)
    ]
    giant = b"k1\t" + random.randbytes(6000).hex().encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect(f"{daemon.sockets}/lines")
        stream.sendall(b"".join(record.value + b"\n" for record in sent[:1000]))
        stream.sendall(giant + b"\n")
        stream.sendall(b"".join(record.value + b"\n" for record in sent[1000:]))
    books = daemon.wait_settled(2001)
    assert books["failed"] == {"message_too_large": 1}
    verdict = judge({"a": sent}, read_until(kafka.direct, topic_name, 2000, 1))
    assert verdict.clean, verdict
    assert books["possible_duplicates"] == 0


def test_an_unknown_topic_is_refused_after_max_block_and_others_go_on(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    kafka.create_topic(topic_name, 2)
    listeners = [
        line_listener(topic_name),
        line_listener("nowhere", name="lost", listen="unix-stream:{sockets}/lost"),
    ]
    daemon = make_daemon(kafka.bootstrap, listeners, producer={"max.block.ms": 2000})
    daemon.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lost:
        lost.connect(f"{daemon.sockets}/lost")
        began = time.monotonic()
        lost.sendall(b"k\tone\nk\ttwo\n")
        sender = LineSender(f"{daemon.sockets}/lines", make_lines("a", 2000, seed=seed))
        sender.start()
        sent = {"a": sender.finish()}
        daemon.wait_for(lambda: daemon.ledger()["delivered"] == 2000, 20, "the others' records")
        daemon.wait_for(lambda: daemon.ledger()["rejected"] == {"topic_unknown": 2}, 20, "the refusal")
        assert time.monotonic() - began > 1.9
        # Once refused, the topic's records are refused at once; a busy host may need another try to show it.
        took_s: list[float] = []
        while len(took_s) < 3 and not any(each < 1.5 for each in took_s):
            refused = {"topic_unknown": 3 + len(took_s)}
            began = time.monotonic()
            lost.sendall(b"k\tanother\n")
            daemon.wait_for(lambda refused=refused: daemon.ledger()["rejected"] == refused, 20, "the refusal at once")  # type: ignore[misc]
            took_s.append(time.monotonic() - began)
        assert min(took_s) < 1.5
    verdict = judge(sent, read_until(kafka.direct, topic_name, 2000, 1))
    assert verdict.clean, verdict


def test_a_topic_that_appears_later_is_taken(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    daemon = make_daemon(kafka.bootstrap, [line_listener(topic_name)], producer={"max.block.ms": 60_000})
    daemon.start()
    sender = LineSender(f"{daemon.sockets}/lines", make_lines("a", 500, seed=seed))
    sender.start()
    time.sleep(1)
    kafka.create_topic(topic_name, 2)
    sent = {"a": sender.finish()}
    books = daemon.wait_settled(500)
    assert (books["rejected"], books["delivered"]) == ({}, 500)
    verdict = judge(sent, read_until(kafka.direct, topic_name, 500, 1))
    assert verdict.clean, verdict
