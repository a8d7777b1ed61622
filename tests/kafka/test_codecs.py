"""Every codec and level class through the real daemon, read back by librdkafka and by Kafka's own consumer."""

from base64 import b64encode
from collections.abc import Callable
from random import Random

from ingestd.client import Producer, ProducerRecord
from tests.kafka.cluster import Cluster
from tests.kafka.daemon import Daemon
from tests.kafka.reader import read_until

CODECS = {
    "none": {},
    "gzip": {"compression.type": "gzip"},
    "gzip1": {"compression.type": "gzip", "compression.gzip.level": 1},
    "gzip9": {"compression.type": "gzip", "compression.gzip.level": 9},
    "snappy": {"compression.type": "snappy"},
    "lz4": {"compression.type": "lz4"},
    "lz41": {"compression.type": "lz4", "compression.lz4.level": 1},
    "lz417": {"compression.type": "lz4", "compression.lz4.level": 17},
    "zstd": {"compression.type": "zstd"},
    "zstdfast": {"compression.type": "zstd", "compression.zstd.level": -100},
    "zstd22": {"compression.type": "zstd", "compression.zstd.level": 22},
}
STORED_OTHERWISE = {"zstdfast": "gzip", "lz41": "zstd", "gzip9": "lz4", "snappy": "uncompressed"}
"""Topics whose broker keeps batches in another codec than the producer's: it has to decompress ours."""


def values(seed: int) -> list[bytes]:
    """One line each: tiny, a few, beyond one lz4 block, large; with and without anything to gain."""
    random = Random(seed)
    found = [b"1"]
    for size in (300, 20_000, 70_000, 300_000, 900_000):
        found.append((b"%d the same words again, " % size * (size // 20))[:size])
        found.append(b64encode(random.randbytes(size * 3 // 4)))
    return found


def test_every_codec_and_level_is_read_by_librdkafka_and_by_java(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    topics = {name: f"{topic_name}-{name}" for name in CODECS}
    for name, topic in topics.items():
        kept = {"compression.type": STORED_OTHERWISE[name]} if name in STORED_OTHERWISE else None
        kafka.create_topic(topic, config=kept)
    listener = {"name": "app", "listen": "unix-stream:{sockets}/app", "format": "frames", "topics": [*topics.values()]}
    daemon = make_daemon(
        kafka.bootstrap, [listener], workers=1, topics={topics[name]: settings for name, settings in CODECS.items()}
    )
    daemon.start()
    sent = values(seed)
    with Producer(daemon.address("unix-stream:{sockets}/app")) as producer:
        futures = [producer.send(ProducerRecord(topic, value)) for value in sent for topic in topics.values()]
        offsets = [future.result(60).offset for future in futures]
    assert offsets == [index for index in range(len(sent)) for _ in topics]
    for name, topic in topics.items():
        assert [record.value for record in read_until(kafka.direct, topic, len(sent), 5)] == sent, name
    total = len(sent) * len(topics)
    read = kafka.tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        *("--include", f"{topic_name}-.*", "--from-beginning", "--max-messages", str(total), "--timeout-ms", "20000"),
    )
    # The consumer takes its topics in an order of its own.
    assert sorted(line.encode() for line in read.splitlines()) == sorted(sent * len(topics))
    plain = kafka.stored_bytes(topics["none"])
    for name, topic in topics.items():
        if name != "none" and name not in STORED_OTHERWISE:
            assert kafka.stored_bytes(topic) < 0.9 * plain, name
