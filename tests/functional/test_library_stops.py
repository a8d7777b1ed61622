"""``Producer`` in a process that was stopped for longer than its time limits: a frozen container, a paused machine."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from ingestd.producer import ProducerRecord
from ingestd.producer.network.patience import time_limit
from tests.fakes.broker import API_VERSIONS, PRODUCE, Request
from tests.fakes.threaded import ThreadedCluster, scripted
from tests.functional.test_library_producer import log, make

PROGRAM = """
import sys
from ingestd.producer import Producer, ProducerRecord

limits = dict.fromkeys(("request.timeout.ms", "socket.connection.setup.timeout.ms"), sys.argv[2])
settings = {"enable.idempotence": False, "acks": 1, "linger.ms": 0, "delivery.timeout.ms": 20000, **limits}
with Producer({"bootstrap.servers": sys.argv[1], **settings}) as producer:
    print(producer.send(ProducerRecord("t", "v")).result(15).offset)
"""


@contextmanager
def program(cluster: ThreadedCluster, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, cluster.bootstrap, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stop(pid: int) -> None:
    """All its threads stand still when this returns."""
    os.kill(pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + 5
    while any(" T " not in stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


@pytest.mark.timeout(40)
@pytest.mark.parametrize("api_key", [API_VERSIONS, PRODUCE], ids=["as it connects", "as it sends"])
def test_an_answer_that_came_while_the_process_was_stopped_is_read(api_key: int) -> None:
    limit_ms = 1500
    with scripted(t=1) as cluster:
        with make(cluster) as producer:  # the scripted broker loads its codecs at a first use
            producer.send(ProducerRecord("t", "first")).result(20)
        before = cluster.broker.connections
        answered = threading.Event()
        stopped: list[int] = []

        def stop_and_answer(request: Request) -> bytes:
            body = request.handle()
            stop(stopped[0])
            answered.set()
            return body

        cluster.call(lambda: cluster.broker.control(api_key, stop_and_answer))
        with program(cluster, limit_ms) as process:
            stopped.append(process.pid)
            assert answered.wait(20)
            time.sleep(1.3 * limit_ms / 1000)  # the limit for a connection varies by a fifth
            process.send_signal(signal.SIGCONT)
            told, _ = process.communicate(timeout=15)
        assert told == "1\n"
        assert log(cluster) == [b"first", b"v"]
        assert cluster.broker.connections == before + 2


def test_an_answer_that_is_read_in_the_turn_in_which_the_last_look_ends_counts() -> None:
    """As on a machine with too much to do. uvloop runs timers right behind what it has read."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        reads: list[None] = []

        def readable() -> None:
            time.sleep(0.2)
            reads.append(None)
            if len(reads) == 2:
                loop.remove_reader(ours)
                answer.set_result(None)

        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.add_reader(ours, readable)
            theirs.send(b"x")
            async with time_limit(0.1):
                await answer

    uvloop.run(scenario())
