"""What the producer counts of its batches, where it happens: the one place that knows which figure means what.

Called a few times per request, and each call loops over its batches. Members of an enum are looked up slowly, so here
they are plain numbers.
"""

from collections.abc import Sequence
from typing import Any, Final

from ingestd.figures import Count, Figures, Histogram, TopicWord
from ingestd.kafka.errors import error_of
from ingestd.producer.lanes.delivery import Lane
from ingestd.producer.lanes.item import Item

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


class Meter:
    """Writes into ``figures``. Per batch, request and answer; nothing here is called per record."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.add = figures.add
        self._counts = figures.counts
        self._topic = figures.topic
        tallies = figures.tallies
        self._accept_to_seal = tallies[Histogram.ACCEPT_TO_SEAL]
        self._seal_to_send = tallies[Histogram.SEAL_TO_SEND]
        self._send_to_ack = tallies[Histogram.SEND_TO_ACK]
        self._accept_to_delivered = tallies[Histogram.ACCEPT_TO_DELIVERED]
        self._queue_time = tallies[Histogram.QUEUE_TIME]
        self._request_latency = tallies[Histogram.REQUEST_LATENCY]
        self._batch_size = tallies[Histogram.BATCH_SIZE]

    def sealed(self, batches: Sequence[tuple[Lane, Any, int]], now_ms: int) -> None:
        """Batches are sealed, and compressed if their topics say so, each with its lane and its size before that."""
        sizes, times = self._batch_size, self._accept_to_seal
        for lane, batch, plain_bytes in batches:
            row = lane.figures
            size_bytes = batch.size_bytes
            row[_TOPIC_BYTES_PLAIN] += plain_bytes
            row[_TOPIC_BYTES_SEALED] += size_bytes
            sizes[size_bytes] += 1
            times[now_ms - batch.created_ms] += batch.record_count

    def sending(self, picked: Sequence[tuple[Lane, Item]], tick_ms: int, now_ms: int) -> None:
        """``picked`` are the batches of a request; their attempts are counted already."""
        bytes_sent = 0
        for lane, item in picked:
            row = lane.figures
            records, size_bytes = item.record_count, item.size_bytes
            row[_TOPIC_RECORDS_SENT] += records
            row[_TOPIC_BYTES_SENT] += size_bytes
            bytes_sent += size_bytes
            if item.attempts > 1:
                row[_TOPIC_RECORDS_RETRIED] += records
            if not item.first_tick_ms:
                item.first_tick_ms = tick_ms
                if item.attempts == 1:
                    self._seal_to_send[tick_ms - item.sealed_tick_ms] += records
                    self._queue_time[now_ms - item.batch.created_ms] += records
        self._counts[_BATCHES_SENT] += len(picked)
        self._counts[_BYTES_SENT] += bytes_sent

    def answered(self, latency_ms: int, throttle_ms: int) -> None:
        """A produce request was answered."""
        self._request_latency[latency_ms] += 1
        if throttle_ms > 0:
            self.add(Count.THROTTLES)
            self.add(Count.THROTTLE_MS, throttle_ms)

    def error(self, code: int) -> None:
        """The request that carried a batch met ``code`` for it."""
        self.figures.error(error_of(code).name)

    def delivered(self, settled: Sequence[tuple[Lane, Item, bool]], now_ms: int, tick_ms: int) -> None:
        """Batches are in the log; True: a later answer says so, not its own."""
        answered, whole = self._send_to_ack, self._accept_to_delivered
        for lane, item, proven in settled:
            row = lane.figures
            records = item.record_count
            row[_TOPIC_RECORDS_DELIVERED] += records
            row[_TOPIC_BYTES_DELIVERED] += item.size_bytes
            if item.first_tick_ms:
                answered[tick_ms - item.first_tick_ms] += records
            whole[now_ms - item.batch.created_ms] += records
            if item.recovered:
                known = Count.RECOVERED_PROVEN if proven else Count.RECOVERED_ANSWERED
                self.add(Count.RECOVERED_AT_RISK if item.risk else known)
        self._counts[_BATCHES_DELIVERED] += len(settled)

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
