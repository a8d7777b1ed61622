"""The judge must be able to condemn: each fault, planted, is found."""

import pytest
from confluent_kafka import Producer

from tests.kafka.cluster import Cluster
from tests.kafka.reader import ReadRecord, SentRecord, judge, read_topic

SENT = {"a": [SentRecord(b"k", b"a0"), SentRecord(b"k", b"a1"), SentRecord(None, b"a2"), SentRecord(b"l", b"a3")]}


def stored(*entries: tuple[int, bytes | None, bytes]) -> list[ReadRecord]:
    """Records of (partition, key, value), offsets counted per partition."""
    offsets: dict[int, int] = {}
    records = []
    for partition, key, value in entries:
        offsets[partition] = offsets.get(partition, -1) + 1
        records.append(ReadRecord(partition, offsets[partition], key, value, (), 0, 0))
    return records


WHOLE = ((0, b"k", b"a0"), (0, b"k", b"a1"), (1, None, b"a2"), (1, b"l", b"a3"))


def test_what_was_sent_once_and_in_order_is_clean() -> None:
    verdict = judge(SENT, stored(*WHOLE))
    assert verdict.clean
    assert verdict.read == 4


def test_a_missing_record_is_lost() -> None:
    verdict = judge(SENT, stored(*WHOLE[:3]))
    assert verdict.lost == [b"a3"]
    assert not verdict.clean


def test_a_second_copy_is_a_duplicate_and_not_a_disorder() -> None:
    verdict = judge(SENT, stored(*WHOLE, (0, b"k", b"a0")))
    assert verdict.duplicated == [b"a0"]
    assert not verdict.reordered
    assert not verdict.clean


def test_an_overtaken_record_of_one_key_is_reordered() -> None:
    verdict = judge(SENT, stored(WHOLE[1], WHOLE[0], *WHOLE[2:]))
    assert verdict.reordered == [b"a0"]
    assert not verdict.clean


def test_records_of_different_keys_and_senders_may_overtake_each_other() -> None:
    sent = {**SENT, "b": [SentRecord(b"k", b"b0")]}
    assert judge(sent, stored((0, b"l", b"a3"), (0, b"k", b"b0"), *WHOLE[:3])).clean


def test_a_key_in_two_partitions_is_scattered() -> None:
    verdict = judge(SENT, stored(WHOLE[0], (1, b"k", b"a1"), *WHOLE[2:]))
    assert verdict.scattered == [b"a1"]
    assert not verdict.clean


def test_a_record_that_nobody_sent_is_a_phantom() -> None:
    verdict = judge(SENT, stored(*WHOLE, (0, None, b"x")))
    assert verdict.phantom == [b"x"]
    assert not verdict.clean


def test_another_key_is_a_change() -> None:
    verdict = judge(SENT, stored(*WHOLE[:3], (1, b"m", b"a3")))
    assert verdict.changed == [b"a3"]
    assert not verdict.clean


def test_unanswered_records_may_be_there_once_and_in_order() -> None:
    sent = {"a": [*SENT["a"], SentRecord(b"k", b"a4"), SentRecord(b"k", b"a5")]}
    unanswered = {b"a4", b"a5"}
    assert judge(sent, stored(*WHOLE), unanswered=unanswered).clean
    assert judge(sent, stored(*WHOLE, (0, b"k", b"a5")), unanswered=unanswered).clean
    early = judge(sent, stored(WHOLE[0], (0, b"k", b"a4"), *WHOLE[1:]), unanswered=unanswered)
    assert early.reordered == [b"a1"]
    twice = judge(sent, stored(*WHOLE, (0, b"k", b"a4"), (0, b"k", b"a4")), unanswered=unanswered)
    assert twice.duplicated == [b"a4"]


def test_values_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="sent twice"):
        judge({"a": [SentRecord(None, b"x"), SentRecord(None, b"x")]}, [])


def test_a_topic_is_read_back_whole(kafka: Cluster, topic_name: str) -> None:
    kafka.create_topic(topic_name, 3)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for number in range(300):
        producer.produce(
            topic_name,
            b"%d" % number,
            b"key-%d" % (number % 7),
            partition=number % 7 % 3,
            headers={"h": b"1"},
            timestamp=number + 1,
        )
    producer.produce(topic_name, None, b"tombstone", partition=0)
    assert producer.flush(30) == 0
    records = read_topic(kafka.direct, topic_name)
    assert len(records) == 301
    assert [record.offset for record in records if record.partition == 1] == list(range(86))
    first = next(record for record in records if record.value == b"0")
    assert (first.key, first.headers, first.timestamp_ms) == (b"key-0", (("h", b"1"),), 1)
    assert [record.key for record in records if record.value is None] == [b"tombstone"]
