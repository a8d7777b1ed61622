"""Numbers that are written twice are the same twice."""

import re
from pathlib import Path

import pytest

import ingestd.hotpath
from ingestd import limits, metrics, scoreboard
from ingestd.config import checks
from ingestd.hotpath import intake
from ingestd.hotpath.arena import Arena

HOTPATH = Path(ingestd.hotpath.__file__).parent
CONSTANT = re.compile(r"^ +([A-Z0-9_]+) = (\d+)", re.MULTILINE)


def constants(name: str) -> dict[str, int]:
    """All enumerated constants of a file."""
    return {match[1]: int(match[2]) for match in CONSTANT.finditer((HOTPATH / name).read_text())}


def test_limits() -> None:
    compiled = constants("limits.pxd")
    shared = {name: value for name, value in compiled.items() if hasattr(limits, name)}
    assert len(shared) >= 9
    assert shared == {name: getattr(limits, name) for name in shared}


def test_reasons_and_ledger() -> None:
    compiled = constants("layout.pxd")
    assert max(metrics.Rejected) < compiled.pop("REJECTED_REASONS")
    reasons = {name: value for name, value in compiled.items() if name.startswith("REJECTED_") and value}
    assert reasons == {f"REJECTED_{reason.name}": reason.value for reason in metrics.Rejected}
    for name in ("RECEIVED", "ACCEPTED", "REPEATED", "RECEIVED_BYTES", "ACCEPTED_BYTES", "KERNEL_DROPPED"):
        assert compiled[f"LEDGER_{name}"] == metrics.Ledger[name]


@pytest.mark.parametrize("buffer_bytes", [1 << 20, 5_000_000, 16 << 20, 33_554_433, 64 << 20, 600 << 20])
def test_the_reserve_takes_the_largest_batch_that_the_configuration_allows(buffer_bytes: int) -> None:
    arena = Arena.create(None, buffer_bytes=buffer_bytes, topic_capacity=limits.TOPICS_MAX, now_ms=1)
    assert arena.reserve_pages * 4096 == checks.reserve_bytes(buffer_bytes)
    assert checks.batch_size_max(buffer_bytes) == (arena.reserve_pages - 3) * 4096
    arena.close()


def test_scoreboard_words() -> None:
    compiled = constants("publisher.pyx")
    names = {
        "WORD_SEQLOCK": "SEQLOCK",
        "WORD_LEDGER": "LEDGER",
        "WORD_DRAIN_ARENAS": "DRAIN_ONLY_ARENAS",
        "WORD_DRAIN_PAGES": "DRAIN_ONLY_PAGES",
        "WORD_OLDEST_CREATED": "OLDEST_CREATED_MS",
        "WORD_IN_DOUBT": "IN_DOUBT_BATCHES",
    }
    assert {name: compiled[name] for name in names} == {name: scoreboard.Word[word] for name, word in names.items()}
    gauges = {
        "GAUGE_BUFFERED": "BUFFERED_RECORDS",
        "GAUGE_OPEN": "OPEN_BATCHES",
        "GAUGE_SEALED": "SEALED_BATCHES",
        "GAUGE_STAMPED": "STAMPED_BATCHES",
        "GAUGE_FREE_PAGES": "FREE_PAGES",
        "GAUGE_TOTAL_PAGES": "TOTAL_PAGES",
    }
    for name, word in gauges.items():
        assert compiled["WORD_LEDGER"] + compiled[name] == scoreboard.Word[word]


def test_flags() -> None:
    compiled = constants("input.pxd")
    for name, value in compiled.items():
        if name.startswith("FLAG_"):
            assert getattr(intake, name.removeprefix("FLAG_")) == value
        elif name.startswith("BLOCKED_") and value:
            assert getattr(intake, f"BLOCKED_BY_{name.removeprefix('BLOCKED_')}") == value
