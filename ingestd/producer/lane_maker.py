"""How a partition's lane begins: by the producer's settings, under its producer id if there is one, and counted."""

from random import Random

from ingestd.config.model import Producer
from ingestd.figures import Figures
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.network.backoff import Backoff
from ingestd.producer.network.cluster import Topic
from ingestd.producer.network.identity import Identity


class LaneMaker:
    """``expires_attempted``: delivery.timeout.ms ends batches that were sent, too."""

    def __init__(
        self, settings: Producer, identity: Identity, figures: Figures, random: Random, *, expires_attempted: bool
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._figures = figures
        # One method for all lanes: made anew for each, it would be a fair part of what a lane takes.
        self._delay_ms = Backoff(settings.retry_backoff_ms, settings.retry_backoff_max_ms, random).delay_ms
        self._expires_attempted = expires_attempted

    def make(self, topic: Topic, partition: int) -> Lane:
        """A lane without work and without a broker."""
        lane = Lane(
            topic,
            partition,
            self._delay_ms,
            idempotent=self._settings.enable_idempotence,
            retries_max=self._settings.retries,
            expires_attempted=self._expires_attempted,
        )
        if self._settings.enable_idempotence and self._identity.producer_id >= 0:
            lane.identity(self._identity.producer_id, self._identity.epoch)
        lane.figures = self._figures.topic(topic.name)
        lane.offsets_of = topic.row
        return lane
