"""Datagram sockets: many datagrams per system call, taken straight to the arena."""

class Datagram:
    """Made by ``Intake.datagram``. Flags, and what to do next, are described in ``ingestd.hotpath.intake``."""

    blocked_reason: int
    """With BLOCKED: one of intake's BLOCKED_BY constants."""
    held_bytes: int
    """Of datagrams that were read and wait."""
    drops_seen: int
    """The kernel's drop counter of this socket, as far as it is in the ledger."""
    error_number: int
    """With ERRNO."""

    def read(self, now_ms: int, tick_ms: int) -> int:
        """One ``recvmmsg()`` of 64 datagrams at most. A socket that holds a remainder goes on with that instead, as
        ``resume``."""
    def feed(self, datagrams: list[bytes], now_ms: int, tick_ms: int, sources: list[bytes] | None = None) -> int:
        """As ``read``, from ``datagrams`` (64 at most) instead of the socket; ``sources`` are their senders' sockaddr
        bytes."""
    def resume(self, now_ms: int, tick_ms: int) -> int:
        """Goes on with the held remainder, without reading. 0 if there is none."""
    def finish(self, now_ms: int, tick_ms: int) -> int:
        """Counts what is still held as rejected{cut}: the worker ends and has no room for it."""
    def poll_drops(self, now_ms: int, tick_ms: int) -> int:
        """Books what the kernel has dropped so far; reads do not. Once per second and at the end, with the result kept
        where the next reader of the socket finds it. Returns ``drops_seen``."""
    def note_drops(self, count: int, now_ms: int, tick_ms: int) -> None:
        """Books the kernel's drop counter for this socket, as if it had been polled."""
