"""The real daemon against a scripted broker: outcomes reach the sessions that wait for them, also at the end."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestd.client import answers, frame
from tests.fakes.broker import FakeCluster, Request, Silence, error
from tests.functional.test_process_daemon import APP, OPEN, Peer, hello, records
from tests.kafka.daemon import Daemon

PRODUCE = 0


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    """One scripted broker in a thread of its own."""
    loop = asyncio.new_event_loop()
    fake = FakeCluster(topics={"t": 2})
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(fake.start(), loop).result(10)
    yield fake
    asyncio.run_coroutine_threadsafe(fake.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def make_daemon(tmp_path: Path, cluster: FakeCluster) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def make(linger_ms: int) -> Daemon:
        made.append(
            Daemon(
                tmp_path / "daemon",
                cluster.bootstrap[0],
                [APP],
                topics={"t": {"partitions": 2, "linger.ms": linger_ms}},
                workers=1,
                producer={"request.timeout.ms": 1000},
            )
        )
        made[-1].start()
        return made[-1]

    yield make
    while OPEN:
        OPEN.pop().close()
    for daemon in made:
        daemon.close()


def delivered(peer: Peer) -> answers.Delivered:
    kind, body = peer.read()
    assert kind == frame.DELIVERED, (kind, body)
    return answers.Delivered.decode(body)


def test_the_outcome_is_told_with_its_offset(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(linger_ms=5)
    peer = Peer(f"{daemon.sockets}/app", hello(frame.ANSWER_DELIVERED))
    peer.grant()
    for first in (1, 3):
        peer.socket.sendall(records(first, b"a", b"b"))
        assert peer.accepted() == (first, first + 1)
        outcome = delivered(peer)
        assert [(run.first_sequence, run.record_count) for run in outcome.runs] == [(first, 2)]
        assert outcome.base_offset >= 0


def test_an_idle_daemon_shows_that_it_reaches_its_cluster(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(linger_ms=5)
    daemon.wait_for(lambda: daemon.status()["workers"][0]["brokers_connected"] >= 1, 10, "a broker in the status")


def test_close_waits_for_the_outcome_and_no_longer(make_daemon: Callable[..., Daemon]) -> None:
    # Nothing but CLOSE makes this batch go: its linger is a minute.
    daemon = make_daemon(linger_ms=60_000)
    peer = Peer(f"{daemon.sockets}/app", hello(frame.ANSWER_DELIVERED))
    session = peer.grant().session_id
    peer.socket.sendall(records(1, b"a") + frame.frame(frame.CLOSE, b""))
    assert peer.accepted() == (1, 1)
    assert delivered(peer).runs[0].record_count == 1
    assert [peer.read(), peer.read()] == [(frame.CLOSED, b""), (0, b"")]
    again = Peer(f"{daemon.sockets}/app", hello(frame.ANSWER_DELIVERED, session))
    assert again.grant().resumed == frame.SESSION_FORGOTTEN


def test_close_does_not_wait_for_records_that_were_refused_one_by_one(
    make_daemon: Callable[..., Daemon], cluster: FakeCluster
) -> None:
    daemon = make_daemon(linger_ms=60_000)
    refused, other = [Peer(f"{daemon.sockets}/app", hello(frame.ANSWER_DELIVERED)) for _ in range(2)]
    for peer, value in ((refused, b"bad"), (other, b"good")):
        peer.grant()
        # Without a key both go to the same open batch.
        peer.socket.sendall(records(1, value))
        assert peer.accepted() == (1, 1)
    cluster.brokers[1].control(PRODUCE, error(87, record_errors=((0, "no"),)))
    refused.socket.sendall(frame.frame(frame.CLOSE, b""))
    assert refused.read()[0] == frame.FAILED
    assert delivered(other).runs[0].record_count == 1
    assert [refused.read(), refused.read()] == [(frame.CLOSED, b""), (0, b"")]


def test_a_stop_tells_outcomes_before_it_closes(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(linger_ms=60_000)
    peer = Peer(f"{daemon.sockets}/app", hello(frame.ANSWER_DELIVERED))
    peer.grant()
    peer.socket.sendall(records(1, b"a", b"b", b"c"))
    assert peer.accepted() == (1, 3)
    os.kill(daemon.supervisor_pid, signal.SIGTERM)
    assert delivered(peer).runs[0].record_count == 3
    assert peer.read() == (0, b"")
    assert daemon.wait_end() == 0


def test_what_is_still_on_its_way_is_told_on_the_next_connection(
    make_daemon: Callable[..., Daemon], cluster: FakeCluster
) -> None:
    daemon = make_daemon(linger_ms=5)
    peer = Peer(f"{daemon.sockets}/app", hello(frame.ANSWER_DELIVERED))
    grant = peer.grant()
    peer.socket.sendall(records(1, b"a"))
    assert peer.accepted() == (1, 1)
    delivered(peer)

    def withhold(_: Request) -> Silence:
        return Silence()

    cluster.brokers[1].control(PRODUCE, withhold)
    peer.socket.sendall(records(2, b"b"))
    assert peer.accepted() == (2, 2)
    again = Peer(grant.path, hello(frame.ANSWER_DELIVERED, grant.session_id))
    assert again.grant().last_accepted == 2
    assert again.accepted() == (1, 2)
    assert answers.OutcomeUnknown.decode(again.read()[1]) == (1, 1)
    assert delivered(again).runs[0].first_sequence == 2
    assert peer.read() == (0, b"")
