"""The composition root of a worker process: arena, record path, listeners and producer put together, and the loop."""

import asyncio
import gc
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any, Final

import uvloop

from ingestd.config.plan import WorkerPlan
from ingestd.errors import DaemonError, ExitStatus, IngestdError
from ingestd.figures import Count, Figures
from ingestd.hotpath.arena import Arena
from ingestd.hotpath.intake import Intake
from ingestd.hotpath.publisher import store_block
from ingestd.letters import Bounds
from ingestd.limits import HOLD_BYTES_MAX, READ_WINDOW_BYTES
from ingestd.listeners.room import Hooks, Room, clock
from ingestd.log import counted
from ingestd.producer.batch_producer import BatchProducer
from ingestd.producer.weights import Weights
from ingestd.scoreboard import Pressure, Word, Writer
from ingestd.worker.answers import Answers
from ingestd.worker.arenas import Arenas, open_arenas, remove
from ingestd.worker.doors import Doors
from ingestd.worker.linger import Linger
from ingestd.worker.page_watch import PageWatch
from ingestd.worker.partitioners import Partitioners
from ingestd.worker.status import StatusPipe
from ingestd.worker.topics import Topics

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 1.0
"""How often the loop shows that it lives, looks at the pressure cell and publishes; an idle worker's only timer."""
DRAIN_LOOK_SECONDS: Final = 0.02
"""How often the end of a drain is looked for."""
NEARLY_FULL: Final = 15 / 16
"""Level of the arena from which on freed pages are gathered for GATHER_SECONDS before anybody gets them."""
GATHER_SECONDS: Final = 0.02
LINGER_MS_LONG: Final = 100
"""Batches that wait longer than this are sealed at once when somebody waits for pages."""


def pressure_in_force(given: Pressure, memory: Pressure, *, emptied: bool, holds_back: bool) -> Pressure:
    """``given`` is the supervisor's word for both, ``memory`` what it is for memory alone.

    An arena that has ``emptied`` since lets everybody in again at once: the supervisor looks once a second, and a fast
    producer would stand still until then. While the producer ``holds_back`` sick partitions, theirs may be most of the
    arena for long, and the rest is for the healthy ones, to the last page.
    """
    return memory if emptied or holds_back else given


