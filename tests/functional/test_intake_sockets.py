"""The intake on real sockets: what only the kernel can show."""

import array
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.hotpath.intake import AGAIN, EOF, READ_MORE
from ingestd.listeners.datagram import GATHER_QUEUE, unix_queue
from ingestd.metrics import Rejected
from tests.reference.native_frame import WireRecord, records_frame
from tests.reference.rig import NOW_MS, TICK_MS, Rig


def open_descriptors() -> int:
    """Of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def unix_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected stream sockets, ours not blocking."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


@pytest.fixture
def unix_datagram(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket, bytes]]:
    """Ours, bound; theirs, connected to it; the path."""
    path = tmp_path / "in.sock"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs,
    ):
        ours.bind(str(path))
        theirs.connect(str(path))
        yield ours, theirs, bytes(path)


def test_stream(unix_pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = unix_pair
    rig = Rig(partitions=1)
    stream = rig.intake.stream(ours.fileno(), rig.listener("lines"), 1)
    assert stream.read(NOW_MS, TICK_MS) == AGAIN
    theirs.sendall(b"one\ntw")
    stream.read(NOW_MS, TICK_MS)
    theirs.sendall(b"o\nthree")
    stream.read(NOW_MS, TICK_MS)
    theirs.close()
    assert stream.read(NOW_MS, TICK_MS) == EOF
    stream.finish(False, NOW_MS, TICK_MS)
    assert rig.values() == [b"one", b"two", b"three"]


def test_stream_larger_than_the_window(unix_pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = unix_pair
    rig = Rig(buffer_bytes=16 << 20, partitions=1, window_bytes=65_536)
    stream = rig.intake.stream(ours.fileno(), rig.listener("frames"), 1)
    values = [bytes([at]) * size for at, size in enumerate((10, 70_000, 500_000, 1, 900_000, 65_536))]
    data = b"".join(records_frame([WireRecord(value)], topic=b"t0") for value in values)
    theirs.setblocking(False)
    at = 0
    while at < len(data):
        try:
            at += theirs.send(data[at:])
        except BlockingIOError:
            assert not stream.read(NOW_MS, TICK_MS) & AGAIN
    while stream.read(NOW_MS, TICK_MS) & READ_MORE:
        continue
    stream.read(NOW_MS, TICK_MS)
    assert rig.values() == values
    assert rig.intake.held_bytes == 0


def test_descriptors_passed_to_us_are_not_kept(
    unix_pair: tuple[socket.socket, socket.socket], unix_datagram: tuple[socket.socket, socket.socket, bytes]
) -> None:
    rig = Rig(partitions=1)
    stream = rig.intake.stream(unix_pair[0].fileno(), rig.listener("lines"), 1)
    datagram = rig.intake.datagram(unix_datagram[0].fileno(), rig.listener("lines", index=1))
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [unix_pair[1].fileno()] * 200))]
    before = open_descriptors()
    for _ in range(20):
        unix_pair[1].sendmsg([b"v\n"], passed)
        unix_datagram[1].sendmsg([b"v\n"], passed)
        stream.read(NOW_MS, TICK_MS)
        datagram.read(NOW_MS, TICK_MS)
    assert open_descriptors() == before
    assert rig.values() == [b"v"] * 40


def test_unix_datagrams(unix_datagram: tuple[socket.socket, socket.socket, bytes]) -> None:
    ours, theirs, path = unix_datagram
    rig = Rig(partitions=1)
    datagram = rig.intake.datagram(ours.fileno(), rig.listener("raw", key=1))
    theirs.send(b"")
    theirs.send(b"one")
    theirs.send(b"x" * 65_535)
    theirs.send(b"x" * 65_536)
    assert datagram.read(NOW_MS, TICK_MS) & ~AGAIN
    assert datagram.read(NOW_MS, TICK_MS) == AGAIN
    assert [(item.key, len(item.value or b"")) for item in rig.drain()] == [(path[:108], 3), (path[:108], 65_535)]
    assert rig.rejected() == {Rejected.EMPTY: 1, Rejected.TRUNCATED: 1}


def test_a_unix_sockets_queue_is_found_by_trying() -> None:
    # The kernel takes one more than it is told (unix_recvq_full in its af_unix.c).
    told = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    assert unix_queue() == min(told + 1, GATHER_QUEUE)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_udp_senders(family: int, host: str) -> None:
    rig = Rig(partitions=1)
    with socket.socket(family, socket.SOCK_DGRAM) as ours, socket.socket(family, socket.SOCK_DGRAM) as theirs:
        try:
            ours.bind((host, 0))
        except OSError:
            pytest.skip(f"{host} is not an address of this machine")
        theirs.bind((host, 0))
        datagram = rig.intake.datagram(ours.fileno(), rig.listener("lines", key=1))
        theirs.sendto(b"a\nb", ours.getsockname())
        datagram.read(NOW_MS, TICK_MS)
        text = f"[{host}]" if ":" in host else host
        key = f"{text}:{theirs.getsockname()[1]}".encode()
        assert [(item.key, item.value) for item in rig.drain()] == [(key, b"a"), (key, b"b")]


def test_what_the_kernel_drops_is_counted() -> None:
    rig = Rig()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours.bind(("127.0.0.1", 0))
        datagram = rig.intake.datagram(ours.fileno(), rig.listener("raw"))
        for _ in range(500):
            theirs.sendto(b"x" * 100, ours.getsockname())
        polled = datagram.poll_drops(NOW_MS, TICK_MS)
        taken = 0
        deadline = time.monotonic() + 20
        while not datagram.read(NOW_MS, TICK_MS) & AGAIN and time.monotonic() < deadline:
            taken = rig.arena.ledger()["received"]
        assert 0 < taken < 500
        assert polled == rig.arena.ledger()["kernel_dropped"] == 500 - taken
        # The next datagram carries the same count, which is not added again.
        theirs.sendto(b"x", ours.getsockname())
        datagram.read(NOW_MS, TICK_MS)
        assert rig.arena.ledger()["kernel_dropped"] == 500 - taken
        assert datagram.drops_seen == 500 - taken
        # A new reader of the same socket does not count them anew.
        again = rig.intake.datagram(ours.fileno(), 0)
        assert again.poll_drops(NOW_MS, TICK_MS) == 500 - taken
        assert rig.arena.ledger()["kernel_dropped"] == 500 - taken


def test_drops_that_datagrams_tell_of_are_booked_by_the_poll_alone() -> None:
    rig = Rig()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours.bind(("127.0.0.1", 0))
        datagram = rig.intake.datagram(ours.fileno(), rig.listener("raw"))
        for _ in range(300):
            theirs.sendto(b"x" * 100, ours.getsockname())
        while not datagram.read(NOW_MS, TICK_MS) & AGAIN:
            continue
        theirs.sendto(b"x", ours.getsockname())
        datagram.read(NOW_MS, TICK_MS)
        # A process that died here would leave a successor to book them.
        assert rig.arena.ledger()["kernel_dropped"] == datagram.drops_seen == 0
        dropped = datagram.poll_drops(NOW_MS, TICK_MS)
        ledger = rig.arena.ledger()
        assert ledger["received"] + dropped == 301
        assert ledger["kernel_dropped"] == datagram.drops_seen == dropped > 0
