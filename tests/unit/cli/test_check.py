"""``ingestd check``: good files are summed up, bad ones listed."""

import argparse
from pathlib import Path

import pytest

from ingestd.cli import check
from ingestd.config.reader import parse
from ingestd.errors import ConfigurationError
from tests.unit.config.test_reader import FULL


def arguments(path: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return parser.parse_args(["-c", str(path), *words])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ingestd.toml"
    path.write_text(FULL)
    return path


def test_a_good_file_is_summed_up(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.execute(arguments(file)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}: no faults"
    assert "  devices: udp:127.0.0.1:5514 lines -> readings" in lines
    assert "buffer: 2 workers x 64 MiB = 128 MiB in /dev/shm/ingestd" in lines


def test_what_is_in_force_is_printed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.execute(arguments(file, "--print")) == 0
    assert parse(capsys.readouterr().out) == parse(FULL)


def test_notes_are_told(file: Path) -> None:
    text = check.summary(parse(FULL.replace("127.0.0.1:5514", "0.0.0.0:5514")), str(file))
    assert "note: devices: anybody" in text


def test_faults_come_out(file: Path) -> None:
    file.write_text(FULL.replace("linger.ms = 7", "linger.ms = -7"))
    with pytest.raises(ConfigurationError):
        check.execute(arguments(file))
