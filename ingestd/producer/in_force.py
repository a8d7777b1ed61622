"""What is in force for each topic, its own settings before the producer's, as far as the producer itself needs it."""

from collections.abc import Sequence

from ingestd.config.model import Producer, Topic, topic_settings
from ingestd.producer.compression import CODECS, PLAIN, Codec
from ingestd.producer.lanes.delivery import Lane


class InForce:
    """``topics``: those configured. Others, left by an earlier configuration, go out plain and never expire."""

    def __init__(self, settings: Producer, topics: Sequence[Topic]) -> None:
        self._settings = settings
        self._codecs: dict[str, Codec] = {}
        self._timeouts_ms: dict[str, int | None] = {}
        for topic in topics:
            self.add(topic)

    def add(self, topic: Topic) -> None:
        """One more topic, or other settings of one that is known."""
        found = topic_settings(topic, self._settings)
        number = CODECS[found.compression_type]
        self._codecs[topic.name] = Codec(number, found.compression_level) if number else PLAIN
        self._timeouts_ms[topic.name] = found.delivery_timeout_ms

    def codec(self, name: str) -> Codec:
        """What batches of the topic are compressed with; PLAIN itself, not its equal, where that is nothing."""
        return self._codecs.get(name, PLAIN)

    def codec_of(self, lane: Lane, otherwise: Codec) -> Codec:
        """What the lane's topic is compressed with; ``otherwise`` where that is nothing."""
        codec = self.codec(lane.topic.name)
        return otherwise if codec is PLAIN else codec

    def timeout_ms(self, lane: Lane) -> int | None:
        """delivery.timeout.ms of its topic; None: never."""
        return self._timeouts_ms.get(lane.topic.name)
