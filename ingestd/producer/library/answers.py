"""From a batch's outcome to the futures of its records; the counterpart of ``worker/answers.py`` and its sessions."""

from collections.abc import Callable

from ingestd.client import errors
from ingestd.client.records import RecordMetadata
from ingestd.hotpath import handover
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.handover import Outgoing
from ingestd.hotpath.local import LocalIntake
from ingestd.hotpath.snapshots import Batch
from ingestd.kafka.errors import error_of
from ingestd.producer.common import log


def tell(attended: list[Outgoing]) -> None:
    """Calls whoever waits for these records, in their order.

    A callback's exception is its own affair: logged, and the others go on (as in Kafka's producer).
    """
    if attended:
        handover.tell(attended, RecordMetadata, _raised)


def _raised() -> None:
    log.exception("a callback raised")


class Answers:
    """Who is told about outcomes (``DeliveryEvents``), by batches. ``freed()``: pages came back."""

    def __init__(self, local: LocalIntake, freed: Callable[[], None]) -> None:
        self._local = local
        self._freed = freed
        self._names: dict[int, str] = {}

    def on_delivered(self, arena: Arena, batch: Batch, base_offset: int, log_append_time_ms: int) -> None:
        tell(self._local.delivered(arena, batch.entry, batch.partition, base_offset, log_append_time_ms))

    def on_failed(
        self, arena: Arena, batch: Batch, reason: int, error_code: int, may_have_been_written: bool, text: str
    ) -> None:
        said = self._said(arena, batch, error_code, text)
        tell(self._local.failed(arena, batch.entry, errors.failed(reason, error_code, said, may_have_been_written)))

    def on_records_failed(
        self,
        arena: Arena,
        batch: Batch,
        texts: dict[int, str],
        reason: int,
        error_code: int,
        may_have_been_written: bool,
    ) -> None:
        indexes: dict[str, set[int]] = {}
        for index, text in texts.items():
            indexes.setdefault(text, set()).add(index)
        for text, refused in indexes.items():
            said = self._said(arena, batch, error_code, text)
            error = errors.failed(reason, error_code, said, may_have_been_written)
            tell(self._local.failed(arena, batch.entry, error, refused))

    def on_split(self, arena: Arena, batch: Batch, second: Batch) -> None:
        """Nothing to do: each half knows whose records it has."""

    def on_freed(self) -> None:
        self._freed()

    def _said(self, arena: Arena, batch: Batch, error_code: int, text: str) -> str:
        """Where, which error of Kafka's, and what the broker said."""
        if batch.topic not in self._names:
            self._names = {topic.index: topic.name for topic in arena.topics()}
        name = error_of(error_code).name if error_code else ""
        return ", ".join(filter(None, (f"{self._names[batch.topic]}-{batch.partition}", name, text)))
