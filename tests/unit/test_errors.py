"""Every error has its exit status and a text for people; the docstring's tree is the real one."""

import re

from ingestd import errors
from ingestd.errors import (
    ClusterError,
    ConfigurationError,
    DaemonError,
    ExitStatus,
    Fault,
    HostDaemonAbsentError,
    HostOutOfSpaceError,
    HostResourceInUseError,
    IngestdError,
)


def subclasses(kind: type[IngestdError]) -> list[type[IngestdError]]:
    return [kind, *(below for direct in kind.__subclasses__() for below in subclasses(direct))]


def test_the_tree_in_the_docstring_is_complete() -> None:
    drawn = re.findall(r"^[ │├└─]*(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    ours = [kind.__name__ for kind in subclasses(IngestdError) if kind.__module__ == "ingestd.errors"]
    assert drawn == ours


def test_exit_statuses_are_those_of_the_surface() -> None:
    assert [int(status) for status in ExitStatus] == [0, 1, 2, 65, 70, 75, 78]
    assert ConfigurationError([]).exit_status == 78
    assert HostDaemonAbsentError().exit_status == 75
    assert DaemonError().exit_status == 70
    assert ClusterError().exit_status == 1


def test_texts_say_whose_and_how_much() -> None:
    assert str(HostResourceInUseError("/run/a", 7)) == "/run/a is in use by process 7"
    assert str(HostResourceInUseError("/run/a")) == "/run/a is in use by another process"
    assert str(HostOutOfSpaceError("/a", 10, 3)) == "no space for /a: 10 bytes needed, 3 free"
    assert str(ConfigurationError([Fault("a", "1", "wrong", "Write 2")])) == (
        "1 fault in the configuration\na = 1: wrong. Write 2"
    )
    assert str(Fault("a", "", "missing", "")) == "a: missing"
