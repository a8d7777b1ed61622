"""Partitioners in Python: found by name, and whatever they answer costs their own records at most."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingestd.errors import ConfigurationError
from ingestd.partitioner import Choice, Partitioner, load

SOURCE = """
from ingestd.partitioner import Partitioner

class Good(Partitioner):
    def configure(self, configs):
        self.batch_size = configs["batch.size"]

    def partition(self, topic, keys, values, partition_count):
        return [0] * len(keys)

class Picky(Good):
    def configure(self, configs):
        raise RuntimeError("no such wind")

class Other:
    def configure(self, configs):
        pass

"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of somebody's."""
    (tmp_path / "somebodys_partitioners.py").write_text(SOURCE)
    (tmp_path / "somebodys_broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("somebodys_partitioners", "somebodys_broken"):
        sys.modules.pop(name, None)
    return "somebodys_partitioners"


def test_loaded_and_configured(module: str) -> None:
    assert load(f"{module}:Good", {"batch.size": 7}).batch_size == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("somebodys_partitioners:Bad", "has no attribute 'Bad'"),
        ("somebodys_partitioners:Picky", "no such wind"),
        ("somebodys_partitioners:Other", "has no method partition"),
        ("somebodys_broken:Any", "no_such_module_anywhere"),
    ],
)
@pytest.mark.usefixtures("module")
def test_what_cannot_be_used_is_a_fault_of_the_configuration(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(name, {})
    (fault,) = caught.value.faults
    assert (fault.key, fault.value) == ("partitioner.class", name)
    assert text in fault.text


class Answers(Partitioner):
    """Answers what it was made with, or raises it."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def partition(
        self, topic: str, keys: list[bytes | None], values: list[bytes | None], partition_count: int
    ) -> Sequence[int]:
        assert (topic, len(keys), len(values), partition_count) == ("t", len(keys), len(keys), 4)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([0, 3, 1], [0, 3, 1]),
        ((2, 2, 2), [2, 2, 2]),
        ([0, 4, 1], [0, -1, 1]),
        ([0, -1, 1], [0, -1, 1]),
        ([0, -9, 2**40], [0, -1, -1]),
        ([0, 1], [-1, -1, -1]),
        ([0, 1, None], [-1, -1, -1]),
        ([0, 1.5, 1], [-1, -1, -1]),
        (["0", "1", "2"], [-1, -1, -1]),
        (None, [-1, -1, -1]),
        (RuntimeError("bananas"), [-1, -1, -1]),
    ],
)
def test_answers(answer: object, expected: list[int]) -> None:
    assert list(Choice("t", Answers(answer))([b"k"] * 3, [b"v"] * 3, 4)) == expected


def test_a_fault_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    choice = Choice("t", Answers(RuntimeError("bananas")))
    with caplog.at_level(logging.ERROR, logger="ingestd.partitioner"):
        for _ in range(3):
            choice([b"k"], [b"v"], 4)
    (told,) = caplog.records
    assert told.getMessage().startswith("topic t: partitioner Answers: RuntimeError('bananas')")
    assert told.exc_info


def test_a_refusal_that_was_meant_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="ingestd.partitioner"):
        Choice("t", Answers([-1]))([b"k"], [b"v"], 4)
    assert not caplog.records


def test_the_base_class_makes_no_choice() -> None:
    with pytest.raises(ConfigurationError, match="abstract"):
        load("ingestd.partitioner:Partitioner", {})
