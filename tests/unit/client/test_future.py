import logging
import threading

import pytest

from ingestd.client.errors import IllegalStateException, KafkaException, NetworkException, TimeoutException
from ingestd.client.future import Callback, Future, Owner, closed_lock
from ingestd.client.records import RecordMetadata


def make(owner: Owner | None = None, callback: Callback | None = None) -> Future:
    return Future(owner or Owner(), "t", 5, -1, 3, callback)


def test_success() -> None:
    future = make()
    assert not future.done()
    future.succeed(2, 7, -1)
    assert future.done()
    assert future.result() == RecordMetadata("t", 2, 7, 5, -1, 3)
    assert future.exception() is None


def test_the_logs_append_time_replaces_the_records() -> None:
    future = make()
    future.succeed(2, 7, 99)
    assert future.result().timestamp_ms == 99


def test_failure() -> None:
    future = make()
    error = NetworkException("cut")
    future.fail(error)
    assert future.exception() is error
    with pytest.raises(NetworkException, match="cut"):
        future.result()


def test_waiting_is_over_when_its_time_is() -> None:
    with pytest.raises(TimeoutException, match="no answer for a record of 't' within 0 s"):
        make().result(timeout=0)


def test_the_callback_gets_metadata_or_error_once() -> None:
    calls: list[tuple[RecordMetadata | None, KafkaException | None]] = []
    future = make(callback=lambda metadata, error: calls.append((metadata, error)))
    future.succeed(0, 1, -1)
    failing = make(callback=lambda metadata, error: calls.append((metadata, error)))
    error = NetworkException("cut")
    failing.fail(error)
    assert calls == [(RecordMetadata("t", 0, 1, 5, -1, 3), None), (None, error)]


def test_a_callbacks_exception_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def callback(metadata: RecordMetadata | None, error: KafkaException | None) -> None:
        raise SystemExit(str((metadata, error)))

    future = make(callback=callback)
    with caplog.at_level(logging.ERROR, "ingestd.client"):
        future.succeed(0, 1, -1)
    assert future.done()
    assert "a callback raised" in caplog.text


def test_a_done_callback_comes_later_or_at_once() -> None:
    seen: list[Future] = []
    future = make()
    future.add_done_callback(seen.append)
    assert seen == []
    future.succeed(0, 0, -1)
    assert seen == [future]
    future.add_done_callback(seen.append)
    assert seen == [future, future]


def test_the_producers_own_thread_may_not_wait() -> None:
    owner = Owner()
    owner.io_thread = threading.current_thread()
    with pytest.raises(IllegalStateException, match="callback"):
        make(owner).result()


def test_another_process_may_not_wait() -> None:
    owner = Owner()
    owner.pid += 1
    for wait in (make(owner).result, lambda: make(owner).add_done_callback(print)):
        with pytest.raises(IllegalStateException, match="after a fork make a new Producer"):
            wait()


@pytest.mark.parametrize("name", ["lock", "outbox_lock"])
def test_who_came_in_the_middle_of_our_own_code_may_not_wait(name: str) -> None:
    owner = Owner()
    with getattr(owner, name), pytest.raises(IllegalStateException, match="signal handler or finalizer"):
        make(owner).result()
    with pytest.raises(TimeoutException):
        make(owner).result(0.001)


def test_who_came_in_the_middle_of_registering_is_called_too() -> None:
    owner, seen = Owner(), list[str]()
    future = make(owner)
    with owner.lock:
        future.add_done_callback(lambda _: seen.append("from a handler"))
    future.add_done_callback(lambda _: seen.append("mine"))
    future.succeed(0, 0, -1)
    assert seen == ["from a handler", "mine"]


@pytest.mark.parametrize("timeout", [0, 0.0001])
def test_looking_in_again_and_again_leaves_nothing_behind(timeout: float) -> None:
    future = make()
    for _ in range(3):
        with pytest.raises(TimeoutException):
            future.result(timeout)
    assert not future._waiters


@pytest.mark.parametrize("timeout", [None, 0.0, 1e12])
def test_the_end_of_a_thread_is_waited_for_however_long_the_time(timeout: float | None) -> None:
    owner = Owner()
    owner.io_thread = threading.Thread(target=lambda: None)
    owner.io_thread.start()
    owner.join(timeout)
    assert not owner.io_thread.is_alive()


def test_a_callback_that_does_not_return_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestd.client.future.CALLBACK_TIMEOUT_S", 0.01)
    keeps = closed_lock()
    owner = Owner()
    owner.io_thread = threading.Thread(target=keeps.acquire)
    owner.io_thread.start()
    with pytest.raises(TimeoutException, match="a callback has not returned yet"):
        owner.join(0.0)
    keeps.release()
    owner.join(None)
