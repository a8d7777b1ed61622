"""What will become of the records of one topic."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from ingestd.config.model import Config, Listener, Topic, TopicSettings
from ingestd.kafka.describe import DESCRIBE, WRITE, TopicDescription
from ingestd.kafka.errors import NONE, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION, error_of
from ingestd.limits import BATCH_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES_MAX
from ingestd.live.view import Finding, View, Weight, number
from ingestd.log import counted

ZSTD_SINCE: Final = 7
"""The version of Produce that takes zstd (KIP-110)."""
_BOTH_TIMES: Final = "message.timestamp.difference.max.ms"
_UNLIMITED: Final = (1 << 63) - 1
"""What Kafka 3.6 to 3.9 have for both newer limits of a record's time: while one is at it, the older one counts."""
FAILS, NOTE = Weight.FAILS, Weight.NOTE
Found = Iterator[Finding]


class Case(NamedTuple):
    """One topic as it is there, and as it is meant here. ``told``: its settings in the cluster, {} if not known."""

    name: str
    declared: Topic
    there: TopicDescription
    told: Mapping[str, str | None]
    own: TopicSettings
    listeners: tuple[Listener, ...]
    config: Config
    view: View

    def find(self, weight: Weight, what: str, cure: str) -> Finding:
        return Finding(weight, f"topic {self.name}", what, cure)

    def number(self, name: str) -> int | None:
        """A numeric setting of the topic; None where it is not told."""
        return number(self.told, name)

    @property
    def keeps_our_time(self) -> bool:
        """Whether records keep the time that they were sent with."""
        return self.told.get("message.timestamp.type") != "LogAppendTime"


def judge_topic(topic: Topic, config: Config, view: View) -> Found:
    """Findings about ``topic``; those about its contents only where it is there and may be looked at."""
    case = Case(
        name=topic.name,
        declared=topic,
        there=view.topics.get(topic.name) or TopicDescription(topic.name, UNKNOWN_TOPIC_OR_PARTITION),
        told=view.topic_settings.get(topic.name) or {},
        own=config.topic_settings(topic),
        listeners=tuple(one for one in config.listeners if topic.name in (one.topic, *one.topics)),
        config=config,
        view=view,
    )
    if case.there.code != NONE:
        yield from _absent(case)
        return
    for rule in _RULES:
        yield from rule(case)
    if case.name in view.refusals:
        what = f"its settings are not told: {view.refusals[case.name]}; sizes, times and replicas are not checked"
        yield case.find(NOTE, what, "Grant DESCRIBE_CONFIGS on it to have them checked")


def _absent(case: Case) -> Found:
    code = case.there.code
    limit_ms = case.config.producer.topic_denied_timeout_ms
    block_ms = case.config.producer.max_block_ms
    if code == TOPIC_AUTHORIZATION_FAILED:
        what = f"not to be seen (TOPIC_AUTHORIZATION_FAILED): its records are given up after {limit_ms} ms"
        yield case.find(FAILS, what, "Grant WRITE and DESCRIBE on it")
        return
    if code != UNKNOWN_TOPIC_OR_PARTITION:
        yield case.find(FAILS, f"refused with {error_of(code).name}", "Ask who runs the cluster")
        return
    if any(one.get("auto.create.topics.enable") == "true" for one in case.view.broker_settings.values()):
        what = "not there: the cluster makes it with its defaults as soon as the daemon asks for it, at its start"
        yield case.find(NOTE, what, "Create it with the partitions and replicas that it should have")
        return
    what = (
        f"not there: its records are refused, those of streams after {block_ms} ms; what has been accepted before is"
        f" given up after {limit_ms} ms"
    )
    yield case.find(FAILS, what, "Create it, correct its name, or grant DESCRIBE on it")


def _rights(case: Case) -> Found:
    limit_ms = case.config.producer.topic_denied_timeout_ms
    if case.there.may(WRITE) is False:
        what = f"WRITE is not granted: its records are given up after {limit_ms} ms"
        yield case.find(FAILS, what, "Grant WRITE on it")
    if case.there.may(DESCRIBE) is False:
        yield case.find(FAILS, "DESCRIBE is not granted: its leaders are not told", "Grant DESCRIBE on it")


def _partitions(case: Case) -> Found:
    count, declared = len(case.there.leaders), case.declared.partitions
    if declared is not None and declared > count:
        what = (
            f"{counted(count, 'partition')}, {declared} declared: records that come in before the cluster is reached"
            " for the first time are partly for partitions that are not there, and given up"
        )
        yield case.find(FAILS, what, f"Write partitions = {count}, or add partitions")
    elif declared is not None and declared < count:
        what = (
            f"{counted(count, 'partition')}, {declared} declared: keys change their partition when the cluster is"
            " reached for the first time, and their order ends there"
        )
        yield case.find(NOTE, what, f"Write partitions = {count}")
    without = sum(leader < 0 for leader in case.there.leaders)
    if without:
        what = f"{without} of {counted(count, 'partition')} without a leader: their records wait"
        yield case.find(NOTE, what, "See which broker is away")


