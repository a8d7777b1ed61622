"""The producer as a library on a real Apache Kafka, read back by confluent-kafka; every command of docs/library.md."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Final

import pytest

from ingestd.producer import AsyncProducer, Future, Producer, ProducerRecord
from ingestd.producer import partition_for_key as keyed
from tests.documents import ROOT, Step, steps_of
from tests.kafka.cluster import Cluster
from tests.kafka.load import make_lines
from tests.kafka.proxy import FaultProxy
from tests.kafka.reader import SentRecord, judge, read_topic, read_until
from tests.kafka.test_readme import Records

PAGE: Final = ROOT / "docs" / "library.md"
COMMAND_SECONDS_MAX: Final = 60.0
FRANCE: Final = (b"Precision Products", b"France")
CUSTOMER: Final = (b"Precision Products", b"\x00\x00\x00\x07\x00\x00\x00\x12Precision Products")
NAMES: Final = ("Banana", "Apple", "Cherry", "Date")
# What each example sends, and what it says.
EXAMPLES: Final[Mapping[str, tuple[str, Records, str]]] = {
    "first_record.py": (
        "CustomerCountry",
        Counter({FRANCE: 3}),
        r"synchronous: partition \d+ offset \d+\nasynchronous: partition \d+ offset \d+\n",
    ),
    "custom_serializer.py": (
        "customers",
        Counter({CUSTOMER: 1}),
        r"26 bytes in partition \d at offset 0\nnot sent: .*not a Customer: 'not a customer'\n",
    ),
    "custom_partitioner.py": (
        "orders",
        Counter((name.encode(), b"order %d" % number) for number, name in enumerate(NAMES * 250)),
        r"Apple: partition [012], 250 records\nBanana: partition 3, 250 records\n.*not sent: every record has",
    ),
    "errors.py": (
        "orders",
        Counter({(None, b"good"): 1}),
        r"a good record: in Kafka, at offset \d+\na giant: fatal for this record, RecordTooLargeException: .*"
        r"no broker: TimeoutException, retriable: True \(.*127\.0\.0\.1:1: Connection refused\).*\n",
    ),
}


@pytest.mark.parametrize("kept", ["CreateTime", "LogAppendTime"])
def test_a_repeat_tells_the_times_that_are_in_the_log(
    start_cluster: Callable[..., Cluster], topic_name: str, kept: str
) -> None:
    """A broker answers a repeat with its batch's timestamp, whichever times the topic keeps."""
    with FaultProxy() as proxy:
        cluster = start_cluster(advertised=[proxy.port])
        proxy.target = cluster.ports[0]
        cluster.create_topic(topic_name, config={"message.timestamp.type": kept})
        now_ms = time.time_ns() // 1_000_000
        with Producer({"bootstrap.servers": f"127.0.0.1:{proxy.port}", "linger.ms": 20}) as producer:
            first = producer.send(ProducerRecord(topic_name, b"0")).result(30)
            proxy.withhold_answers()
            sent = [
                producer.send(ProducerRecord(topic_name, b"%d" % hours, timestamp_ms=now_ms - hours * 3_600_000))
                for hours in (1, 2)
            ]
            assert len(read_until(cluster.direct, topic_name, 3)) == 3
            proxy.cut()
            proxy.heal()
            told = [first, *(future.result(30) for future in sent)]
    log = read_topic(cluster.direct, topic_name)
    assert [(record.offset, record.timestamp_ms) for record in log] == [(one.offset, one.timestamp_ms) for one in told]


def do(step: Step, bootstrap: str) -> tuple[str, Records]:
    """Runs what the page says in the project's folder, with another broker; returns what is then in which topic."""
    text = step.text.replace("127.0.0.1:9092", bootstrap)
    if step.is_program:
        say([sys.executable, "-c", text])
        count = len(re.findall(r"\bproducer\.send\(record\b", text))
        assert count >= 1, f"sends no record that this test knows:\n{text}"
        return "CustomerCountry", Counter({FRANCE: count})
    found = re.fullmatch(rf"python (examples/library/(\w+\.py)) {bootstrap}", text)
    assert found, f"nobody knows how to test: {step.text}"
    topic, records, says = EXAMPLES[found[2]]
    said = say([sys.executable, str(ROOT / found[1]), bootstrap])
    assert re.search(says, said, re.S), said
    return topic, records


