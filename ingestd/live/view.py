"""What was seen of a cluster: plain values between the one who asks and the one who judges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ingestd.kafka.describe import TopicDescription


class Reached(NamedTuple):
    """A broker that was tried. ``error``: why there is no connection; empty: there is one."""

    address: str
    error: str = ""
    produce_version: int = -1


@dataclass
class View:
    """``seeds``: bootstrap.servers; ``nodes``: the brokers as the cluster names them, by node.

    Settings are those of DescribeConfigs; where they are not told (``refusals`` has the code's name by topic, or under
    "" for the brokers), they are missing. ``identity_error``: how InitProducerId was refused; empty: it was not.
    """

    seeds: list[Reached]
    cluster_id: str = ""
    nodes: dict[int, Reached] = field(default_factory=dict)
    topics: Mapping[str, TopicDescription] = field(default_factory=dict)
    topic_settings: dict[str, Mapping[str, str | None]] = field(default_factory=dict)
    broker_settings: dict[int, Mapping[str, str | None]] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    identity_error: str = ""

    @property
    def reachable(self) -> bool:
        """Whether any bootstrap server answered."""
        return any(not seed.error for seed in self.seeds)


def number(settings: Mapping[str, str | None], name: str) -> int | None:
    """A numeric setting of a topic or broker; None where it is not told."""
    value = settings.get(name)
    try:
        return None if value is None else int(value)
    except ValueError:
        return None


class Weight(Enum):
    """How bad a finding is."""

    FAILS = "fails"
    """Records will be refused, lost or doubled."""
    NOTE = "note"


class Finding(NamedTuple):
    """``what`` will happen, and what to set (``cure``). ``subject``: the topic, broker or setting that it is about."""

    weight: Weight
    subject: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.weight.value}: {self.subject}: {self.what}. {self.cure}"
