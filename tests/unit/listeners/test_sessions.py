"""Whose session it is, what a client that comes back hears, and what is forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.client import answers, frame
from ingestd.hotpath.errors import ArenaFull
from ingestd.hotpath.snapshots import Session
from ingestd.listeners.sessions import Sessions, unknown_ranges
from ingestd.listeners.wire import NO_SESSION_ID, Answer, Hello, Resumed

PATHS = [b"/run/app.sock.0", b"/run/app.sock.1", b"/run/app.sock.2"]


class Table:
    """A session table of two rows."""

    def __init__(self) -> None:
        self.rows: dict[int, Session] = {}
        self.forgettable = -1

    def session_find(self, session_id: bytes) -> Session | None:
        return next((row for row in self.rows.values() if row.session_id == session_id), None)

    def session_open(self, session_id: bytes, now_ms: int) -> Session:  # noqa: ARG002
        free = [index for index in (0, 1) if index not in self.rows]
        if not free:
            raise ArenaFull
        self.rows[free[0]] = Session(free[0], session_id, 0, (), 0)
        return self.rows[free[0]]

    def session_disconnected(self, index: int, now_ms: int) -> None:
        self.rows[index] = self.rows[index]._replace(disconnected_ms=now_ms)

    def session_close(self, index: int) -> None:
        del self.rows[index]

    def session_forgettable(self, now_ms: int) -> int:  # noqa: ARG002
        return self.forgettable


class Connection:
    def __init__(self) -> None:
        self.was_superseded = False
        self.told: list[tuple[int, ...]] = []

    def settled(self, arena: int, entry: int) -> None:
        self.told.append((arena, entry))

    def divided(self, arena: int, entry: int, second: int) -> None:
        self.told.append((arena, entry, second))

    def superseded(self) -> None:
        self.was_superseded = True

    def answer(self, frame: bytes) -> None:
        raise AssertionError(frame)


def hello(session_id: bytes = NO_SESSION_ID, answer: Answer = Answer.DELIVERED) -> Hello:
    return Hello(1, answer, True, session_id, "")


def sessions(table: Table, buffered: list[tuple[int, int]] | None = None) -> Sessions:
    return Sessions(table, 1, 3, lambda _: buffered or [], lambda row: {(row, 3)})


def test_an_outcome_is_told_to_all_who_close_their_session_until_it_is_closed() -> None:
    """Also to those whose records in the batch were refused one by one before."""
    known = sessions(Table())
    ending, losing, other = Connection(), Connection(), Connection()
    rows = [known.greet(hello(), PATHS, 1000, 5).session for _ in (ending, losing)]
    for row, holder in zip(rows, (ending, losing), strict=True):
        known.hold(row, holder)
        assert known.unsettled(row, holder) == {(row, 3)}
    known.settled(0, 3)
    known.settled(0, 4)
    known.end(rows[0], ending)
    known.lost(rows[1], losing, 7)
    known.settled(0, 5)
    assert ending.told == losing.told == [(0, 3), (0, 4)]
    assert other.told == []


def grant_of(reply: bytes) -> answers.Grant:
    assert reply[4] == frame.GRANT
    return answers.Grant.decode(reply[8:])


def test_a_new_session_belongs_to_this_worker_and_names_its_path() -> None:
    table = Table()
    greeting = sessions(table).greet(hello(), PATHS, 1000, 5)
    grant = grant_of(greeting.replies[0])
    assert (grant.resumed, grant.last_accepted, grant.path) == (Resumed.NEW, 0, "/run/app.sock.1")
    assert int.from_bytes(grant.session_id[:2], "little") == 1
    assert table.rows[greeting.session].session_id == grant.session_id


def test_without_a_session_nothing_is_kept() -> None:
    table = Table()
    greeting = sessions(table).greet(Hello(1, Answer.ACCEPTED, False, NO_SESSION_ID, ""), PATHS, 1000, 5)
    assert greeting.session == -1
    assert grant_of(greeting.replies[0]).path == ""
    assert not table.rows


def test_a_session_of_another_worker_is_sent_there() -> None:
    greeting = sessions(Table()).greet(hello(b"\x02\x00" + bytes(14)), PATHS, 1000, 5)
    assert greeting.close
    assert greeting.replies == [b"\x15\x00\x00\x00\x49\x00\x00\x00\x0f\x00/run/app.sock.2"]


def test_a_session_of_a_worker_that_is_no_more_is_sent_to_its_heir() -> None:
    # Worker 5 of once six is kept by worker 5 % 3 = 2; worker 4 by ourselves, who never heard of it.
    assert sessions(Table()).greet(hello(b"\x05\x00" + bytes(14)), PATHS, 1000, 5).close
    greeting = sessions(Table()).greet(hello(b"\x04\x00" + bytes(14)), PATHS, 1000, 5)
    assert grant_of(greeting.replies[0]).resumed == Resumed.FORGOTTEN


def test_a_session_that_comes_back_is_resumed_and_told_what_happened() -> None:
    table = Table()
    session_id = b"\x01\x00" + bytes(13) + b"x"
    table.rows[0] = Session(0, session_id, 20, ((4, 2), (11, 7)), 99)
    greeting = sessions(table, [(5, 7), (15, 20)]).greet(hello(session_id), PATHS, 1000, 5)
    grant = grant_of(greeting.replies[0])
    assert (grant.resumed, grant.last_accepted, greeting.session) == (Resumed.RESUMED, 20, 0)
    assert table.rows[0].disconnected_ms == 0
    told = greeting.replies[1:]
    assert [answers.Rejected.decode(reply[8:]).first_sequence for reply in told[:2]] == [4, 11]
    assert answers.Accepted.decode(told[2][8:]) == (1, 20)
    assert [tuple(answers.OutcomeUnknown.decode(reply[8:])) for reply in told[3:]] == [(1, 3), (8, 10), (12, 14)]


def test_below_level_delivered_outcomes_are_nobodys_business() -> None:
    table = Table()
    session_id = b"\x01\x00" + bytes(13) + b"x"
    table.rows[0] = Session(0, session_id, 20, (), 99)
    replies = sessions(table).greet(hello(session_id, Answer.ACCEPTED), PATHS, 1000, 5).replies
    assert [reply[4] for reply in replies] == [frame.GRANT, frame.ACCEPTED]


def test_the_older_connection_of_a_session_gives_way() -> None:
    table = Table()
    keeper = sessions(table)
    older, newer = Connection(), Connection()
    grant = grant_of((first := keeper.greet(hello(), PATHS, 1000, 5)).replies[0])
    keeper.hold(first.session, older)
    second = keeper.greet(hello(grant.session_id), PATHS, 1000, 6)
    assert older.was_superseded
    keeper.hold(second.session, newer)
    keeper.lost(second.session, older, 7)
    assert keeper.holder(second.session) is newer
    assert table.rows[second.session].disconnected_ms == 0
    keeper.lost(second.session, newer, 8)
    assert keeper.holder(second.session) is None
    assert table.rows[second.session].disconnected_ms == 8


def test_a_full_table_forgets_the_one_it_may_and_refuses_otherwise() -> None:
    table = Table()
    keeper = sessions(table)
    for _ in range(2):
        keeper.greet(hello(), PATHS, 1000, 5)
    with pytest.raises(ArenaFull):
        keeper.greet(hello(), PATHS, 1000, 6)
    forgotten = table.rows[1].session_id
    table.forgettable = 1
    assert keeper.greet(hello(), PATHS, 1000, 7).session == 1
    assert grant_of(keeper.greet(hello(forgotten), PATHS, 1000, 8).replies[0]).resumed == Resumed.FORGOTTEN


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(1, 70), st.integers(1, 9)), max_size=8),
    st.lists(st.integers(1, 70), max_size=5),
)
def test_unknown_is_exactly_what_nobody_knows(
    last_accepted: int, runs: list[tuple[int, int]], rejected: list[int]
) -> None:
    unknown = unknown_ranges(last_accepted, [(first, first + count - 1) for first, count in runs], rejected)
    known = {number for first, count in runs for number in range(first, first + count)} | set(rejected)
    expected = [number for number in range(1, last_accepted + 1) if number not in known]
    assert [number for first, last in unknown for number in range(first, last + 1)] == expected
