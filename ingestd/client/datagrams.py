"""DatagramSession: the same face for datagrams, where every frame is a message of its own and nobody answers."""

from ingestd.client.answers import Grant
from ingestd.client.encoding import FRAME_ENVELOPE_BYTES, RECORD_ENVELOPE_BYTES
from ingestd.client.errors import KafkaException
from ingestd.client.frame import ANSWER_NONE, NO_SESSION, SESSION_NEW
from ingestd.client.session import Session, State

# What a datagram with one record has around key, value and headers.
_ENVELOPE_BYTES = FRAME_ENVELOPE_BYTES + RECORD_ENVELOPE_BYTES


class DatagramSession(Session):
    """Level none without a greeting. A record is done when the kernel has its datagram."""

    def __init__(self, datagram_bytes_max: int) -> None:
        super().__init__(ANSWER_NONE, "")
        self._datagram_bytes_max = datagram_bytes_max
        self._record_bytes_max = datagram_bytes_max - _ENVELOPE_BYTES

    def connected(self) -> None:
        """The socket has its destination; records can go."""
        self.grant = Grant(ANSWER_NONE, SESSION_NEW, NO_SESSION, 0, self._datagram_bytes_max, self._record_bytes_max)
        self.state = State.OPEN
        for frame in self._inflight:
            self._queue_frame(frame)

    def close(self) -> None:
        """There is nobody to say it to."""
        self.state = State.ENDED

    def refuse(self, error: KafkaException) -> None:
        """The kernel does not take the next datagram at all."""
        data, frame, _ = self._output.popleft()
        self.output_bytes -= len(data)
        if frame is not None:
            self._inflight.fail_frame(frame, error)
