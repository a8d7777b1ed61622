"""What the producer counts of its batches, where it happens: the one place that knows which figure means what.

Called a few times per request, and each call loops over its batches: those of one request mostly share their times, so
a distribution is told once per time. Members of an enum are looked up slowly, so here they are plain numbers.
"""

from collections.abc import Sequence
from typing import Any, Final

from ingestd.figures import Count, Figures, Histogram, TopicWord
from ingestd.kafka.errors import error_of
from ingestd.producer.delivery import Lane
from ingestd.producer.item import Item

_BATCHES_SENT: Final = int(Count.BATCHES_SENT)
_BYTES_SENT: Final = int(Count.BYTES_SENT)
_BATCHES_DELIVERED: Final = int(Count.BATCHES_DELIVERED)
_TOPIC_RECORDS_SENT: Final = int(TopicWord.RECORDS_SENT)
_TOPIC_RECORDS_RETRIED: Final = int(TopicWord.RECORDS_RETRIED)
_TOPIC_RECORDS_DELIVERED: Final = int(TopicWord.RECORDS_DELIVERED)
_TOPIC_BYTES_SENT: Final = int(TopicWord.BYTES_SENT)
_TOPIC_BYTES_DELIVERED: Final = int(TopicWord.BYTES_DELIVERED)
_TOPIC_BYTES_PLAIN: Final = int(TopicWord.BYTES_PLAIN)
_TOPIC_BYTES_SEALED: Final = int(TopicWord.BYTES_SEALED)
_ACCEPT_TO_SEAL: Final = int(Histogram.ACCEPT_TO_SEAL)
_SEAL_TO_SEND: Final = int(Histogram.SEAL_TO_SEND)
_SEND_TO_ACK: Final = int(Histogram.SEND_TO_ACK)
_ACCEPT_TO_DELIVERED: Final = int(Histogram.ACCEPT_TO_DELIVERED)
_QUEUE_TIME: Final = int(Histogram.QUEUE_TIME)
_REQUEST_LATENCY: Final = int(Histogram.REQUEST_LATENCY)
_BATCH_SIZE: Final = int(Histogram.BATCH_SIZE)


