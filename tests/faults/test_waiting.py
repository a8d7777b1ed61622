"""What the daemon costs while it can do nothing: brokers away, brokers that hang, an election that is stuck."""

import socket
import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import BadDay
from tests.kafka.daemon import Daemon
from tests.kafka.load import LineSender, make_lines
from tests.kafka.processes import free_ports
from tests.kafka.test_end_to_end import line_listener

pytestmark = pytest.mark.faults
WORKERS = 3
ENDLESS = 1 << 40
MEASURE_SECONDS = 15.0
SHARE_MAX = 0.02


def share_of_a_core(daemon: Daemon) -> float:
    before_s, began = daemon.cpu_seconds(), time.monotonic()
    time.sleep(MEASURE_SECONDS)
    return (daemon.cpu_seconds() - before_s) / (time.monotonic() - began)


def wait_until_all_wait(daemon: Daemon) -> None:
    """Until nothing more is accepted."""
    last = -1
    while (accepted := int(daemon.ledger()["accepted"])) != last:
        last = accepted
        time.sleep(2)


@pytest.mark.parametrize("how", ["refuse connections", "take connections and say nothing"])
def test_waiting_costs_next_to_nothing(
    make_daemon: Callable[..., Daemon], topic_name: str, bad_day: BadDay, how: str
) -> None:
    """three brokers away, three workers, senders waiting and then gone: share of a core"""
    bad_day.fault = f"three brokers {how}, three workers, senders waiting and then gone"
    # The kernel takes connections for a listening socket that nobody looks at.
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)] if how.startswith("take") else []
    ports = [listener.getsockname()[1] for listener in silent] or free_ports(3)
    daemon = make_daemon(
        ",".join(f"127.0.0.1:{port}" for port in ports),
        [line_listener(topic_name)],
        workers=WORKERS,
        topics={topic_name: {"partitions": 6}},
        producer={"buffer.memory": 4 << 20},
    )
    daemon.start()
    senders = [
        LineSender(f"{daemon.sockets}/lines", make_lines(f"s{number}", ENDLESS, size=500)) for number in range(6)
    ]
    for sender in senders:
        sender.start()
    try:
        wait_until_all_wait(daemon)
        waiting = share_of_a_core(daemon)
        daemon.kill_all()
        daemon.start()
        absent = share_of_a_core(daemon)
        assert int(daemon.ledger()["buffered"]) > 1000
    finally:
        daemon.close()
        for listener in silent:
            listener.close()
    bad_day.told = f"senders waiting {waiting:.1%} of a core, gone {absent:.1%}"
    assert max(waiting, absent) < SHARE_MAX