def say(command: Sequence[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=COMMAND_SECONDS_MAX, check=False
    )
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_every_command_of_the_page(kafka: Cluster) -> None:
    for topic in ("CustomerCountry", "customers", "orders"):
        kafka.create_topic(topic, 4)
    steps = list(steps_of(PAGE.read_text()))
    sent: dict[str, Records] = {}
    # Side by side: most of a program's time goes into its imports.
    with ThreadPoolExecutor(3) as pool:
        for topic, records in pool.map(do, steps, repeat(kafka.bootstrap)):
            sent.setdefault(topic, Counter()).update(records)
    shown = {found[1] for step in steps if (found := re.search(r"examples/library/(\w+\.py)", step.text))}
    assert shown == set(EXAMPLES) == {path.name for path in (ROOT / "examples/library").glob("*.py")}
    for topic, records in sent.items():
        assert Counter((record.key, record.value) for record in read_topic(kafka.direct, topic)) == records, topic


def test_many_threads_lose_nothing_and_each_keeps_its_order(kafka: Cluster, topic_name: str, seed: int) -> None:
    kafka.create_topic(topic_name, 4)
    sent: dict[str, list[SentRecord]] = {}
    futures: dict[bytes, Future] = {}

    def run(name: str) -> None:
        sent[name] = list(make_lines(name, 5000, seed=seed))
        for record in sent[name]:
            futures[record.value] = producer.send(ProducerRecord(topic_name, record.value, record.key))

    with Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 1, "compression.type": "lz4"}) as producer:
        threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    read = read_topic(kafka.direct, topic_name)
    verdict = judge(sent, read)
    assert verdict.clean, verdict
    told = {value: (future.result(0).partition, future.result(0).offset) for value, future in futures.items()}
    assert told == {record.value: (record.partition, record.offset) for record in read}
    assert {record.partition for record in read} == {keyed(record.key or b"", 4) for record in read}


def test_headers_times_tombstones_and_partitions_arrive_as_they_were_sent(kafka: Cluster, topic_name: str) -> None:
    kafka.create_topic(topic_name, 2)
    headers = (("trace", b"\x00\xff"), ("empty", b""), ("null", None), ("trace", b"again"))
    with Producer({"bootstrap.servers": kafka.bootstrap}) as producer:
        first = ProducerRecord(topic_name, "wert", key="schlüssel", partition=1, timestamp_ms=1_234, headers=headers)
        metadata = producer.send(first).result(30)
        producer.send(ProducerRecord(topic_name, None, key=b"", partition=1)).result(30)
    assert (metadata.partition, metadata.timestamp_ms, metadata.serialized_key_size) == (1, 1_234, 10)
    one, two = read_topic(kafka.direct, topic_name)
    assert (one.key, one.value, one.headers, one.timestamp_ms) == ("schlüssel".encode(), b"wert", headers, 1_234)
    assert (two.key, two.value, two.partition) == (b"", None, 1)


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_each_level_of_acks(kafka: Cluster, topic_name: str, acks: str) -> None:
    kafka.create_topic(topic_name)
    config = {"bootstrap.servers": kafka.bootstrap, "acks": acks, "enable.idempotence": acks == "all"}
    with Producer(config) as producer:
        futures = [producer.send(ProducerRecord(topic_name, f"{number}")) for number in range(1000)]
    expected = [-1] * 1000 if acks == "0" else list(range(1000))
    assert [future.result(0).offset for future in futures] == expected
    assert [record.value for record in read_topic(kafka.direct, topic_name)] == [b"%d" % n for n in range(1000)]


def test_on_an_event_loop_of_the_programs(kafka: Cluster, topic_name: str) -> None:
    async def scenario() -> list[int]:
        async with AsyncProducer({"bootstrap.servers": kafka.bootstrap}) as producer:
            futures = [await producer.send(ProducerRecord(topic_name, f"{number}")) for number in range(2000)]
            return [metadata.offset for metadata in await asyncio.gather(*futures)]

    kafka.create_topic(topic_name)
    assert asyncio.run(scenario()) == list(range(2000))
    assert [record.value for record in read_topic(kafka.direct, topic_name)] == [b"%d" % n for n in range(2000)]
