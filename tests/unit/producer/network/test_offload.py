"""Work for a thread of its own, also where none can be started."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from ingestd.producer.network import offload, resolver


def test_work_is_done_in_another_thread_and_its_fault_is_the_futures() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert await offload.in_thread(loop, threading.get_ident, "work") != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await offload.in_thread(loop, lambda: 1 // 0, "work")

    asyncio.run(scenario())


def test_work_waits_until_a_thread_can_be_started(
    no_threads: Callable[[], object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(offload, "START_AGAIN_S", 0.001)

    async def scenario() -> None:
        no_threads()
        work = offload.in_thread(asyncio.get_running_loop(), lambda: 7, "work")
        asyncio.get_running_loop().call_later(0.02, threading.stack_size, 0)
        assert not work.done()
        assert await work == 7
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    asyncio.run(scenario())


def test_a_name_that_no_thread_can_look_up_is_an_oserror(no_threads: Callable[[], object]) -> None:
    async def scenario() -> None:
        no_threads()
        with pytest.raises(OSError, match="cannot be looked up now"):
            await resolver.addresses(asyncio.get_running_loop(), "localhost", 9092)
        threading.stack_size(0)  # the loop's own end takes a thread

    asyncio.run(scenario())
