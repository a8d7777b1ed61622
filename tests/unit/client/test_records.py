from enum import StrEnum
from typing import Any

import pytest

from ingestd.client.records import ProducerRecord, RecordMetadata


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"topic": ""}, ValueError, "needs a topic"),
        ({"topic": None}, TypeError, "a topic is a str, not NoneType"),
        ({"topic": b"t"}, TypeError, "a topic is a str, not bytes"),
        ({"topic": "t", "partition": -1}, ValueError, "partition -1"),
        ({"topic": "t", "partition": 1 << 31}, ValueError, "from 0 to 2147483647"),
        ({"topic": "t", "timestamp_ms": -1}, ValueError, "milliseconds since 1970"),
        ({"topic": "t", "timestamp_ms": 1 << 63}, ValueError, "timestamp_ms"),
        ({"topic": "t", "headers": [(b"name", b"v")]}, TypeError, "name is a str, not bytes"),
        ({"topic": "t", "headers": [("name", "v")]}, TypeError, "bytes or None, not str"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        ProducerRecord(**arguments)


def test_a_topic_of_a_class_of_its_own_becomes_a_plain_str() -> None:
    class Topics(StrEnum):
        ORDERS = "orders"

    record = ProducerRecord(Topics.ORDERS)
    assert (record.topic, type(record.topic)) == ("orders", str)


def test_the_order_of_arguments_and_their_defaults() -> None:
    record = ProducerRecord("t", "value", "key", 3, 7, [("h", None)])
    assert (record.topic, record.value, record.key, record.partition, record.timestamp_ms, record.headers) == (
        "t",
        "value",
        "key",
        3,
        7,
        (("h", None),),
    )
    bare = ProducerRecord("t")
    assert (bare.value, bare.key, bare.partition, bare.timestamp_ms, bare.headers) == (None, None, None, None, ())


def test_headers_from_a_dict_keep_their_order() -> None:
    assert ProducerRecord("t", headers={"b": b"1", "a": None}).headers == (("b", b"1"), ("a", None))


def test_equal_records_are_equal() -> None:
    assert ProducerRecord("t", "v", key="k") == ProducerRecord("t", "v", key="k")
    assert ProducerRecord("t", "v") != ProducerRecord("t", "w")
    assert repr(ProducerRecord("t", b"v")) == (
        "ProducerRecord(topic='t', value=b'v', key=None, partition=None, timestamp_ms=None, headers=())"
    )


def test_metadata_says_whether_the_offset_is_known() -> None:
    assert RecordMetadata("t", 0, 0, 1, -1, -1).has_offset
    assert not RecordMetadata("t", 0, -1, 1, -1, -1).has_offset
