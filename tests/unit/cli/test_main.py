"""The command line: how a command is found, and how each end becomes an exit status."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from ingestd import __version__
from ingestd.cli import main as cli
from ingestd.errors import (
    ClusterError,
    ConfigurationError,
    DaemonError,
    Fault,
    HostResourceInUseError,
    OperatorError,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands set the environment and the root logger up; the next test starts from what was."""
    for name in ("INGESTD_LOG_LEVEL", "INGESTD_LOG_FORMAT", "INGESTD_ADDRESS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def usage_status(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("words", [("--help",), *((command, "--help") for command in cli.COMMANDS)])
def test_every_command_explains_itself(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_status(*words) == 0
    assert "--log-level" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("--version",), ("status", "--version")])
def test_the_version_is_told(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_status(*words) == 0
    assert capsys.readouterr().out == f"ingestd {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [(), ("dance",), ("check", "--nonsense"), ("--log-level", "loud", "check"), ("send", "--to", "nowhere")],
)
def test_a_wrong_command_line_ends_with_two(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_status(*words) == 2
    assert "usage: ingestd" in capsys.readouterr().err


def run_with(monkeypatch: pytest.MonkeyPatch, ending: BaseException | int) -> int:
    """The exit status of a command that ends like this."""

    def execute(_arguments: object) -> int:
        if isinstance(ending, BaseException):
            raise ending
        return ending

    module = SimpleNamespace(add_arguments=lambda _parser: None, execute=execute)
    monkeypatch.setattr("importlib.import_module", lambda _name: module)
    return cli.main(["check"])


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (0, 0),
        (1, 1),
        (ClusterError("away"), 1),
        (OperatorError("no such file"), 1),
        (DaemonError("must not be"), 70),
        (ZeroDivisionError("oops"), 70),
        (HostResourceInUseError("/run/a", 5), 75),
        (ConfigurationError([Fault("a", "1", "wrong", "Write 2")]), 78),
    ],
)
def test_every_end_has_its_status(ending: BaseException | int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_with(monkeypatch, ending) == status


def test_a_closed_stdout_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert run_with(monkeypatch, 0) == 0


def test_every_fault_is_listed_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [Fault("a", "1", "wrong", "Write 2"), Fault("b", "", "missing", "Add it")]
    assert run_with(monkeypatch, ConfigurationError(faults)) == 78
    assert capsys.readouterr().err.splitlines() == ["a = 1: wrong. Write 2", "b: missing. Add it", "2 faults found"]


def test_an_interrupted_command_ends_by_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: sent.append(number))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    run_with(monkeypatch, KeyboardInterrupt())
    assert sent == [signal.SIGINT]


def test_log_options_count_before_and_behind_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.import_module",
        lambda _name: SimpleNamespace(add_arguments=lambda _parser: None, execute=lambda _arguments: 0),
    )
    for words in (["--log-format", "json", "check", "--log-level", "debug"], ["check", "--log-format", "json"]):
        assert cli.main(words) == 0
        assert os.environ["INGESTD_LOG_FORMAT"] == "json"