class Worker:
    """One worker process from its plan to its exit status."""

    def __init__(self, plan: WorkerPlan, status: StatusPipe) -> None:
        self._plan = plan
        self._status = status
        self._stopping = asyncio.Event()
        self._hurry = False
        self._gathering: asyncio.TimerHandle | None = None
        self._pressure = Pressure.RUN
        self._page_watch = PageWatch()

    def run(self) -> int:
        """Opens everything, runs until told to stop, drains. HostError: it cannot start now;
        DaemonError: an arena could not be opened, and nobody foresaw why.
        """
        plan = self._plan
        now_ms, _ = clock()
        # First of all: somebody's code that cannot be loaded is a bad configuration, not a fault of the arena's.
        self._partitioners = Partitioners(plan.config)
        board = Writer.open(Path(plan.scoreboard_path))
        self._row = board.rows[plan.index]
        self._block = board.block(plan.index)
        self._figures = Figures(board.topics, board.figures(plan.index))
        self._arenas: Arenas = self._open_arenas(now_ms)
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        self._loop: asyncio.AbstractEventLoop = loop
        loop.set_exception_handler(self._on_fault)
        try:
            self._compose()
            loop.run_until_complete(self._serve())
        except Exception as error:
            self._on_fault(loop, {"message": "the worker's own task", "exception": error})
        loop.close()
        return int(ExitStatus.DONE)

    def _open_arenas(self, now_ms: int) -> Arenas:
        """The exit status of an exception that nobody foresaw here blames the arena, as a crash would."""
        try:
            return open_arenas(self._plan, self._row, self._status, now_ms)
        except (IngestdError, MemoryError):
            raise
        except Exception as error:
            raise DaemonError(f"opening the arenas: {error!r}") from error

    def _compose(self) -> None:
        """Builds the parts; nothing is read yet."""
        plan = self._plan
        own = self._arenas.own
        seed = int.from_bytes(os.urandom(8), "little")
        bounds = {"window_bytes": READ_WINDOW_BYTES, "hold_bytes": HOLD_BYTES_MAX}
        self._intake = Intake(own, self._row.view, seed=seed, **bounds)
        self._topics = Topics(plan.config, own, self._intake, self._loop, self._partitioners)
        self._linger = Linger(self._seal_due, self._topics.linger_ms_min, self._loop, lambda: clock()[1])
        hooks = Hooks(
            sealed=self._sealed,
            opened=self._linger.opened,
            topic_wanted=self._topics.wanted,
            memory_short=self._memory_short,
            connections=self._counter(Word.CONNECTIONS),
            errors=self._counter(Word.LISTENER_ERRORS),
        )
        self._room = Room(self._loop, self._intake, hooks)
        self._topics.room = self._room
        self._answers = Answers(self._arenas.all, self._intake, self._sealed, self._freed)
        self._doors = Doors(plan, own, self._room, self._topics, self._answers)
        self._answers.sessions = self._doors.sessions
        config = plan.config
        client_id = config.producer.client_id or f"ingestd-{socket.gethostname()}"
        self._producer = BatchProducer(
            config.producer,
            config.topics,
            self._topics.changed,
            self._answers,
            self._loop,
            f"{client_id}-{plan.index}",
            state_directory=Path(config.daemon.state_directory),
            listeners=[listener.name for listener in config.listeners],
            letters_bounds=Bounds(config.daemon.dead_letters_bytes_max, config.daemon.dead_letters_days_max),
            on_data_loss=self._on_data_loss,
            figures=self._figures,
            relieved=self._linger.look,
        )
        self._weights = Weights(self._intake, self._producer.queue_lengths, self._loop)
        for topic in config.topics:
            self._weights.add(self._topics.index[topic.name], topic.name, config.topic_settings(topic).partitioning)
        # What was accepted first goes out first: before the worker's own come the arenas that it only drains.
        for arena in self._arenas.draining:
            self._intake.attach(arena)
            self._producer.attach(arena, None)
        self._producer.attach(own, self._intake)

    def _counter(self, word: Word) -> Any:
        row = self._row

        def add(change: int) -> None:
            row.set(word, row.get(word) + change)

        return add

    async def _serve(self) -> None:
        # In this order: a worker that survives SIGTERM must survive the SIGUSR1 that may follow.
        self._loop.add_signal_handler(signal.SIGUSR1, self._on_hurry)
        self._loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        self._doors.open(self._row)
        self._beat()
        # What was built up to now lives as long as the process: the collector need not walk it again.
        gc.collect()
        gc.freeze()
        self._status.ready()
        await self._stopping.wait()
        await self._drain()

    def _on_hurry(self) -> None:
        """Drain, and do not wait for Kafka; SIGTERM may come later, or not at all."""
        self._hurry = True
        self._stopping.set()

    def _on_fault(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught is our own mistake: the process ends, its successor recovers the arena."""
        error = context.get("exception")
        logger.critical("a fault of our own: %s", context.get("message"), exc_info=error)
        self._status.fault(f"{context.get('message')}: {error!r}")
        logging.shutdown()
        # At once: whatever runs in the meantime would work on a state that nobody understands.
        os._exit(int(ExitStatus.FAILED))

    def _on_data_loss(self, text: str) -> None:
        """Called before what Kafka seems to have lost is sent again: it stays in the arena as it is."""
        if self._plan.config.daemon.data_loss_suspected == "stop":
            logger.critical(
                'stopping, as data.loss.suspected = "stop" asks for: %s; look at the partition, then start again with'
                ' "continue"',
                text,
            )
            # The count of it is younger than the last publishing, and alerts look at nothing else.
            store_block(self._block, memoryview(self._figures.pack()))
            logging.shutdown()
            os._exit(int(ExitStatus.DATA_LOSS_SUSPECTED))

    # Batches

    def _sealed(self) -> None:
        self._look_for_pages()
        own = self._arenas.own
        batches = own.take_sealed()
        if batches:
            self._producer.sealed(own, batches)
            self._weights.sealed()
            if self._topics.compressed:
                self._look_for_pages()

    def _look_for_pages(self) -> None:
        """Sealing and compression give pages back without any batch having ended."""
        if self._page_watch.look(self._arenas.own.free_pages, awaited=self._room.pages_awaited):
            self._tell_of_pages()

    def _tell_of_pages(self) -> None:
        """Whoever waits for pages may try again: in a nearly full arena a moment later, when more of them are free. The
        few that are would become batches of a page each, and those keep the arena full: they cost a request each."""
        if self._arenas.own.level < NEARLY_FULL:
            self._room.pages_freed()
        elif self._gathering is None and self._room.pages_awaited:
            self._gathering = self._loop.call_later(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self._room.pages_freed()

    def _seal_due(self, tick_ms: int) -> int:
        due_ms = self._intake.seal_due(tick_ms)
        self._sealed()
        return due_ms

    def _memory_short(self) -> None:
        """Somebody waits for pages: what is open goes out now, unless its linger is short anyway."""
        self._look_for_pages()
        if self._topics.linger_ms_max > LINGER_MS_LONG:
            self._intake.seal_all()
            self._sealed()

    # Once a second

    def _beat(self) -> None:
        now_ms, tick_ms = clock()
        row = self._row
        row.beat(tick_ms)
        self._obey_pressure()
        self._doors.sweep(row, now_ms, tick_ms)
        row.set(Word.SESSIONS, self._doors.sessions.count)
        row.set(Word.BROKERS_CONNECTED, self._producer.brokers_connected)
        for arena in list(self._arenas.draining):
            if arena.emptied and self._producer.drained(arena):
                self._absorb(arena)
        self._look_for_pages()
        self._room.look_again()
        self._publish()
        self._loop.call_later(BEAT_SECONDS, self._beat)

    def _publish(self) -> None:
        """The books and the producer's figures, each whole."""
        self._producer.survey()
        self._figures.add(Count.BUFFERPOOL_WAIT_MS, self._room.take_waited_ms())
        self._intake.publish(self._producer.in_doubt_batches)
        store_block(self._block, memoryview(self._figures.pack()))

    def _obey_pressure(self) -> None:
        """Takes the supervisor's word, as far as the arena's level may have its share in it."""
        emptied = self._arenas.own.level < self._plan.config.daemon.pressure_low
        memory = Pressure(self._row.get(Word.MEMORY_PRESSURE))
        pressure = pressure_in_force(self._row.pressure, memory, emptied=emptied, holds_back=self._producer.holds_back)
        if pressure is not self._pressure:
            self._pressure = pressure
            self._intake.set_pressure(pressure)
            self._room.pressure_changed()

    def _freed(self) -> None:
        """Pages came back."""
        if self._pressure:
            self._obey_pressure()
        self._page_watch.look(self._arenas.own.free_pages, awaited=True)
        self._tell_of_pages()

    def _absorb(self, arena: Arena) -> None:
        """A drain-only arena is empty: its books and sessions become ours, its file goes."""
        self._producer.detach(arena)
        self._intake.detach(arena)
        self._arenas.own.absorb(arena)
        self._arenas.draining.remove(arena)
        self._answers.forget(arena)
        logger.info("drained and removed %s", arena.path)
        remove(arena)

    # The end

    async def _drain(self) -> None:
        """Reads senders to the end, delivers what it can inside the deadline; the rest stays in the arena."""
        deadline_ms = clock()[1] + self._plan.config.daemon.stop_timeout_ms
        self._room.stopping = True
        self._doors.drain()
        while not self._hurry and clock()[1] < deadline_ms:
            if self._doors.drained:
                self._intake.seal_all()
                self._sealed()
                if not any(arena.oldest_created_ms for arena in self._arenas.all()):
                    break
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        self._doors.close(self._row)
        self._topics.close()
        self._partitioners.close()
        self._intake.seal_all()
        self._sealed()
        await self._producer.close(0 if self._hurry else max(deadline_ms - clock()[1], 0))
        self._publish()
        left = sum(arena.buffered() for arena in self._arenas.all())
        logger.info("drained; what stays in the arena: %s", counted(left, "record"))
        for arena in self._arenas.all():
            arena.close()
