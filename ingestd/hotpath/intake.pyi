"""The intake of a worker: makes streams and datagram sockets whose records end up in the arena.

Every call of ``read``, ``resume``, ``finish`` ends with everything that it took committed to the arena and published,
and returns flags that say what is to be done next. ``now_ms`` is wall-clock time (the arrival time of records),
``tick_ms`` monotonic time (for linger).
"""

from array import array
from collections.abc import Callable, Collection, Sequence
from typing import Final

from ingestd.hotpath.arena import Arena
from ingestd.hotpath.datagram import Datagram as Datagram
from ingestd.hotpath.listener_spec import ListenerSpec as ListenerSpec
from ingestd.hotpath.stream import Stream as Stream

READ_MORE: Final = 1
"""The read filled its room: there may be more in the socket."""
SEALED: Final = 2
"""``arena.take_sealed()`` has batches."""
OPENED: Final = 4
"""A batch was opened: see that ``seal_due`` is called within its topic's linger time."""
ACCEPTED: Final = 8
REJECTED: Final = 16
CONTROL: Final = 32
"""``take_control()`` has frames; handle them, then ``resume()``: nothing behind them has been taken yet."""
BLOCKED: Final = 64
"""Not taken to the end, the rest is held; ``blocked_reason`` says what to wait for before ``resume()``."""
TOPIC_WAIT: Final = 128
"""Not taken to the end: ``wanted_topic`` has no known partition count; ``resume()`` after ``set_partitions`` or
``set_topic_refused``."""
EOF: Final = 256
"""The peer has sent all: call ``finish(False, ...)``."""
BROKEN: Final = 512
"""Framing is lost (``error_reason``, ``error_text``): answer and close. What came before is kept."""
ERRNO: Final = 1024
"""The socket failed with ``error_number``."""
AGAIN: Final = 2048
"""Nothing to read now."""

BLOCKED_BY_ARENA: Final = 1
"""No pages: resume when some were freed."""
BLOCKED_BY_PARTITION: Final = 2
"""The record's partition takes no new batch: resume after ``hold(..., False)``."""
BLOCKED_BY_CONFIRM: Final = 3
"""The session has 16 unconfirmed rejections. With CONTROL a CONFIRM frame was found among what is held: handle it, then
``resume()``. Without go on calling ``read()``, which now only looks for such frames."""
BLOCKED_BY_HOLD: Final = 4
"""The budget of held bytes is used up and this stream needs more than a little of it: call ``read()`` again when
``Intake.hold_turn`` is its ``hold_ticket``, or when others have let go of bytes."""
BLOCKED_BY_PRESSURE: Final = 5
"""The supervisor said pause: call ``read()`` again when the pressure is gone."""

FORMATS: Final[dict[str, int]]
PARTITIONERS: Final[dict[str, int]]
"""murmur2: by key, sticky without one. crc32: by key, sticky without one and with an empty one. sticky: whatever the
key. round_robin: in turn."""

ChoosePartitions = Callable[[list[bytes | None], list[bytes | None], int], Sequence[int]]
"""(keys, values, partition count) of records in the order in which they came → a partition for each, -1: refuse this
one as ``partitioner_failed``. It must not raise. It is asked again about records that had to wait."""

class Intake:
    def __init__(
        self,
        arena: Arena,
        row: memoryview | None,
        *,
        window_bytes: int = 262144,
        hold_bytes: int = 16 << 20,
        seed: int,
    ) -> None:
        """``row``: this worker's scoreboard row, 4096 writable bytes, or None. ``window_bytes``: what one read takes
        at most. ``hold_bytes``: what all connections and datagram sockets together may hold (at least the longest
        line or record that a listener allows); each may hold 4096 bytes besides, and one of them a unit."""

    hold_turn: int
    """Ticket of the stream whose turn it is to exceed the budget of held bytes; 0: none waits. It changes in calls of
    any stream or datagram socket."""
    held_bytes: int
    """Of all connections and datagram sockets together."""

    def add_topic(
        self,
        topic_index: int,
        *,
        batch_bytes: int,
        linger_ms: int,
        record_bytes_max: int,
        partitioner: str | ChoosePartitions = "murmur2",
    ) -> None:
        """A row of the arena's topic table; its partition count is not known yet. ``partitioner``, for records that
        name no partition: one of PARTITIONERS, or what chooses for all such records of a read at once. ValueError: no
        such row, or added before."""
    def set_partitions(self, topic_index: int, leaders: bytes) -> None:
        """One byte per partition, 1: it has a leader; b"" the count is not known. May seal batches of partitions that
        are gone."""
    def shrink_batches(self, topic_index: int, batch_bytes: int) -> bool:
        """Batches opened or filled from now on seal before they exceed ``batch_bytes``. False: they do already."""
    def weigh(self, topic_index: int, queue_lengths: array[int] | None) -> None:
        """How many batches wait per partition (32-bit numbers; negative: leave it out): records without key prefer the
        shorter queues from now on, until leaders or holds change. None, or not one per partition: all are as good."""
    def draws(self, topic_index: int) -> int:
        """How often a partition for records without key was drawn, ever."""
    def set_topic_refused(self, topic_index: int, refused: bool) -> None:
        """True: while the count is not known, records are refused at once instead of waiting."""
    def hold(self, topic_index: int, partition: int, held: bool) -> None:
        """True: no new batch is opened for this partition. Streams wait, datagrams are refused, records without key
        go elsewhere."""
    def let_grow(self, topic_index: int, partition: int, growing: bool) -> None:
        """True: the open batch of this partition is not sealed for its linger time, only when it is full. A partition
        that is not there is ignored."""
    def add_listener(self, spec: ListenerSpec) -> None:
        """All topics that it names have been added. ValueError: the specification contradicts itself."""
    def stream(self, fd: int, listener_index: int, sender: int) -> Stream:
        """An accepted connection, non-blocking; ``sender`` is its number. fd -1: only fed. The fd stays the
        caller's."""
    def datagram(self, fd: int, listener_index: int) -> Datagram:
        """A bound datagram socket. For UDP it is told to report kernel drops. The fd stays the caller's."""
    def datagram_fed(self, listener_index: int, path: bytes, udp: bool) -> Datagram:
        """A datagram socket without a socket, for ``Datagram.feed``."""
    def seal_due(self, tick_ms: int) -> int:
        """Seals batches whose linger time is over, those that may grow left out, and with them up to 128 that have
        lingered half of it: one request takes them all. Returns milliseconds until the next one is due, -1: none is."""
    def seal_all(self) -> None:
        """Seals every open batch."""
    def seal_batches(self, entries: Collection[int]) -> int:
        """Seals those of the open batches that are in these entries of the directory; returns how many it sealed."""
    def set_pressure(self, value: int) -> None:
        """0 run; 1 pause: listeners that block are not read; 2 shed: besides, listeners that shed refuse every
        datagram."""
    def publish(self, in_doubt_batches: int = 0) -> None:
        """Stores the whole row, slow gauges and drain-only arenas included; once per second. Reads publish the quick
        ones by themselves."""
    def attach(self, arena: Arena) -> None:
        """Publishes the books of a drain-only arena, too."""
    def detach(self, arena: Arena) -> None:
        """The drain-only arena has been absorbed: its books are in the main one's."""
