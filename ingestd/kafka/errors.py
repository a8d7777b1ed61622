"""Kafka's error codes as a table of flags: the sender reads flags, it never lists codes.

Every code speaks of *one request* only. ``effect`` says whether that request may have put its batch into the log;
whatever it says, an earlier unanswered attempt of the same batch stays in doubt (Kafka's Errors; docs/kafka.md 4, 5).
"""

from enum import Enum
from typing import Final, NamedTuple


class Effect(Enum):
    """Whether the batch of the request that met this code can be in the log because of that request."""

    NOT_WRITTEN = "not written"
    UNKNOWN = "unknown"
    WRITTEN = "written"


class Action(Enum):
    """What a producer does with a batch whose request met this code."""

    DONE = "done"
    RETRY = "retry"
    """Send it again, same numbers, after a backoff."""
    RETRY_FEW = "retry a few times"
    """Send it again; met repeatedly it is a refusal (our encoder, or the broker's fault)."""
    DENIED = "denied"
    """The topic is not there or not ours: retried until ``topic.denied.timeout.ms``; by the library, if retriable."""
    REFUSED = "refused"
    """This batch will never be taken."""
    OUT_OF_ORDER = "out of order"
    """No answer by itself: read together with the answers of the batches behind it."""
    FENCED = "fenced"
    """The numbers are void: someone has bumped the epoch, or the broker no longer knows the producer."""


class KafkaError(NamedTuple):
    """One error code. ``refresh``: ask for metadata. ``retriable``: Kafka's own word, which other requests follow."""

    code: int
    name: str
    retriable: bool
    refresh: bool
    effect: Effect
    action: Action
    too_large: bool = False
    """A batch of several records goes on as two smaller ones."""
    names_records: bool = False
    """The answer may name the records that are bad; the others of the batch go on."""
    from_broker: bool = True
    """False: made by the client, no broker has said anything."""


_NO: Final = Effect.NOT_WRITTEN
_MAYBE: Final = Effect.UNKNOWN
_YES: Final = Effect.WRITTEN

NONE: Final = 0
UNKNOWN_SERVER_ERROR: Final = -1
NETWORK_EXCEPTION: Final = 13
"""Never on the wire: the connection was lost before the answer came."""
MESSAGE_TOO_LARGE: Final = 10
REQUEST_TIMED_OUT: Final = 7
UNKNOWN_TOPIC_OR_PARTITION: Final = 3
LEADER_NOT_AVAILABLE: Final = 5
NOT_LEADER_OR_FOLLOWER: Final = 6
INVALID_TOPIC_EXCEPTION: Final = 17
TOPIC_AUTHORIZATION_FAILED: Final = 29
CLUSTER_AUTHORIZATION_FAILED: Final = 31
INVALID_TIMESTAMP: Final = 32
UNSUPPORTED_SASL_MECHANISM: Final = 33
ILLEGAL_SASL_STATE: Final = 34
UNSUPPORTED_VERSION: Final = 35
OUT_OF_ORDER_SEQUENCE_NUMBER: Final = 45
RECORD_LIST_TOO_LARGE: Final = 18
DUPLICATE_SEQUENCE_NUMBER: Final = 46
INVALID_PRODUCER_EPOCH: Final = 47
SASL_AUTHENTICATION_FAILED: Final = 58
UNKNOWN_PRODUCER_ID: Final = 59
INVALID_RECORD: Final = 87
UNKNOWN_TOPIC_ID: Final = 100
REBOOTSTRAP_REQUIRED: Final = 129

