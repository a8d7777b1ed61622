"""Sockets bound and inherited, and the lock of the state directory, on real files."""

import errno
import grp
import os
import pwd
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from msgspec import structs

from ingestd.client.address import Address
from ingestd.config.model import Config, Daemon, Listener, Producer
from ingestd.errors import ConfigurationError, HostError, HostResourceInUseError
from ingestd.supervisor import sockets
from ingestd.supervisor.lock import StateLock
from ingestd.supervisor.sockets import Bound, bind_all, close_all, drop_counts, remove_stale
from tests.unit.supervisor.test_sockets import APP

PRODUCER = Producer(
    bootstrap_servers=("127.0.0.1:9",),
    acks=-1,
    enable_idempotence=True,
    linger_ms=5,
    batch_size=131072,
    buffer_memory=8 << 20,
    compression_type="none",
    compression_gzip_level=-1,
    compression_lz4_level=9,
    compression_zstd_level=3,
    request_timeout_ms=30000,
    delivery_timeout_ms=None,
    max_request_size=1 << 20,
    max_in_flight_requests_per_connection=5,
    max_block_ms=60000,
    retries=5,
    retry_backoff_ms=100,
    retry_backoff_max_ms=1000,
    reconnect_backoff_ms=50,
    reconnect_backoff_max_ms=1000,
    socket_connection_setup_timeout_ms=10000,
    socket_connection_setup_timeout_max_ms=30000,
    connections_max_idle_ms=540000,
    metadata_max_age_ms=300000,
    metadata_max_idle_ms=300000,
    metadata_recovery_strategy="rebootstrap",
    metadata_recovery_rebootstrap_trigger_ms=300000,
    client_dns_lookup="use_all_dns_ips",
    send_buffer_bytes=-1,
    receive_buffer_bytes=-1,
    client_id="",
    topic_denied_timeout_ms=600000,
    partitioner_class="",
    partitioner_ignore_keys=False,
    partitioner_adaptive_partitioning_enable=True,
    partitioner_availability_timeout_ms=0,
)


def config(*listeners: Listener, workers: int = 2) -> Config:
    return Config(
        Daemon(workers, "/nowhere", "/nowhere", "process", 1000, 0.9, 0.7, 1 << 20, 30, "continue"),
        PRODUCER,
        (),
        listeners,
    )


def stream(path: Path, **changes: object) -> Listener:
    return structs.replace(APP, address=Address("unix-stream", str(path)), **changes)


def datagram(path: Path, **changes: object) -> Listener:
    changed = {"name": "log", "format": "raw", "topic": "t", "topics": (), **changes}
    return structs.replace(APP, address=Address("unix-datagram", str(path)), **changed)


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shape(bound: list[Bound]) -> list[tuple[int, str, int, str]]:
    return [(entry.listener, entry.role, entry.worker, Path(entry.path).name) for entry in bound]


def test_every_worker_has_a_path_of_its_own_beside_the_shared_one(tmp_path: Path) -> None:
    bound = bind_all(config(stream(tmp_path / "app")), {})
    assert shape(bound) == [(0, "shared", -1, "app"), (0, "own", 0, "app.0"), (0, "own", 1, "app.1")]
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o660 for name in ("app", "app.0", "app.1"))
    close_all(bound)
    assert list(tmp_path.iterdir()) == []


def test_only_a_format_with_sessions_needs_own_paths(tmp_path: Path) -> None:
    bound = bind_all(config(stream(tmp_path / "app", format="lines", topic="t", mode=0o600)), {})
    assert shape(bound) == [(0, "shared", -1, "app")]
    assert (tmp_path / "app").stat().st_mode & 0o777 == 0o600
    close_all(bound)


def test_a_datagram_path_has_one_reader_and_paths_are_spread(tmp_path: Path) -> None:
    listeners = datagram(tmp_path / "a", shards=3), datagram(tmp_path / "b", name="b")
    bound = bind_all(config(*listeners), {})
    assert [(worker, path) for _, _, worker, path in shape(bound)] == [(0, "a.0"), (1, "a.1"), (0, "a.2"), (1, "b")]
    close_all(bound)


def test_udp_has_a_socket_per_worker_on_one_port() -> None:
    port = free_port()
    listener = structs.replace(APP, address=Address("udp", host="127.0.0.1", port=port), receive_buffer_bytes=65536)
    bound = bind_all(config(listener), {})
    assert [(entry.worker, entry.socket.getsockname()[1]) for entry in bound] == [(0, port), (1, port)]
    assert all(entry.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 131072 for entry in bound)
    assert drop_counts(bound, 0) == [0]
    close_all(bound)


