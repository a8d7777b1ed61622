"""Reasons and ledger words: the same numbers as in the record path, each explained, none in another's place."""

import itertools
import re
from pathlib import Path

import pytest

from ingestd.metrics import (
    DROPPED_PLACES,
    DROPPED_WORD,
    FAILED_PLACES,
    FAILED_WORD,
    LEDGER_TEXT,
    LEDGER_WORDS,
    REASON_TEXT,
    REJECTED_PLACES,
    REJECTED_WORD,
    Dropped,
    Failed,
    Ledger,
    Reason,
    Rejected,
    balance,
    name_of,
    reasons_counted,
    word_of,
)

LAYOUT = (Path(__file__).parents[2] / "ingestd/hotpath/layout.pxd").read_text()
EVERY: tuple[Reason, ...] = (*Rejected, *Failed, *Dropped)


def numbers(prefix: str, text: str = LAYOUT) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(rf"^ +{prefix}_(\w+) = (\d+)", text, re.MULTILINE)}


def test_the_record_path_counts_under_the_same_numbers() -> None:
    rejected, failed, dropped = numbers("REJECTED"), numbers("FAILED"), numbers("DROPPED")
    places = tuple(found.pop("REASONS") for found in (rejected, failed, dropped))
    assert places == (REJECTED_PLACES, FAILED_PLACES, DROPPED_PLACES)
    assert rejected.pop("NONE") == 0
    assert rejected == {reason.name: int(reason) for reason in Rejected}
    assert dropped.items() <= {reason.name: int(reason) for reason in Dropped}.items()
    assert failed.items() <= {reason.name: int(reason) for reason in Failed}.items()
    assert numbers("LEDGER")["WORDS"] == LEDGER_WORDS
    ledger = numbers("LEDGER", LAYOUT.partition("cdef enum Ledger:")[2].partition("cdef")[0])
    assert (ledger.pop("REJECTED"), ledger.pop("FAILED"), ledger.pop("DROPPED")) == (
        REJECTED_WORD,
        FAILED_WORD,
        DROPPED_WORD,
    )
    ledger["DELIVERED_UNCONFIRMED_OFFSETS"] = ledger.pop("OFFSETS_UNKNOWN")
    assert ledger == {word.name: int(word) for word in Ledger}


def test_every_number_is_explained() -> None:
    assert set(REASON_TEXT) == set(EVERY)
    assert set(LEDGER_TEXT) == set(Ledger)
    assert len(REASON_TEXT) == len(Rejected) + len(Failed) + len(Dropped)
    assert all(text and not text.endswith(".") for text in (*REASON_TEXT.values(), *LEDGER_TEXT.values()))


def test_reasons_of_different_kinds_are_never_equal() -> None:
    assert Rejected.MALFORMED == 1
    assert hash(Failed.RECORD_REFUSED) == hash(1)
    for one, other in itertools.combinations(EVERY, 2):
        assert one != other


def test_no_two_reasons_share_a_word() -> None:
    words = [word_of(reason) for reason in EVERY]
    assert len(set(words)) == len(words)
    assert word_of(Rejected.CUT) == 16 + 12
    assert word_of(Failed.TOPIC_DENIED) == 48 + 3
    assert word_of(Dropped.QUARANTINED) == 72 + 2
    assert max(Rejected) < REJECTED_PLACES
    assert max(Failed) < FAILED_PLACES
    assert max(Dropped) < DROPPED_PLACES
    assert max(words) < LEDGER_WORDS
    assert name_of(Rejected.TOPIC_UNKNOWN) == "topic_unknown"


@pytest.fixture
def words() -> list[int]:
    ledger = [0] * LEDGER_WORDS
    ledger[Ledger.RECEIVED] = 100
    ledger[Ledger.ACCEPTED] = 90
    ledger[Ledger.DELIVERED] = 70
    ledger[word_of(Rejected.LINE_TOO_LARGE)] = 4
    ledger[word_of(Rejected.MALFORMED)] = 6
    ledger[word_of(Failed.DELIVERY_TIMEOUT)] = 5
    ledger[word_of(Dropped.MEMORY_LOST)] = 3
    return ledger


def test_books_balance_when_nothing_is_missing(words: list[int]) -> None:
    books = balance(words, 12)
    assert books == (100, 90, 10, 70, 5, 3, 12)
    assert books.balanced
    assert [counted.reason for counted in reasons_counted(words)] == [
        Rejected.MALFORMED,
        Rejected.LINE_TOO_LARGE,
        Failed.DELIVERY_TIMEOUT,
        Dropped.MEMORY_LOST,
    ]


def test_a_missing_record_shows_in_a_residual(words: list[int]) -> None:
    lost = balance(words, 11)
    assert (lost.intake_residual, lost.delivery_residual, lost.balanced) == (0, 1, False)
    words[Ledger.RECEIVED] -= 1
    assert (balance(words, 12).intake_residual, balance(words, 12).balanced) == (-1, False)
