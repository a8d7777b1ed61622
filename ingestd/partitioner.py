"""Partitioners written in Python: the interface, and how one is found by ``partitioner.class = "module:Class"``.

It is what Kafka's ``Partitioner`` is, but for lists of records: asked once per read from a socket as a rule, for those
records of a topic that name no partition, 4096 at most. docs/partitioning.md says what that costs.
"""

import importlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

from ingestd.errors import ConfigurationError, Fault
from ingestd.hotpath.partition import murmur2, partition_for_key

__all__ = ["Choice", "Partitioner", "load", "murmur2", "partition_for_key"]

REFUSED: Final = -1
_IS_INT: Final = int.__instancecheck__

logger = logging.getLogger(__name__)


class Partitioner(ABC):
    """To be derived from. An instance serves one topic in one worker process, on its event loop: whatever it waits
    for, the whole worker waits for."""

    def configure(self, configs: Mapping[str, object]) -> None:  # noqa: B027 (may be left out)
        """Called once, before anything else, with the producer's settings by Kafka's names."""

    @abstractmethod
    def partition(
        self, topic: str, keys: list[bytes | None], values: list[bytes | None], partition_count: int
    ) -> Sequence[int]:
        """A partition, 0 to ``partition_count`` - 1, for each record; below 0: refuse it. All partitions count, with or
        without a leader. Records are in the order in which they came. One that had to wait for room is asked about
        again."""

    def close(self) -> None:  # noqa: B027 (may be left out)
        """Called once, when the worker ends in an orderly way."""


def load(name: str, configs: Mapping[str, object]) -> Partitioner:
    """An instance of the class ``name`` (``module:Class``), configured. ConfigurationError says what went wrong."""
    module, _, class_name = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), class_name)
        partitioner = found()
        partitioner.configure(configs)
    except Exception as error:
        cure = "Mend the class, or name another one"
        fault = Fault("partitioner.class", name, f"cannot be used: {error!r}", cure)
        raise ConfigurationError([fault]) from error
    if not callable(getattr(partitioner, "partition", None)):
        cure = "Derive the class from ingestd.partitioner.Partitioner"
        raise ConfigurationError([Fault("partitioner.class", name, "has no method partition", cure)])
    return partitioner  # type: ignore[no-any-return]


class Choice:
    """``partitioner`` for ``topic``, as the record path asks: what is wrong with an answer is its records' refusal."""

    def __init__(self, topic: str, partitioner: Partitioner) -> None:
        self._topic = topic
        self._partitioner = partitioner
        self._told = False

    def __call__(self, keys: list[bytes | None], values: list[bytes | None], partition_count: int) -> Sequence[int]:
        """A partition for each record, or REFUSED."""
        record_count = len(keys)
        try:
            answer = list(self._partitioner.partition(self._topic, keys, values, partition_count))
            if len(answer) != record_count:
                raise ValueError(f"{len(answer)} partitions for {record_count} records")
            if not all(map(_IS_INT, answer)):
                raise TypeError("a partition is a whole number")
            if record_count and not (min(answer) >= 0 and max(answer) < partition_count):
                answer = [self._checked(partition, partition_count) for partition in answer]
        except Exception as error:
            self._tell(f"{error!r}: its records are refused", error)
            return [REFUSED] * record_count
        return answer

    def _checked(self, partition: int, partition_count: int) -> int:
        if partition < partition_count:
            return partition if partition >= 0 else REFUSED
        self._tell(f"partition {partition} of {partition_count}: that record is refused")
        return REFUSED

    def _tell(self, text: str, error: Exception | None = None) -> None:
        """Once: the counter rejected{partitioner_failed} says how often."""
        if not self._told:
            self._told = True
            name = type(self._partitioner).__qualname__
            logger.error("topic %s: partitioner %s: %s (told once)", self._topic, name, text, exc_info=error)
