"""The names behind the numbers: ledger words and the reasons for not delivering a record, each with a line for people.

The record path counts by number (``hotpath/layout.pxd`` holds the same numbers; a test compares both). Two identities
hold at every scrape: received = accepted + rejected, and accepted = delivered + failed + dropped + buffered.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

LEDGER_WORDS: Final = 128
REJECTED_WORD: Final = 16
REJECTED_PLACES: Final = 32
FAILED_WORD: Final = 48
FAILED_PLACES: Final = 24
DROPPED_WORD: Final = 72
DROPPED_PLACES: Final = 16


class Ledger(IntEnum):
    """Index of a word in the ledger (64 bit each)."""

    RECEIVED = 0
    ACCEPTED = 1
    DELIVERED = 2
    REPEATED = 3
    RECEIVED_BYTES = 4
    ACCEPTED_BYTES = 5
    DELIVERED_BYTES = 6
    POSSIBLE_DUPLICATES = 7
    KERNEL_DROPPED = 8
    DELIVERED_UNCONFIRMED_OFFSETS = 9
    TIMESTAMPS_REPLACED = 10


class _Reason(IntEnum):
    """A number that is equal to plain numbers and to its own kind, but not to another kind's member of that number."""

    def __eq__(self, other: object) -> bool:
        return int(self) == other if not isinstance(other, _Reason) or type(other) is type(self) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(int(self))


class Rejected(_Reason):
    """Why a received record was not accepted."""

    MALFORMED = 1
    RECORD_TOO_LARGE = 2
    FRAME_TOO_LARGE = 3
    KEY_TOO_LARGE = 4
    TOO_MANY_HEADERS = 5
    INVALID_TOPIC = 6
    TOPIC_NOT_ALLOWED = 7
    TOPIC_UNKNOWN = 8
    INVALID_PARTITION = 9
    TIMESTAMP_OUT_OF_BOUNDS = 10
    TRUNCATED = 11
    CUT = 12
    EMPTY = 13
    SHED = 14
    PARTITION_SHARE = 15
    BAD_FRAMING = 16
    INVALID_HEADER = 17
    SEQUENCE_GAP = 18
    STALLED = 19
    UNSUPPORTED_FRAME = 20
    LINE_TOO_LARGE = 21
    PARTITIONER_FAILED = 22


class Failed(_Reason):
    """Why an accepted record was not delivered."""

    RECORD_REFUSED = 1
    DELIVERY_TIMEOUT = 2
    TOPIC_DENIED = 3
    MESSAGE_TOO_LARGE = 4
    BROKER_REFUSED = 5
    MAY_HAVE_BEEN_WRITTEN = 6


class Dropped(_Reason):
    """Why an accepted record left the books without an answer of Kafka."""

    SET_ASIDE = 1
    QUARANTINED = 2
    MEMORY_LOST = 3


Reason = Rejected | Failed | Dropped

LEDGER_TEXT: Final[Mapping[Ledger, str]] = {
    Ledger.RECEIVED: "records read from sockets",
    Ledger.ACCEPTED: "records committed to the arena",
    Ledger.DELIVERED: "records that Kafka has acknowledged",
    Ledger.REPEATED: "records sent again by a resumed session and skipped, since they had been accepted before",
    Ledger.RECEIVED_BYTES: "bytes read from sockets",
    Ledger.ACCEPTED_BYTES: "bytes of accepted records as Kafka encodes them",
    Ledger.DELIVERED_BYTES: "bytes of delivered records as Kafka encodes them",
    Ledger.POSSIBLE_DUPLICATES: "records sent again where the broker could no longer tell whether it had them",
    Ledger.KERNEL_DROPPED: "datagrams that the kernel dropped since the socket's queue was full",
    Ledger.DELIVERED_UNCONFIRMED_OFFSETS: "records proven delivered by a later answer, their offsets unknown",
    Ledger.TIMESTAMPS_REPLACED: "accepted records whose own timestamp was out of bounds: they carry their arrival time",
}

