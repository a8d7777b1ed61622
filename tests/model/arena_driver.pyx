# cython: language_level=3, boundscheck=False, wraparound=False
"""What intake does to an arena, one verb at a time, for tests; with planted ordering bugs. And a single-stepper that
stops a process after each store into a mapped file."""
import os
import signal

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ingestd.hotpath.arena cimport ARENA_FULL, Arena, OpenBatch
from ingestd.hotpath.intent cimport intent_apply, intent_clear, intent_publish

cdef extern from "stepping.h":
    enum:
        STORE
        LOST
    int step(int pid) nogil
    int step_until_store(int pid, const char* watched, const char* seen, size_t size) nogil
    int run_until_store(int pid, char* base, const char* watched, const char* seen, size_t size, int* open) nogil
    int write_protect(char* base, size_t size)
    int trace_me()

PLANT_NOTHING = 0
PLANT_COMMIT_BEFORE_PAYLOAD = 1
PLANT_APPLY_BEFORE_PUBLISH = 2
PLANT_CLEAR_BEFORE_APPLY = 3


def trace(Arena arena=None):
    """In the child: lets the parent step through us from the next stop on. With the arena that the parent will watch, only what stores
    in it is stepped (on x86-64; elsewhere every instruction is).
    """
    cdef int error = trace_me()
    if error == 0 and arena is not None:
        error = write_protect(<char*>arena.base, arena.file_bytes)
    if error:
        raise OSError(error, os.strerror(error))


def steps(int pid):
    """Whether one instruction of a stopped child can be stepped."""
    return step(pid) == signal.SIGTRAP


cdef class Stops:
    """The stores of a traced, stopped child into the memory that `watched` shows; `arena` is what the child gave to `trace`."""
    cdef int pid
    cdef const unsigned char[::1] watched
    cdef char* base
    cdef int open

    def __init__(self, int pid, const unsigned char[::1] watched not None, Arena arena=None):
        self.pid = pid
        self.watched = watched
        self.base = NULL if arena is None else <char*>arena.base

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.watched = None

    def until_store(self, bytearray seen not None):
        """Lets the child go on until the watched bytes differ from `seen`, which is updated then. True: a store; False:
        the child stopped.
        """
        cdef unsigned char[::1] last = seen
        cdef const char* now = <const char*>&self.watched[0]
        cdef const char* before = <const char*>&last[0]
        cdef int outcome
        if self.base == NULL:
            outcome = step_until_store(self.pid, now, before, self.watched.shape[0])
        else:
            outcome = run_until_store(self.pid, self.base, now, before, self.watched.shape[0], &self.open)
        if outcome == LOST:
            raise OSError("the stepped process is gone; what it said is on stderr")
        if outcome == STORE:
            memcpy(&last[0], now, self.watched.shape[0])
        return outcome == STORE


cdef class Writer:
    """Open batches of one arena, by handle."""
    cdef Arena arena
    cdef OpenBatch[64] batches
    cdef int used

    def __init__(self, Arena arena not None):
        self.arena = arena

    def open(self, topic, partition, needed_bytes, wanted_bytes, now_ms, tick_ms=0):
        """Handle of a new batch, or -1 where the arena is full."""
        cdef int handle
        cdef OpenBatch* batch
        for handle in range(64):
            if handle >= self.used or self.batches[handle].entry < 0:
                break
        else:
            raise ValueError("64 batches are open")
        self.used = max(self.used, handle + 1)
        batch = &self.batches[handle]
        verdict = self.arena.batch_open(batch, topic, partition, needed_bytes, wanted_bytes, now_ms, tick_ms)
        return -1 if verdict == ARENA_FULL else handle

    def entry(self, int handle):
        return self.batches[handle].entry

    def room(self, int handle):
        """Bytes between the records and the provenance."""
        return self.batches[handle].back - self.batches[handle].front

    def run_bytes(self, int handle):
        return self.batches[handle].run_bytes

    def write(self, int handle, bytes records, count, bytes provenance, base_ms, max_ms):
        """Encoded records at the front, encoded provenance runs at the back; nothing of it is committed."""
        cdef OpenBatch* batch = &self.batches[handle]
        cdef const unsigned char* data = records
        cdef const unsigned char* back = provenance
        if len(records) + len(provenance) > self.room(handle):
            raise ValueError("no room")
        memcpy(batch.start + batch.front, data, len(records))
        memcpy(batch.start + batch.back - len(provenance), back, len(provenance))
        batch.front += <uint32_t>len(records)
        batch.back -= <uint32_t>len(provenance)
        if batch.record_count == 0:
            batch.base_timestamp_ms = base_ms
            batch.max_timestamp_ms = max_ms
        batch.max_timestamp_ms = max(batch.max_timestamp_ms, <int64_t>max_ms)
        batch.record_count += <uint32_t>count
        batch.touched = True

    def stored_count(self, int handle, int back_offset, count):
        """Overwrites the count of the newest provenance run (its lowest 4 bytes, or those `back_offset` above)."""
        cdef OpenBatch* batch = &self.batches[handle]
        cdef uint32_t value = count
        memcpy(batch.start + batch.back + back_offset, &value, 4)

    def commit(self, handles, ledger=None, sessions=None, int plant=0):
        """What the end of a read does: commits the batches, the books ({word: amount}) and sessions ({row: last
        sequence}) as one.
        """
        cdef OpenBatch* batch
        cdef bytes late = b""
        cdef unsigned char* place = NULL
        for handle in handles:
            batch = &self.batches[<int>handle]
            place = batch.start + batch.committed_front
            late = place[:batch.front - batch.committed_front]
            self.arena.commit_add(batch)
        for word, amount in (ledger or {}).items():
            self.arena.ledger_add(word, amount)
        for row, sequence in (sessions or {}).items():
            self.arena.intent_add(&self.arena.sessions[<int>row].last_accepted, sequence)
        if plant == PLANT_COMMIT_BEFORE_PAYLOAD:
            memset(place, 0, len(late))
            self.arena.intent_commit()
            memcpy(place, <const unsigned char*>late, len(late))
        elif plant == PLANT_APPLY_BEFORE_PUBLISH:
            intent_apply(&self.arena.intent, self.arena.intent.count)
            intent_publish(&self.arena.intent)
            intent_clear(&self.arena.intent)
        elif plant == PLANT_CLEAR_BEFORE_APPLY:
            count = self.arena.intent.count
            intent_publish(&self.arena.intent)
            intent_clear(&self.arena.intent)
            intent_apply(&self.arena.intent, count)
        else:
            self.arena.intent_commit()

    def reject(self, row, rejections):
        """Stores unconfirmed rejections (sequence, reason) into a session's row, as intake does."""
        cdef int index
        for index in range(len(rejections)):
            value = rejections[index][0] | rejections[index][1] << 48
            self.arena.intent_add(&self.arena.sessions[<int>row].rejections[index], value)
        self.arena.intent_add(&self.arena.sessions[<int>row].rejection_count, len(rejections))
        self.arena.intent_commit()

    def stage(self, word, amount):
        """Leaves an intent half built, as in the middle of a read."""
        self.arena.ledger_add(word, amount)

    def seal(self, int handle):
        """OPEN -> SEALED."""
        self.arena.batch_seal(&self.batches[handle])

    def scribble(self, int handle, bytes data):
        """Bytes behind what is committed, as a record that is being encoded when we die."""
        cdef OpenBatch* batch = &self.batches[handle]
        memcpy(batch.start + batch.front, <const unsigned char*>data, min(len(data), <int>(batch.back - batch.front)))
