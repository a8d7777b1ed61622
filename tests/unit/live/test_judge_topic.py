"""What is said of a topic, rule by rule; each is also shown a topic about which it has nothing to say."""

from dataclasses import replace

import pytest

from ingestd.config.reader import parse
from ingestd.kafka.describe import DESCRIBE, OPERATIONS_UNKNOWN, READ, WRITE, TopicDescription
from ingestd.live.judge_topic import judge_topic
from ingestd.live.view import Finding, Reached, View, Weight

ALL = 1 << READ | 1 << WRITE | 1 << DESCRIBE
GOOD = TopicDescription("t", 0, (1, 2), (3, 3), (3, 3), ALL)
LINES = '[[listeners]]\nname = "l"\nlisten = "unix-stream:/run/l"\nformat = "lines"\ntopic = "t"\nkey = "sender"\n'
FRAMES = '[[listeners]]\nname = "l"\nlisten = "unix-stream:/run/l"\nformat = "frames"\ntopics = ["t"]\n'
HEAD = '[producer]\nbootstrap.servers = ["a:1"]\n'
FAILS, NOTE = Weight.FAILS, Weight.NOTE


def found(
    there: TopicDescription = GOOD,
    told: dict[str, str | None] | None = None,
    settings: str = "",
    listener: str = LINES,
    view: View | None = None,
) -> list[Finding]:
    config = parse(f"{HEAD}{settings}\n{listener}")
    view = view or View([Reached("a:1")], nodes={1: Reached("a:1", "", 13)})
    view = replace(view, topics={there.name: there}, topic_settings={"t": told or {}})
    return list(judge_topic(config.topics[0], config, view))


DEFAULTS: dict[str, str | None] = {
    "min.insync.replicas": "2",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": "9223372036854775807",
    "compression.type": "producer",
    "cleanup.policy": "delete",
    "unclean.leader.election.enable": "false",
}

TRANSITION: dict[str, str | None] = {
    "message.timestamp.after.max.ms": "9223372036854775807",
    "message.timestamp.before.max.ms": "9223372036854775807",
}
"""Kafka 3.6 to 3.9 tell these defaults next to the older setting."""


@pytest.mark.parametrize("listener", [LINES, FRAMES])
def test_a_topic_with_kafkas_defaults_needs_no_word(listener: str) -> None:
    assert found(told=DEFAULTS, listener=listener) == []


@pytest.mark.parametrize(
    ("there", "weight", "part"),
    [
        (TopicDescription("t", 29), FAILS, "TOPIC_AUTHORIZATION_FAILED"),
        (TopicDescription("t", 3), FAILS, "not there: its records are refused, those of streams after 60000 ms"),
        (TopicDescription("other", 0), FAILS, "not there: its records are refused, those of streams after 60000 ms"),
        (TopicDescription("t", 17), FAILS, "refused with INVALID_TOPIC_EXCEPTION"),
        (GOOD._replace(operations=1 << DESCRIBE), FAILS, "WRITE is not granted"),
        (GOOD._replace(operations=1 << WRITE), FAILS, "DESCRIBE is not granted"),
        (GOOD._replace(leaders=(1, -1)), NOTE, "1 of 2 partitions without a leader"),
        (GOOD._replace(replicas=(1, 1), in_sync=(1, 1)), NOTE, "one replica"),
    ],
)
def test_it_is_found_without_settings(there: TopicDescription, weight: Weight, part: str) -> None:
    (finding,) = found(there)
    assert (finding.weight, part in finding.what) == (weight, True)


def test_rights_that_an_old_broker_does_not_tell_are_not_missed() -> None:
    assert found(GOOD._replace(operations=OPERATIONS_UNKNOWN)) == []


def test_a_topic_that_will_be_made_is_only_worth_a_note() -> None:
    view = View([Reached("a:1")], broker_settings={1: {"auto.create.topics.enable": "true"}})
    (finding,) = found(TopicDescription("t", 3), view=view)
    assert (finding.weight, "makes it" in finding.what) == (NOTE, True)


