# A worker's buffer: one mapped file that is the accumulator, the crash safety and the outage spool (DESIGN.md 4).
#
# Region (mapping, lock) <- Tables (header, intent, ledger, topics, sessions) <- Directory (batches, as intake and
# recovery see them)
# <- Arena (batches, as the producer sees them). What intake calls is declared in directory.pxd and tables.pxd:
#   batch_open, commit_add, batch_seal; intent_add, intent_commit; base, directory, sessions, ledger, free_pages.
from libc.stdint cimport uint32_t, uint64_t

from ingestd.hotpath.directory cimport ARENA_FULL, OPENED, Directory, OpenBatch, OpenVerdict


cdef class Arena(Directory):
    cdef readonly list damage      # what recovery put aside when this arena was opened

    cdef uint32_t _expect(self, object entry, uint32_t states) except? 0xFFFFFFFF
    cdef object _snapshot(self, uint32_t entry)
    cdef int _stamp(self, uint32_t entry, object producer_id, object epoch, object base_sequence, object flags,
                    object now_ms, uint64_t attempts) except -1
    cdef int _swap(self, uint32_t entry, uint64_t new_run, const unsigned char* records, uint32_t record_bytes,
                   uint32_t record_count, uint32_t codec, const unsigned char* provenance, uint32_t provenance_bytes,
                   object timestamps) except -1
    cdef int _leave_reserve(self, uint32_t entry) except -1
    cdef list _runs(self, uint32_t entry)
