"""``ingestd demo``: its argument, and what it says where its extra is missing."""

import argparse
import sys

import pytest

from ingestd.cli import demo
from ingestd.errors import OperatorError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(words)


def test_the_number_of_records_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed().records == demo.RECORDS
    assert parsed("--records", "1000").records == 1000
    for wrong in ("9", "-5", "many", str(demo.RECORDS_MAX + 1)):
        with pytest.raises(SystemExit):
            parsed("--records", wrong)
        assert "give a number from 10" in capsys.readouterr().err


def test_without_its_extra_the_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "ingestd.cli.demo_pipeline", raising=False)
    with pytest.raises(OperatorError, match=r"pip install '\.\[demo\]'"):
        demo.execute(parsed())
