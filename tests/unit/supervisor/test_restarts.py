"""When a dead worker comes back, and when its arena or the daemon is given up."""

import signal

import pytest

from ingestd.errors import ExitStatus
from ingestd.supervisor.restarts import ARENA_FAULTS_MAX, DELAY_MS_MAX, SETTLED_MS, Restarts, Verdict


def test_the_first_restart_is_immediate_and_the_delay_grows_to_its_bound() -> None:
    restarts = Restarts()
    delays = []
    for _ in range(12):
        restarts.died(-signal.SIGKILL, ready=False, opening_arena=True)
        delays.append(restarts.delay_ms())
    assert delays[:4] == [0, 250, 500, 1000]
    assert delays[-1] == DELAY_MS_MAX
    assert delays == sorted(delays)


def test_deaths_after_ready_never_make_the_delay_grow() -> None:
    restarts = Restarts()
    for _ in range(50):
        restarts.became_ready()
        assert restarts.died(-signal.SIGSEGV, ready=True, opening_arena=False) is Verdict.RESTART
        assert restarts.delay_ms() == 0


@pytest.mark.parametrize("ready", [True, False])
def test_a_worker_that_suspects_data_loss_and_may_not_go_on_stops_the_daemon(ready: bool) -> None:
    restarts = Restarts()
    restarts.became_ready()
    verdict = restarts.died(ExitStatus.DATA_LOSS_SUSPECTED, ready=ready, opening_arena=False)
    assert verdict is Verdict.GIVE_UP


def test_becoming_ready_forgets_the_deaths_before() -> None:
    restarts = Restarts()
    for _ in range(6):
        restarts.died(1, ready=False, opening_arena=False)
    restarts.became_ready()
    restarts.died(1, ready=False, opening_arena=False)
    assert restarts.delay_ms() == 0


@pytest.mark.parametrize("status", [-signal.SIGSEGV, -signal.SIGBUS, ExitStatus.SOFTWARE])
def test_three_own_faults_while_opening_set_the_arena_aside(status: int) -> None:
    restarts = Restarts()
    verdicts = [restarts.died(status, ready=False, opening_arena=True) for _ in range(ARENA_FAULTS_MAX)]
    assert verdicts == [Verdict.RESTART] * (ARENA_FAULTS_MAX - 1) + [Verdict.SET_ASIDE]
    assert restarts.delay_ms() == 0


@pytest.mark.parametrize("status", [-signal.SIGKILL, -signal.SIGTERM, 1])
def test_the_oom_killer_and_strangers_never_blame_an_arena(status: int) -> None:
    restarts = Restarts()
    assert {restarts.died(status, ready=False, opening_arena=True) for _ in range(20)} == {Verdict.RESTART}


def test_a_fault_outside_the_opening_does_not_blame_the_arena() -> None:
    restarts = Restarts()
    assert {restarts.died(-signal.SIGSEGV, ready=False, opening_arena=False) for _ in range(9)} == {Verdict.RESTART}


@pytest.mark.parametrize("status", [ExitStatus.CANNOT_START_NOW, ExitStatus.CONFIGURATION])
def test_what_cannot_start_at_first_stops_the_daemon_but_never_later(status: int) -> None:
    restarts = Restarts()
    assert restarts.died(status, ready=False, opening_arena=True) is Verdict.GIVE_UP
    restarts.became_ready()
    assert restarts.died(status, ready=False, opening_arena=True) is Verdict.RESTART


def test_a_helper_that_dies_with_every_request_comes_back_ever_later_and_ends_nobody() -> None:
    restarts = Restarts(helper=True)
    delays = []
    for _ in range(12):
        restarts.became_ready()
        verdict = restarts.died(ExitStatus.CANNOT_START_NOW, ready=True, opening_arena=False, lived_ms=5)
        assert verdict is Verdict.RESTART
        delays.append(restarts.delay_ms())
    assert delays[:3] == [0, 250, 500]
    assert delays[-1] == DELAY_MS_MAX
    restarts.died(1, ready=True, opening_arena=False, lived_ms=SETTLED_MS)
    assert restarts.delay_ms() == 0
