"""Where records land on a real broker: where clients with the same rule put them, and where a class in Python says."""

import random
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import Producer as RivalProducer

from ingestd.client import KafkaException, Producer, ProducerRecord, RecordMetadata
from tests.kafka.cluster import Cluster, java_command
from tests.kafka.daemon import Daemon
from tests.kafka.reader import ReadRecord, read_topic

ROOT: Final = Path(__file__).parents[2]
KEYS: Final = 100_000
PARTITIONS: Final = 48
JAVA_SECONDS_MAX: Final = 120
BANANA: Final = "banana_partitioner:BananaPartitioner"


def frames(*topics: str) -> Mapping[str, object]:
    """A listener of the native protocol."""
    return {"name": "app", "listen": "unix-stream:{sockets}/app", "format": "frames", "topics": list(topics)}


def send(daemon: Daemon, records: Sequence[ProducerRecord]) -> dict[bytes, KafkaException]:
    """Sends all and waits until they are accepted; what was refused, by value."""
    refused: dict[bytes, KafkaException] = {}

    def note(value: bytes, _: RecordMetadata | None, error: KafkaException | None) -> None:
        if error is not None:
            refused[value] = error

    with Producer(f"unix-stream:{daemon.sockets}/app", answer="accepted") as producer:
        for record in records:
            producer.send(record, partial(note, record.value))
    return refused


def placed(records: Sequence[ReadRecord]) -> dict[bytes | None, tuple[bytes | None, int]]:
    """Value → (key, partition)."""
    return {record.value: (record.key, record.partition) for record in records}


def random_keys(seed: int, count: int) -> list[bytes]:
    """Of 0 to 64 bytes; those of no bytes are keys, too."""
    choose = random.Random(seed)
    return [choose.randbytes(choose.randint(0, 64)) for _ in range(count)]


