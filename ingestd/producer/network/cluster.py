"""What is known of the cluster: brokers, topics, leaders with their epochs; and when to ask again. No I/O, no clock.

Rules (docs/kafka.md 14): the highest leader epoch wins unless the topic's id has changed; an answer that leaves a need
unmet, or says nothing new, backs off like a failure; all configured topics are asked for at once.
"""

from collections.abc import Iterable
from random import Random
from typing import Final

from ingestd.kafka.errors import LEADER_NOT_AVAILABLE, NONE, UNKNOWN_TOPIC_OR_PARTITION, Action, error_of
from ingestd.kafka.messages import ClusterInfo, TopicInfo
from ingestd.kafka.produce import TOPIC_ID_NONE, TopicRow, topic_row
from ingestd.limits import DENIAL_PAUSE_MS
from ingestd.producer.network.backoff import Backoff

UNKNOWN_TOPIC_BACKOFF_MAX_MS: Final = 5000
"""A topic that the cluster does not have is asked for again this rarely, unless there is more to ask."""
NO_LEADER: Final = -1
FOREVER_MS: Final = 1 << 40


class Topic:
    """One configured topic. ``leaders[i]``: (node or NO_LEADER, leader epoch) of partition i; empty: not known."""

    __slots__ = (
        "code",
        "counted_since_ms",
        "denied_since_ms",
        "idle",
        "leaders",
        "name",
        "row",
        "topic_id",
        "used_ms",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.row: TopicRow = topic_row(name)
        self.topic_id = TOPIC_ID_NONE
        self.leaders: list[tuple[int, int]] = []
        self.code = NONE
        self.counted_since_ms = -1
        """Monotonic time since which a reachable cluster has shown as many partitions as there are."""
        self.denied_since_ms = -1
        """Monotonic time since which a reachable cluster has denied the topic without a break; -1: it has not."""
        self.used_ms = -1
        """Monotonic time of the last use, which is a batch for it or a caller that asks; -1: of the next request."""
        self.idle = False
        """It is not asked about any more (metadata.max.idle.ms): what is known of it may be old."""

    @property
    def is_denied(self) -> bool:
        """It is not shown, for a reason that lasts longer than an election."""
        return self.code not in (NONE, LEADER_NOT_AVAILABLE)

    @property
    def leader_bytes(self) -> bytes:
        """One byte per partition: 1 = has a leader; empty: count unknown."""
        return bytes(leader != NO_LEADER for leader, _ in self.leaders)

    def leader(self, partition: int) -> int:
        return self.leaders[partition][0] if partition < len(self.leaders) else NO_LEADER


class Cluster:
    """Metadata of the configured topics. ``max_age_ms``, ``max_idle_ms``: metadata.max.age.ms, metadata.max.idle.ms."""

    def __init__(
        self,
        names: Iterable[str],
        max_age_ms: int,
        max_idle_ms: int,
        backoff_ms: int,
        backoff_max_ms: int,
        random: Random,
    ) -> None:
        self.topics = {name: Topic(name) for name in names}
        self.by_id: dict[bytes, Topic] = {}
        self.brokers: dict[int, tuple[str, int]] = {}
        self.cluster_id = ""
        self.last_success_ms = -1
        self.trying_since_ms = -1
        """Monotonic time of the first request since the last answer; -1: none was made."""
        self._max_age_ms = max_age_ms
        self._max_idle_ms = max_idle_ms
        self._backoff = Backoff(backoff_ms, backoff_max_ms, random)
        self._unknown_backoff = Backoff(backoff_ms, max(UNKNOWN_TOPIC_BACKOFF_MAX_MS, backoff_max_ms), random)
        self._wanted = True
        self._asked = False
        self._left_out = False
        """A topic is used again that the request under way is not about."""
        self._not_before_ms = 0
        self._unmet_not_before_ms = 0
        """For what nobody has asked for: a topic that is not there does not delay a leader's change."""
        self._failures = 0
        self._repeats = 0

    # -- when to ask

    def want(self) -> None:
        """Something does not fit what is known: ask as soon as the backoff allows."""
        self._wanted = True

    def add(self, name: str) -> Topic:
        """The topic, asked about from now on: at once if it is a new one, whatever the answers for others were.

        Whoever asks for one that is known uses it: it is in the next request, and ``max_idle_ms`` begins anew there.
        """
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = Topic(name)
            self._not_before_ms = self._unmet_not_before_ms = self._repeats = 0
        topic.used_ms = -1
        self._include(topic)
        return topic

    def due_in_ms(self, tick_ms: int) -> int:
        """Time until the next metadata request; FOREVER_MS while one is under way."""
        if self._asked:
            return FOREVER_MS
        due_ms = self._not_before_ms
        if not self._wanted and self.last_success_ms >= 0:
            next_ms = self._unmet_not_before_ms if self._unmet() else self.last_success_ms + self._max_age_ms
            due_ms = max(due_ms, next_ms)
        return max(due_ms - tick_ms, 0)

    def asked(self, tick_ms: int) -> list[str]:
        """A request goes out; returns the topics that it is about.

        A topic that nobody writes to leaves it after ``max_idle_ms``. One that the cluster does not show stays:
        its records may be refused without ever becoming a batch.
        """
        self._asked, self._left_out = True, False
        if self.trying_since_ms < 0:
            self.trying_since_ms = tick_ms
        for topic in self.topics.values():
            if topic.used_ms < 0:
                topic.used_ms = tick_ms
            shown = bool(topic.leaders) and topic.code == NONE
            topic.idle = shown and tick_ms - topic.used_ms >= self._max_idle_ms
        return [name for name, topic in self.topics.items() if not topic.idle]

    def used(self, topic: Topic, tick_ms: int) -> bool:
        """``topic`` has a batch, or a caller asks about it. True: it was idle, and is to be asked about at once."""
        topic.used_ms = tick_ms
        if not topic.idle:
            return False
        self._include(topic)
        return True

    def _include(self, topic: Topic) -> None:
        self._wanted = True
        # The answer to a request that leaves it out is not the one that is wanted.
        self._left_out = self._left_out or (topic.idle and self._asked)
        topic.idle = False

    def forget_brokers(self, tick_ms: int) -> None:
        """The bootstrap servers are to be asked again; topics, ids, epochs are kept (KIP-899, KIP-1102)."""
        self.brokers = {}
        self._wanted = True
        self.trying_since_ms = tick_ms

    def failed(self, tick_ms: int) -> None:
        """The request had no answer."""
        self._asked = False
        self._failures += 1
        self._not_before_ms = tick_ms + self._backoff.delay_ms(self._failures)

    def _unmet(self) -> list[Topic]:
        """Topics that are not shown, or have a partition whose leader is not known or nowhere to be found."""
        return [
            topic
            for topic in self.topics.values()
            if not topic.idle
            and (
                topic.code != NONE
                or not topic.leaders
                or any(leader not in self.brokers for leader, _ in topic.leaders)
            )
        ]

    @property
    def leaders(self) -> set[int]:
        """Nodes that lead a partition of any topic here, as far as is known."""
        return {leader for topic in self.topics.values() for leader, _ in topic.leaders}

    # -- what was answered

    def update(self, info: ClusterInfo, tick_ms: int) -> list[Topic]:
        """Takes an answer in; returns the topics whose id, partitions, leaders or error have changed."""
        self._asked = False
        self._wanted = self._left_out
        self._failures = 0
        self._restart_denials(tick_ms)
        self.last_success_ms = tick_ms
        self.trying_since_ms = -1
        news = self.brokers != info.brokers
        self.brokers = info.brokers
        self.cluster_id = info.cluster_id or self.cluster_id
        changed = [topic for row in info.topics if (topic := self._update_topic(row, tick_ms)) is not None]
        self._repeats = 0 if changed or news else self._repeats + 1
        self._not_before_ms = tick_ms + self._backoff.delay_ms(self._repeats + 1)
        only_denied = all(topic.is_denied for topic in self._unmet())
        backoff = self._unknown_backoff if only_denied else self._backoff
        self._unmet_not_before_ms = tick_ms + backoff.delay_ms(self._repeats + 1)
        return changed

    def _restart_denials(self, tick_ms: int) -> None:
        """An outage is no denial, whatever was said before it."""
        pause_ms = tick_ms - max(self.last_success_ms, self._unmet_not_before_ms)
        for topic in self.topics.values():
            if topic.denied_since_ms >= 0 and pause_ms > DENIAL_PAUSE_MS:
                topic.denied_since_ms = tick_ms
            if topic.counted_since_ms >= 0 and pause_ms > self._max_age_ms + DENIAL_PAUSE_MS:
                topic.counted_since_ms = tick_ms

    def _update_topic(self, row: TopicInfo, tick_ms: int) -> Topic | None:
        topic = self.topics.get(row.name)
        if topic is None:
            return None
        if row.code != NONE:
            denied = error_of(row.code).action is Action.DENIED
            if not denied:
                topic.denied_since_ms = -1
            elif topic.denied_since_ms < 0:
                topic.denied_since_ms = tick_ms
            changed = topic.code != row.code
            topic.code = row.code
            return topic if changed else None
        # A broker from before Kafka 2.8 names none: in a cluster that is being upgraded that is no other topic.
        topic_id = topic.topic_id if row.topic_id == TOPIC_ID_NONE else row.topic_id
        recreated = topic_id != topic.topic_id and topic.topic_id != TOPIC_ID_NONE
        leaders = [(NO_LEADER, -1)] * len(row.partitions)
        for partition in row.partitions:
            if partition.partition >= len(leaders):
                continue
            leader = partition.leader if partition.code in (NONE, 9) else NO_LEADER
            known = topic.leaders[partition.partition] if partition.partition < len(topic.leaders) else (NO_LEADER, -1)
            stale = not recreated and -1 < partition.leader_epoch < known[1]
            leaders[partition.partition] = known if stale else (leader, partition.leader_epoch)
        if len(leaders) != len(topic.leaders):
            topic.counted_since_ms = tick_ms
        changed = topic.code != NONE or leaders != topic.leaders or topic_id != topic.topic_id
        topic.code = NONE
        topic.denied_since_ms = -1
        topic.leaders = leaders
        if topic_id != topic.topic_id:
            self.by_id.pop(topic.topic_id, None)
            topic.topic_id = topic_id
            topic.row = topic_row(topic.name, topic_id)
            self.by_id[topic_id] = topic
        return topic if changed else None

    def hint(
        self, topic: Topic, partition: int, leader: int, epoch: int, endpoints: dict[int, tuple[str, int]]
    ) -> bool:
        """A produce answer named a leader (KIP-951). Taken if its epoch is newer and its node known.

        True: it is the leader that is known now, so there is no need to ask.
        """
        if partition >= len(topic.leaders):
            return False
        if (leader, epoch) == topic.leaders[partition]:
            return leader in self.brokers
        if epoch <= topic.leaders[partition][1]:
            return False
        if leader in endpoints:
            self.brokers = {**self.brokers, leader: endpoints[leader]}
        if leader not in self.brokers:
            return False
        topic.leaders[partition] = (leader, epoch)
        return True

    def denied_since(self, topic: Topic, partition: int) -> tuple[int, int]:
        """(Monotonic time since when, error code) metadata denies this partition; (-1, 0): it does not."""
        if topic.denied_since_ms >= 0:
            return topic.denied_since_ms, topic.code
        if topic.leaders and partition >= len(topic.leaders):
            return topic.counted_since_ms, UNKNOWN_TOPIC_OR_PARTITION
        return -1, NONE
