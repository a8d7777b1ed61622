"""What a worker's process can be in and what happens then: one table, states by events. Owns no process and no clock.

``step`` answers with the next state and the action the caller must do. A pair that is not in the table cannot happen:
it raises, naming both. The diagram in DESIGN.md is the text of :func:`diagram`.
"""

from enum import Enum
from typing import Final

from ingestd.errors import DaemonError
from ingestd.scoreboard import WorkerState


class State(Enum):
    """The life of a worker slot; the process exists in all of them but ABSENT and BACKOFF."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    ABORTING = "aborting"
    """Silent; SIGABRT was sent, so that it leaves its stacks in the log."""
    KILLING = "killing"
    """Still there after that; SIGKILL was sent. Only a death that was seen makes room for a successor."""
    DRAINING = "draining"
    """SIGTERM was sent: it reads its senders to the end and delivers what it can."""
    HURRYING = "hurrying"
    """SIGUSR1 was sent: it stops waiting for Kafka."""
    ENDING = "ending"
    """SIGKILL was sent while the daemon stops."""
    BACKOFF = "backoff"


class Event(Enum):
    """What can happen to a worker slot."""

    START = "start"
    OPENED = "ready"
    DIED = "died"
    SILENT = "silent"
    DEADLINE = "deadline"
    STOP = "stop"
    HURRY = "hurry"


class Action(Enum):
    """What the caller does on a transition."""

    NONE = "-"
    SPAWN = "spawn"
    TERMINATE = "SIGTERM"
    HURRY = "SIGUSR1"
    """Another signal: of two of a kind the kernel keeps one, for a process that it has not run in between."""
    ABORT = "SIGABRT"
    KILL = "SIGKILL"
    RETRY = "plan restart"


class IllegalMoveError(DaemonError):
    """An event that the state cannot meet."""


S, E, A = State, Event, Action

TABLE: Final[dict[State, dict[Event, tuple[State, Action]]]] = {
    S.ABSENT: {
        E.START: (S.STARTING, A.SPAWN),
        E.STOP: (S.ABSENT, A.NONE),
        E.HURRY: (S.ABSENT, A.NONE),
    },
    S.STARTING: {
        E.OPENED: (S.READY, A.NONE),
        E.DIED: (S.BACKOFF, A.RETRY),
        E.SILENT: (S.ABORTING, A.ABORT),
        E.STOP: (S.DRAINING, A.TERMINATE),
    },
    S.READY: {
        E.DIED: (S.BACKOFF, A.RETRY),
        E.SILENT: (S.ABORTING, A.ABORT),
        E.STOP: (S.DRAINING, A.TERMINATE),
    },
    S.ABORTING: {
        E.OPENED: (S.ABORTING, A.NONE),
        E.DIED: (S.BACKOFF, A.RETRY),
        E.DEADLINE: (S.KILLING, A.KILL),
        E.STOP: (S.ENDING, A.KILL),
    },
    S.KILLING: {
        E.OPENED: (S.KILLING, A.NONE),
        E.DIED: (S.BACKOFF, A.RETRY),
        E.DEADLINE: (S.KILLING, A.KILL),
        E.STOP: (S.ENDING, A.NONE),
    },
    S.DRAINING: {
        E.OPENED: (S.DRAINING, A.NONE),
        E.DIED: (S.ABSENT, A.NONE),
        E.DEADLINE: (S.ENDING, A.KILL),
        E.HURRY: (S.HURRYING, A.HURRY),
    },
    S.HURRYING: {
        E.OPENED: (S.HURRYING, A.NONE),
        E.DIED: (S.ABSENT, A.NONE),
        E.DEADLINE: (S.ENDING, A.KILL),
        E.HURRY: (S.HURRYING, A.NONE),
    },
    S.ENDING: {
        E.OPENED: (S.ENDING, A.NONE),
        E.DIED: (S.ABSENT, A.NONE),
        E.DEADLINE: (S.ENDING, A.KILL),
        E.HURRY: (S.ENDING, A.NONE),
    },
    S.BACKOFF: {
        E.DEADLINE: (S.STARTING, A.SPAWN),
        E.STOP: (S.ABSENT, A.NONE),
    },
}

SHOWN: Final[dict[State, WorkerState]] = {
    S.ABSENT: WorkerState.ABSENT,
    S.STARTING: WorkerState.STARTING,
    S.READY: WorkerState.READY,
    S.ABORTING: WorkerState.BACKOFF,
    S.KILLING: WorkerState.BACKOFF,
    S.DRAINING: WorkerState.DRAINING,
    S.HURRYING: WorkerState.DRAINING,
    S.ENDING: WorkerState.DRAINING,
    S.BACKOFF: WorkerState.BACKOFF,
}
"""How a state is told in the scoreboard: a silent worker serves nobody, as one that waits for its restart."""


def step(state: State, event: Event) -> tuple[State, Action]:
    """The next state and what to do now; :class:`IllegalMoveError` for a pair that cannot happen."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise IllegalMoveError(f"a worker that is {state.value} cannot meet the event {event.value}") from None


def diagram() -> str:
    """The table as text, one line a transition, for DESIGN.md."""
    lines = []
    for state, row in TABLE.items():
        for event, (after, action) in row.items():
            suffix = "" if action is Action.NONE else f"  [{action.value}]"
            lines.append(f"{state.value:<9} --{event.value}--> {after.value}{suffix}")
    return "\n".join(lines)
