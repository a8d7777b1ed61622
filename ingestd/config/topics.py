"""Sections ``[topics.NAME]``, and what a topic may be called."""

import string
from collections.abc import Mapping
from typing import Any, Final

from ingestd.config.faults import ABSENT, Faults, RefusedError, nearest, toml_key, toml_text
from ingestd.config.model import NEVER_MS, Topic
from ingestd.config.section import Rules, read_section
from ingestd.config.settings import PRODUCER, TOPIC
from ingestd.config.settings_ignored import PRODUCER_IGNORED
from ingestd.config.settings_refused import PRODUCER_FOREIGN, PRODUCER_NOT_YET
from ingestd.config.values import UNSET
from ingestd.limits import TOPIC_BYTES_MAX, TOPICS_MAX

_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "._-")
_RULES: Final = Rules(
    TOPIC,
    not_yet=PRODUCER_NOT_YET,
    foreign=PRODUCER_FOREIGN,
    elsewhere={name: "[producer], it is not per topic" for name in (*PRODUCER, *PRODUCER_IGNORED) if name not in TOPIC},
)


def check_topic_name(name: str) -> None:
    """Kafka's rule for names, else RefusedError; internal topics (``__consumer_offsets``) are refused too."""
    if not name or name in (".", "..") or len(name) > TOPIC_BYTES_MAX or not _CHARACTERS.issuperset(name):
        raise RefusedError(
            f"{toml_text(name)} is not a topic name",
            f"Use 1 to {TOPIC_BYTES_MAX} of a-z A-Z 0-9 . _ - (not . or .. alone)",
        )
    if name.startswith("__"):
        raise RefusedError(f"{toml_text(name)} is an internal topic of Kafka", "Write to a topic of your own")


def read_topics(tables: object, faults: Faults) -> dict[str, Topic]:
    """All ``[topics.NAME]``, by name."""
    topics: dict[str, Topic] = {}
    if not isinstance(tables, dict):
        faults.add("topics", tables, "not a table", "Write [topics.NAME] with the settings of that topic below it")
        return topics
    for name, table in tables.items():
        place = f"topics.{toml_key(name)}."
        try:
            check_topic_name(name)
        except RefusedError as refused:
            faults.add(place[:-1], ABSENT, refused.text, refused.cure)
            continue
        if isinstance(table, dict):
            table = _without_dotted_topics(name, table, faults)
        section = read_section(place, table, _RULES, faults)
        topics[name] = _topic(name, section)
    return topics


def _topic(name: str, section: dict[str, Any]) -> Topic:
    given = {key: None if value is UNSET else value for key, value in section.items()}
    never = section["delivery.timeout.ms"] is None
    return Topic(
        name=name,
        partitions=given["partitions"],
        linger_ms=given["linger.ms"],
        batch_size=given["batch.size"],
        compression_type=given["compression.type"],
        compression_gzip_level=given["compression.gzip.level"],
        compression_lz4_level=given["compression.lz4.level"],
        compression_zstd_level=given["compression.zstd.level"],
        delivery_timeout_ms=NEVER_MS if never else given["delivery.timeout.ms"],
        partitioner_class=given["partitioner.class"],
        partitioner_ignore_keys=given["partitioner.ignore.keys"],
        partitioner_adaptive_partitioning_enable=given["partitioner.adaptive.partitioning.enable"],
        partitioner_availability_timeout_ms=given["partitioner.availability.timeout.ms"],
    )


def _without_dotted_topics(name: str, table: Mapping[str, object], faults: Faults) -> dict[str, object]:
    """``[topics.logs.app]`` is, to TOML, a table ``app`` in the topic ``logs``: told apart from a dotted setting."""
    rest: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict) and not _begins_setting(key):
            tail = _topic_tail(key, value)
            whole = f"{name}.{tail}"
            cure = f"Quote the name: [topics.{toml_text(whole)}]"
            faults.add(f"topics.{name}.{tail}", ABSENT, "a topic's name with a dot needs quotes", cure)
        else:
            rest[key] = value
    return rest


def _begins_setting(key: str) -> bool:
    known = (*PRODUCER, *TOPIC, *PRODUCER_IGNORED, *PRODUCER_NOT_YET, *PRODUCER_FOREIGN)
    first_parts = {name.partition(".")[0] for name in known}
    return "." in key or key in first_parts


def _topic_tail(key: str, value: Mapping[str, object]) -> str:
    """The rest of the topic's name: what stands before the first part of a known setting."""
    parts = [key]
    table: Mapping[str, object] = value
    while len(table) == 1:
        (inner, below), *_ = table.items()
        if not isinstance(below, dict) or _begins_setting(inner):
            break
        parts.append(inner)
        table = below
    return ".".join(parts)


def gather_topics(configured: Mapping[str, Topic], named: Mapping[str, str], faults: Faults) -> tuple[Topic, ...]:
    """Every topic that a listener names (``named``: topic to the key that names it), with its settings.

    Settings for a topic that no listener writes to are a fault: they are a misspelt name more often than not.
    """
    for name in configured:
        if name not in named:
            near = nearest(name, named)
            cure = f"Did you mean [topics.{toml_key(near)}]?" if near else "Name it in a listener, or take it out"
            faults.add(f"topics.{toml_key(name)}", ABSENT, "no listener writes to this topic", cure)
    if len(named) > TOPICS_MAX:
        faults.add("listeners", ABSENT, f"{len(named)} topics", f"Name at most {TOPICS_MAX} in all listeners")
    return tuple(configured.get(name) or Topic(name) for name in named)
