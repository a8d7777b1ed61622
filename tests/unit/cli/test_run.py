"""``ingestd run``: the configuration goes to the supervisor, whose status comes back."""

import argparse
import logging
from pathlib import Path

import pytest

from ingestd.cli import run
from ingestd.config.model import Config
from ingestd.config.reader import parse
from tests.unit.config.test_reader import FULL


def test_the_supervisor_gets_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ingestd.toml"
    path.write_text(FULL)
    ran: list[Config] = []

    def supervise(config: Config) -> int:
        ran.append(config)
        return 75

    monkeypatch.setattr("ingestd.supervisor.supervisor.run", supervise)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    try:
        arguments = parser.parse_args(["-c", str(path)])
        assert run.execute(argparse.Namespace(**vars(arguments), log_level="info", log_format="text")) == 75
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(False)
    assert ran == [parse(FULL)]