class Meter:
    """Writes into ``figures``. Per batch, request and answer; nothing here is called per record."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.add = figures.add
        self._counts = figures.counts
        self._topic = figures.topic
        self._observe = figures.observe

    def _observe_all(self, histogram: int, weights: dict[int, int]) -> None:
        """``weights``: how often each value counts."""
        for value, weight in weights.items():
            self._observe(histogram, value, weight)

    def sealed(self, batches: Sequence[tuple[Lane, Any, int]], now_ms: int) -> None:
        """Batches are sealed, and compressed if their topics say so, each with its lane and its size before that."""
        topic = ""
        row: list[int] = []
        sizes: dict[int, int] = {}
        times: dict[int, int] = {}
        for lane, batch, plain_bytes in batches:
            if lane.topic.name != topic:
                topic = lane.topic.name
                row = self._topic(topic)
            size_bytes = batch.size_bytes
            row[_TOPIC_BYTES_PLAIN] += plain_bytes
            row[_TOPIC_BYTES_SEALED] += size_bytes
            sizes[size_bytes] = sizes.get(size_bytes, 0) + 1
            time_ms = now_ms - batch.created_ms
            times[time_ms] = times.get(time_ms, 0) + batch.record_count
        self._observe_all(_BATCH_SIZE, sizes)
        self._observe_all(_ACCEPT_TO_SEAL, times)

    def sending(self, picked: Sequence[tuple[Lane, Item]], tick_ms: int, now_ms: int) -> None:
        """``picked`` are the batches of a request; their attempts are counted already."""
        topic = ""
        row: list[int] = []
        bytes_sent = 0
        waited: dict[int, int] = {}
        queued: dict[int, int] = {}
        for lane, item in picked:
            if lane.topic.name != topic:
                topic = lane.topic.name
                row = self._topic(topic)
            records = item.record_count
            row[_TOPIC_RECORDS_SENT] += records
            row[_TOPIC_BYTES_SENT] += item.size_bytes
            bytes_sent += item.size_bytes
            if item.attempts > 1:
                row[_TOPIC_RECORDS_RETRIED] += records
            if not item.first_tick_ms:
                item.first_tick_ms = tick_ms
                if item.attempts == 1:
                    time_ms = tick_ms - item.sealed_tick_ms
                    waited[time_ms] = waited.get(time_ms, 0) + records
                    time_ms = now_ms - item.batch.created_ms
                    queued[time_ms] = queued.get(time_ms, 0) + records
        self._counts[_BATCHES_SENT] += len(picked)
        self._counts[_BYTES_SENT] += bytes_sent
        self._observe_all(_SEAL_TO_SEND, waited)
        self._observe_all(_QUEUE_TIME, queued)

    def answered(self, latency_ms: int, throttle_ms: int) -> None:
        """A produce request was answered."""
        self._observe(_REQUEST_LATENCY, latency_ms, 1)
        if throttle_ms > 0:
            self.add(Count.THROTTLES)
            self.add(Count.THROTTLE_MS, throttle_ms)

    def error(self, code: int) -> None:
        """The request that carried a batch met ``code`` for it."""
        self.figures.error(error_of(code).name)

    def delivered(self, settled: Sequence[tuple[Lane, Item, bool]], now_ms: int, tick_ms: int) -> None:
        """Batches are in the log; True: a later answer says so, not its own."""
        topic = ""
        row: list[int] = []
        answered: dict[int, int] = {}
        whole: dict[int, int] = {}
        for lane, item, proven in settled:
            if lane.topic.name != topic:
                topic = lane.topic.name
                row = self._topic(topic)
            records = item.record_count
            row[_TOPIC_RECORDS_DELIVERED] += records
            row[_TOPIC_BYTES_DELIVERED] += item.size_bytes
            if item.first_tick_ms:
                time_ms = tick_ms - item.first_tick_ms
                answered[time_ms] = answered.get(time_ms, 0) + records
            time_ms = now_ms - item.batch.created_ms
            whole[time_ms] = whole.get(time_ms, 0) + records
            if item.recovered:
                known = Count.RECOVERED_PROVEN if proven else Count.RECOVERED_ANSWERED
                self.add(Count.RECOVERED_AT_RISK if item.risk else known)
        self._counts[_BATCHES_DELIVERED] += len(settled)
        self._observe_all(_SEND_TO_ACK, answered)
        self._observe_all(_ACCEPT_TO_DELIVERED, whole)

    def refused(self, topic: str, records: int, size_bytes: int) -> None:
        """Single records of a batch are given up; ``size_bytes``: by how much it became smaller."""
        row = self._topic(topic)
        row[TopicWord.RECORDS_FAILED] += records
        row[TopicWord.BYTES_FAILED] += max(size_bytes, 0)

    def failed(self, topic: str, item: Item) -> None:
        """``item`` is given up as a whole."""
        row = self._topic(topic)
        row[TopicWord.RECORDS_FAILED] += item.record_count
        row[TopicWord.BYTES_FAILED] += item.size_bytes
        self.add(Count.BATCHES_FAILED)
        if item.recovered:
            self.add(Count.RECOVERED_FAILED)

    # -- gauges, once a second

    def begin(self) -> None:
        """Nothing is known to wait."""
        for row in self.figures.topics():
            row[TopicWord.OLDEST_CREATED_MS] = row[TopicWord.BATCHES_WAITING] = row[TopicWord.BYTES_WAITING] = 0

    def waits(self, topic: str, oldest_created_ms: int, batches: int, size_bytes: int) -> None:
        """So much of ``topic`` is sealed or sent and has no outcome; several calls for a topic add up."""
        row = self._topic(topic)
        if oldest_created_ms and not 0 < row[TopicWord.OLDEST_CREATED_MS] <= oldest_created_ms:
            row[TopicWord.OLDEST_CREATED_MS] = oldest_created_ms
        row[TopicWord.BATCHES_WAITING] += batches
        row[TopicWord.BYTES_WAITING] += size_bytes
