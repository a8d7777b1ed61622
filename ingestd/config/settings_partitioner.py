"""Settings of ``[producer]`` about the choice of partitions, in the order of ``configs/ingestd.toml``."""

from typing import Final

from ingestd.config import values as v
from ingestd.config.partitioner import class_name
from ingestd.config.values import LONG_MAX, Setting

SETTINGS: Final = (
    Setting(
        "partitioner.class",
        class_name(),
        "",
        "",
        "Without it Kafka's built-in choice; librdkafka's, in turn, or your own in Python.",
    ),
    Setting(
        "partitioner.ignore.keys",
        v.boolean(),
        False,
        "",
        "true spreads keyed records too; equal keys lose their order.",
    ),
    Setting(
        "partitioner.adaptive.partitioning.enable",
        v.boolean(),
        True,
        "",
        "false gives slow partitions as many records without key as quick ones.",
    ),
    Setting(
        "partitioner.availability.timeout.ms",
        v.integer(0, LONG_MAX),
        0,
        "ms",
        "Leaves out, for records without key, brokers that took nothing for so long; 0 never does.",
    ),
)
