"""Errors by whose fault they are, and the exit statuses that go with them.

    IngestdError
    ├── OperatorError             what a person asked for cannot be done as asked
    │   └── ConfigurationError    the configuration has faults (all of them are listed)          exit 78
    ├── HostError                 the host cannot give now what the daemon needs                 exit 75
    │   ├── HostResourceInUseError  a socket, an arena or the state directory belongs to another process
    │   ├── HostOutOfSpaceError     no room for an arena or the state directory
    │   └── HostDaemonAbsentError   no daemon runs where one was asked for
    ├── ClusterError              Kafka refused, or could not be reached in the time given       exit 1
    │   └── DataLossError         Kafka seems to have lost what it had acknowledged              exit 65
    └── DaemonError               our own fault: a state that must not exist                     exit 70

Whoever turns an error into the end of a process uses its ``exit_status``.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar, NamedTuple


class ExitStatus(IntEnum):
    """Exit statuses of every command and of the worker processes (the numbers above 63 are those of sysexits.h)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DATA_LOSS_SUSPECTED = 65
    """Kafka seems to have lost what it had acknowledged, and the configuration says to stop then: a person decides."""
    SOFTWARE = 70
    """A fault of our own; from a worker: the arena was damaged while it was opened."""
    CANNOT_START_NOW = 75
    """Socket or arena in use, no space, or no daemon to talk to: trying again later may help."""
    CONFIGURATION = 78
    """Trying again does not help before the configuration is changed."""


class Fault(NamedTuple):
    """One fault of a configuration: where, what is there, what is wrong with it, and what to write instead.

    ``file``: the one that holds the key (and its line, where it is known); empty where no file does.
    """

    key: str
    value: str
    text: str
    cure: str
    file: str = ""

    def __str__(self) -> str:
        place = f"{self.key} = {self.value}" if self.value else self.key
        if self.file:
            place = f"{self.file}: {place}"
        return f"{place}: {self.text}. {self.cure}" if self.cure else f"{place}: {self.text}"


class IngestdError(Exception):
    """Base of all errors that a process of ingestd may end with."""

    exit_status: ClassVar[ExitStatus] = ExitStatus.FAILED


class OperatorError(IngestdError):
    """What a person asked for cannot be done as asked."""


class ConfigurationError(OperatorError):
    """The configuration has faults; ``faults`` holds every one of them."""

    exit_status = ExitStatus.CONFIGURATION

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        count = len(self.faults)
        title = f"{count} fault{'' if count == 1 else 's'} in the configuration"
        super().__init__("\n".join([title, *map(str, faults)]))


class HostError(IngestdError):
    """The host cannot give now what the daemon needs."""

    exit_status = ExitStatus.CANNOT_START_NOW


class HostResourceInUseError(HostError):
    """``resource`` (path or address) belongs to another process; ``owner_pid`` 0: the kernel does not tell."""

    def __init__(self, resource: str, owner_pid: int = 0) -> None:
        self.resource = resource
        self.owner_pid = owner_pid
        super().__init__(f"{resource} is in use by " + (f"process {owner_pid}" if owner_pid else "another process"))


class HostOutOfSpaceError(HostError):
    """There is no room for ``path``: ``needed_bytes`` were asked for."""

    def __init__(self, path: str, needed_bytes: int, free_bytes: int) -> None:
        self.path = path
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        super().__init__(f"no space for {path}: {needed_bytes} bytes needed, {free_bytes} free")


class HostDaemonAbsentError(HostError):
    """No daemon runs where one was asked for."""


class ClusterError(IngestdError):
    """Kafka refused, or could not be reached in the time given."""


class DataLossError(ClusterError):
    """Kafka seems to have lost what it had acknowledged, and ``data.loss.suspected`` says to stop then."""

    exit_status = ExitStatus.DATA_LOSS_SUSPECTED


class DaemonError(IngestdError):
    """A state that must not exist: a fault of our own."""

    exit_status = ExitStatus.SOFTWARE
