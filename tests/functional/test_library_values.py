"""What programs hand to ``ingestd.producer.Producer`` besides plain records, and how it ends with them."""

import asyncio
import enum
import logging
import math
import traceback
from typing import Any

import pytest

from ingestd.client.errors import ConfigException, KafkaException
from ingestd.producer import AsyncProducer, Producer, ProducerRecord
from ingestd.producer.library.sender_thread import SenderThread
from tests.fakes.threaded import scripted
from tests.functional.test_library_producer import make


class Names(enum.StrEnum):
    ORDERS = "orders"


def test_a_topic_may_be_of_a_class_of_its_own() -> None:
    with scripted(orders=1) as cluster, make(cluster) as producer:
        assert len(producer.partitions_for(Names.ORDERS)) == 1
        for offset in range(2):  # not known yet, and known
            assert producer.send(ProducerRecord(Names.ORDERS, "v")).result(5).offset == offset


@pytest.mark.parametrize("topic", [None, b"t", Names.ORDERS], ids=repr)
def test_a_topic_that_became_something_else_concerns_its_own_record_only(topic: Any) -> None:
    record = ProducerRecord("t", "v")
    record.topic = topic
    with scripted(t=1, orders=1) as cluster, make(cluster) as producer:
        with pytest.raises(TypeError):
            producer.send(record)
        assert producer.send(ProducerRecord("t", "v")).result(5).offset == 0

        async def scenario() -> None:
            async with AsyncProducer({"bootstrap.servers": cluster.bootstrap}) as other:
                with pytest.raises(TypeError):
                    await other.send(record)
                assert (await (await other.send(ProducerRecord("t", "v")))).offset == 1

        asyncio.run(scenario())


def test_the_fault_that_ended_a_producer_keeps_no_traceback_of_its_callers(caplog: pytest.LogCaptureFixture) -> None:
    def fault() -> None:
        raise ZeroDivisionError("a mistake")

    with scripted(t=1) as cluster, make(cluster) as producer, caplog.at_level(logging.CRITICAL):
        future = producer.send(ProducerRecord("t", "v"))
        producer._thread.call(fault)
        producer._thread.join(5)
        lengths = []
        for _ in range(3):
            with pytest.raises(KafkaException, match="a mistake") as raised:
                producer.send(ProducerRecord("t", "v"))
            lengths.append(len(traceback.extract_tb(raised.value.__traceback__)))
        assert len(set(lengths)) == 1
        assert future.done()


def test_another_cluster_at_the_same_address_ends_the_producer(caplog: pytest.LogCaptureFixture) -> None:
    def replace() -> None:
        cluster.cluster.cluster_id = "other"

    with scripted(t=1) as cluster, make(cluster) as producer, caplog.at_level(logging.CRITICAL):
        producer.send(ProducerRecord("t", "v")).result(5)
        cluster.call(replace)
        with pytest.raises(KafkaException, match="was fake and is other now: this producer ends, a new one can go on"):
            producer.send(ProducerRecord("new", "asks for metadata"))
        with pytest.raises(KafkaException, match="was fake and is other"):
            producer.send(ProducerRecord("t", "v"))


# -- what the program brought along is closed


class Brought:
    """Serializer or partitioner; ``name`` is noted when it is closed."""

    def __init__(self, name: str, closed: list[str]) -> None:
        self.name = name
        self.closed = closed

    def serialize(self, topic: str, data: bytes) -> bytes:  # noqa: ARG002
        return data

    def partition(self, *_: object) -> int:
        return 0

    def close(self) -> None:
        self.closed.append(self.name)
        raise ZeroDivisionError(self.name)


def brought(closed: list[str]) -> dict[str, Any]:
    names = ("key.serializer", "value.serializer", "partitioner.class")
    return {name: Brought(name, closed) for name in names}


def test_whoever_cannot_be_closed_does_not_keep_the_others_open(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []
    with scripted(t=1) as cluster, caplog.at_level(logging.CRITICAL):
        config = {"bootstrap.servers": cluster.bootstrap, **brought(closed)}
        Producer(config).close()
        assert closed == ["key.serializer", "value.serializer", "partitioner.class"]

        async def scenario() -> None:
            producer = AsyncProducer(config)
            await producer.aclose(math.inf)
            await producer.aclose()

        asyncio.run(scenario())
        assert closed[3:] == closed[:3]


@pytest.mark.parametrize(
    ("change", "count"),
    [({"value.serializer": object()}, 1), ({"partitioner.class": object()}, 2), ({"buffer.memory": 1 << 44}, 3)],
    ids=["serializer", "partitioner", "engine"],
)
def test_it_is_closed_when_no_producer_comes_of_it(
    change: dict[str, Any], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []
    config = {"bootstrap.servers": "127.0.0.1:1", **brought(closed), **change}

    async def scenario() -> None:
        AsyncProducer(config)

    with caplog.at_level(logging.CRITICAL):
        with pytest.raises(ConfigException):
            Producer(config)
        assert len(closed) == count
        with pytest.raises(ConfigException):
            asyncio.run(scenario())
        assert len(closed) == 2 * count


def test_it_is_closed_when_no_thread_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: SenderThread) -> None:
        raise RuntimeError("can't start new thread")

    closed: list[str] = []
    monkeypatch.setattr(SenderThread, "start", start)
    with pytest.raises(RuntimeError, match="new thread"):
        Producer({"bootstrap.servers": "127.0.0.1:1", **brought(closed)})
    assert len(closed) == 3


def test_close_may_wait_for_ever() -> None:
    with scripted(t=1) as cluster:
        producer = make(cluster)
        future = producer.send(ProducerRecord("t", "v"))
        producer.close(math.inf)
        assert future.result(0).offset == 0
