"""``ingestd check``: good files are summed up, bad ones listed."""

import argparse
from pathlib import Path

import pytest

from ingestd.cli import check, main
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


def test_each_value_is_printed_with_its_source(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.execute(arguments(file, "--print")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"linger.ms = 7  # {file}" in lines
    assert "retries = 2147483647  # default" in lines
    assert f'listen = "udp:127.0.0.1:5514"  # {file}' in lines


def test_notes_are_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noted = FULL.replace("127.0.0.1:5514", "0.0.0.0:5514")
    file.write_text(noted)
    assert check.execute(arguments(file)) == 0
    assert "\nnote: devices: anybody" in capsys.readouterr().out
    assert check.execute(arguments(file, "--print")) == 0
    printed = capsys.readouterr().out
    assert "\n# note: devices: anybody" in printed
    assert parse(printed) == parse(noted)


def test_several_files_are_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    over = file.with_name("over.toml")
    over.write_text("[producer]\nlinger.ms = 9\n")
    drop_in = file.parent / "conf.d/50-site.toml"
    drop_in.parent.mkdir()
    drop_in.write_text("[producer]\nlinger.ms = 8\nretries = 5\n")
    assert check.execute(arguments(file, "-c", str(over))) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{file}, {drop_in}, {over}: no faults"
    assert check.execute(arguments(file, "-c", str(over), "--print")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (f"linger.ms = 9  # {over}" in lines, f"retries = 5  # {drop_in}" in lines) == (True, True)


def test_faults_come_out(file: Path) -> None:
    file.write_text(FULL.replace("linger.ms = 7", "linger.ms = -7"))
    with pytest.raises(ConfigurationError):
        check.execute(arguments(file))


@pytest.mark.parametrize("command", ["check", "run", "status"])
@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("a." * 2000 + "x = 1", "nested more than 32 levels deep: producer.a.a.a..."),
        (f"x = {'[' * 90}{']' * 90}", "nested more than 32 levels deep: producer.x..."),
    ],
    ids=["names", "lists"],
)
def test_what_is_nested_too_deep_is_a_bad_configuration_and_no_fault_of_ours(
    file: Path, command: str, setting: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FULL.replace("[producer]", f"[producer]\n{setting}"))
    assert main.main([command, "-c", str(file)]) == 78
    assert part in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_suite_that_openssl_does_not_have_is_told_before_anybody_connects(
    file: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = 'security.protocol = "SSL"\nssl.cipher.suites = ["ECDHE-RSA-AES128-GCM-SHA256", "NO-SUCH"]'
    file.write_text(FULL.replace("[producer]", f"[producer]\n{setting}"))
    assert main.main([command, "-c", str(file)]) == 78
    part = 'producer.ssl.cipher.suites = "NO-SUCH": not a suite that OpenSSL has here. Use names that'
    assert part in capsys.readouterr().err
