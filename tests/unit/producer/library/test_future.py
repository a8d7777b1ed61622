"""The future of a record: waiting, callbacks, await; outcomes come from a Handover."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ingestd.client.errors import IllegalStateException, RecordFailedException, TimeoutException
from ingestd.client.records import RecordMetadata
from ingestd.hotpath.handover import Handover
from ingestd.producer.library.answers import tell
from ingestd.producer.library.future import Future, LoopOwner, Owner


def future(callback: Any = None, owner: Owner | None = None) -> Future:
    return Future(owner or Owner(), "t", 0, 2, 7, b"key", None, None, 0, callback)


def fail(record: Future, error: Exception) -> None:
    tell(Handover(1, 1, lambda: None).fail([record], error))


def test_result_raises_the_records_error_and_times_out_before_it_is_known() -> None:
    record = future()
    with pytest.raises(TimeoutException, match="it may still come"):
        record.result(0)
    fail(record, RecordFailedException("no"))
    assert isinstance(record.exception(), RecordFailedException)
    with pytest.raises(RecordFailedException):
        record.result()


def test_who_only_looks_leaves_no_waiter_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(Future, "add_waiter", lambda _, waiter: left.append(waiter))
    record = future()
    with pytest.raises(TimeoutException):
        record.exception(0)
    with pytest.raises(TimeoutException):
        record.result(-1)
    assert left == []


def test_result_waits_for_another_thread() -> None:
    record = future()
    waits = threading.Event()
    errors: list[BaseException | None] = []

    def wait() -> None:
        waits.set()
        errors.append(record.exception(10))

    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait()
    fail(record, RecordFailedException("no"))
    thread.join()
    assert isinstance(errors[0], RecordFailedException)


def test_the_callback_is_called_once_before_the_waiters_and_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    order: list[object] = []

    def callback(metadata: RecordMetadata | None, error: Exception | None) -> None:
        order.append((metadata, error))
        raise ZeroDivisionError

    record = future(callback)
    record.add_done_callback(order.append)
    error = RecordFailedException("no")
    fail(record, error)
    tell([record])
    assert order == [(None, error), record]
    assert "a callback raised" in caplog.text


def test_a_done_callback_is_called_at_once_if_the_outcome_is_known() -> None:
    record = future()
    fail(record, RecordFailedException("no"))
    called: list[Future] = []
    record.add_done_callback(called.append)
    assert called == [record]


def test_the_sender_thread_cannot_wait_for_itself() -> None:
    owner = Owner()
    owner.io_thread = threading.current_thread()
    with pytest.raises(IllegalStateException, match="callback"):
        future(owner=owner).result(1)


@pytest.mark.parametrize("here", [True, False])
def test_it_can_be_awaited(here: bool) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        record = future(owner=LoopOwner(loop) if here else Owner())

        def outcome() -> None:
            fail(record, RecordFailedException("no"))

        work: Callable[[], object] = outcome
        if here:
            loop.call_soon(work)
        else:
            threading.Thread(target=work).start()
        with pytest.raises(RecordFailedException):
            await record
        with pytest.raises(RecordFailedException):
            await record

    asyncio.run(scenario())


def test_on_an_event_loop_it_says_to_await_instead_of_blocking() -> None:
    async def scenario() -> None:
        with pytest.raises(IllegalStateException, match="await"):
            future(owner=LoopOwner(asyncio.get_running_loop())).result(1)

    asyncio.run(scenario())


def test_whoever_gives_up_awaiting_disturbs_nobody() -> None:
    async def scenario() -> None:
        record = future(owner=LoopOwner(asyncio.get_running_loop()))
        task = asyncio.ensure_future(record)
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        fail(record, RecordFailedException("no"))
        assert record.done()

    asyncio.run(scenario())