@pytest.mark.parametrize(
    ("told", "settings", "listener", "weight", "part"),
    [
        ({"min.insync.replicas": "4"}, "", LINES, FAILS, "nothing is ever taken"),
        ({"min.insync.replicas": "3"}, "", LINES, NOTE, "all waits"),
        ({"min.insync.replicas": "1"}, "", LINES, NOTE, "is one broker while the others lag"),
        ({"unclean.leader.election.enable": "true"}, "", LINES, NOTE, "may lose what it has acknowledged"),
        ({"max.message.bytes": "1048575"}, "", LINES, FAILS, "the listener l takes records up to 1048494 bytes"),
        ({"compression.type": "gzip"}, "", LINES, NOTE, "compresses anew"),
        ({"compression.type": "uncompressed"}, 'compression.type = "lz4"', LINES, NOTE, "compresses anew"),
        ({"cleanup.policy": "compact,delete"}, "", FRAMES, NOTE, "may leave the key out"),
        ({"cleanup.policy": "compact"}, "", LINES.replace('key = "sender"\n', ""), FAILS, "have no key"),
        ({"message.timestamp.after.max.ms": "1000"}, "", FRAMES, FAILS, "timestamp_future_ms = 3000000"),
        ({"message.timestamp.difference.max.ms": "700000000"}, "", FRAMES, NOTE, "what an outage"),
        (
            {**TRANSITION, "message.timestamp.difference.max.ms": "700000000"},
            "",
            FRAMES,
            NOTE,
            "message.timestamp.difference.max.ms = 700000000",
        ),
        (
            {
                **TRANSITION,
                "message.timestamp.difference.max.ms": "1000",
                "message.timestamp.before.max.ms": "700000000",
            },
            "delivery.timeout.ms = 600000",
            FRAMES,
            FAILS,
            "timestamp_future_ms = 3000000, and message.timestamp.difference.max.ms is 1000",
        ),
        ({"message.timestamp.before.max.ms": "86400000"}, "", LINES, NOTE, "what an outage"),
    ],
)
def test_it_is_found_in_the_settings(
    told: dict[str, str | None], settings: str, listener: str, weight: Weight, part: str
) -> None:
    (finding,) = found(told=told, settings=settings, listener=listener)
    assert (finding.weight, part in finding.what) == (weight, True), finding


@pytest.mark.parametrize(
    ("told", "settings", "listener"),
    [
        ({"min.insync.replicas": "4"}, "acks = 1\nenable.idempotence = false", LINES),
        ({"max.message.bytes": "200082"}, "", LINES + "record_bytes_max = 200000\n"),
        ({"compression.type": "lz4"}, 'compression.type = "lz4"', LINES),
        ({"compression.type": "uncompressed"}, "", LINES),
        ({"cleanup.policy": "compact"}, "", LINES),
        ({"message.timestamp.after.max.ms": "1000", "message.timestamp.type": "LogAppendTime"}, "", FRAMES),
        ({"message.timestamp.after.max.ms": "1000"}, "", LINES),
        ({"message.timestamp.before.max.ms": "86400000"}, "delivery.timeout.ms = 600000", LINES),
        ({**TRANSITION, "message.timestamp.difference.max.ms": str((1 << 63) - 1)}, "", FRAMES),
    ],
)
def test_what_fits_is_not_found(told: dict[str, str | None], settings: str, listener: str) -> None:
    assert found(told=told, settings=settings, listener=listener) == []


def test_batches_that_the_topic_does_not_take_are_split_and_records_fail() -> None:
    batches, records = found(told={"max.message.bytes": "100000"})
    assert "batch.size = 131072 is above its max.message.bytes = 100000" in batches.what
    assert (batches.weight, records.weight) == (NOTE, FAILS)


def test_declared_partitions_are_compared() -> None:
    more = found(settings="[topics.t]\npartitions = 3")
    fewer = found(settings="[topics.t]\npartitions = 1")
    assert [(finding.weight, finding.cure[:22]) for finding in more] == [(FAILS, "Write partitions = 2, ")]
    assert [(finding.weight, finding.cure) for finding in fewer] == [(NOTE, "Write partitions = 2")]
    assert found(settings="[topics.t]\npartitions = 2") == []


def test_replicas_that_lag_are_counted() -> None:
    (finding,) = found(GOOD._replace(in_sync=(1, 3)), told={"min.insync.replicas": "2"})
    assert "1 partition with fewer replicas in sync" in finding.what


def test_brokers_that_forget_before_the_oldest_record_is_taken() -> None:
    view = View([Reached("a:1")], broker_settings={1: {"producer.id.expiration.ms": "86400000"}})
    (finding,) = found(listener=FRAMES, view=view)
    assert "may be dated 604800000 ms back" in finding.what
    assert found(listener=FRAMES + "timestamp_past_ms = 3600000\n", view=view) == []
    assert found(listener=FRAMES, told={"message.timestamp.type": "LogAppendTime"}, view=view) == []
    assert found(listener=LINES, view=view) == []


def test_a_broker_too_old_for_zstd_is_found() -> None:
    view = View([Reached("a:1")], nodes={1: Reached("a:1", "", 6), 2: Reached("b:1", "away")})
    (finding,) = found(settings='compression.type = "zstd"', view=view)
    assert "too old for zstd" in finding.what
    assert found(settings='compression.type = "lz4"', view=view) == []


def test_settings_that_are_not_told_are_told_of() -> None:
    view = View([Reached("a:1")], refusals={"t": "TOPIC_AUTHORIZATION_FAILED"})
    (finding,) = found(view=view)
    assert (finding.weight, "DESCRIBE_CONFIGS" in finding.cure) == (NOTE, True)
