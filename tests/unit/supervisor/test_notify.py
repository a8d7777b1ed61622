"""What systemd's variables mean, and what becomes of a word that it has no room for."""

import errno
import os
import socket

import pytest

from ingestd.supervisor.notify import ALIVE_RETRY_MS, Notifier, next_alive_ms, notify_address, watchdog_interval_ms


def test_the_watchdog_is_fed_twice_per_interval() -> None:
    assert watchdog_interval_ms({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "5"}, 5) == 5000


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    assert watchdog_interval_ms({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "6"}, 5) == 0
    assert watchdog_interval_ms({}, 5) == 0
    assert watchdog_interval_ms({"WATCHDOG_USEC": "soon"}, 5) == 0


def test_paths_and_abstract_names_are_addresses() -> None:
    assert notify_address({"NOTIFY_SOCKET": "/run/systemd/notify"}) == "/run/systemd/notify"
    assert notify_address({"NOTIFY_SOCKET": "@notify"}) == "\0notify"
    assert notify_address({"NOTIFY_SOCKET": "vsock:1:2"}) is None
    assert notify_address({}) is None


@pytest.mark.parametrize("heard", [False, True])
def test_whether_systemd_has_heard_that_we_live_is_told(heard: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Channel:
        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> "Channel":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def sendto(self, _text: bytes, _address: str) -> None:
            if not heard:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(socket, "socket", Channel)
    assert Notifier({"NOTIFY_SOCKET": "/nowhere"}).alive() is heard


def test_without_systemd_nobody_has_to_hear_it() -> None:
    assert Notifier({}).alive()


def test_what_the_watchdog_has_not_heard_is_soon_said_again() -> None:
    assert next_alive_ms(7000, 5000, heard=True) == 12_000
    assert next_alive_ms(7000, 5000, heard=False) == 7000 + ALIVE_RETRY_MS
    assert next_alive_ms(7000, 100, heard=False) == 7100
