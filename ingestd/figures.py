"""What a worker's producer counts besides the ledger: names, and places in the worker's block of the scoreboard.

A block is a run of little-endian u64 words, of which the first is a seqlock. The worker counts in :class:`Figures`
(plain lists: a batch costs a handful of additions) and stores all of it once a second; whoever reads takes the block
whole. Counters go on where a worker that died had stored them last, and begin anew with each start of the daemon.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple


class Count(IntEnum):
    """Counters of one worker: they only grow."""

    REQUESTS = 0
    BATCHES_SENT = 1
    BYTES_SENT = 2
    BATCHES_DELIVERED = 3
    BATCHES_FAILED = 4
    THROTTLES = 5
    THROTTLE_MS = 6
    CONNECTIONS_MADE = 7
    CONNECTIONS_ENDED = 8
    METADATA_ANSWERS = 9
    PRODUCER_IDS = 10
    EPOCH_BUMPS = 11
    DATA_LOSS_SUSPECTED = 12
    DEAD_LETTERS_WRITTEN = 13
    DEAD_LETTERS_LOST = 14
    BUFFERPOOL_WAIT_MS = 15
    RECOVERED_IN_DOUBT = 16
    RECOVERED_ANSWERED = 17
    RECOVERED_PROVEN = 18
    RECOVERED_AT_RISK = 19
    RECOVERED_FAILED = 20
    BATCHES_SPLIT = 21
    AUTHENTICATIONS = 22
    AUTHENTICATIONS_FAILED = 23
    HANDSHAKES_FAILED = 24
    """Those of AUTHENTICATIONS_FAILED that were TLS handshakes."""
    REAUTHENTICATIONS = 25
    REAUTHENTICATIONS_FAILED = 26


class Gauge(IntEnum):
    """What is so at the moment of storing."""

    REQUESTS_IN_FLIGHT = 0
    METADATA_TICK_MS = 1
    """CLOCK_MONOTONIC of the last metadata answer; 0: none yet."""
    PARKED_BATCHES = 2
    HELD_PARTITIONS = 3
    BROKERS_UNREACHABLE = 4
    """All of them, also where there is no place for a Trouble."""


class TopicWord(IntEnum):
    """Words of a topic's row; from OLDEST_CREATED_MS on they are gauges."""

    RECORDS_SENT = 0
    RECORDS_RETRIED = 1
    RECORDS_FAILED = 2
    BYTES_SENT = 3
    RECORDS_DELIVERED = 4
    BYTES_DELIVERED = 5
    BYTES_FAILED = 6
    BYTES_PLAIN = 7
    BYTES_SEALED = 8
    OLDEST_CREATED_MS = 12
    """Wall clock, ms; 0: nothing of the topic waits."""
    BATCHES_WAITING = 13
    BYTES_WAITING = 14


class Trouble(NamedTuple):
    """A broker that cannot be reached, or that does not let us in. CLOCK_MONOTONIC, ms: since when, and when that was
    found so last. ``reason``: for people, on one line, without any secret.
    """

    since_tick_ms: int
    tried_tick_ms: int
    address: str
    reason: str


class Histogram(IntEnum):
    """Distributions. Those of records count every record of a batch with the batch's time."""

    ACCEPT_TO_SEAL = 0
    SEAL_TO_SEND = 1
    SEND_TO_ACK = 2
    ACCEPT_TO_DELIVERED = 3
    QUEUE_TIME = 4
    REQUEST_LATENCY = 5
    BATCH_SIZE = 6


TIMES_MS: Final = tuple(1 << exponent for exponent in range(24))
"""Upper bounds (inclusive) of the buckets of a time: 1 ms to 2.3 hours, each twice the one before."""
SIZES_BYTES: Final = tuple(1 << exponent for exponent in range(8, 25))
"""Upper bounds of the buckets of a size: 256 bytes to 16 MiB."""
BOUNDS: Final = tuple(SIZES_BYTES if each is Histogram.BATCH_SIZE else TIMES_MS for each in Histogram)

SEQLOCK: Final = 0
_FIRST: Final = 8
COUNT_PLACES: Final = 64
GAUGE_PLACES: Final = 32
HISTOGRAM_PLACES: Final = 8
HISTOGRAM_WORDS: Final = 32
"""A bucket per bound, one for what is above them all; the sum of all values is the last word."""
SUM_WORD: Final = HISTOGRAM_WORDS - 1
ERROR_PLACES: Final = 64
ERROR_WORDS: Final = 8
_NAME_BYTES: Final = 8 * (ERROR_WORDS - 1)
TROUBLE_PLACES: Final = 4
TROUBLE_WORDS: Final = 64
"""Two ticks, then address, a zero byte and the reason in UTF-8, filled up with zero bytes and cut where too long."""
_TROUBLE_BYTES: Final = 8 * (TROUBLE_WORDS - 2)
TOPIC_WORDS: Final = 16
_GAUGES: Final = _FIRST + COUNT_PLACES
_HISTOGRAMS: Final = _GAUGES + GAUGE_PLACES
_ERRORS: Final = _HISTOGRAMS + HISTOGRAM_PLACES * HISTOGRAM_WORDS
_TROUBLES: Final = _ERRORS + ERROR_PLACES * ERROR_WORDS
_TOPICS: Final = _TROUBLES + TROUBLE_PLACES * TROUBLE_WORDS
NOT_CONFIGURED: Final = "(not configured)"
"""The last row: topics that only the arenas know, from an earlier configuration."""
MANY_ERRORS: Final = "(others)"


def block_words(topics: int) -> int:
    """Words of the block of a worker with so many configured topics."""
    return _TOPICS + (topics + 1) * TOPIC_WORDS


