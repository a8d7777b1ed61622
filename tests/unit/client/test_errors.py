import re
from pathlib import Path

import pytest

from ingestd import metrics
from ingestd.client import errors
from ingestd.client.errors import KafkaException, OutcomeUnknownException, failed, rejected


def printed_tree() -> dict[str, str]:
    """Child to parent, as the module's text draws it."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ├└─]*)(\w+Exception)", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else "Exception"
    return parents


def test_the_printed_tree_is_the_tree() -> None:
    classes = {n: c for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, Exception)}
    assert printed_tree() == {name: kind.__bases__[0].__name__ for name, kind in classes.items()}


def test_reasons_are_those_of_the_protocols_text() -> None:
    text = (Path(__file__).parents[3] / "PROTOCOL.md").read_text().partition("## 8. Reasons")[2].partition("## 9.")[0]
    parts = text.partition("In FAILED:")
    for part, kinds, told in (
        (parts[0], metrics.Rejected, errors.REJECTED_REASONS),
        (parts[2], metrics.Failed, errors.FAILED_REASONS),
    ):
        listed = {int(number): name for number, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", part, re.MULTILINE)}
        assert listed == {int(reason): metrics.name_of(reason) for reason in kinds}
        assert listed == {number: name for number, (name, _) in told.items()}


def test_every_reason_for_giving_up_is_one_that_the_producer_has() -> None:
    sources = (Path(__file__).parents[3] / "ingestd/producer").rglob("*.py")
    given = {name for source in sources for name in re.findall(r"\bFailed\.([A-Z_]+)", source.read_text())}
    assert given == {reason.name for reason in metrics.Failed}


def test_kafkas_code_decides_the_class() -> None:
    error = rejected(7, 3, "gone")
    assert isinstance(error, errors.UnknownTopicOrPartitionException)
    assert (error.error_code, error.reason, error.retriable) == (3, "topic_not_allowed", True)
    assert str(error) == "not accepted, topic_not_allowed: gone"


def test_without_a_code_the_reason_decides() -> None:
    error = rejected(2, 0, "")
    assert isinstance(error, errors.RecordTooLargeException)
    assert not error.retriable
    assert str(error) == "not accepted, record_too_large"


def test_an_unknown_reason_or_code_is_a_plain_failure() -> None:
    assert type(rejected(999, 0, "")) is errors.RecordFailedException
    error = failed(999, 999, "new", may_have_been_written=False)
    assert type(error) is errors.RecordFailedException
    assert error.error_code == 999


def test_what_may_have_been_written_is_never_retriable() -> None:
    error = failed(2, 7, "late", may_have_been_written=True)
    assert isinstance(error, OutcomeUnknownException)
    assert not error.retriable
    assert (error.error_code, error.reason) == (7, "delivery_timeout")


@pytest.mark.parametrize("number", errors.REJECTED_REASONS)
def test_every_reason_makes_an_error(number: int) -> None:
    error = rejected(number, 0, "text")
    assert isinstance(error, KafkaException)
    assert errors.REJECTED_REASONS[number][0] in str(error)


def test_the_reasons_are_the_daemons() -> None:
    names = {number: name for number, (name, _) in errors.REJECTED_REASONS.items()}
    assert names == {reason.value: reason.name.lower() for reason in metrics.Rejected}
    names = {number: name for number, (name, _) in errors.FAILED_REASONS.items()}
    assert names == {reason.value: reason.name.lower() for reason in metrics.Failed}


def test_timeouts_and_states_are_pythons_too() -> None:
    assert issubclass(errors.TimeoutException, TimeoutError)
    assert issubclass(errors.IllegalStateException, RuntimeError)
    assert issubclass(errors.ConfigException, ValueError)
    assert str(errors.TimeoutException("late")) == "late"
    assert errors.TimeoutException("late").error_code == 7