REASON_TEXT: Final[Mapping[Reason, str]] = {
    Rejected.MALFORMED: "a record that its format cannot parse",
    Rejected.RECORD_TOO_LARGE: "larger than max.request.size or the listener's record_bytes_max",
    Rejected.FRAME_TOO_LARGE: "a frame larger than the protocol allows",
    Rejected.KEY_TOO_LARGE: "a key longer than 65535 bytes",
    Rejected.TOO_MANY_HEADERS: "more than 64 headers",
    Rejected.INVALID_TOPIC: "not a legal topic name, or a topic id that was never agreed",
    Rejected.TOPIC_NOT_ALLOWED: "a topic outside the listener's allow-list",
    Rejected.TOPIC_UNKNOWN: "a topic that the cluster does not have, or that is not known while it is away",
    Rejected.INVALID_PARTITION: "a partition that the topic does not have",
    Rejected.TIMESTAMP_OUT_OF_BOUNDS: "a timestamp outside the listener's bounds",
    Rejected.TRUNCATED: "a datagram longer than 65535 bytes",
    Rejected.CUT: "the unfinished end of a connection",
    Rejected.EMPTY: "nothing in it",
    Rejected.SHED: "no room, and the listener sheds",
    Rejected.PARTITION_SHARE: "its partition or broker has used up its share of the buffer",
    Rejected.BAD_FRAMING: "the stream's framing was lost; the connection was closed",
    Rejected.INVALID_HEADER: "a header without a legal name",
    Rejected.SEQUENCE_GAP: "a session left out sequences",
    Rejected.STALLED: "a frame that did not arrive in time",
    Rejected.UNSUPPORTED_FRAME: "a frame type that this listener does not take",
    Rejected.LINE_TOO_LARGE: "a line longer than the format allows",
    Rejected.PARTITIONER_FAILED: "its topic's partitioner refused it, raised, or named a partition that is not there",
    Failed.RECORD_REFUSED: "the broker named this record as bad",
    Failed.DELIVERY_TIMEOUT: "delivery.timeout.ms passed before it was ever sent",
    Failed.TOPIC_DENIED: "the cluster denied the topic for topic.denied.timeout.ms",
    Failed.MESSAGE_TOO_LARGE: "larger than the broker allows",
    Failed.BROKER_REFUSED: "the broker refused the batch",
    Failed.MAY_HAVE_BEEN_WRITTEN: "given up after an attempt whose outcome is not known: it may be in the log",
    Dropped.SET_ASIDE: "in an arena that was set aside: its header was damaged, or opening it failed three times",
    Dropped.QUARANTINED: "in a batch that was damaged and moved to quarantine",
    Dropped.MEMORY_LOST: "in an arena without a file when its process died",
}


def word_of(reason: Reason) -> int:
    """Index of the ledger word that counts ``reason``."""
    if isinstance(reason, Rejected):
        return REJECTED_WORD + reason
    return (FAILED_WORD if isinstance(reason, Failed) else DROPPED_WORD) + reason


def name_of(reason: Reason) -> str:
    """The reason's name as people and metrics read it: ``topic_unknown``."""
    return reason.name.lower()


class Balance(NamedTuple):
    """A ledger summed up for its two identities. The residuals are 0 when all is well; above: records are missing."""

    received: int
    accepted: int
    rejected: int
    delivered: int
    failed: int
    dropped: int
    buffered: int

    @property
    def intake_residual(self) -> int:
        return self.received - self.accepted - self.rejected

    @property
    def delivery_residual(self) -> int:
        return self.accepted - self.delivered - self.failed - self.dropped - self.buffered

    @property
    def balanced(self) -> bool:
        return self.intake_residual == 0 and self.delivery_residual == 0


def balance(words: Sequence[int], buffered: int) -> Balance:
    """Sums ``words`` (LEDGER_WORDS of them) up; ``buffered`` is counted by scanning the arenas, not by adding up."""
    return Balance(
        received=words[Ledger.RECEIVED],
        accepted=words[Ledger.ACCEPTED],
        rejected=sum(words[REJECTED_WORD : REJECTED_WORD + REJECTED_PLACES]),
        delivered=words[Ledger.DELIVERED],
        failed=sum(words[FAILED_WORD : FAILED_WORD + FAILED_PLACES]),
        dropped=sum(words[DROPPED_WORD : DROPPED_WORD + DROPPED_PLACES]),
        buffered=buffered,
    )


class Counted(NamedTuple):
    """A reason, its explanation for people, and how many records it took."""

    reason: Reason
    text: str
    records: int


def reasons_counted(words: Sequence[int]) -> list[Counted]:
    """The reasons that ``words`` has counted at least once: rejected, failed, dropped, by number."""
    return [
        Counted(reason, text, words[word_of(reason)]) for reason, text in REASON_TEXT.items() if words[word_of(reason)]
    ]
