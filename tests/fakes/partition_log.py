"""One partition's log as a broker keeps it: the decision table (docs/kafka.md 1), nothing else."""

from dataclasses import dataclass, field

MODULUS = 1 << 31
REMEMBERED = 5


@dataclass
class Batch:
    """``payload``: whatever the test compares afterwards."""

    base_offset: int
    producer_id: int
    epoch: int
    sequence: int
    count: int
    timestamp_ms: int
    payload: bytes

    @property
    def last_sequence(self) -> int:
        return (self.sequence + self.count - 1) % MODULUS


@dataclass
class Producer:
    epoch: int
    batches: list[Batch]

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence


@dataclass
class PartitionLog:
    """``batches`` is the log; ``producers`` what the broker remembers of who wrote it."""

    batches: list[Batch] = field(default_factory=list)
    producers: dict[int, Producer] = field(default_factory=dict)
    own_time_ms: int = -1
    """Its clock, which replaces the records' own times (message.timestamp.type = LogAppendTime); -1: it does not."""

    @property
    def end_offset(self) -> int:
        return self.batches[-1].base_offset + self.batches[-1].count if self.batches else 0

    def append(
        self, producer_id: int, epoch: int, sequence: int, count: int, timestamp_ms: int, payload: bytes
    ) -> tuple[int, int, int]:
        """Returns (error code, base offset, log append time): 0 with the first one's offset for a repeat, 45, 47."""
        if producer_id < 0:
            batch = self._write(producer_id, epoch, sequence, count, timestamp_ms, payload)
            return 0, batch.base_offset, self.own_time_ms
        state = self.producers.get(producer_id)
        if state is not None:
            if epoch < state.epoch:
                return 47, -1, -1
            if epoch > state.epoch:
                if sequence != 0:
                    return 45, -1, -1
                state = None
            else:
                for batch in state.batches:
                    if batch.sequence == sequence and batch.count == count:
                        return 0, batch.base_offset, batch.timestamp_ms
                if sequence != (state.last_sequence + 1) % MODULUS:
                    return 45, -1, -1
        batch = self._write(producer_id, epoch, sequence, count, timestamp_ms, payload)
        if state is None:
            self.producers[producer_id] = Producer(epoch, [batch])
        else:
            state.batches = [*state.batches, batch][-REMEMBERED:]
        return 0, batch.base_offset, self.own_time_ms

    def _write(
        self, producer_id: int, epoch: int, sequence: int, count: int, timestamp_ms: int, payload: bytes
    ) -> Batch:
        if self.own_time_ms >= 0:
            timestamp_ms = self.own_time_ms
        batch = Batch(self.end_offset, producer_id, epoch, sequence, count, timestamp_ms, payload)
        self.batches.append(batch)
        return batch

    def restart(self) -> None:
        """Any restart of the replica that leads afterwards: the last batch of each producer is all it knows."""
        for state in self.producers.values():
            del state.batches[:-1]

    def expire(self, now_ms: int, expiration_ms: int = 24 * 3600 * 1000) -> None:
        """What a look at producer.id.expiration.ms does: the clock is the last batch's timestamp."""
        for producer_id, state in list(self.producers.items()):
            if now_ms - state.batches[-1].timestamp_ms >= expiration_ms:
                del self.producers[producer_id]

    def forget(self) -> None:
        """The producers' state has expired."""
        self.producers.clear()