class Reading(NamedTuple):
    """A block's figures at one instant. ``topics``: rows by name, NOT_CONFIGURED last."""

    counts: tuple[int, ...]
    gauges: tuple[int, ...]
    histograms: tuple[tuple[int, ...], ...]
    errors: dict[str, int]
    troubles: tuple[Trouble, ...]
    topics: dict[str, tuple[int, ...]]


def read(words: Sequence[int], topics: Sequence[str]) -> Reading:
    """From a copy of a block's words; ``topics``: the configured ones in the scoreboard's order."""
    errors: dict[str, int] = {}
    for at in range(_ERRORS, _TROUBLES, ERROR_WORDS):
        if words[at]:
            name = array("Q", words[at : at + ERROR_WORDS - 1]).tobytes().rstrip(b"\0").decode("ascii", "replace")
            errors[name] = words[at + ERROR_WORDS - 1]
    return Reading(
        tuple(words[_FIRST : _FIRST + COUNT_PLACES]),
        tuple(words[_GAUGES : _GAUGES + GAUGE_PLACES]),
        tuple(
            tuple(words[at : at + HISTOGRAM_WORDS])
            for at in range(_HISTOGRAMS, _HISTOGRAMS + len(Histogram) * HISTOGRAM_WORDS, HISTOGRAM_WORDS)
        ),
        errors,
        tuple(
            _trouble(words[at : at + TROUBLE_WORDS]) for at in range(_TROUBLES, _TOPICS, TROUBLE_WORDS) if words[at + 2]
        ),
        {
            name: tuple(words[at : at + TOPIC_WORDS])
            for name, at in zip(
                (*topics, NOT_CONFIGURED), range(_TOPICS, block_words(len(topics)), TOPIC_WORDS), strict=True
            )
        },
    )


def _trouble(words: Sequence[int]) -> Trouble:
    address, _, reason = array("Q", words[2:]).tobytes().rstrip(b"\0").partition(b"\0")
    return Trouble(words[0], words[1], address.decode(errors="replace"), reason.decode(errors="replace"))


class Figures:
    """What one process counts. Only its event loop touches it.

    ``counts`` is indexed by :class:`Count`, ``gauges`` by :class:`Gauge`, ``tallies`` by :class:`Histogram`: how often
    each value (ms or bytes) was met since the last :meth:`fold`. What a clock's step makes negative counts as 0.
    ``troubles``: what is so now; those that find no place in the block are left out of it.
    """

    def __init__(self, topics: Sequence[str] = (), before: Reading | None = None) -> None:
        """``before``: what a predecessor has stored last, whose counters go on here."""
        self.counts: list[int] = [0] * COUNT_PLACES
        self.gauges: list[int] = [0] * GAUGE_PLACES
        self.tallies: list[defaultdict[int, int]] = [defaultdict(int) for _ in Histogram]
        self._histograms: list[list[int]] = [[0] * HISTOGRAM_WORDS for _ in Histogram]
        self.troubles: Sequence[Trouble] = ()
        self._errors: dict[str, int] = {}
        self._topics: dict[str, list[int]] = {name: [0] * TOPIC_WORDS for name in (*topics, NOT_CONFIGURED)}
        if before is not None:
            self.counts[:] = before.counts
            self._histograms = [list(row) for row in before.histograms]
            self._errors = dict(before.errors)
            for name, words in before.topics.items():
                self._topics[name][: TopicWord.OLDEST_CREATED_MS] = words[: TopicWord.OLDEST_CREATED_MS]

    def add(self, count: Count, by: int = 1) -> None:
        self.counts[count] += by

    def topic(self, name: str) -> list[int]:
        """The row of a topic, by :class:`TopicWord`."""
        return self._topics.get(name) or self._topics[NOT_CONFIGURED]

    def topics(self) -> list[list[int]]:
        """All rows."""
        return list(self._topics.values())

    def fold(self) -> None:
        """Puts the tallies into the buckets: for once a second, as a tally has an entry for every value."""
        for row, bounds, tally in zip(self._histograms, BOUNDS, self.tallies, strict=True):
            for value, weight in tally.items():
                if value <= 0:
                    row[0] += weight
                else:
                    row[bisect_left(bounds, value)] += weight
                    row[SUM_WORD] += value * weight
            tally.clear()

    def error(self, name: str) -> None:
        """A batch's request has met this error. Names beyond the table's places are counted together."""
        errors = self._errors
        if name not in errors and len(errors) >= ERROR_PLACES - 1:
            name = MANY_ERRORS
        errors[name] = errors.get(name, 0) + 1

    def pack(self) -> "array[int]":
        """The block's words; the first is the seqlock's, which the storing side keeps to itself."""
        self.fold()
        words = array("Q", bytes(8 * _FIRST))
        words.extend(self.counts)
        words.extend(self.gauges)
        for row in self._histograms:
            words.extend(row)
        words.extend([0] * (_ERRORS - len(words)))
        for name, count in self._errors.items():
            words.frombytes(name.encode("ascii", "replace")[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"))
            words.append(count)
        words.extend([0] * (_TROUBLES - len(words)))
        for trouble in self.troubles[:TROUBLE_PLACES]:
            words.extend(trouble[:2])
            text = f"{trouble.address}\0{trouble.reason}".encode()[:_TROUBLE_BYTES].decode(errors="ignore").encode()
            words.frombytes(text.ljust(_TROUBLE_BYTES, b"\0"))
        words.extend([0] * (_TOPICS - len(words)))
        for topic in self._topics.values():
            words.extend(topic)
        return words
