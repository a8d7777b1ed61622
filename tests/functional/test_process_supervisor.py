"""The supervisor over workers that misbehave: restarts, silence, statuses, stopping."""

import errno
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ingestd.supervisor.processes import PidfdChild
from tests.functional.process_rig import Rig

TOLD_SECONDS_MAX = 25
"""Less than the half minute that one of these tests must not take."""


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**settings: int) -> Rig:
        rigs.append(Rig(tmp_path, **settings))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except FileNotFoundError:
        return True


def test_a_killed_worker_is_replaced_at_once(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(workers=2)
    rig.start()
    first, other = rig.wait_ready(0), rig.wait_ready(1)
    os.kill(first, signal.SIGKILL)
    rig.wait_for(lambda: rig.row()[0] not in (0, first) and rig.row()[1] == "READY", "the successor")
    assert re.findall(r"next start in (\d+) ms", rig.text) == ["0"]
    pid, _, restarts, status = rig.row()
    assert (restarts, status) == (1, -signal.SIGKILL)
    assert rig.row(1)[0] == other
    assert pid != first


def test_deaths_before_ready_slow_the_restarts_down(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.order("exit 1", "exit 1", "exit 1", "serve")
    rig.start()
    rig.wait_ready()
    assert re.findall(r"next start in (\d+) ms", rig.text) == ["0", "250", "500"]
    ticks = [tick for _, tick, _ in rig.starts()]
    assert ticks[2] - ticks[1] >= 250
    assert ticks[3] - ticks[2] >= 500


@pytest.mark.parametrize("status", [75, 78])
def test_what_cannot_start_stops_the_daemon_with_its_status_and_reason(
    make_rig: Callable[..., Rig], status: int
) -> None:
    rig = make_rig(workers=2)
    rig.order(f"exit {status} the arena is somebody's", worker=1)
    rig.start()
    assert rig.wait_end() == status
    assert f"cannot go on (exit status {status}): the arena is somebody's" in rig.text
    assert not (rig.folder / "a").exists()


def test_what_could_start_once_is_never_given_up(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.order("serve", "exit 75 for now", "serve")
    rig.start()
    pid = rig.wait_ready()
    os.kill(pid, signal.SIGKILL)
    rig.wait_for(lambda: rig.row()[2] == 2 and rig.row()[1] == "READY", "two restarts")


def test_an_arena_that_kills_three_times_is_set_aside(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.order("killed", "damaged", "damaged", "damaged", "serve")
    rig.start()
    rig.wait_ready()
    assert [order for order, _, _ in rig.starts()] == ["killed", "damaged", "damaged", "damaged", "serve"]
    assert not rig.starts()[-1][2], "the successor must not find the old arena"
    assert (rig.state / "worker-0.arena.set-aside-1").exists()


def test_a_silent_worker_is_aborted_killed_and_replaced(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(SILENT_MS=1000, ABORT_MS=300)
    rig.order("silent", "serve")
    rig.start()
    # On a busy host the successor may be late with its heartbeat, too.
    rig.wait_for(lambda: rig.scored and rig.row()[2] >= 1 and rig.row()[1] == "READY", "the successor")
    log = rig.text
    (silent,) = re.findall(r"worker 0 started \(pid (\d+)\)", log)[:1]
    assert gone(int(silent))
    assert 0 < log.index("SIGABRT") < log.index("SIGKILL") < log.rindex("worker 0 started")


def test_workers_die_with_the_supervisor(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(workers=2)
    process = rig.start()
    pids = [rig.wait_ready(0), rig.wait_ready(1)]
    process.kill()
    rig.wait_for(lambda: all(map(gone, pids)), "the workers' death")


def test_sigterm_stops_and_removes_the_sockets(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(workers=2)
    process = rig.start()
    rig.wait_ready(0), rig.wait_ready(1)
    assert (rig.folder / "a").is_socket()
    process.terminate()
    assert rig.wait_end() == 0
    assert not (rig.folder / "a").exists()
    assert rig.row()[1] == "ABSENT"


def test_data_loss_suspected_in_the_drain_is_the_exit_status(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(workers=2)
    rig.order("serve 65", worker=1)
    process = rig.start()
    rig.wait_ready(0), rig.wait_ready(1)
    process.terminate()
    assert rig.wait_end() == 65


def test_a_deaf_worker_is_killed_behind_its_deadline(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(stop_timeout_ms=300, STOP_SLACK_MS=200)
    rig.order("deaf")
    process = rig.start()
    rig.wait_ready()
    process.terminate()
    assert rig.wait_end() == 0
    assert "SIGKILL" in rig.text


def test_a_second_sigterm_hurries(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(stop_timeout_ms=60_000, HURRY_MS=300)
    rig.order("deaf")
    process = rig.start()
    rig.wait_ready()
    process.terminate()
    rig.wait_for(lambda: rig.row()[1] == "DRAINING", "the drain")
    process.terminate()
    assert rig.wait_end() == 0
    log = rig.text
    assert 0 < log.index("hurrying") < log.index("SIGUSR1") < log.index("SIGKILL")


def test_sighup_is_logged_and_ignored(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    process = rig.start()
    pid = rig.wait_ready()
    process.send_signal(signal.SIGHUP)
    rig.wait_for(lambda: "SIGHUP" in rig.text, "a line about it")
    assert rig.row()[:3] == (pid, "READY", 0)


def test_a_second_daemon_names_the_first(make_rig: Callable[..., Rig]) -> None:
    first = make_rig(WAIT_MS=200)
    owner = first.start()
    first.wait_ready()
    second = make_rig(WAIT_MS=200)
    second.start()
    assert second.wait_end() == 75
    assert f"is in use by process {owner.pid}" in second.text
    first.close()


def test_a_dying_daemon_is_waited_for(make_rig: Callable[..., Rig]) -> None:
    first = make_rig(stop_timeout_ms=500, STOP_SLACK_MS=500)
    first.order("deaf", "serve")
    process = first.start()
    old = first.wait_ready()
    second = make_rig()
    process.terminate()
    first.wait_for(lambda: first.row()[1] == "DRAINING", "the drain")
    second.start()
    assert first.wait_end() == 0
    second.wait_for(lambda: second.row()[1] == "READY" and second.row()[0] != old, "the second daemon")
    second.close()


def test_sockets_of_a_dying_daemon_are_waited_for(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    rig = make_rig()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        held.bind(str(tmp_path / "a"))
        rig.start()
        rig.wait_for(lambda: "waiting: " in rig.text, "a line about it")
    rig.wait_ready()


def test_sigterm_ends_the_wait_for_them(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    """By a handler: without one, process 1 of a container would not even see it."""
    rig = make_rig(WAIT_MS=60_000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        held.bind(str(tmp_path / "a"))
        process = rig.start()
        rig.wait_for(lambda: "waiting: " in rig.text, "a line about it")
        process.terminate()
        assert rig.wait_end() == 0
    assert "Traceback" not in rig.text


def test_a_worker_that_cannot_be_watched_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def refuse(pid: int) -> int:
        seen.append(pid)
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(OSError, match="too many open files"):
        PidfdChild.spawn(lambda _: ["/bin/sh", "-c", "sleep 60"], [])
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would read."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(TOLD_SECONDS_MAX)
        yield listening


def told_until(systemd: socket.socket, beginning: str) -> list[str]:
    """What systemd was told before something that begins like this."""
    told: list[str] = []
    while not (text := systemd.recv(4096).decode()).startswith(beginning):
        told.append(text)
    return told


def test_systemd_is_told(make_rig: Callable[..., Rig], systemd: socket.socket) -> None:
    rig = make_rig()
    process = rig.start({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "200000"})
    starting = "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=0 of 1 worker ready, 0 records buffered"
    assert set(told_until(systemd, "READY=1\nSTATUS=1 of 1 worker ready")) <= {"WATCHDOG=1", starting}
    rig.wait_ready()
    process.terminate()
    assert starting not in told_until(systemd, "STOPPING=1")
    assert rig.wait_end() == 0


def test_systemd_waits_while_a_worker_cannot_start(make_rig: Callable[..., Rig], systemd: socket.socket) -> None:
    """Its own patience of 90 seconds would end the workers that can."""
    rig = make_rig(workers=2)
    rig.order("exit 1", worker=1)
    process = rig.start({"NOTIFY_SOCKET": systemd.getsockname()})
    rig.wait_ready()
    for _ in range(2):
        assert "READY=1" not in told_until(systemd, "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=1 of 2 workers ready")
    process.terminate()
    told_until(systemd, "STOPPING=1")
    assert rig.wait_end() == 0


def fill(systemd: socket.socket) -> None:
    """Others leave it no room for a word more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                others.sendto(b"OTHER=1", systemd.getsockname())


def test_systemd_is_told_again_what_it_had_no_room_for(make_rig: Callable[..., Rig], systemd: socket.socket) -> None:
    rig = make_rig()
    fill(systemd)
    process = rig.start({"NOTIFY_SOCKET": systemd.getsockname()})
    rig.wait_for(lambda: "ready: 1 worker" in rig.text, "a ready daemon")
    assert set(told_until(systemd, "READY=1")) == {"OTHER=1"}
    process.terminate()
    assert rig.wait_end() == 0


def test_the_watchdog_hears_soon_what_it_had_no_room_for(make_rig: Callable[..., Rig], systemd: socket.socket) -> None:
    """Not half a minute later, which is the interval here: two lost words are a daemon that systemd kills."""
    rig = make_rig()
    fill(systemd)
    process = rig.start({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "60000000"})
    rig.wait_for(lambda: "ready: 1 worker" in rig.text, "a ready daemon")
    told_until(systemd, "WATCHDOG=1")
    process.terminate()
    assert rig.wait_end() == 0


def test_the_memory_of_a_worker_is_looked_at_once_it_is_ready(make_rig: Callable[..., Rig]) -> None:
    """At its start it has imported nothing yet, and the next look would be long away."""
    rig = make_rig(MEMORY_SAMPLES=10_000)
    rig.start()
    pid = rig.wait_ready()
    rig.wait_for(lambda: rig.resident_bytes() > 0.7 * psutil.Process(pid).memory_info().rss, "its memory")
