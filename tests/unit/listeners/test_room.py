"""Who is resumed when: everybody gets a turn, nobody is asked without a reason."""

from collections.abc import Callable
from typing import Any, cast

from ingestd.hotpath import intake as path
from ingestd.listeners.room import PASS_READERS, Hooks, Room


class Loop:
    """Keeps what is to be called, in order."""

    def __init__(self) -> None:
        self.due: list[Callable[[], Any]] = []

    def call_soon(self, callback: Callable[..., Any], *arguments: Any) -> object:
        self.due.append(lambda: callback(*arguments))
        return object()

    def call_later(self, _: float, callback: Callable[..., Any], *arguments: Any) -> object:
        return self.call_soon(callback, *arguments)

    def step(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()

    def run(self) -> int:
        """Steps until nothing is due; how many."""
        steps = 0
        while self.due:
            self.step()
            steps += 1
        return steps


class Reader:
    """Needs ``turns`` resumptions before it is no longer blocked."""

    def __init__(self, room: Room, turns: int, reason: int = path.BLOCKED_BY_ARENA) -> None:
        self.room = room
        self.turns = turns
        self.reason = reason
        self.resumed = 0
        self.park()

    def park(self) -> None:
        self.room.park(self, path.BLOCKED, self.reason, -1)

    def resume(self) -> bool:
        self.resumed += 1
        if self.resumed < self.turns:
            self.park()
            return False
        return True


class Setup:
    def __init__(self) -> None:
        self.loop = Loop()
        self.wanted: list[int] = []
        self.short = 0
        hooks = Hooks(
            sealed=lambda: None,
            opened=lambda: None,
            topic_wanted=self.wanted.append,
            memory_short=self._on_short,
            connections=lambda _: None,
            errors=lambda _: None,
        )
        self.room = Room(cast(Any, self.loop), cast(Any, None), hooks)

    def _on_short(self) -> None:
        self.short += 1


def test_freed_pages_resume_everybody_once() -> None:
    setup = Setup()
    readers = [Reader(setup.room, 2) for _ in range(3 * PASS_READERS)]
    setup.room.pages_freed()
    steps = setup.loop.run()
    assert {reader.resumed for reader in readers} == {1}
    assert steps == 3, "the loop belongs to others in between"
    setup.room.pages_freed()
    setup.loop.run()
    assert {reader.resumed for reader in readers} == {2}
    setup.room.pages_freed()
    assert not setup.loop.due, "nobody waits any more"


def test_nobody_is_resumed_without_a_reason() -> None:
    setup = Setup()
    reader = Reader(setup.room, 1)
    setup.room.look_again()
    setup.room.pressure_changed()
    setup.room.topic_settled(3)
    setup.loop.run()
    assert reader.resumed == 0
    assert setup.short == 1


def test_a_held_partition_is_looked_at_once_a_second() -> None:
    setup = Setup()
    reader = Reader(setup.room, 3, path.BLOCKED_BY_PARTITION)
    for looks in (1, 2, 3):
        setup.room.look_again()
        setup.loop.run()
        assert reader.resumed == looks
    setup.room.look_again()
    assert not setup.loop.due


def test_pressure_wakes_only_those_who_wait_for_it() -> None:
    setup = Setup()
    pressed = Reader(setup.room, 1, path.BLOCKED_BY_PRESSURE)
    short = Reader(setup.room, 1)
    setup.room.pressure_changed()
    setup.loop.run()
    assert (pressed.resumed, short.resumed) == (1, 0)


def test_a_topic_wakes_only_its_own() -> None:
    setup = Setup()
    readers = [Reader(setup.room, 1) for _ in range(2)]
    for index, reader in enumerate(readers):
        setup.room.forget(reader)
        setup.room.park(reader, path.TOPIC_WAIT, 0, index)
    assert setup.wanted == [0, 1]
    setup.room.topic_settled(1)
    setup.loop.run()
    assert [reader.resumed for reader in readers] == [0, 1]
    setup.room.topic_settled(0)
    setup.loop.run()
    assert [reader.resumed for reader in readers] == [1, 1]


class Budget:
    """Whose turn it is to exceed the budget of held bytes."""

    hold_turn = 0


def test_the_budget_wakes_whose_turn_it_is() -> None:
    setup = Setup()
    budget = Budget()
    setup.room.intake = cast(Any, budget)
    awaited = [setup.room.budget_awaited]
    readers = [Reader(setup.room, 1) for _ in range(PASS_READERS + 3)]
    for ticket, reader in enumerate(readers, 1):
        setup.room.forget(reader)
        setup.room.park(reader, path.BLOCKED, path.BLOCKED_BY_HOLD, -1, ticket)
    awaited.append(setup.room.budget_awaited)
    assert awaited == [False, True]
    setup.room.pages_freed()
    for budget.hold_turn in (0, 2, 2):
        setup.room.note(0)
        setup.loop.run()
    assert [reader.resumed for reader in readers[:3]] == [0, 1, 0]
    # The others need not wait for one who is slow if there is room by now: some of them try.
    setup.room.forget(readers[0])
    setup.room.look_again()
    setup.loop.run()
    assert [reader.resumed for reader in readers] == [0] + [1] * (PASS_READERS + 1) + [0]


def test_a_closed_reader_is_forgotten_everywhere() -> None:
    setup = Setup()
    readers = [Reader(setup.room, 1), Reader(setup.room, 1, path.BLOCKED_BY_PRESSURE)]
    for reader in readers:
        setup.room.forget(reader)
    setup.room.pages_freed()
    setup.room.pressure_changed()
    setup.loop.run()
    assert [reader.resumed for reader in readers] == [0, 0]


def test_the_session_that_waits_for_a_confirm_is_not_parked() -> None:
    setup = Setup()
    Reader(setup.room, 1, path.BLOCKED_BY_CONFIRM)
    setup.room.pages_freed()
    assert not setup.loop.due
