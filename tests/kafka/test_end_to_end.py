"""The real daemon with two workers, three kinds of socket, a real broker, read back by an independent client."""

import socket
import threading
import time
from collections.abc import Callable, Mapping

import pytest
from confluent_kafka import Producer as RivalProducer

from ingestd.client import KafkaException, Producer, ProducerRecord
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon, free_udp_port
from tests.kafka.load import LineSender, make_lines, send_datagrams
from tests.kafka.reader import SentRecord, judge, read_until

FIELD_KEY = {"field": 1, "delimiter": "\t"}


def line_listener(topic: str, **settings: object) -> Mapping[str, object]:
    """A Unix stream of lines with the first field as the key."""
    return {
        "name": "lines",
        "listen": "unix-stream:{sockets}/lines",
        "format": "lines",
        "topic": topic,
        "key": FIELD_KEY,
        **settings,
    }


def frame_listener(*topics: str, **settings: object) -> Mapping[str, object]:
    """A Unix stream of the native protocol."""
    listen = "unix-stream:{sockets}/app"
    return {"name": "app", "listen": listen, "format": "frames", "topics": list(topics), **settings}


def run_three_sockets(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic: str, lines: int, datagrams: int, seed: int
) -> None:
    """Lines over four connections, datagrams over a Unix path and over UDP, all at once, into one topic."""
    kafka.create_topic(topic, 6)
    udp_port = free_udp_port()
    listeners = [
        line_listener(topic, headers={"host": "gateway-7"}),
        {"name": "log", "listen": "unix-datagram:{sockets}/log", "format": "raw", "topic": topic},
        {
            "name": "devices",
            "listen": f"udp:127.0.0.1:{udp_port}",
            "format": "lines",
            "topic": topic,
            "key": FIELD_KEY,
            "when_full": "block",
            "receive_buffer_bytes": 4 << 20,
        },
    ]
    # Datagrams never wait for a partition count: it is declared, so that none comes too early.
    daemon = make_daemon(kafka.bootstrap, listeners, topics={topic: {"partitions": 6}})
    daemon.start()
    senders = {
        f"stream-{number}": LineSender(
            f"{daemon.sockets}/lines", make_lines(f"stream-{number}", lines // 4, seed=seed + number)
        )
        for number in range(4)
    }
    sent: dict[str, list[SentRecord]] = {}

    def send_unix() -> None:
        unkeyed = (SentRecord(None, value) for _, value in make_lines("unix", datagrams, seed=seed))
        sent["unix"] = send_datagrams(f"{daemon.sockets}/log", unkeyed, rate=10_000)

    def send_udp(name: str) -> None:
        records = make_lines(name, datagrams // 2, seed=seed)
        sent[name] = send_datagrams(("127.0.0.1", udp_port), records, rate=5_000)

    threads = [
        threading.Thread(target=send_unix),
        *(threading.Thread(target=send_udp, args=(n,)) for n in ("udp-0", "udp-1")),
    ]
    for thread in (*senders.values(), *threads):
        thread.start()
    for thread in threads:
        thread.join()
    sent.update({name: sender.finish() for name, sender in senders.items()})
    total = sum(map(len, sent.values()))
    books = daemon.wait_settled(total, 60)
    assert (books["received"], books["accepted"], books["delivered"]) == (total, total, total)
    assert (books["rejected"], books["failed"], books["dropped"], books["kernel_dropped"]) == ({}, {}, {}, 0)
    records = read_until(kafka.direct, topic, total, 1)
    verdict = judge(sent, records)
    assert verdict.clean, verdict
    with_host = sum(record.headers == (("host", b"gateway-7"),) for record in records)
    assert with_host == sum(len(sent[name]) for name in senders)
    assert daemon.stop() == 0


def test_three_sockets_two_workers(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    run_three_sockets(kafka, make_daemon, topic_name, 40_000, 4_000, seed)


@pytest.mark.soak
def test_three_sockets_two_workers_at_full_size(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    run_three_sockets(kafka, make_daemon, topic_name, 1_000_000, 100_000, seed)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_is_read_back(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, codec: str, seed: int
) -> None:
    kafka.create_topic(topic_name, 3)
    daemon = make_daemon(kafka.bootstrap, [line_listener(topic_name)], workers=1, producer={"compression.type": codec})
    daemon.start()
    sender = LineSender(f"{daemon.sockets}/lines", make_lines("a", 20_000, size=200, seed=seed))
    sender.start()
    sent = sender.finish()
    daemon.wait_settled(len(sent))
    verdict = judge({"a": sent}, read_until(kafka.direct, topic_name, len(sent), 1))
    assert verdict.clean, verdict
    stored = kafka.stored_bytes(topic_name)
    handed_over = sum(len(record.value) for record in sent)
    assert stored > handed_over if codec == "none" else stored < handed_over / 2


def test_the_last_line_needs_no_newline_and_an_empty_line_is_refused(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    kafka.create_topic(topic_name)
    daemon = make_daemon(kafka.bootstrap, [line_listener(topic_name)], workers=1)
    daemon.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect(f"{daemon.sockets}/lines")
        stream.sendall(b"k\tfirst\n\nk\tsecond")
    books = daemon.wait_settled(2)
    assert (books["received"], books["rejected"]) == (3, {"empty": 1})
    values = [record.value for record in read_until(kafka.direct, topic_name, 2, 1)]
    assert values == [b"k\tfirst", b"k\tsecond"]


def test_answers_name_the_place_of_every_record(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    kafka.create_topic(topic_name, 3)
    daemon = make_daemon(kafka.bootstrap, [frame_listener(topic_name)])
    daemon.start()
    now_ms = time.time_ns() // 1_000_000
    records = [
        ProducerRecord(topic_name, b"plain"),
        ProducerRecord(topic_name, b"keyed", b"k"),
        ProducerRecord(topic_name, b"an empty key is a key", b""),
        ProducerRecord(topic_name, None, b"tombstone"),
        ProducerRecord(topic_name, b"placed", b"k", partition=2),
        ProducerRecord(topic_name, b"dated", timestamp_ms=now_ms - 3_600_000),
        ProducerRecord(topic_name, b"with headers", headers=[("a", b"1"), ("b", None), ("a", b"2")]),
        ProducerRecord(topic_name, b""),
        ProducerRecord(topic_name, bytes(range(256)) * 1000, b"large"),
    ]
    with Producer(daemon.address("unix-stream:{sockets}/app")) as producer:
        told = [future.result(30) for future in [producer.send(record) for record in records]]
    stored = {(record.partition, record.offset): record for record in read_until(kafka.direct, topic_name, 9, 1)}
    assert len(stored) == len(records)
    for record, metadata in zip(records, told, strict=True):
        found = stored[metadata.partition, metadata.offset]
        assert (found.key, found.value, found.headers) == (record.key, record.value, record.headers)
    assert told[4].partition == 2
    assert stored[told[5].partition, told[5].offset].timestamp_ms == now_ms - 3_600_000
    assert daemon.wait_settled(9)["delivered"] == 9


def test_a_record_off_the_allow_list_is_refused_and_the_others_are_kept(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    kafka.create_topic(topic_name)
    daemon = make_daemon(kafka.bootstrap, [frame_listener(topic_name)], workers=1)
    daemon.start()
    with Producer(daemon.address("unix-stream:{sockets}/app")) as producer:
        first = producer.send(ProducerRecord(topic_name, b"first"))
        with pytest.raises(KafkaException, match=r"not.allowed"):
            producer.send(ProducerRecord("elsewhere", b"x")).result(30)
        last = producer.send(ProducerRecord(topic_name, b"last"))
        assert [first.result(30).offset, last.result(30).offset] == [0, 1]
    books = daemon.wait_settled(2)
    assert (books["received"], books["rejected"]) == (3, {"topic_not_allowed": 1})


def test_keys_go_where_javas_producer_would_put_them(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str
) -> None:
    kafka.create_topic(topic_name, 7)
    daemon = make_daemon(kafka.bootstrap, [frame_listener(topic_name)])
    daemon.start()
    keys = [bytes([number]) * (number % 23) + b"%d" % number for number in range(256)]
    rival = RivalProducer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random", "log_level": 0})
    with Producer(daemon.address("unix-stream:{sockets}/app")) as producer:
        for key in keys:
            producer.send(ProducerRecord(topic_name, b"ours", key))
            rival.produce(topic_name, b"theirs", key)
    assert rival.flush(30) == 0
    records = read_until(kafka.direct, topic_name, 512, 1)
    ours = {record.key: record.partition for record in records if record.value == b"ours"}
    assert ours == {record.key: record.partition for record in records if record.value == b"theirs"}
    assert len(set(ours.values())) == 7
