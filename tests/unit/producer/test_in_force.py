"""What a topic inherits, and what one is given that nobody configured."""

import pytest

from ingestd.config.library import read_library_settings
from ingestd.config.model import NEVER_MS, Topic
from ingestd.producer.compression import LZ4, PLAIN, ZSTD, Codec, default_codec
from ingestd.producer.in_force import InForce
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.network.cluster import Topic as KnownTopic

TIMEOUT_MS = 120_000


def make(*topics: Topic, compression: str = "zstd") -> InForce:
    config = {"bootstrap.servers": "k:1", "compression.type": compression, "compression.zstd.level": 5}
    return InForce(read_library_settings(config).producer, topics)


def lane(name: str) -> Lane:
    return Lane(KnownTopic(name), 0, lambda _: 0)


def test_what_a_topic_leaves_open_is_the_producers() -> None:
    in_force = make(Topic("own", compression_type="lz4", delivery_timeout_ms=7000), Topic("t"))
    assert (in_force.codec("own"), in_force.timeout_ms(lane("own"))) == (default_codec(LZ4), 7000)
    assert (in_force.codec("t"), in_force.timeout_ms(lane("t"))) == (Codec(ZSTD, 5), TIMEOUT_MS)


def test_never_is_no_time() -> None:
    assert make(Topic("t", delivery_timeout_ms=NEVER_MS)).timeout_ms(lane("t")) is None


@pytest.mark.parametrize("topics", [(), (Topic("t", compression_type="none"),)])
def test_what_is_not_compressed_has_the_very_codec_that_others_look_for(topics: tuple[Topic, ...]) -> None:
    in_force = make(*topics)
    assert in_force.codec("t") is PLAIN
    assert in_force.codec_of(lane("t"), default_codec(LZ4)) == default_codec(LZ4)


def test_a_batch_made_anew_is_compressed_as_its_topic_says_and_not_as_it_was() -> None:
    assert make(Topic("t")).codec_of(lane("t"), default_codec(LZ4)) == Codec(ZSTD, 5)


def test_what_nobody_configured_never_expires_until_it_is_added() -> None:
    in_force = make()
    assert in_force.timeout_ms(lane("t")) is None
    in_force.add(Topic("t"))
    assert (in_force.codec("t"), in_force.timeout_ms(lane("t"))) == (Codec(ZSTD, 5), TIMEOUT_MS)
