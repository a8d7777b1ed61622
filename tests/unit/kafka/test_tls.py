"""TLS without sockets: two ends in memory; plain text survives any cut, refusals leave an alert for the peer."""

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.kafka.tls import TlsStream
from tests.certificates import Authority, tls_contexts


class Server:
    """The other end, by Python's ssl alone."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.received = b""

    def take(self, data: bytes) -> None:
        """Raises what OpenSSL says, e.g. to an alert."""
        self._incoming.write(data)
        try:
            self._object.do_handshake()
            while plain := self._object.read(1 << 16):
                self.received += plain
        except ssl.SSLWantReadError:
            pass

    def say(self, data: bytes) -> bytes:
        if data:
            self._object.write(data)
        return self._outgoing.read()

    def end(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self._object.unwrap()
        return self._outgoing.read()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def contexts(folder: Path, authority: Authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return tls_contexts(folder, authority)


def connected(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> tuple[TlsStream, Server]:
    client, server = TlsStream(contexts[0], "127.0.0.1"), Server(contexts[1])
    client.start()
    for _ in range(5):
        server.take(client.pending())
        assert client.receive(server.say(b"")) == b""
    assert client.established
    return client, server


@given(
    parts=st.lists(st.binary(max_size=40_000), max_size=5),
    answer=st.binary(min_size=1, max_size=40_000),
    data=st.data(),
)
def test_plain_text_goes_both_ways_however_it_is_cut(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], parts: list[bytes], answer: bytes, data: st.DataObject
) -> None:
    client, server = connected(contexts)
    client.send([memoryview(part) for part in parts])
    server.take(client.pending())
    assert server.received == b"".join(parts)
    stream, found = server.say(answer), b""
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += client.receive(stream[:cut])
        stream = stream[cut:]
    assert found == answer


def test_no_view_is_held_once_it_was_sent(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    client, _ = connected(contexts)
    owner = bytearray(3_000_000)
    view = memoryview(owner)
    client.send([b"head", view])
    view.release()
    owner.clear()  # BufferError while anybody holds it


def test_the_peers_end_is_noticed_and_ours_is_sent(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    client, server = connected(contexts)
    client.close()
    assert client.pending()
    client, server = connected(contexts)
    assert client.receive(server.say(b"last") + server.end()) == b"last"
    assert client.closed


def test_a_refused_certificate_leaves_an_alert_that_tells_the_peer(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    client = TlsStream(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "127.0.0.1")
    server = Server(contexts[1])
    client.start()
    server.take(client.pending())
    with pytest.raises(ssl.SSLCertVerificationError):
        client.receive(server.say(b""))
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        server.take(client.pending())


@given(st.binary(min_size=6, max_size=200))
def test_foreign_bytes_are_ssl_errors(contexts: tuple[ssl.SSLContext, ssl.SSLContext], data: bytes) -> None:
    client = TlsStream(contexts[0], "127.0.0.1")
    client.start()
    try:
        assert client.receive(data) == b""
    except ssl.SSLError:
        return
    assert not client.established