def test_a_udp_port_in_use_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        listener = structs.replace(APP, address=Address("udp", host="127.0.0.1", port=other.getsockname()[1]))
        with pytest.raises(HostResourceInUseError, match=f"process {os.getpid()}"):
            bind_all(config(listener), {})
    assert not caplog.records


def test_a_capped_receive_buffer_is_warned_about(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may exceed the cap by another option; without that it is as everybody.
    monkeypatch.setattr(sockets, "_SO_RCVBUFFORCE", 0xFFFF)
    listener = structs.replace(
        APP, address=Address("udp", host="127.0.0.1", port=free_port()), receive_buffer_bytes=1 << 30
    )
    close_all(bind_all(config(listener), {}))
    assert "net.core.rmem_max" in caplog.text


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_stale_socket_is_replaced(tmp_path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as dead:
        dead.bind(str(tmp_path / "app"))
    listener = stream(tmp_path / "app") if kind is socket.SOCK_STREAM else datagram(tmp_path / "app")
    close_all(bind_all(config(listener), {}))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("asked", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_live_socket_stays_and_its_owner_is_named(
    tmp_path: Path, kind: socket.SocketKind, asked: socket.SocketKind
) -> None:
    path = str(tmp_path / "app")
    with socket.socket(socket.AF_UNIX, kind) as live:
        live.bind(path)
        if kind is socket.SOCK_STREAM:
            live.listen(0)
        with pytest.raises(HostResourceInUseError, match=f"in use by process {os.getpid()}"):
            remove_stale(path, asked)
    assert (tmp_path / "app").is_socket()


def test_a_live_socket_with_a_full_backlog_is_live(tmp_path: Path) -> None:
    path = str(tmp_path / "app")
    with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as waiting:
        live.bind(path)
        live.listen(0)
        waiting.connect(path)
        with pytest.raises(HostResourceInUseError):
            remove_stale(path, socket.SOCK_STREAM)


@pytest.mark.parametrize("what", ["file", "folder", "link", "fifo"])
def test_what_is_no_socket_is_never_touched(tmp_path: Path, what: str) -> None:
    path, target = tmp_path / "app", tmp_path / "target"
    target.write_text("precious")
    match what:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(target)
        case "fifo":
            os.mkfifo(path)
    before = path.lstat()
    with pytest.raises(HostError, match="is not a socket"):
        bind_all(config(stream(path)), {})
    assert path.lstat() == before
    assert target.read_text() == "precious"


def test_nothing_stays_behind_when_one_socket_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=f"No such file or directory: make the directory {tmp_path}/missing, writable"):
        bind_all(config(stream(tmp_path / "app"), stream(tmp_path / "missing" / "app", name="b")), {})
    assert list(tmp_path.iterdir()) == []


def test_a_socket_file_is_given_to_its_owner_and_group(tmp_path: Path) -> None:
    """To somebody else where the tests may do that."""
    root = os.geteuid() == 0
    user = next(one for one in pwd.getpwall() if one.pw_uid) if root else pwd.getpwuid(os.geteuid())
    group = next(one for one in grp.getgrall() if one.gr_gid) if root else grp.getgrgid(os.getegid())
    bound = bind_all(config(stream(tmp_path / "app", owner=user.pw_name, group=group.gr_name)), {})
    found = [(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()]
    assert found == [(user.pw_uid, group.gr_gid)] * 3
    close_all(bound)


@pytest.mark.parametrize(
    ("number", "why"), [(errno.EPERM, "only root, or a member of that group, may"), (errno.EINVAL, "Invalid argument")]
)
def test_a_socket_file_that_cannot_be_given_away_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, why: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "chown", refuse)
    group = grp.getgrgid(os.getegid()).gr_name
    with pytest.raises(HostError, match=f"cannot give {tmp_path}/app to :{group}: {why}"):
        bind_all(config(stream(tmp_path / "app", group=group)), {})
    assert list(tmp_path.iterdir()) == []


def test_unknown_owners_are_faults_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bind_all(config(stream(tmp_path / "app", owner="no-such-user", group="no-such-group")), {})
    assert [fault.value for fault in caught.value.faults] == ["no-such-user", "no-such-group"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["stream", "datagram", "udp"])
def test_what_a_dying_predecessor_still_holds_is_waited_for(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = str(tmp_path / "app")
    match kind:
        case "stream":
            held, listener = socket.socket(socket.AF_UNIX), stream(tmp_path / "app")
            held.bind(path + ".1")
            held.listen()
        case "datagram":
            held, listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), datagram(tmp_path / "app")
            held.bind(path)
        case _:
            held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("127.0.0.1", 0))
            listener = structs.replace(APP, address=Address("udp", host="127.0.0.1", port=held.getsockname()[1]))
    with pytest.raises(HostResourceInUseError):
        bind_all(config(listener), {}, wait_ms=100)
    assert len(list(tmp_path.iterdir())) <= 1, "what could be bound stayed behind"
    timer = threading.Timer(0.3, held.close)
    timer.start()
    close_all(bind_all(config(listener), {}, wait_ms=10_000))
    timer.join()
    assert "waiting: " in caplog.text


def test_a_socket_of_systemd_outlives_the_wait_for_another(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as given, socket.socket(socket.AF_UNIX) as client:
        given.bind(str(tmp_path / "app"))
        given.listen()
        held = socket.socket(socket.AF_UNIX)
        held.bind(str(tmp_path / "app.0"))
        held.listen()
        client.connect(str(tmp_path / "app"))
        timer = threading.Timer(0.2, held.close)
        timer.start()
        bound = bind_all(config(stream(tmp_path / "app")), {"app": [given.detach()]}, wait_ms=10_000)
        timer.join()
        # Who knocked meanwhile is let in.
        bound[0].socket.accept()[0].close()
        close_all(bound)


def test_an_inherited_socket_is_used_and_its_file_left_to_systemd(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(tmp_path / "app"))
        given.listen()
        bound = bind_all(config(stream(tmp_path / "app")), {"app": [given.detach()]})
    assert [(entry.role, entry.ours) for entry in bound] == [("shared", False), ("own", True), ("own", True)]
    close_all(bound)
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_inherited_udp_sockets_have_one_reader_each() -> None:
    port = free_port()
    given = []
    for _ in range(3):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", port))
        given.append(one.detach())
    listener = structs.replace(APP, address=Address("udp", host="127.0.0.1", port=port))
    bound = bind_all(config(listener), {"app": given})
    assert [(entry.worker, entry.ours) for entry in bound] == [(0, False), (1, False), (0, False)]
    close_all(bound)


def test_an_inherited_socket_of_another_kind_or_place_is_refused(tmp_path: Path) -> None:
    for kind, name in ((socket.SOCK_DGRAM, "app"), (socket.SOCK_STREAM, "other")):
        with socket.socket(socket.AF_UNIX, kind) as given:
            given.bind(str(tmp_path / name))
            with pytest.raises(ConfigurationError, match="an inherited socket"):
                bind_all(config(stream(tmp_path / "app")), {"app": [os.dup(given.fileno())]})
        (tmp_path / name).unlink()


@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_what_is_handed_over_and_is_no_socket_is_refused(tmp_path: Path, kind: str) -> None:
    listener = (stream if kind == "stream" else datagram)(tmp_path / "app", name="app")
    os.mkfifo(tmp_path / "fifo")
    descriptor = os.open(tmp_path / "fifo", os.O_RDWR)
    try:
        with pytest.raises(ConfigurationError, match="not a socket") as caught:
            bind_all(config(listener), {"app": [descriptor]})
    finally:
        os.close(descriptor)
    assert [fault.value for fault in caught.value.faults] == ["app"]


def test_an_accepted_connection_is_no_listening_socket(tmp_path: Path) -> None:
    """What Accept=yes hands over."""
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(tmp_path / "app"))
        listening.listen()
        client.connect(str(tmp_path / "app"))
        connection, _ = listening.accept()
        with pytest.raises(ConfigurationError, match="does not listen"):
            bind_all(config(stream(tmp_path / "app")), {"app": [connection.detach()]})


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, time, os\n"
        "from ingestd.supervisor.lock import StateLock\n"
        "lock = StateLock.acquire(pathlib.Path(sys.argv[1]), os.getpid())\n"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(HostResourceInUseError, match=f"process {holder.pid}"):
            StateLock.acquire(tmp_path, os.getpid(), wait_ms=100)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    lock = StateLock.acquire(tmp_path, os.getpid(), wait_ms=1000)
    with pytest.raises(HostResourceInUseError, match=f"process {os.getpid()}"):
        StateLock.acquire(tmp_path, os.getpid(), wait_ms=100)
    lock.release()
    StateLock.acquire(tmp_path, os.getpid(), wait_ms=0).release()
