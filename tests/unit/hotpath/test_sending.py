"""The quick way of `send()`: what it takes, and what it leaves to the slow one."""

import time
from typing import Any

import pytest

from ingestd.client.records import ProducerRecord
from ingestd.hotpath.handover import Handover, Outgoing
from ingestd.hotpath.sending import FastSend


class Topic:
    def __init__(self, is_open: bool = True) -> None:
        self.index = 3
        self.open = is_open
        self.count = 4


class Rig:
    def __init__(self, bytes_max: int = 1 << 20, sure_bytes: int = 10_000) -> None:
        self.handover = Handover(bytes_max, 100, self._wake)
        self.wakes = 0
        known = {"t": Topic(), "closed": Topic(False)}
        self.quick = FastSend(self.handover, known, "owner", Outgoing, sure_bytes)

    def _wake(self) -> None:
        self.wakes += 1

    def send(self, record: ProducerRecord, callback: Any = None) -> Any:
        return self.quick.send(record, callback)


def test_bytes_and_text_are_handed_over_and_only_a_sleeper_is_woken() -> None:
    rig = Rig()
    first = rig.send(ProducerRecord("t", "ä", key=b"key", partition=2, timestamp_ms=5))
    second = rig.send(ProducerRecord("t", None, key=""))
    assert (first.topic, first.partition, first.timestamp_ms, first.key_size, first.value_size) == ("t", 2, 5, 3, 2)
    assert (first.owner, second.partition, second.key_size, second.value_size) == ("owner", -1, 0, -1)
    assert rig.handover.take() == [first, second]
    assert rig.wakes == 1


def test_the_time_is_the_wall_clocks_unless_the_record_has_one() -> None:
    before_ms = time.time_ns() // 1_000_000
    future = Rig().send(ProducerRecord("t", b"v"))
    assert before_ms <= future.timestamp_ms <= time.time_ns() // 1_000_000


@pytest.mark.parametrize(
    "record",
    [
        ProducerRecord("unknown", b"v"),
        ProducerRecord("closed", b"v"),
        ProducerRecord("t", b"v", partition=4),
        ProducerRecord("t", 5),
        ProducerRecord("t", b"v", key=bytearray(b"k")),
        ProducerRecord("t", "\ud800"),
        ProducerRecord("t", b"v", headers={"h": b"x"}),
        ProducerRecord("t", bytes(10_000)),
    ],
    ids=repr,
)
def test_the_rest_is_left_to_the_slow_way(record: ProducerRecord) -> None:
    rig = Rig()
    assert rig.send(record) is None
    assert (rig.handover.outstanding, rig.wakes) == (0, 0)


def test_without_room_or_when_closed_nothing_is_taken() -> None:
    rig = Rig(bytes_max=300)
    assert rig.send(ProducerRecord("t", bytes(100))) is not None
    assert rig.send(ProducerRecord("t", b"v")) is None
    rig = Rig()
    rig.handover.close()
    assert rig.send(ProducerRecord("t", b"v")) is None
