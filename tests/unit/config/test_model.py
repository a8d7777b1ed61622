"""What is in force for a topic."""

import pytest

from ingestd.config.reader import parse

LISTENER = '[[listeners]]\nname = "l"\nlisten = "udp:127.0.0.1:5514"\nformat = "raw"\ntopic = "t"\n'


def in_force(producer: str, topic: str) -> tuple[str, int]:
    config = parse(f'[producer]\nbootstrap.servers = ["k:1"]\n{producer}[topics.t]\n{topic}{LISTENER}')
    found = config.topic_settings(config.topics[0])
    return found.compression_type, found.compression_level


@pytest.mark.parametrize(
    ("producer", "topic", "expected"),
    [
        ("", "", ("none", 0)),
        ('compression.type = "gzip"\n', "", ("gzip", -1)),
        ('compression.type = "lz4"\n', "", ("lz4", 9)),
        ('compression.type = "zstd"\n', "", ("zstd", 3)),
        ('compression.type = "snappy"\n', "", ("snappy", 0)),
        ('compression.type = "lz4"\ncompression.zstd.level = 7\n', 'compression.type = "zstd"\n', ("zstd", 7)),
        ('compression.type = "zstd"\ncompression.zstd.level = 7\n', "compression.zstd.level = -5\n", ("zstd", -5)),
        ('compression.type = "zstd"\n', 'compression.type = "none"\n', ("none", 0)),
    ],
)
def test_a_topics_codec_has_its_own_level_or_the_producers(
    producer: str, topic: str, expected: tuple[str, int]
) -> None:
    assert in_force(producer, topic) == expected
