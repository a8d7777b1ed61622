"""What partitioner.class may say, and what the partitioner's settings may not say beside each other."""

import pytest

from ingestd.config.partitioner import configs_of
from ingestd.config.reader import parse
from ingestd.errors import ConfigurationError, Fault

BASE = """
[producer]
bootstrap.servers = ["k:1"]
{producer}
[topics.t]
{topic}
[[listeners]]
name = "l"
listen = "udp:127.0.0.1:1"
format = "raw"
topic = "t"
"""


def read(producer: str = "", topic: str = "") -> tuple[str, bool, bool, int]:
    config = parse(BASE.format(producer=producer, topic=topic))
    found = config.topic_settings(config.topics[0]).partitioning
    return found.partitioner_class, found.ignore_keys, found.adaptive, found.availability_timeout_ms


def faults(producer: str = "", topic: str = "") -> list[Fault]:
    with pytest.raises(ConfigurationError) as caught:
        parse(BASE.format(producer=producer, topic=topic))
    return caught.value.faults


def test_the_program_itself_is_no_module_to_find_a_class_in() -> None:
    [fault] = faults('partitioner.class = "__main__:Mine"')
    assert "no module __main__" in fault.text


def test_kafkas_defaults() -> None:
    assert read() == ("", False, True, 0)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("murmur2_random", ""),
        ("", ""),
        ("consistent_random", "consistent_random"),
        ("round_robin", "round_robin"),
        ("org.apache.kafka.clients.producer.RoundRobinPartitioner", "round_robin"),
        ("tests.unit.test_partitioner:Answers", "tests.unit.test_partitioner:Answers"),
    ],
)
def test_names(written: str, name: str) -> None:
    assert read(f'partitioner.class = "{written}"')[0] == name


@pytest.mark.parametrize(
    ("written", "text", "cure"),
    [
        ('"org.apache.kafka.clients.producer.internals.DefaultPartitioner"', "removed in Kafka 4.0", "Leave it out"),
        (
            '"org.apache.kafka.clients.producer.UniformStickyPartitioner"',
            "removed in Kafka 4.0",
            "partitioner.ignore.keys = true",
        ),
        ('"com.example.BananaPartitioner"', "a class of Java", "module:Class"),
        ('"no_such_module_anywhere:Banana"', "no module no_such_module_anywhere", "PYTHONPATH"),
        ('"consistent"', "not a known partitioner", "consistent_random"),
        ('"a:b:c"', "not a known partitioner", "module:Class"),
        ("7", "not a string", "in quotes"),
    ],
)
def test_refused_names(written: str, text: str, cure: str) -> None:
    (fault,) = faults(f"partitioner.class = {written}")
    assert fault.key == "producer.partitioner.class"
    assert text in fault.text
    assert cure in fault.cure


def test_a_topic_has_its_own() -> None:
    producer = 'partitioner.class = "round_robin"\npartitioner.adaptive.partitioning.enable = false'
    topic = 'partitioner.class = "murmur2_random"\npartitioner.ignore.keys = true'
    assert read(producer) == ("round_robin", False, False, 0)
    assert read(producer, topic) == ("", True, False, 0)
    assert read("partitioner.ignore.keys = true", "partitioner.ignore.keys = false")[1] is False


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ('partitioner.class = "consistent_random"\npartitioner.ignore.keys = true', "partitioner.ignore.keys"),
        (
            "partitioner.adaptive.partitioning.enable = false\npartitioner.availability.timeout.ms = 5",
            "partitioner.availability.timeout.ms",
        ),
        (
            'partitioner.class = "round_robin"\npartitioner.availability.timeout.ms = 5',
            "partitioner.availability.timeout.ms",
        ),
    ],
)
def test_settings_that_contradict_each_other(settings: str, key: str) -> None:
    assert [fault.key for fault in faults(producer=settings)] == [f"producer.{key}"]
    assert [fault.key for fault in faults(topic=settings)] == [f"topics.t.{key}"]


def test_what_the_producer_says_wrong_is_told_once() -> None:
    producer = 'partitioner.class = "round_robin"\npartitioner.availability.timeout.ms = 5'
    assert [fault.key for fault in faults(producer)] == ["producer.partitioner.availability.timeout.ms"]


def test_configs_have_kafkas_names() -> None:
    configs = configs_of(parse(BASE.format(producer="linger.ms = 7", topic="")).producer)
    assert configs["linger.ms"] == 7
    assert configs["bootstrap.servers"] == ("k:1",)