_ROWS: Final = (
    KafkaError(-1, "UNKNOWN_SERVER_ERROR", False, False, _MAYBE, Action.RETRY_FEW),
    KafkaError(0, "NONE", False, False, _YES, Action.DONE),
    KafkaError(2, "CORRUPT_MESSAGE", True, False, _NO, Action.RETRY_FEW),
    KafkaError(3, "UNKNOWN_TOPIC_OR_PARTITION", True, True, _NO, Action.DENIED),
    KafkaError(5, "LEADER_NOT_AVAILABLE", True, True, _NO, Action.RETRY),
    KafkaError(6, "NOT_LEADER_OR_FOLLOWER", True, True, _MAYBE, Action.RETRY),
    KafkaError(7, "REQUEST_TIMED_OUT", True, False, _MAYBE, Action.RETRY),
    KafkaError(8, "BROKER_NOT_AVAILABLE", False, False, _MAYBE, Action.RETRY),
    KafkaError(9, "REPLICA_NOT_AVAILABLE", True, True, _MAYBE, Action.RETRY),
    KafkaError(10, "MESSAGE_TOO_LARGE", False, False, _NO, Action.REFUSED, too_large=True),
    KafkaError(13, "NETWORK_EXCEPTION", True, True, _MAYBE, Action.RETRY, from_broker=False),
    KafkaError(14, "COORDINATOR_LOAD_IN_PROGRESS", True, False, _NO, Action.RETRY),
    KafkaError(15, "COORDINATOR_NOT_AVAILABLE", True, False, _NO, Action.RETRY),
    KafkaError(16, "NOT_COORDINATOR", True, False, _NO, Action.RETRY),
    KafkaError(17, "INVALID_TOPIC_EXCEPTION", False, False, _NO, Action.DENIED),
    KafkaError(18, "RECORD_LIST_TOO_LARGE", False, False, _NO, Action.REFUSED, too_large=True),
    KafkaError(19, "NOT_ENOUGH_REPLICAS", True, False, _NO, Action.RETRY),
    KafkaError(20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", True, False, _YES, Action.RETRY),
    KafkaError(21, "INVALID_REQUIRED_ACKS", False, False, _NO, Action.REFUSED),
    KafkaError(29, "TOPIC_AUTHORIZATION_FAILED", False, False, _NO, Action.DENIED),
    KafkaError(31, "CLUSTER_AUTHORIZATION_FAILED", False, False, _NO, Action.DENIED),
    KafkaError(32, "INVALID_TIMESTAMP", False, False, _NO, Action.REFUSED, names_records=True),
    KafkaError(33, "UNSUPPORTED_SASL_MECHANISM", False, False, _NO, Action.REFUSED),
    KafkaError(34, "ILLEGAL_SASL_STATE", False, False, _NO, Action.RETRY_FEW),
    KafkaError(35, "UNSUPPORTED_VERSION", False, False, _NO, Action.RETRY_FEW),
    KafkaError(41, "NOT_CONTROLLER", True, False, _NO, Action.RETRY),
    KafkaError(42, "INVALID_REQUEST", False, False, _NO, Action.REFUSED),
    KafkaError(43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", False, False, _NO, Action.REFUSED),
    KafkaError(44, "POLICY_VIOLATION", False, False, _NO, Action.REFUSED),
    KafkaError(45, "OUT_OF_ORDER_SEQUENCE_NUMBER", False, False, _NO, Action.OUT_OF_ORDER),
    KafkaError(46, "DUPLICATE_SEQUENCE_NUMBER", False, False, _YES, Action.DONE),
    KafkaError(47, "INVALID_PRODUCER_EPOCH", False, False, _NO, Action.FENCED),
    KafkaError(48, "INVALID_TXN_STATE", False, False, _NO, Action.FENCED),
    KafkaError(49, "INVALID_PRODUCER_ID_MAPPING", False, False, _NO, Action.FENCED),
    KafkaError(50, "INVALID_TRANSACTION_TIMEOUT", False, False, _NO, Action.REFUSED),
    KafkaError(51, "CONCURRENT_TRANSACTIONS", True, False, _NO, Action.RETRY),
    KafkaError(53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", False, False, _NO, Action.REFUSED),
    KafkaError(54, "SECURITY_DISABLED", False, False, _NO, Action.REFUSED),
    KafkaError(56, "KAFKA_STORAGE_ERROR", True, True, _MAYBE, Action.RETRY),
    KafkaError(58, "SASL_AUTHENTICATION_FAILED", False, False, _NO, Action.RETRY),
    KafkaError(59, "UNKNOWN_PRODUCER_ID", False, False, _NO, Action.FENCED),
    KafkaError(72, "LISTENER_NOT_FOUND", True, True, _NO, Action.RETRY),
    KafkaError(74, "FENCED_LEADER_EPOCH", True, True, _NO, Action.RETRY),
    KafkaError(75, "UNKNOWN_LEADER_EPOCH", True, False, _NO, Action.RETRY),
    KafkaError(76, "UNSUPPORTED_COMPRESSION_TYPE", False, False, _NO, Action.REFUSED),
    KafkaError(87, "INVALID_RECORD", False, False, _NO, Action.REFUSED, names_records=True),
    KafkaError(89, "THROTTLING_QUOTA_EXCEEDED", True, False, _NO, Action.RETRY),
    KafkaError(90, "PRODUCER_FENCED", False, False, _NO, Action.FENCED),
    KafkaError(100, "UNKNOWN_TOPIC_ID", True, True, _NO, Action.DENIED),
    KafkaError(103, "INCONSISTENT_TOPIC_ID", True, True, _NO, Action.RETRY),
    KafkaError(120, "TRANSACTION_ABORTABLE", False, False, _NO, Action.REFUSED),
    KafkaError(129, "REBOOTSTRAP_REQUIRED", False, True, _NO, Action.RETRY),
)

ERRORS: Final = {row.code: row for row in _ROWS}


def error_of(code: int) -> KafkaError:
    """The row of ``code``; a code that the table does not know is treated as UNKNOWN_SERVER_ERROR under its number."""
    row = ERRORS.get(code)
    if row is None:
        return ERRORS[UNKNOWN_SERVER_ERROR]._replace(code=code, name=f"ERROR_{code}")
    return row


class ProtocolError(Exception):
    """The peer's bytes are not the protocol as spoken; the connection must be closed."""


class RebootstrapError(ProtocolError):
    """The server says that it is none of this cluster's: bootstrap.servers are to be asked again (KIP-1102)."""


class AuthenticationError(Exception):
    """The broker did not let us in, or did not prove who it is; the connection must be closed.

    The text is for the log: it holds no secret. ``credentials``: name and password, or token, may be to blame.
    """

    def __init__(self, text: str, *, credentials: bool = False) -> None:
        super().__init__(text)
        self.credentials = credentials


class NoLoginWantedError(AuthenticationError):
    """The listener has no logins at all."""
