"""Logs: one event a line, nothing foreign unescaped, repetition held back and counted."""

import io
import json
import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import log


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def record(message: str, level: int = logging.INFO, **details: object) -> logging.LogRecord:
    made = logging.LogRecord("ingestd.listeners.stream", level, "x.py", 1, message, None, None)
    made.created = 1_767_323_045.678
    made.__dict__.update(details)
    return made


def test_a_text_line_has_time_level_process_and_details() -> None:
    text = log.TextFormatter("worker-0", systemd=False).format(
        record("peer gone", logging.WARNING, broker=3, peer="a b", empty="")
    )
    assert text == (
        '2026-01-02T03:04:05.678Z WARNING worker-0 listeners.stream: peer gone broker=3 peer="a b" empty=""'
    )


def test_under_systemd_the_priority_comes_first_and_the_journal_has_the_time() -> None:
    formatter = log.TextFormatter("supervisor", systemd=True)
    for level, priority in ((10, 7), (20, 6), (30, 4), (40, 3), (50, 2)):
        assert formatter.format(record("x", level)) == f"<{priority}>supervisor listeners.stream: x"


def test_json_is_an_object_a_line() -> None:
    text = log.JsonFormatter("worker-1").format(record("a\nb", broker=3, peer=b"\xff\n", up=True))
    assert json.loads(text) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "process": "worker-1",
        "logger": "ingestd.listeners.stream",
        "message": "a\\nb",
        "broker": 3,
        "peer": "\\xff\\n",
        "up": True,
    }


@given(st.one_of(st.text(), st.binary()))
def test_foreign_content_stays_on_its_line_and_short(content: str | bytes) -> None:
    shown = log.printable(content)
    assert shown.isprintable()
    assert len(log.printable(content, 10)) <= 10 * 10 + 30


@given(st.text(), st.text())
def test_an_event_is_one_line_whatever_is_in_it(message: str, detail: str) -> None:
    for formatter in (log.TextFormatter("w", systemd=False), log.JsonFormatter("w")):
        text = formatter.format(record(message.replace("%", "%%"), detail=detail))
        assert len(text.splitlines()) == 1


def test_a_long_value_is_cut_and_its_length_told() -> None:
    assert log.printable("x" * 1000) == "x" * 300 + "… (1000 characters)"


def test_an_exception_is_told_in_the_same_line() -> None:
    stream = io.StringIO()
    log.configure("worker-0", "info", "text", stream=stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("ingestd.x").exception("failed")
    assert len(lines(stream)) == 1
    assert "failed ValueError: two\\nlines [test_log.py:" in stream.getvalue()


def test_levels_below_the_chosen_one_are_silent() -> None:
    stream = io.StringIO()
    log.configure("w", "warning", "text", stream=stream)
    logging.getLogger("ingestd.x").info("no")
    logging.getLogger("ingestd.x").warning("yes")
    assert len(lines(stream)) == 1


def test_setting_up_again_replaces_what_was() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.configure("w", stream=first)
    log.configure("w", stream=second)
    logging.getLogger("ingestd.x").info("here")
    assert (len(lines(first)), len(lines(second))) == (0, 1)


def test_repetition_is_held_back_and_counted() -> None:
    repeats = log.RepeatFilter()

    def passes(created: float) -> bool:
        event = record("broker %s away")
        event.created = created
        kept = repeats.filter(event)
        suppressed.append(getattr(event, "suppressed", 0))
        return kept

    suppressed: list[int] = []
    assert sum(passes(100 + n / 1000) for n in range(50)) == log.REPEATS_MAX
    assert passes(100 + log.REPEATS_INTERVAL_SECONDS)
    assert suppressed[-1] == 30
    assert repeats.filter(record("another event"))


def test_children_log_like_their_parent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in log.to_environment("debug", "json").items():
        monkeypatch.setenv(name, value)
    log.configure_from_environment("worker-3")
    logging.getLogger("ingestd.x").debug("hello")
    assert json.loads(capsys.readouterr().err)["process"] == "worker-3"


def test_the_journal_is_known_by_its_device_and_inode(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (tmp_path_factory.mktemp("log") / "stderr").open("w") as stream:
        status = os.fstat(stream.fileno())
        own = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert log.under_systemd(stream, own)
        assert not log.under_systemd(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not log.under_systemd(stream, {})
    assert not log.under_systemd(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("record",), "0 records"),
        (1, ("record",), "1 record"),
        (2, ("record",), "2 records"),
        (1, ("batch", "batches"), "1 batch"),
        (3, ("batch", "batches"), "3 batches"),
    ],
)
def test_what_is_counted_has_its_plural(count: int, words: tuple[str, ...], text: str) -> None:
    assert log.counted(count, *words) == text
