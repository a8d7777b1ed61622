# ruff: noqa: N818
# The names are Kafka's own: what its documentation says about them holds here too.
"""Errors of the client, by Kafka's names. `retriable`: the same record may be sent again without doing harm.

    KafkaException
    ├── ConfigException                      an argument of Producer (also a ValueError)
    ├── SerializationException               a serializer could not turn the object into bytes
    ├── IllegalStateException                closed, or carried over a fork (also a RuntimeError)
    └── ApiException                         error_code: Kafka's number, 0 if Kafka had no part in it
        ├── RetriableException               retriable
        │   ├── TimeoutException             the time is over (also a TimeoutError)
        │   │   └── BufferExhaustedException the outgoing buffer stayed full for max_block_ms
        │   ├── NetworkException             the connection ended before the daemon had all of it
        │   ├── UnknownTopicOrPartitionException
        │   ├── NotEnoughReplicasException
        │   └── ThrottlingException          shed: the daemon had no room and its listener sheds
        ├── OutcomeUnknownException          may be in Kafka or not; whoever could tell does not know any more
        │   └── SessionForgottenException    not even known whether it was accepted
        ├── RecordTooLargeException
        ├── RecordBatchTooLargeException
        ├── InvalidRecordException
        ├── InvalidTimestampException
        ├── InvalidTopicException
        ├── TopicAuthorizationException
        ├── ClusterAuthorizationException
        ├── OutOfOrderSequenceException
        ├── UnsupportedVersionException
        ├── PolicyViolationException
        ├── UnknownServerException
        └── RecordFailedException            given up by the daemon for another reason

What send() can know raises from send() itself: wrong arguments, serializers, a topic's name that no frame can carry, a
record beyond the daemon's limit, no room or no connection within max_block_ms, a closed producer. What is
known later is in the future and the callback.
"""

from typing import ClassVar, Final


class KafkaException(Exception):
    """Base of all errors of the client."""

    retriable: ClassVar[bool] = False


class ConfigException(KafkaException, ValueError):
    """An argument of the producer is impossible."""


class SerializationException(KafkaException):
    """A key or a value could not be turned into bytes."""


class IllegalStateException(KafkaException, RuntimeError):
    """The producer cannot do this now: closed, inherited over a fork, or waiting inside a callback."""


class ApiException(KafkaException):
    """A record was not delivered, or could not be taken."""

    code: ClassVar[int] = 0
    retriable: ClassVar[bool] = False

    def __init__(self, text: str, *, error_code: int | None = None, reason: str = "") -> None:
        super().__init__(text)
        self.error_code = self.code if error_code is None else error_code
        self.reason = reason
        """The daemon's name for the cause, as in PROTOCOL.md; empty if the client found it."""


class RetriableException(ApiException):
    """Sending the same record again may succeed and does no harm."""

    retriable = True


class TimeoutException(RetriableException, TimeoutError):
    """Not within the time given."""

    code = 7

    def __str__(self) -> str:
        # OSError, which TimeoutError is, would print an errno.
        return str(self.args[0]) if self.args else ""


class BufferExhaustedException(TimeoutException):
    """The outgoing buffer stayed full for max_block_ms."""


class NetworkException(RetriableException):
    """The connection ended, and the daemon took nothing of the record."""

    code = 13


class UnknownTopicOrPartitionException(RetriableException):
    """The cluster does not have this topic or partition."""

    code = 3


class NotEnoughReplicasException(RetriableException):
    """Fewer replicas in sync than the topic asks for."""

    code = 19


class ThrottlingException(RetriableException):
    """The daemon had no room, and its listener sheds instead of waiting."""


class OutcomeUnknownException(ApiException):
    """The record may be in Kafka or not: what happened to it is no longer known. Sending again may write it twice."""


class SessionForgottenException(OutcomeUnknownException):
    """The daemon has forgotten the session: whether it had accepted the record is not known."""


class RecordTooLargeException(ApiException):
    """Larger than the daemon's max.request.size, or than the topic allows."""

    code = 10


class RecordBatchTooLargeException(ApiException):
    """Larger than the topic's segments."""

    code = 18


class InvalidRecordException(ApiException):
    """Kafka or the daemon's listener refuses the record as it is."""

    code = 87


class InvalidTimestampException(ApiException):
    """The timestamp is out of bounds."""

    code = 32


class InvalidTopicException(ApiException):
    """Not a legal topic name."""

    code = 17


