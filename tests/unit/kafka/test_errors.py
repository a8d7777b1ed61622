"""The error table."""

from ingestd.kafka.errors import ERRORS, Action, Effect, error_of


def test_codes_are_unique_and_named() -> None:
    assert all(code == row.code and row.name for code, row in ERRORS.items())
    assert len({row.name for row in ERRORS.values()}) == len(ERRORS)


def test_an_unknown_code_keeps_its_number_and_its_outcome_is_unknown() -> None:
    row = error_of(999)
    assert (row.code, row.effect, row.action) == (999, Effect.UNKNOWN, Action.RETRY_FEW)


def test_codes_that_may_have_written_never_refuse() -> None:
    for row in ERRORS.values():
        if row.effect is not Effect.NOT_WRITTEN:
            assert row.action in {Action.RETRY, Action.RETRY_FEW, Action.DONE}, row


def test_out_of_order_is_no_answer_by_itself() -> None:
    assert error_of(45).action is Action.OUT_OF_ORDER
    assert error_of(45).effect is Effect.NOT_WRITTEN
