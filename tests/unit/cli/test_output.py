"""What cannot be printed is told apart from every other failure."""

import io
import os
import sys
from pathlib import Path

import pytest

from ingestd.cli import output
from ingestd.errors import OperatorError


@pytest.mark.parametrize("text", ["short", "x" * 100_000])
def test_a_full_disk_is_told_and_the_rest_thrown_away(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OperatorError, match="cannot write: No space left"), output.flushed():
            sys.stdout.write(text)
        assert Path(f"/proc/self/fd/{full.fileno()}").readlink() == Path(os.devnull)


def test_a_reader_that_has_gone_stays_a_broken_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(BrokenPipeError), output.flushed():
            sys.stdout.write("text")


def test_everything_else_is_the_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    with output.flushed():
        assert (sys.stdout.encoding, sys.stdout.isatty()) == ("latin-1", False)
        sys.stdout.write("\u00e4")
    assert sys.stdout is stream
    assert stream.buffer.getvalue() == b"\xe4"


def test_a_closed_stdout_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with output.flushed():
        sys.stdout.write("text")
        assert not sys.stdout.isatty()
