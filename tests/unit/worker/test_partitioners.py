"""The partitioners of a worker: those written in Python end with it, whatever they do then."""

import sys
from types import ModuleType

import pytest

from ingestd.config.reader import parse
from ingestd.partitioner import Partitioner
from ingestd.worker.partitioners import Partitioners

CONFIG = """
[producer]
bootstrap.servers = ["k:1"]
partitioner.class = "partitioners_of_this_test:Spiteful"
[[listeners]]
name = "l"
listen = "udp:127.0.0.1:1"
format = "frames"
topics = ["a", "b"]
"""


class Spiteful(Partitioner):
    closed = 0

    def partition(self, *_: object) -> list[int]:
        return []

    def close(self) -> None:
        type(self).closed += 1
        raise ZeroDivisionError


def test_one_that_cannot_be_closed_stops_neither_the_others_nor_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = ModuleType("partitioners_of_this_test")
    module.Spiteful = Spiteful  # type: ignore[attr-defined]
    module.__spec__ = sys.__spec__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    partitioners = Partitioners(parse(CONFIG))
    partitioners.close()
    assert Spiteful.closed == 2
    assert caplog.text.count("close() failed") == 2
