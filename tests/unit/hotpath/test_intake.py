"""The intake: what it is told, and what it refuses to be told."""

from typing import Any

import pytest

from ingestd.hotpath.batch import encode_headers
from ingestd.hotpath.intake import ListenerSpec
from tests.reference.rig import Rig, push


@pytest.mark.parametrize(
    "spec",
    [
        {"index": 128, "format": "lines", "topic": 0},
        {"index": -1, "format": "lines", "topic": 0},
        {"index": 0, "format": "lines"},
        {"index": 0, "format": "raw", "topic": 1},
        {"index": 0, "format": "frames", "topics": (0, 7)},
        {"index": 0, "format": "lines", "topic": 0, "key": 2, "key_field": 0},
        {"index": 0, "format": "lines", "topic": 0, "key": 2, "key_field": 1, "key_delimiter": b"::"},
        {"index": 0, "format": "lines", "topic": 0, "header_count": 65},
    ],
)
def test_listeners_that_contradict_themselves(spec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"listener|topic|field|headers"):
        Rig().intake.add_listener(ListenerSpec(**spec))


def test_once_only() -> None:
    rig = Rig()
    rig.listener("lines")
    with pytest.raises(ValueError, match="added already"):
        rig.listener("lines")
    with pytest.raises(ValueError, match="added already"):
        rig.intake.add_topic(0, batch_bytes=1, linger_ms=0, record_bytes_max=1)
    with pytest.raises(ValueError, match="topic table"):
        rig.intake.add_topic(1, batch_bytes=1, linger_ms=0, record_bytes_max=1)


def test_what_is_not_known() -> None:
    intake = Rig().intake
    for call in (
        lambda: intake.set_partitions(1, b"\1"),
        lambda: intake.set_topic_refused(-1, True),
        lambda: intake.hold(0, 3, True),
        lambda: intake.stream(-1, 0, 1),
        lambda: intake.datagram(-1, 5),
    ):
        with pytest.raises(ValueError, match=r"not known|no partition"):
            call()


def test_static_headers() -> None:
    rig = Rig()
    blob = encode_headers([("host", b"gateway-7"), ("ключ", None), ("", b"")])
    push(rig.stream("lines", headers=blob, header_count=3), b"v\n")
    (item,) = rig.drain()
    assert item.headers == ((b"host", b"gateway-7"), ("ключ".encode(), None), (b"", b""))


def test_what_may_grow_is_not_sealed_for_its_linger_time() -> None:
    rig = Rig(topics=2)
    for topic in (0, 1):
        push(rig.stream("lines", index=topic, topic=topic), b"v\n")
    rig.intake.let_grow(0, 0, True)
    assert rig.intake.seal_due(1 << 40) == -1
    assert [batch.topic for batch in rig.arena.take_sealed()] == [1]
    assert rig.intake.seal_due(1 << 40) == -1
    rig.intake.let_grow(0, 0, False)
    rig.intake.let_grow(0, 99, True)
    assert rig.intake.seal_due(1 << 40) == -1
    assert [batch.topic for batch in rig.arena.take_sealed()] == [0]


def test_topics_of_listeners() -> None:
    rig = Rig(topics=3)
    push(rig.stream("lines", index=1, topic=2), b"v\n")
    push(rig.stream("lines", index=2, topic=1), b"w\n")
    assert sorted((item.topic, item.value, item.listener) for item in rig.drain()) == [(1, b"w", 2), (2, b"v", 1)]


def test_batches_of_a_topic_only_ever_become_smaller() -> None:
    rig = Rig(batch_bytes=20_000)
    stream = rig.stream("lines")
    push(stream, (b"x" * 999 + b"\n") * 10)
    assert rig.intake.shrink_batches(0, 3000)
    assert not rig.intake.shrink_batches(0, 3000)
    assert not rig.intake.shrink_batches(0, 20_000)
    push(stream, (b"y" * 999 + b"\n") * 10)
    rig.intake.seal_all()
    batches = rig.arena.take_sealed()
    # the one that was open already takes nothing more
    assert batches[0].record_count == 10
    assert all(batch.size_bytes <= 3000 for batch in batches[1:])
    assert sum(batch.record_count for batch in batches) == 20
    with pytest.raises(ValueError, match="not known"):
        rig.intake.shrink_batches(3, 1)
