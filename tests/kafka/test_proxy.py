"""The fault proxy does what its verbs say."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.kafka.proxy import FaultProxy


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture
def proxy(echo: int) -> Iterator[FaultProxy]:
    with FaultProxy(echo) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        yield client


def test_bytes_pass_in_both_directions(proxy: FaultProxy, client: socket.socket) -> None:
    payload = bytes(range(256)) * 4096
    threading.Thread(target=client.sendall, args=(payload,), daemon=True).start()
    received = b""
    while len(received) < len(payload):
        received += client.recv(65536)
    assert received == payload
    assert proxy.forwarded_bytes == {"requests": len(payload) + 5, "answers": len(payload) + 5}


def test_cut_resets_and_lets_new_connections_through(proxy: FaultProxy, client: socket.socket) -> None:
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as again:
        again.sendall(b"x")
        assert again.recv(1) == b"x"


def test_refuse_turns_new_connections_away_until_healed(proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as refused:
        refused.recv(1)
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as healed:
        healed.sendall(b"x")
        assert healed.recv(1) == b"x"


def test_withheld_answers_arrive_after_heal(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.withhold_answers()
    client.sendall(b"question")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert proxy.forwarded_bytes["requests"] == 13
    client.settimeout(5)
    proxy.heal()
    assert client.recv(8) == b"question"


def test_withheld_answers_are_lost_with_a_cut(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.withhold_answers()
    client.sendall(b"question")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(8)
    assert proxy.forwarded_bytes["answers"] == 5


def test_stall_forwards_nothing(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.stall()
    client.sendall(b"question")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert proxy.forwarded_bytes["requests"] == 5


@pytest.mark.parametrize("count", [1, 7, 8])
def test_cut_after_forwards_exactly_so_many_bytes(proxy: FaultProxy, client: socket.socket, count: int) -> None:
    proxy.cut_after(count, "answers")
    client.sendall(b"question")
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(8):
            received += data
    assert received == b"question"[:count]
    assert proxy.forwarded_bytes["answers"] == 5 + count


def test_a_broker_that_is_away_resets_the_client(proxy: FaultProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        proxy.target = gone.getsockname()[1]
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.recv(1)
