"""``ingestd demo`` as a person runs it: all that was sent is delivered, and nothing stays behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

COMMAND = [sys.executable, "-m", "ingestd", "demo"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for temporary files with a short name: a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ingestd-test-") as name:
        yield Path(name)


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "COLUMNS": "120"}


def test_sent_is_delivered_and_nothing_stays_behind(folder: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "--records", "5000"],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "sent = delivered = 5000" in ended.stdout
    rows = re.findall(r"^ *(?:stream|datagram|UDP) +\w+ +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) ", ended.stdout, re.M)
    table = [[int(figure) for figure in row] for row in rows]
    assert [(row[0], row[1], sum(row[2:])) for row in table] == [(3000,) * 3, (1000,) * 3, (1000,) * 3]
    assert list(folder.iterdir()) == []


def test_a_source_tree_that_it_is_started_in_is_not_taken_for_the_program(folder: Path) -> None:
    tree = folder / "tree"
    (tree / "ingestd").mkdir(parents=True)
    (tree / "ingestd" / "__init__.py").touch()
    ended = subprocess.run(
        [sys.executable, "-P", *COMMAND[1:], "--records", "200"],
        env=environment(folder),
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_an_interrupted_demo_clears_everything_away(folder: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--records", "2000000"], env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    children: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 60
        while len(children) < 3 and time.monotonic() < deadline:
            children = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.1)
        assert len(children) == 3, "a supervisor and two workers"
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode != 0
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (3, [])
    assert list(folder.iterdir()) == []
