"""The table of worker states: total where it must be, closed, and the same as its diagram."""

import pytest

from ingestd.supervisor.states import SHOWN, TABLE, Action, Event, IllegalMoveError, State, diagram, step

WITH_PROCESS = set(State) - {State.ABSENT, State.BACKOFF}
WITH_DEADLINE = {State.ABORTING, State.KILLING, State.DRAINING, State.HURRYING, State.ENDING, State.BACKOFF}
STOPPED = {State.ABSENT, State.DRAINING, State.HURRYING, State.ENDING}


def test_every_state_has_a_row_and_a_place_in_the_scoreboard() -> None:
    assert set(TABLE) == set(State) == set(SHOWN)


def test_a_process_may_die_in_every_state_that_has_one() -> None:
    assert {state for state in State if Event.DIED in TABLE[state]} == WITH_PROCESS


def test_a_stop_is_met_wherever_the_daemon_still_runs() -> None:
    assert {state for state in State if Event.STOP in TABLE[state]} == set(State) - STOPPED | {State.ABSENT}


def test_a_second_stop_is_met_wherever_the_first_one_leads() -> None:
    after_stop = {TABLE[state][Event.STOP][0] for state in State if Event.STOP in TABLE[state]}
    reachable = set(after_stop)
    while grown := {after for state in reachable for after, _ in TABLE[state].values()} - reachable - {State.STARTING}:
        reachable |= grown
    assert reachable == STOPPED
    assert all(Event.HURRY in TABLE[state] for state in reachable)


def test_a_drain_and_its_hurry_are_told_apart_by_one_who_meets_both_at_once() -> None:
    state, first = step(State.READY, Event.STOP)
    state, second = step(state, Event.HURRY)
    assert (state, first, second) == (State.HURRYING, Action.TERMINATE, Action.HURRY)


def test_deadlines_exist_where_somebody_is_waited_for() -> None:
    assert {state for state in State if Event.DEADLINE in TABLE[state]} == WITH_DEADLINE


def test_only_a_seen_death_makes_room_for_a_successor() -> None:
    spawning = {
        (state, event) for state in State for event, (_, action) in TABLE[state].items() if action is Action.SPAWN
    }
    assert spawning == {(State.ABSENT, Event.START), (State.BACKOFF, Event.DEADLINE)}
    into_backoff = {event for state in State for event, (after, _) in TABLE[state].items() if after is State.BACKOFF}
    assert into_backoff == {Event.DIED}


def test_a_silent_worker_is_asked_for_its_stacks_then_killed_then_replaced() -> None:
    state, actions = State.READY, []
    for event in (Event.SILENT, Event.DEADLINE, Event.DIED, Event.DEADLINE):
        state, action = step(state, event)
        actions.append(action)
    assert state is State.STARTING
    assert actions == [Action.ABORT, Action.KILL, Action.RETRY, Action.SPAWN]


def test_a_death_while_stopping_starts_nobody() -> None:
    for state in STOPPED - {State.ABSENT}:
        assert step(state, Event.DIED) == (State.ABSENT, Action.NONE)


def test_an_illegal_move_names_state_and_event() -> None:
    with pytest.raises(IllegalMoveError, match=r"ready.*start"):
        step(State.READY, Event.START)


def test_the_diagram_has_one_line_for_every_transition() -> None:
    lines = diagram().splitlines()
    assert len(lines) == sum(len(row) for row in TABLE.values())
    assert "absent    --start--> starting  [spawn]" in lines
    assert "ready     --died--> backoff  [plan restart]" in lines
    assert "draining  --died--> absent" in lines
