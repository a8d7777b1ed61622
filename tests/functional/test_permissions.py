"""Whoever may not look or send is told so, and not that nothing is there."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingestd import letters
from ingestd.cli import dead_letter, main, send, status
from ingestd.errors import HostError
from ingestd.supervisor.lock import StateLock
from tests.fakes.daemon import FakeDaemon
from tests.unit.test_letters import NOW_MS, ROOMY, line

NOBODY = 65534
COMMANDS = (dead_letter, send, status)
"""Imported before the rights are given up: this interpreter may lie where nobody else can read."""


@contextmanager
def as_nobody() -> Iterator[None]:
    """With no more rights than the files give to everybody."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may enter, with a state directory that nobody may read and a socket that nobody may use."""
    with tempfile.TemporaryDirectory(prefix="ingestd-") as name, socket.socket(socket.AF_UNIX) as listener:
        path = Path(name)
        path.chmod(0o755)
        listener.bind(f"{path}/app")
        listener.listen()
        (path / "app").chmod(0)
        (path / "ingestd.toml").write_text(f'[daemon]\nstate.directory = "{path}/state"\n')
        (path / "state").mkdir()
        (path / "state/scoreboard").write_bytes(b"x")
        (path / "state/scoreboard").chmod(0)
        (path / "state").chmod(0o311)
        yield path
        (path / "state").chmod(0o755)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("dead-letter list --directory {}/state", "cannot read the dead letters in {}/state: Permission denied"),
        ("status -c {}/ingestd.toml", "{}/state/scoreboard: Permission denied; become a member of the daemon's group"),
        ("send --to unix-stream:{}/app --topic t", "unix-stream:{}/app: Permission denied: who sends there must be in"),
    ],
    ids=["dead-letter", "status", "send"],
)
def test_permission_denied_is_said_with_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, text: str
) -> None:
    with as_nobody():
        assert main.main(command.format(folder).split()) == 75
    said = capsys.readouterr()
    assert text.format(folder) in said.err
    assert "no dead letters" not in said.out
    assert "no daemon" not in said.err


def test_a_lock_file_of_another_user_is_told_with_what_to_do(folder: Path) -> None:
    state = folder / "state"
    (state / "lock").touch()
    (state / "lock").chmod(0)
    with as_nobody(), pytest.raises(HostError, match=f"cannot lock {state}/lock: Permission denied: give {state} and"):
        StateLock.acquire(state, os.getpid(), wait_ms=0)


def test_what_could_not_be_noted_is_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="ingestd-") as name, FakeDaemon(Path(name)) as daemon:
        state = Path(name) / "state"
        state.mkdir()
        letters.append(state, line(), ROOMY, NOW_MS)
        for path in (Path(name), state):
            path.chmod(0o755)
        Path(daemon.path).chmod(0o777)
        [file] = state.iterdir()
        file.chmod(0o644)
        command = ["dead-letter", "replay", "--directory", str(state), "--to", daemon.address]
        if os.geteuid() != 0:
            state.chmod(0o555)
        with as_nobody():
            assert main.main(command) == 75
        assert "Permission denied: nothing of that day was sent; run the replay as" in capsys.readouterr().err
        assert daemon.values() == []
        state.chmod(0o755)
        assert main.main(command) == 0
        assert daemon.values() == [b"v"]
