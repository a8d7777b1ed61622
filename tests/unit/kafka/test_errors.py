"""The error table: against Kafka's own, written out, and against what docs/errors.md tells people."""

from pathlib import Path

import pytest

from ingestd.kafka.errors import ERRORS, Action, Effect, KafkaError, error_of

PAGE = Path(__file__).parents[3] / "docs/errors.md"

# Code, name, retriable, asks for metadata: as in Kafka's Errors and its exceptions' classes. Then what is in the log:
# y yes, n not because of this request, ? perhaps or not known, - no code of a produce answer.
KAFKA = """
-1 UNKNOWN_SERVER_ERROR no no ?
0 NONE no no y
2 CORRUPT_MESSAGE yes no n
3 UNKNOWN_TOPIC_OR_PARTITION yes yes n
5 LEADER_NOT_AVAILABLE yes yes n
6 NOT_LEADER_OR_FOLLOWER yes yes ?
7 REQUEST_TIMED_OUT yes no ?
8 BROKER_NOT_AVAILABLE no no -
9 REPLICA_NOT_AVAILABLE yes yes -
10 MESSAGE_TOO_LARGE no no n
13 NETWORK_EXCEPTION yes yes ?
14 COORDINATOR_LOAD_IN_PROGRESS yes no -
15 COORDINATOR_NOT_AVAILABLE yes no -
16 NOT_COORDINATOR yes no -
17 INVALID_TOPIC_EXCEPTION no no n
18 RECORD_LIST_TOO_LARGE no no n
19 NOT_ENOUGH_REPLICAS yes no n
20 NOT_ENOUGH_REPLICAS_AFTER_APPEND yes no y
21 INVALID_REQUIRED_ACKS no no n
29 TOPIC_AUTHORIZATION_FAILED no no n
31 CLUSTER_AUTHORIZATION_FAILED no no n
32 INVALID_TIMESTAMP no no n
33 UNSUPPORTED_SASL_MECHANISM no no -
34 ILLEGAL_SASL_STATE no no -
35 UNSUPPORTED_VERSION no no n
42 INVALID_REQUEST no no n
43 UNSUPPORTED_FOR_MESSAGE_FORMAT no no n
44 POLICY_VIOLATION no no n
45 OUT_OF_ORDER_SEQUENCE_NUMBER no no n
46 DUPLICATE_SEQUENCE_NUMBER no no y
47 INVALID_PRODUCER_EPOCH no no n
48 INVALID_TXN_STATE no no n
49 INVALID_PRODUCER_ID_MAPPING no no -
50 INVALID_TRANSACTION_TIMEOUT no no -
51 CONCURRENT_TRANSACTIONS yes no -
53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED no no -
54 SECURITY_DISABLED no no -
56 KAFKA_STORAGE_ERROR yes yes ?
58 SASL_AUTHENTICATION_FAILED no no -
59 UNKNOWN_PRODUCER_ID no no n
72 LISTENER_NOT_FOUND yes yes -
74 FENCED_LEADER_EPOCH yes yes n
75 UNKNOWN_LEADER_EPOCH yes no n
76 UNSUPPORTED_COMPRESSION_TYPE no no n
87 INVALID_RECORD no no n
89 THROTTLING_QUOTA_EXCEEDED yes no n
90 PRODUCER_FENCED no no n
100 UNKNOWN_TOPIC_ID yes yes n
103 INCONSISTENT_TOPIC_ID yes yes n
120 TRANSACTION_ABORTABLE no no -
129 REBOOTSTRAP_REQUIRED no yes -
""".strip().splitlines()
BESIDES = {41}
"""Of no producer's request; metadata of old brokers may say it."""

_EFFECTS = {"y": Effect.WRITTEN, "n": Effect.NOT_WRITTEN, "?": Effect.UNKNOWN}
_IN_THE_LOG = {Effect.WRITTEN: "yes", Effect.NOT_WRITTEN: "no", Effect.UNKNOWN: "perhaps"}
_HAPPENS = {
    Action.DONE: "delivered",
    Action.RETRY: "sent again, same numbers, after a pause",
    Action.RETRY_FEW: "sent again up to five times in a row, then given up",
    Action.DENIED: "sent again until `topic.denied.timeout.ms`, then given up",
    Action.REFUSED: "given up at once",
    Action.OUT_OF_ORDER: "read with the answers of its neighbours (`docs/kafka.md` 3)",
    Action.FENCED: "sent again under a fresh producer id",
}
_TOLD = {
    Action.RETRY_FEW: "`broker_refused`, or `may_have_been_written`",
    Action.DENIED: "`topic_denied`",
    Action.REFUSED: "`broker_refused`",
}


def table_lines() -> list[str]:
    """The table of docs/errors.md."""
    lines = ["| code | name | in the log? | the batch is | its senders are told |", "|---|---|---|---|---|"]
    for row in sorted(ERRORS.values()):
        happens, told = _HAPPENS[row.action], _TOLD.get(row.action, "")
        if row.too_large:
            happens, told = "split in two; a single record is given up", "`message_too_large`"
        if row.names_records:
            happens = "repaired: the records named are given up, the others go on; as a whole if none is named"
            told = "`record_refused`, or `broker_refused`"
        if row.effect is Effect.UNKNOWN and row.action is Action.RETRY_FEW:
            told = "`may_have_been_written`"
        if row.refresh:
            happens += "; metadata is asked for"
        lines.append(f"| {row.code} | {row.name} | {_IN_THE_LOG[row.effect]} | {happens} | {told} |")
    return lines


def test_the_table_is_kafkas() -> None:
    rows = {}
    for line in KAFKA:
        code, name, retriable, refresh, effect = line.split()
        rows[int(code)] = (name, retriable == "yes", refresh == "yes", effect)
    assert set(rows) == set(ERRORS) - BESIDES
    for number, kafkas in rows.items():
        row = ERRORS[number]
        assert (row.name, row.retriable, row.refresh) == kafkas[:3]
        assert kafkas[3] == "-" or row.effect is _EFFECTS[kafkas[3]], row


def test_the_page_about_errors_has_the_table() -> None:
    found = [line for line in PAGE.read_text().splitlines() if line.startswith("|") and " | " in line]
    table = table_lines()
    start = found.index(table[0])
    assert found[start : start + len(table) - 1] == [table[0], *table[2:]]


def test_codes_are_unique_and_named() -> None:
    assert all(code == row.code and row.name for code, row in ERRORS.items())
    assert len({row.name for row in ERRORS.values()}) == len(ERRORS)


@pytest.mark.parametrize("code", [999, -2, 32767])
def test_an_unknown_code_keeps_its_number_and_its_outcome_is_unknown(code: int) -> None:
    row = error_of(code)
    assert (row.code, row.effect, row.action) == (code, Effect.UNKNOWN, Action.RETRY_FEW)


def test_codes_that_may_have_written_never_refuse() -> None:
    for row in ERRORS.values():
        if row.effect is not Effect.NOT_WRITTEN:
            assert row.action in {Action.RETRY, Action.RETRY_FEW, Action.DONE}, row


def test_out_of_order_is_no_answer_by_itself() -> None:
    assert error_of(45).action is Action.OUT_OF_ORDER
    assert error_of(45).effect is Effect.NOT_WRITTEN


def test_flags_go_with_a_definite_refusal() -> None:
    flagged: list[KafkaError] = [row for row in ERRORS.values() if row.too_large or row.names_records]
    assert {row.code for row in flagged} == {10, 18, 32, 87}
    assert all(row.action is Action.REFUSED for row in flagged)
    assert [row.code for row in ERRORS.values() if not row.from_broker] == [13]
