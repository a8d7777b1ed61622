"""What systemd hands over, as pure functions, and how long something that is in use is waited for."""

import socket
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec import structs

from ingestd.client.address import Address
from ingestd.config.model import Key, Listener
from ingestd.errors import ConfigurationError, HostResourceInUseError
from ingestd.supervisor import sockets
from ingestd.supervisor.sockets import NOBODY, Bound, Patience, check_names, parse_listen_fds, queue_warning

APP = Listener(
    name="app",
    address=Address("unix-stream", "/run/ingestd/app.sock"),
    format="frames",
    topic=None,
    topics=("orders",),
    key=Key(),
    timestamp="record",
    timestamp_past_ms=1,
    timestamp_future_ms=1,
    timestamp_out_of_bounds="arrival",
    headers=(),
    when_full="block",
    receive_buffer_bytes=None,
    mode=0o660,
    owner=None,
    group=None,
    shards=1,
    connections_max=4096,
    record_bytes_max=1_000_000,
)


def test_descriptors_are_grouped_by_name_in_order() -> None:
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "4", "LISTEN_FDNAMES": "app:udp:udp:log"}
    assert parse_listen_fds(environ, 7) == {"app": [3], "udp": [4, 5], "log": [6]}


def test_descriptors_for_another_process_are_not_ours() -> None:
    assert parse_listen_fds({"LISTEN_PID": "8", "LISTEN_FDS": "1"}, 7) == {}


@pytest.mark.parametrize("environ", [{}, {"LISTEN_PID": "7"}, {"LISTEN_PID": "x", "LISTEN_FDS": "1"}])
def test_nothing_is_inherited_without_the_variables(environ: dict[str, str]) -> None:
    assert parse_listen_fds(environ, 7) == {}


def test_missing_names_are_called_unknown() -> None:
    assert parse_listen_fds({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "app"}, 7) == {
        "app": [3],
        "unknown": [4],
    }


def test_a_socket_that_no_listener_claims_is_a_fault_of_the_configuration() -> None:
    check_names({"app": [3]}, [APP])
    with pytest.raises(ConfigurationError) as caught:
        check_names({"app": [3], "unknown": [4], "old": [5]}, [APP, structs.replace(APP, name="devices")])
    assert [fault.value for fault in caught.value.faults] == ["unknown", "old"]
    assert "app, devices" in caught.value.faults[0].cure


def test_a_short_queue_of_unix_datagram_sockets_is_told_with_the_cure() -> None:
    log = structs.replace(APP, name="log", address=Address("unix-datagram", "/run/ingestd/log.sock"))
    warning = queue_warning([APP, log], "10\n")
    assert warning is not None
    assert "net.unix.max_dgram_qlen = 10" in warning
    assert "senders to log wait" in warning
    assert "set it to 512" in warning


@pytest.mark.parametrize("queue", ["512\n", "4096", "", "nonsense"])
def test_a_long_or_unknown_queue_is_not_told(queue: str) -> None:
    log = structs.replace(APP, name="log", address=Address("unix-datagram", "/run/ingestd/log.sock"))
    assert queue_warning([log], queue) is None


def test_the_queue_concerns_only_unix_datagram_listeners() -> None:
    assert queue_warning([APP], "10") is None


def test_the_socket_of_the_admin_process_is_claimed_by_its_setting_alone() -> None:
    check_names({"app": [3], "admin": [4]}, [APP], admin=True)
    with pytest.raises(ConfigurationError, match="admin"):
        check_names({"app": [3], "admin": [4]}, [APP])


@pytest.mark.parametrize("goes", [True, False])
def test_what_is_in_use_is_tried_once_more_by_one_who_comes_too_late_to_hear_it(
    goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = 5000
    tries_ms: list[int] = []
    had = Bound(0, "shared", NOBODY, cast(socket.socket, None), "/nowhere", ours=True)

    def bind() -> Bound:
        nonlocal now_ms
        tries_ms.append(now_ms)
        if goes and len(tries_ms) == 2:
            return had
        # Nobody lets us run for long, and meanwhile it may have been let go.
        now_ms += 60_000
        raise HostResourceInUseError("/nowhere", 4711)

    clock = SimpleNamespace(monotonic_ns=lambda: now_ms * 1_000_000, sleep=lambda _: None)
    monkeypatch.setattr(sockets, "time", clock)
    patience = Patience(10_000)
    if goes:
        assert patience.bind(bind) is had
    else:
        with pytest.raises(HostResourceInUseError, match="4711"):
            patience.bind(bind)
    assert tries_ms == [5000, 65_000]
