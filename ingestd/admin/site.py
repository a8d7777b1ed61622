"""What each path answers: a status, a type and a body. No I/O but a look at the scoreboard."""

from typing import Final, NamedTuple

from ingestd.admin import collector, page
from ingestd.admin.status import HEARTBEAT_STALE_MS, Status, copy_status, state_text
from ingestd.scoreboard import Reader, Word, WorkerState

TEXT: Final = "text/plain; charset=utf-8"
_MUST_BEAT: Final = (WorkerState.READY, WorkerState.DRAINING)


class Answer(NamedTuple):
    """``status``: HTTP's."""

    status: int
    content_type: str
    body: bytes


class Site:
    """Answers from ``board`` as it is at the moment of asking."""

    def __init__(self, board: Reader) -> None:
        self._board = board

    def answer(self, path: str, accept: str, now_ms: int, tick_ms: int) -> Answer:
        """``path`` without its query; ``accept``: the header of that name, or nothing."""
        if path not in ("/", "/metrics", "/healthz", "/readyz"):
            return Answer(404, TEXT, b"not found: there are / /metrics /healthz /readyz\n")
        status = copy_status(self._board)
        if path == "/metrics":
            body, content_type = collector.render(status, now_ms, tick_ms, accept)
            return Answer(200, content_type, body)
        if path == "/":
            return Answer(200, "text/html; charset=utf-8", page.render(status, now_ms, tick_ms))
        return _verdict(unhealthy(status, tick_ms) if path == "/healthz" else unready(status))


def _verdict(reasons: list[str]) -> Answer:
    return Answer(503 if reasons else 200, TEXT, ("\n".join(reasons or ["ok"]) + "\n").encode())


def unhealthy(status: Status, tick_ms: int) -> list[str]:
    """Why some process of the daemon is not alive; empty: all are. One that recovers its arena after a start is.

    A worker that has ended while the daemon drains is done: whoever restarts the sick must not cut the others' drain.
    """
    dead = {WorkerState.BACKOFF} if status.header.stopping else {WorkerState.BACKOFF, WorkerState.ABSENT}
    found = []
    if status.supervisor_silent_ms(tick_ms) > HEARTBEAT_STALE_MS:
        found.append("the supervisor is silent")
    for worker in status.workers:
        beat_ms = worker.words[Word.HEARTBEAT_TICK_MS]
        if worker.state in dead:
            found.append(f"worker {worker.index} is {state_text(worker.state)}")
        elif worker.state in _MUST_BEAT and tick_ms - beat_ms > HEARTBEAT_STALE_MS:
            found.append(f"worker {worker.index} is silent")
    return found


def unready(status: Status) -> list[str]:
    """Why records cannot be handed in; empty: they can. Whether Kafka is there has no part in it."""
    found = ["stopping"] if status.header.stopping else []
    return found + [
        f"worker {worker.index} is {state_text(worker.state)}"
        for worker in status.workers
        if worker.state is not WorkerState.READY
    ]
