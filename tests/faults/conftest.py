"""The bad days: the fixtures of tests/kafka, and the table that `make faults` ends with."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kafka.conftest import (
    _shared_kafka,
    kafka,
    make_daemon,
    pytest_runtest_makereport,
    start_cluster,
    topic_name,
    watch,
)
from tests.kafka.reader import Verdict

__all__ = [
    "_shared_kafka",
    "kafka",
    "make_daemon",
    "pytest_runtest_makereport",
    "start_cluster",
    "topic_name",
    "watch",
]

DAYS = pytest.StashKey[list["BadDay"]]()
HEAD = ("fault", "result", "lost", "duplicated", "reordered", "told")


@dataclass
class BadDay:
    """One row of the table. ``told``: how senders and operators hear of it, in words, "" where there is nothing."""

    fault: str
    verdict: Verdict | None = None
    told: str = ""
    passed: bool = False

    def judge(self, verdict: Verdict, told: str = "") -> None:
        """Notes what an independent reader found; the test still asserts what it asks for."""
        self.verdict = verdict
        self.told = told

    def row(self) -> tuple[str, ...]:
        """The cells, in the order of HEAD."""
        verdict = self.verdict
        lists = () if verdict is None else (verdict.lost, verdict.duplicated, verdict.reordered)
        found = [str(len(values)) for values in lists] or ["-"] * 3
        return (self.fault, "passed" if self.passed else "FAILED", *found, self.told or "-")


@pytest.fixture
def bad_day(request: pytest.FixtureRequest) -> Iterator[BadDay]:
    """This test's row; the fault is what the first line of the test's docstring says."""
    document = (request.function.__doc__ or request.node.name).strip()
    day = BadDay(document.splitlines()[0])
    request.config.stash.setdefault(DAYS, []).append(day)
    before = request.session.testsfailed
    yield day
    day.passed = request.session.testsfailed == before


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table, as wide as its cells."""
    days = config.stash.get(DAYS, [])
    if not days:
        return
    rows = [HEAD, *(day.row() for day in days)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    terminalreporter.section("faults")
    for row in rows:
        terminalreporter.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
