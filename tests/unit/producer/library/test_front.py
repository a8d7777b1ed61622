"""The caller's side: what a record becomes, and the reasons for not letting it in."""

from typing import Any

import pytest

from ingestd.client.errors import ConfigException, TopicAuthorizationException
from ingestd.client.records import ProducerRecord
from ingestd.producer.library.cluster import Cluster, Node, PartitionInfo
from ingestd.producer.library.front import Front
from ingestd.producer.library.future import Future, Owner
from ingestd.producer.library.topics import KnownTopic

CONFIG = {"bootstrap.servers": "a:9092"}


def known(count: int = 3, name: str = "t") -> KnownTopic:
    topic = KnownTopic(name, 0)
    topic.change(count=count)
    topic.leaders = (1, -1, 2)[:count]
    topic.nodes = {1: ("one", 9092), 2: ("two", 9093)}
    return topic


def encoded(front: Front, record: ProducerRecord, topic: KnownTopic | None = None) -> Future:
    return front.encode(record, topic or known(), Owner(), None)


def test_every_fault_of_the_configuration_is_told_and_it_is_a_value_error() -> None:
    with pytest.raises(ConfigException) as raised:
        Front({"linger_ms": 5, "acks": "some"})
    for part in ("linger_ms = 5: unknown key. Did you mean linger.ms?", "acks", "bootstrap.servers: missing"):
        assert part in str(raised.value)
    assert isinstance(raised.value, ValueError)


def test_producers_are_numbered_as_kafkas_are() -> None:
    first, second = Front(CONFIG).client_id, Front(CONFIG).client_id
    assert first.startswith("producer-")
    assert int(second.removeprefix("producer-")) == int(first.removeprefix("producer-")) + 1
    assert Front({**CONFIG, "client.id": "mine"}).client_id == "mine"


def test_fields_come_from_the_record_and_the_clock_only_where_it_has_none() -> None:
    front = Front(CONFIG)
    future = encoded(front, ProducerRecord("t", "v", key=b"key", partition=2, timestamp_ms=5, headers={"h": b"x"}))
    assert (future.partition, future.timestamp_ms, future.key_size, future.value_size) == (2, 5, 3, 1)
    assert encoded(front, ProducerRecord("t", b"v")).timestamp_ms > 1_600_000_000_000


class Modulo:
    """The length of the key; writes down what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.configured: dict[str, Any] = {}

    def configure(self, configs: dict[str, Any]) -> None:
        self.configured = configs

    def partition(self, topic: str, key: Any, key_bytes: bytes, *rest: Any) -> int:
        value, value_bytes, cluster = rest
        self.shown.append((topic, key, key_bytes, value, value_bytes, cluster.partition_count_for_topic(topic)))
        return len(key_bytes)


def front_with(partitioner: object) -> Front:
    front = Front({**CONFIG, "partitioner.class": partitioner})
    front._cluster = Cluster({"t": known()})
    return front


@pytest.mark.parametrize("partition", [None, 1])
def test_a_partitioner_is_not_asked_about_a_topic_that_refuses_whatever_is_sent(partition: int | None) -> None:
    partitioner, topic = Modulo(), known(0)
    topic.code = 29
    front = front_with(partitioner)
    future = encoded(front, ProducerRecord("t", "v", key="k", partition=partition), topic)
    assert isinstance(front.refusal(future, topic), TopicAuthorizationException)
    assert partitioner.shown == []


def test_a_partitioner_is_shown_objects_and_bytes_and_an_explicit_partition_goes_before_it() -> None:
    partitioner = Modulo()
    front = front_with(partitioner)
    assert encoded(front, ProducerRecord("t", "v", key="k")).partition == 1
    assert encoded(front, ProducerRecord("t", "v", key="k", partition=0)).partition == 0
    assert partitioner.shown == [("t", "k", b"k", "v", b"v", 3)]
    assert partitioner.configured["bootstrap.servers"] == "a:9092"


class Number:
    """An integer that is no int, as NumPy's are."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


class Always:
    def __init__(self, choice: object) -> None:
        self.choice = choice

    def partition(self, *_: object) -> object:
        return self.choice


def test_a_choice_may_be_whatever_is_an_integer() -> None:
    assert encoded(front_with(Always(Number(1))), ProducerRecord("t", "v")).partition == 1


@pytest.mark.parametrize("choice", [None, "1", 1.0, Number(3)], ids=["None", "text", "float", "none of the three"])
def test_what_is_no_partition_is_refused(choice: object) -> None:
    with pytest.raises(ValueError, match="of the 3 partitions of 't'"):
        encoded(front_with(Always(choice)), ProducerRecord("t", "v"))


@pytest.mark.parametrize("key", ["long", "longer still"])
def test_an_impossible_choice_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=rf"the partitioner chose {len(key)} of the 3 partitions of 't'"):
        encoded(front_with(Modulo()), ProducerRecord("t", "v", key=key))


def test_what_is_no_partitioner_is_refused() -> None:
    with pytest.raises(ConfigException, match="has no partition"):
        Front({**CONFIG, "partitioner.class": object()})


def test_the_cluster_shows_what_metadata_said() -> None:
    cluster = Cluster({"t": known()})
    assert cluster.partitions_for_topic("t") == [
        PartitionInfo("t", 0, Node(1, "one", 9092)),
        PartitionInfo("t", 1, None),
        PartitionInfo("t", 2, Node(2, "two", 9093)),
    ]
    assert [info.partition for info in cluster.available_partitions_for_topic("t")] == [0, 2]
    assert (cluster.partition_count_for_topic("other"), cluster.partitions_for_topic("other")) == (0, [])


def test_the_size_limit_is_kafkas_estimate() -> None:
    front = Front({**CONFIG, "max.request.size": 8192, "batch.size": 4096})
    fits = 8192 - (61 + 21 + 1 + 2 + 1)
    assert front.refusal(encoded(front, ProducerRecord("t", bytes(fits))), known()) is None
    error = front.refusal(encoded(front, ProducerRecord("t", bytes(fits + 1))), known())
    assert error is not None
    assert "max.request.size = 8192" in str(error)


@pytest.mark.parametrize(
    ("held", "count", "partition", "admits"),
    [
        (False, 3, None, True),
        (False, 3, 2, True),
        (False, 3, 3, False),
        (True, 3, None, False),
        (False, 0, None, False),
    ],
)
def test_a_topic_admits_what_it_has_room_and_partitions_for(
    held: bool, count: int, partition: int | None, admits: bool
) -> None:
    topic = known(count)
    topic.change(held=held)
    assert topic.admits(partition) is admits


@pytest.mark.parametrize(("code", "denied"), [(0, False), (3, False), (5, False), (17, True), (29, True)])
def test_some_errors_of_a_topic_do_not_end_by_waiting(code: int, denied: bool) -> None:
    topic = known(0)
    topic.code = code
    assert topic.denied is denied
