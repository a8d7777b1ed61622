"""From the settings of a topic to the partitioner of the record path, Python ones loaded."""

import logging
from typing import TYPE_CHECKING

from ingestd import partitioner
from ingestd.config.model import Config, Topic
from ingestd.config.partitioner import compiled_name, configs_of

if TYPE_CHECKING:
    from ingestd.hotpath.intake import ChoosePartitions

logger = logging.getLogger(__name__)


class Partitioners:
    """Those of all topics; ``close`` at the end, whatever theirs raise. ConfigurationError: one cannot be loaded."""

    def __init__(self, config: Config) -> None:
        self._loaded: list[partitioner.Partitioner] = []
        self.by_topic = {topic.name: self._of(config, topic) for topic in config.topics}
        """As ``Intake.add_topic`` takes them."""

    def _of(self, config: Config, topic: Topic) -> "str | ChoosePartitions":
        settings = config.topic_settings(topic).partitioning
        compiled = compiled_name(settings)
        if compiled is not None:
            return compiled
        loaded = partitioner.load(settings.partitioner_class, configs_of(config.producer))
        self._loaded.append(loaded)
        return partitioner.Choice(topic.name, loaded)

    def close(self) -> None:
        for loaded in self._loaded:
            try:
                loaded.close()
            except Exception:
                # What is in the arena still has to go out.
                logger.exception("partitioner %s: close() failed", type(loaded).__qualname__)
