"""The topics that a program has named: what callers read of them, written by the thread of the arena alone."""

from collections.abc import Mapping, Sequence
from typing import Final

from ingestd.config.model import Producer as Settings
from ingestd.config.model import Topic, partitioning
from ingestd.config.partitioner import compiled_name
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.errors import ArenaFull
from ingestd.hotpath.intake import Intake
from ingestd.kafka.errors import INVALID_TOPIC_EXCEPTION, NONE, Action, error_of
from ingestd.producer.batch_producer import BatchProducer
from ingestd.producer.weights import Weights

TOPIC_ROW_BYTES: Final = 32_768
"""One row of the topic table per so many bytes of buffer.memory, and at most TOPICS_MAX."""
TOPICS_MAX: Final = 1024
NO_ROW: Final = -1


def topic_capacity(buffer_bytes: int) -> int:
    """How many topics one producer may name."""
    return min(TOPICS_MAX, buffer_bytes // TOPIC_ROW_BYTES)


class KnownTopic:
    """One topic. Fields are replaced, never changed in place: any thread may read them at any time."""

    __slots__ = ("code", "count", "held", "index", "leaders", "name", "nodes", "open")

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        """Row of the arena's topic table; NO_ROW: it has no room for the topic, or ``code`` says why it never will."""
        self.count = 0
        """Partitions; 0: metadata does not show the topic."""
        self.leaders: Sequence[int] = ()
        """Node that leads each partition; -1: none."""
        self.nodes: Mapping[int, tuple[str, int]] = {}
        self.code = NONE
        """The error that metadata has for the topic."""
        self.held = False
        """Records of it wait for a partition that takes no new batch: callers wait too."""
        self.open = False
        """Records can be handed over now: the one look that every ``send()`` takes."""

    def change(self, *, count: int | None = None, held: bool | None = None) -> None:
        """For the thread of the arena."""
        self.count = self.count if count is None else count
        self.held = self.held if held is None else held
        self.open = self.count > 0 and not self.held

    def admits(self, partition: int | None) -> bool:
        """Whether a record for that partition (None: any) can be handed over now."""
        return self.open and (partition is None or partition < self.count)

    @property
    def denied(self) -> bool:
        """Waiting does not help: the name is illegal, or not ours to write to."""
        row = error_of(self.code)
        return self.index == NO_ROW or (row.action is Action.DENIED and not row.retriable)

    @property
    def refuses(self) -> bool:
        """Whatever is sent to it fails before it is handed over: it has no partition, and will not get any."""
        return not self.count and self.denied


class Topics:
    """Makes topics known on demand. ``known`` may be read by any thread, the rest is the arena's thread's."""

    def __init__(self, settings: Settings, arena: Arena, intake: Intake, weights: Weights) -> None:
        self.known: dict[str, KnownTopic] = {}
        self._settings = settings
        self._arena = arena
        self._intake = intake
        self._weights = weights
        self._partitioning = partitioning(settings)
        self._held: frozenset[str] = frozenset()

    def want(self, name: str, producer: BatchProducer) -> None:
        """A caller waits for the topic, or for more partitions of it."""
        if name not in self.known:
            self.known[name] = self._added(name)
        if self.known[name].index != NO_ROW:
            producer.add_topic(Topic(name))

    def _added(self, name: str) -> KnownTopic:
        try:
            index = self._arena.topic_add(name)
        except ArenaFull:
            return KnownTopic(name, NO_ROW)
        except ValueError:  # too long, or no UTF-8: no cluster needs to be asked about it
            illegal = KnownTopic(name, NO_ROW)
            illegal.code = INVALID_TOPIC_EXCEPTION
            return illegal
        settings = self._settings
        self._intake.add_topic(
            index,
            batch_bytes=settings.batch_size,
            linger_ms=settings.linger_ms,
            record_bytes_max=settings.max_request_size,
            partitioner=compiled_name(self._partitioning) or "murmur2",
        )
        self._weights.add(index, name, self._partitioning)
        return KnownTopic(name, index)

    def update(self, name: str, leader_bytes: bytes, producer: BatchProducer) -> None:
        """Metadata says something else about the topic than before; ``leader_bytes`` as BatchProducer gives them."""
        topic, found = self.known.get(name), producer.topic(name)
        if topic is None or found is None:
            return
        topic.nodes = dict(producer.nodes)
        topic.leaders = tuple(leader for leader, _ in found.leaders)
        topic.code = found.code
        if leader_bytes:
            # What is queued for a topic that is denied keeps its partitions: it waits for the topic to come back.
            self._intake.set_partitions(topic.index, leader_bytes)
        topic.change(count=len(leader_bytes))

    def hold(self, names: frozenset[str]) -> None:
        """The topics, and only they, whose callers wait until records before theirs have room."""
        if names != self._held:
            for name in names ^ self._held:
                self.known[name].change(held=name in names)
            self._held = names