class TopicAuthorizationException(ApiException):
    """The topic is not on the listener's list, or the cluster refuses it."""

    code = 29


class ClusterAuthorizationException(ApiException):
    """The cluster refuses the daemon."""

    code = 31


class OutOfOrderSequenceException(ApiException):
    """The broker saw a gap before this record."""

    code = 45


class UnsupportedVersionException(ApiException):
    """The other side does not speak this version of the protocol."""

    code = 35


class PolicyViolationException(ApiException):
    """A policy of the cluster refuses the record."""

    code = 44


class UnknownServerException(ApiException):
    """The broker met an error it has no name for."""

    code = -1


class RecordFailedException(ApiException):
    """Given up by the daemon; the text and `reason` say why."""


_BY_CODE: Final[dict[int, type[ApiException]]] = {
    kind.code: kind
    for kind in (
        TimeoutException,
        NetworkException,
        UnknownTopicOrPartitionException,
        NotEnoughReplicasException,
        RecordTooLargeException,
        RecordBatchTooLargeException,
        InvalidRecordException,
        InvalidTimestampException,
        InvalidTopicException,
        TopicAuthorizationException,
        ClusterAuthorizationException,
        OutOfOrderSequenceException,
        UnsupportedVersionException,
        PolicyViolationException,
        UnknownServerException,
    )
}

# Numbers, names and errors of PROTOCOL.md's tables of reasons.
REJECTED_REASONS: Final[dict[int, tuple[str, type[ApiException]]]] = {
    1: ("malformed", InvalidRecordException),
    2: ("record_too_large", RecordTooLargeException),
    3: ("frame_too_large", RecordTooLargeException),
    4: ("key_too_large", RecordTooLargeException),
    5: ("too_many_headers", InvalidRecordException),
    6: ("invalid_topic", InvalidTopicException),
    7: ("topic_not_allowed", TopicAuthorizationException),
    8: ("topic_unknown", UnknownTopicOrPartitionException),
    9: ("invalid_partition", UnknownTopicOrPartitionException),
    10: ("timestamp_out_of_bounds", InvalidTimestampException),
    11: ("truncated", RecordFailedException),
    12: ("cut", RecordFailedException),
    13: ("empty", InvalidRecordException),
    14: ("shed", ThrottlingException),
    15: ("partition_share", ThrottlingException),
    16: ("bad_framing", InvalidRecordException),
    17: ("invalid_header", InvalidRecordException),
    18: ("sequence_gap", OutOfOrderSequenceException),
    19: ("stalled", NetworkException),
    20: ("unsupported_frame", UnsupportedVersionException),
    21: ("line_too_large", RecordTooLargeException),
    22: ("partitioner_failed", RecordFailedException),
}

FAILED_REASONS: Final[dict[int, tuple[str, type[ApiException]]]] = {
    1: ("record_refused", InvalidRecordException),
    2: ("delivery_timeout", TimeoutException),
    3: ("topic_denied", UnknownTopicOrPartitionException),
    4: ("message_too_large", RecordTooLargeException),
    5: ("broker_refused", RecordFailedException),
    6: ("may_have_been_written", OutcomeUnknownException),
}


def rejected(reason: int, error_code: int, text: str) -> ApiException:
    """The error for a REJECTED frame."""
    name, kind = REJECTED_REASONS.get(reason, (f"reason {reason}", RecordFailedException))
    return _error(name, kind, error_code, f"not accepted, {name}" + (f": {text}" if text else ""))


def failed(reason: int, error_code: int, text: str, may_have_been_written: bool) -> ApiException:
    """The error for a FAILED frame. What may have been written is not retriable: it could be written twice."""
    name, kind = FAILED_REASONS.get(reason, (f"reason {reason}", RecordFailedException))
    message = f"not delivered, {name}" + (f": {text}" if text else "")
    if may_have_been_written:
        return OutcomeUnknownException(f"{message} (may have been written)", error_code=error_code, reason=name)
    if kind is TimeoutException:
        # the code is what it was waiting for
        return TimeoutException(message, error_code=error_code or None, reason=name)
    return _error(name, kind, error_code, message)


def _error(name: str, kind: type[ApiException], error_code: int, message: str) -> ApiException:
    if error_code:
        kind = _BY_CODE.get(error_code, kind)
        return kind(message, error_code=error_code, reason=name)
    return kind(message, reason=name)
