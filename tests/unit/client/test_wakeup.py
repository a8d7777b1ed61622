import os
import select

import pytest

from ingestd.client.wakeup import Wakeup


def test_who_polls_is_woken_once() -> None:
    wakeup = Wakeup()
    poller = select.poll()
    poller.register(wakeup.descriptor, select.POLLIN)
    assert poller.poll(0) == []
    wakeup.wake()
    wakeup.wake()
    assert poller.poll(0) == [(wakeup.descriptor, select.POLLIN)]
    wakeup.clear()
    assert poller.poll(0) == []


def test_it_is_closed_when_the_last_who_could_use_it_is_gone() -> None:
    wakeup = Wakeup()
    descriptor, late = wakeup.descriptor, wakeup.wake
    del wakeup
    late()
    del late
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