def _replicas(case: Case) -> Found:
    least, replicas = case.number("min.insync.replicas"), min(case.there.replicas, default=0)
    if case.config.producer.acks != -1 or not replicas:
        return
    if replicas == 1:
        what = "one replica: what Kafka has taken is lost with that broker's disk"
        yield case.find(NOTE, what, "Give it three replicas and min.insync.replicas = 2")
    if least is None:
        return
    if least > replicas:
        have = counted(replicas, "replica")
        what = f"min.insync.replicas = {least} with {have}: nothing is ever taken (NOT_ENOUGH_REPLICAS)"
        yield case.find(FAILS, what, f"Set it to {max(replicas - 1, 1)}, or add replicas")
    elif least == replicas > 1:
        what = f"min.insync.replicas = {least} with {replicas} replicas: while any of their brokers is away, all waits"
        yield case.find(NOTE, what, f"Set it to {replicas - 1}")
    elif least == 1 < replicas:
        what = 'min.insync.replicas = 1: acks = "all" is one broker while the others lag, and may be lost with it'
        yield case.find(NOTE, what, "Set it to 2")
    short = sum(count < least <= replicas for count in case.there.in_sync)
    if short:
        where = counted(short, "partition")
        what = f"{where} with fewer replicas in sync than min.insync.replicas = {least}: their records wait"
        yield case.find(NOTE, what, "See which broker is away or behind")


def _elections(case: Case) -> Found:
    if case.told.get("unclean.leader.election.enable") == "true":
        what = "unclean.leader.election.enable: Kafka may lose what it has acknowledged"
        yield case.find(NOTE, what, "Set it to false where records matter more than being available")


def _sizes(case: Case) -> Found:
    limit = case.number("max.message.bytes")
    if limit is None:
        return
    if case.own.batch_size > limit:
        what = f"batch.size = {case.own.batch_size} is above its max.message.bytes = {limit}: full batches are refused,"
        what += " split and sent again"
        yield case.find(NOTE, what, f"Set batch.size to {limit} or less for it, or raise max.message.bytes")
    overhead = BATCH_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES_MAX
    for one in case.listeners:
        largest = one.record_bytes_max + overhead
        if largest > limit:
            what = f"the listener {one.name} takes records up to {one.record_bytes_max} bytes, and max.message.bytes is"
            what += f" {limit}: larger ones are accepted and then fail (MESSAGE_TOO_LARGE)"
            cure = f"Write record_bytes_max = {max(limit - overhead, 1)} there, or raise max.message.bytes to {largest}"
            yield case.find(FAILS, what, cure)


def _times(case: Case) -> Found:
    if not case.keeps_our_time:
        return
    after_name, after = _time_limit(case, "message.timestamp.after.max.ms")
    before_name, before = _time_limit(case, "message.timestamp.before.max.ms")
    for one in case.listeners:
        if one.timestamp != "record":
            continue
        for name, ours, theirs, setting in (
            ("timestamp_future_ms", one.timestamp_future_ms, after, after_name),
            ("timestamp_past_ms", one.timestamp_past_ms, before, before_name),
        ):
            if theirs is not None and ours > theirs:
                what = f"the listener {one.name} has {name} = {ours}, and {setting} is {theirs}: records beyond are"
                what += " accepted and then fail (INVALID_TIMESTAMP)"
                yield case.find(FAILS, what, f"Lower {name} below {theirs}, or raise {setting}")
    if before is not None and before < (case.own.delivery_timeout_ms or 1 << 62) and before < 1 << 62:
        what = f"{before_name} = {before}: what an outage of that length holds back fails after it"
        yield case.find(NOTE, what, "Raise it, or set message.timestamp.type = LogAppendTime")


def _time_limit(case: Case, name: str) -> tuple[str, int | None]:
    """The setting that the broker goes by for ``name``, and its value."""
    limit, both = case.number(name), case.number(_BOTH_TIMES)
    return (name, limit) if both is None or limit not in (None, _UNLIMITED) else (_BOTH_TIMES, both)


def _memory(case: Case) -> Found:
    """A broker counts the age of its memory from the newest record's time (ProducerStateManager)."""
    if not case.keeps_our_time or not case.config.producer.enable_idempotence:
        return
    oldest_ms = max((one.timestamp_past_ms for one in case.listeners if one.timestamp == "record"), default=0)
    lasts = [number(settings, "producer.id.expiration.ms") for settings in case.view.broker_settings.values()]
    known = [value for value in lasts if value is not None]
    if known and oldest_ms >= min(known):
        what = (
            f"records may be dated {oldest_ms} ms back, and brokers forget a producer {min(known)} ms after the time"
            " of its newest record: such old ones may be written twice when they are resent"
        )
        yield case.find(NOTE, what, "Set message.timestamp.type = LogAppendTime where old records are sent")


def _compression(case: Case) -> Found:
    theirs, ours = case.told.get("compression.type"), case.own.compression_type
    if theirs not in (None, "producer", ours) and not (theirs == "uncompressed" and ours == "none"):
        what = f"the broker compresses anew: its compression.type is {theirs}, ours is {ours}"
        yield case.find(NOTE, what, f"Set compression.type = producer there, or {theirs} here, to spare its CPU")
    versions = [one.produce_version for one in case.view.nodes.values() if one.produce_version >= 0]
    if ours == "zstd" and min(versions, default=ZSTD_SINCE) < ZSTD_SINCE:
        what = "a broker is too old for zstd (before 2.1): its batches are refused (UNSUPPORTED_COMPRESSION_TYPE)"
        yield case.find(FAILS, what, "Choose lz4")


def _compaction(case: Case) -> Found:
    if "compact" not in (case.told.get("cleanup.policy") or ""):
        return
    for one in case.listeners:
        if one.format == "frames":
            what = f"compacted, and senders to the listener {one.name} may leave the key out: such records fail"
            yield case.find(NOTE, what + " (INVALID_RECORD)", "See that every record has a key")
        elif one.key.kind == "none":
            what = f"compacted, and records of the listener {one.name} have no key: all of them fail (INVALID_RECORD)"
            yield case.find(FAILS, what, "Give the listener a key, or set cleanup.policy = delete")


_RULES: Final[tuple[Callable[[Case], Found], ...]] = (
    _rights,
    _partitions,
    _replicas,
    _elections,
    _sizes,
    _times,
    _memory,
    _compression,
    _compaction,
)
