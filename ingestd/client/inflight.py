"""InFlight: the frames that are not answered completely, by sequence; finds the records that an answer speaks of."""

from bisect import bisect_right
from collections.abc import Iterator

from ingestd.client.encoding import frame_head
from ingestd.client.errors import KafkaException
from ingestd.client.future import Future
from ingestd.client.outbox import RECORD_OVERHEAD_BYTES, Entry


class Frame:
    """A RECORDS frame and the futures of its records; a future that has its outcome is replaced by None."""

    __slots__ = ("data", "first_sequence", "futures", "head_bytes", "held_bytes", "open", "serial", "started", "topic")

    def __init__(self, serial: int, entries: list[Entry], first_sequence: int) -> None:
        records = [encoded for encoded, _ in entries]
        self.topic = entries[0][1].topic
        head = frame_head(first_sequence, records, self.topic)
        self.head_bytes = len(head)
        self.data: bytes | None = b"".join((head, *records))  # None once the daemon has accepted all of it
        self.futures: list[Future | None] = [future for _, future in entries]
        self.first_sequence = first_sequence
        self.serial = serial  # its place among all frames; sequences may be given anew, this never changes
        self.open = len(entries)
        self.started = False  # whether any byte of it was ever written
        self.held_bytes = len(self.data) - self.head_bytes + RECORD_OVERHEAD_BYTES * len(entries)

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + len(self.futures) - 1

    def renumber(self, first_sequence: int) -> None:
        """Another session: other sequences. Only for a frame of which nothing was written."""
        data = self.data or b""
        # The sequence has a fixed place in the head, whatever the topic's name.
        self.data = b"".join((data[:16], first_sequence.to_bytes(8, "little"), data[24:]))
        self.first_sequence = first_sequence


class InFlight:
    """Frames in order of their sequences. `freed_bytes` collects what the outbox may give away again."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._firsts: list[int] = []
        self._accepted = 0  # so many frames in front are accepted: with Kafka away, that is nearly all of many
        self.freed_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    @property
    def oldest_serial(self) -> int | None:
        """Of the oldest frame that has records without outcome."""
        return self._frames[0].serial if self._frames else None

    def add(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._firsts.append(frame.first_sequence)

    def renumber(self) -> int:
        """Gives all frames sequences from 1 on; returns the next free one."""
        sequence = 1
        for frame in self._frames:
            frame.renumber(sequence)
            sequence += len(frame.futures)
        self._firsts = [frame.first_sequence for frame in self._frames]
        self._accepted = 0
        return sequence

    def accepted(self, last_sequence: int) -> None:
        """The daemon has all up to here: its bytes need not be kept for another try."""
        while self._accepted < len(self._frames):
            frame = self._frames[self._accepted]
            if frame.last_sequence > last_sequence:
                return
            self._accepted += 1
            if frame.data is not None:
                size_bytes = len(frame.data) - frame.head_bytes
                frame.data = None
                frame.held_bytes -= size_bytes
                self.freed_bytes += size_bytes

    def succeed(self, first: int, last: int, partition: int, offset: int, timestamp_ms: int) -> None:
        """Outcome of the open ones among these sequences; `offset` is the first one's, -1 if not known."""
        for frame, low, high in self._slices(first, last):
            futures = frame.futures
            base = offset - first + frame.first_sequence if offset >= 0 else -1
            for index in range(low, high):
                future = futures[index]
                if future is not None:
                    futures[index] = None
                    frame.open -= 1
                    future.succeed(partition, base + index if offset >= 0 else -1, timestamp_ms)
            self._settle(frame)
        self._prune()

    def fail(self, first: int, last: int, error: KafkaException) -> None:
        """The open ones among these sequences have failed."""
        for frame, low, high in self._slices(first, last):
            self._fail(frame, low, high, error)
        self._prune()

    def fail_frame(self, frame: Frame, error: KafkaException) -> None:
        """All open ones of a frame have failed."""
        self._fail(frame, 0, len(frame.futures), error)
        self._prune()

    def fail_all(self, begun: KafkaException, unsent: KafkaException) -> int:
        """All open ones have failed, with `unsent` where nothing of their frame was written; returns their number."""
        count = 0
        for frame in self._frames:
            count += frame.open
            self._fail(frame, 0, len(frame.futures), begun if frame.started else unsent)
        self._prune()
        return count

    def _fail(self, frame: Frame, low: int, high: int, error: KafkaException) -> None:
        for index in range(low, high):
            future = frame.futures[index]
            if future is not None:
                frame.futures[index] = None
                frame.open -= 1
                future.fail(error)
        self._settle(frame)

    def _slices(self, first: int, last: int) -> Iterator[tuple[Frame, int, int]]:
        for index in range(max(bisect_right(self._firsts, first) - 1, 0), len(self._frames)):
            frame = self._frames[index]
            if frame.first_sequence > last:
                return
            low = max(first - frame.first_sequence, 0)
            high = min(last - frame.first_sequence + 1, len(frame.futures))
            if frame.open:
                yield frame, low, high

    def _settle(self, frame: Frame) -> None:
        """If nothing of it is open, its bytes are free, wherever it stands."""
        if frame.open == 0:
            frame.data = None
            self.freed_bytes += frame.held_bytes
            frame.held_bytes = 0

    def _prune(self) -> None:
        finished = 0
        while finished < len(self._frames) and self._frames[finished].open == 0:
            finished += 1
        if finished:
            del self._frames[:finished]
            del self._firsts[:finished]
            self._accepted = max(self._accepted - finished, 0)
