"""An arena that is given up after a crash at any store: what is read of it, and its taking over cut at any store."""

from pathlib import Path
from typing import Any

import pytest

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.salvage import salvage
from ingestd.metrics import Dropped
from tests.model.arena_kit import ACCEPTED, NOW_MS, RECEIVED, recover_image, small_arena
from tests.model.stepping import images_of_crashes, refusal
from tests.model.test_arena_crash import Bench, commit_two

pytestmark = pytest.mark.skipif(bool(refusal()), reason=refusal())


def test_after_any_store_the_books_are_those_that_opening_it_would_find(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "a.arena")
    seen = set()
    for image in images_of_crashes(tmp_path / "a.arena", lambda: commit_two(bench), bench.arena):
        path = tmp_path / "image.arena"
        path.write_bytes(image)
        salvaged = salvage(path)
        arena = Arena.open(path, now_ms=NOW_MS)
        assert salvaged is not None
        assert list(salvaged.words) == arena.ledger_counters()
        assert list(salvaged.sessions) == arena.sessions()
        assert list(salvaged.topics) == arena.topics()
        assert salvaged.buffered_records == arena.buffered()
        seen.add(salvaged.buffered_records)
        arena.close()
    assert len(seen) == 2, "the commit was seen before and after"


@pytest.mark.exhaustive
def test_taking_over_books_once_wherever_it_is_cut(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "old.arena")
    bench.arena.topic_update(1, b"i" * 16, 7)
    bench.arena.book(RECEIVED, bench.arena.ledger()["accepted"] - bench.arena.ledger()["received"])
    salvaged = salvage(tmp_path / "old.arena")
    assert salvaged is not None
    own = small_arena(tmp_path / "own.arena")
    found: list[dict[str, Any]] = []
    for image in images_of_crashes(
        tmp_path / "own.arena", lambda: own.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS), own
    ):
        path = tmp_path / "image.arena"
        outcome = recover_image(image, path)
        if found and found[-1] == outcome:
            continue
        found.append(outcome)
        path.write_bytes(image)
        again = Arena.open(path, now_ms=NOW_MS)
        again.take_over(salvaged, Dropped.SET_ASIDE, now_ms=NOW_MS)
        assert again.ledger()["accepted"] == again.ledger()["dropped"] == 12
        assert [session.session_id for session in again.sessions()] == [b"s" * 16]
        assert again.topics()[1].partition_count == 7
        again.close()
    assert [outcome["books"][ACCEPTED] for outcome in found][-2:] == [0, 12]
