"""What systemd's variables mean."""

from ingestd.supervisor.notify import notify_address, watchdog_interval_ms


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