def test_keys_land_where_kafkas_java_producer_puts_them(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    """The same 100,000 keys through Java's producer and through ingestd."""
    topics = [f"{topic_name}.{name}" for name in ("java", "ingestd")]
    for topic in topics:
        kafka.create_topic(topic, PARTITIONS)
    keys = random_keys(seed, KEYS)
    source = ROOT / "tests/kafka/KeyWriter.java"
    java = subprocess.run(
        [*java_command(256, quick=True), str(source), kafka.bootstrap, topics[0]],
        input=b"".join(struct.pack(">i", len(key)) + key for key in keys),
        capture_output=True,
        timeout=JAVA_SECONDS_MAX,
        check=False,
    )
    assert java.returncode == 0, java.stderr.decode(errors="replace")[-2000:]
    daemon = make_daemon(kafka.bootstrap, [frames(topics[1])])
    daemon.start()
    values = [struct.pack(">i", number) for number in range(KEYS)]
    without_key = b"no key"
    assert not send(
        daemon,
        [
            *(ProducerRecord(topics[1], value, key) for key, value in zip(keys, values, strict=True)),
            ProducerRecord(topics[1], without_key),
        ],
    )
    daemon.wait_settled(KEYS + 1)
    javas, ours = (placed(read_topic(kafka.bootstrap, topic)) for topic in topics)
    assert ours.pop(without_key)[0] is None
    assert len(javas) == KEYS
    assert javas == ours


def test_each_partitioner_does_what_it_says(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, seed: int
) -> None:
    names = ("theirs", "crc32", "turns", "ignored")
    theirs, crc32, turns, ignored = topics = [f"{topic_name}.{name}" for name in names]
    for topic in topics:
        kafka.create_topic(topic, 12)
    daemon = make_daemon(
        kafka.bootstrap,
        [frames(crc32, turns, ignored)],
        workers=1,
        producer={"partitioner.class": "consistent_random", "batch.size": 4096},
        topics={
            turns: {"partitioner.class": "org.apache.kafka.clients.producer.RoundRobinPartitioner"},
            ignored: {"partitioner.class": "murmur2_random", "partitioner.ignore.keys": True},
        },
    )
    daemon.start()
    keys = [key or b"-" for key in random_keys(seed, 3000)]
    values = [b"%d" % number for number in range(3000)]
    rival = RivalProducer({"bootstrap.servers": kafka.bootstrap, "partitioner": "consistent_random"})
    for key, value in zip(keys, values, strict=True):
        rival.produce(theirs, value=value, key=key)
    assert rival.flush(30) == 0
    records = [ProducerRecord(crc32, value, key) for key, value in zip(keys, values, strict=True)]
    records += [ProducerRecord(turns, value, b"same") for value in values]
    records += [ProducerRecord(ignored, value + bytes(100), b"same") for value in values]
    assert not send(daemon, records)
    daemon.wait_settled(len(records))
    assert placed(read_topic(kafka.bootstrap, crc32)) == placed(read_topic(kafka.bootstrap, theirs))
    assert Counter(record.partition for record in read_topic(kafka.bootstrap, turns)) == dict.fromkeys(range(12), 250)
    spread = Counter(record.partition for record in read_topic(kafka.bootstrap, ignored))
    assert len(spread) > 6, "one key would be in one partition; some 44 draws among 12 are not"


def test_one_big_customer_has_a_partition_of_its_own(
    kafka: Cluster, make_daemon: Callable[..., Daemon], topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of the book, and one that fails: that costs its own records, each told, and no others."""
    folder = Path(make_daemon(kafka.bootstrap, [frames(topic_name)]).folder)
    (folder / "rotten_partitioner.py").write_text(ROTTEN)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'examples'}:{folder}")
    rotten = f"{topic_name}.rotten"
    for topic in (topic_name, rotten):
        kafka.create_topic(topic, 6)
    daemon = make_daemon(
        kafka.bootstrap,
        [frames(topic_name, rotten)],
        topics={
            topic_name: {"partitioner.class": BANANA},
            rotten: {"partitioner.class": "rotten_partitioner:RottenPartitioner"},
        },
    )
    daemon.start()
    customers = [b"Banana", b"Precision Products", b"Apple", b"Cherry"]
    records = [
        ProducerRecord(topic_name, b"%d" % number, customers[0 if number % 2 else number % 4]) for number in range(2000)
    ]
    records += [ProducerRecord(topic_name, b"nobody's"), ProducerRecord(topic_name, b"named", None, 3)]
    records += [ProducerRecord(rotten, b"rotten %d" % number) for number in range(20)]
    refused = send(daemon, records)
    assert refused.keys() == {b"nobody's", *(b"rotten %d" % number for number in range(20))}
    assert {getattr(error, "reason", "") for error in refused.values()} == {"partitioner_failed"}
    books = daemon.wait_settled(2001)
    assert books["rejected"] == {"partitioner_failed": 21}
    found = placed(read_topic(kafka.bootstrap, topic_name))
    assert len(found) == 2001
    assert found.pop(b"named")[1] == 3
    assert {partition for key, partition in found.values() if key == b"Banana"} == {5}
    others = {key: partition for key, partition in found.values() if key != b"Banana"}
    assert all(partition < 5 for partition in others.values())
    log = daemon.log.read_text()
    assert "RottenPartitioner: RuntimeError('rotten')" in log
    assert log.count("(told once)") <= 2, "once per worker"


ROTTEN: Final = """
from ingestd.partitioner import Partitioner

class RottenPartitioner(Partitioner):
    def partition(self, topic, keys, values, partition_count):
        raise RuntimeError("rotten")
"""


def test_a_class_that_cannot_be_loaded_is_a_bad_configuration(
    make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unripe_partitioner.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    daemon = make_daemon(
        "127.0.0.1:9", [frames("fruit")], producer={"partitioner.class": "unripe_partitioner:UnripePartitioner"}
    )
    check = [sys.executable, "-m", "ingestd", "check", "-c", str(daemon.configuration)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 78
    assert "no_such_module_anywhere" in checked.stderr
    daemon.start(ready=False)
    assert daemon.wait_end() == 78
    assert "no_such_module_anywhere" in daemon.log.read_text()
