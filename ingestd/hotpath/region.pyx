"""A mapped file with one owner: created under a temporary name, never sparse, locked, left out of core dumps."""
import os

cimport cython
from libc.errno cimport errno
from libc.stdint cimport uint64_t

from ingestd.hotpath.layout cimport OWNER_OFFSET, PAGE_BYTES
from ingestd.hotpath.store cimport region_blank, region_lock, region_map, region_populate, region_rename, store_release

from ingestd.hotpath.errors import ArenaDamaged, ArenaInUse

cdef extern from "<sys/mman.h>" nogil:
    int munmap(void* base, size_t bytes)

POPULATE_BYTES_MAX = 256 << 20     # beyond that, pages come on use: filling 20 GiB would hold up the start


@cython.no_gc_clear      # see BatchView
cdef class Region:
    """Base of the arena. A subclass calls region_create and, once the header is written, region_publish; or
    region_open.
    """

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            os.close(self.fd)
        if self.base != NULL:
            munmap(self.base, self.file_bytes)

    cdef int region_create(self, uint64_t file_bytes) except -1:
        # OSError of posix_fallocate (no space, quota, file size limit) reaches the caller as it is; no file stays
        # behind then.
        self.file_bytes = file_bytes
        if self.path is None:
            return self._map()
        temporary = self.path + ".new"
        self.fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._lock(temporary)
        try:
            os.ftruncate(self.fd, 0)
            os.posix_fallocate(self.fd, 0, file_bytes)
            self._map()
        except BaseException:
            os.unlink(temporary)
            self.region_close()
            raise
        return 0

    cdef int region_publish(self) except -1:
        cdef int error
        store_release(<uint64_t*>(self.base + OWNER_OFFSET), <uint64_t>os.getpid())
        if self.path is None:
            return 0
        temporary = self.path + ".new"
        error = region_rename(os.fsencode(temporary), os.fsencode(self.path))
        if error != 0:
            os.unlink(temporary)
            raise OSError(error, os.strerror(error), self.path)
        directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return 0

    cdef int region_open(self) except -1:
        self.fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._lock(self.path)
        # The file may have been drained and unlinked by its owner between our open and our lock.
        if os.stat(self.path).st_ino != os.fstat(self.fd).st_ino:
            self.region_close()
            raise FileNotFoundError(f"arena {self.path} was replaced while it was being opened")
        self.file_bytes = os.fstat(self.fd).st_size
        if self.file_bytes < 8 * PAGE_BYTES or self.file_bytes % PAGE_BYTES != 0:
            self.region_close()
            raise ArenaDamaged(f"arena {self.path} has {self.file_bytes} bytes: not an arena, or cut short")
        return self._map()

    cdef int region_adopt(self) except -1:
        # Called once the header was found good: from here on the file says that it is ours.
        store_release(<uint64_t*>(self.base + OWNER_OFFSET), <uint64_t>os.getpid())
        return 0

    cdef void region_close(self) noexcept:
        # The lock goes with the last reference to the open file: our descriptor and our mapping. Blank memory takes
        # the mapping's place,
        # so that a late call on a closed arena reads zeros and writes nowhere.
        if self.base != NULL:
            region_blank(self.base, self.file_bytes)
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _lock(self, str name):
        cdef int error = region_lock(self.fd)
        if error == 0:
            return
        owner = int.from_bytes(os.pread(self.fd, 8, OWNER_OFFSET), "little")
        os.close(self.fd)
        self.fd = -1
        if error in (11, 13):
            raise ArenaInUse(name, owner)
        raise OSError(error, os.strerror(error), name)

    cdef int _map(self) except -1:
        cdef int error
        self.base = region_map(self.fd, self.file_bytes)
        if self.base == NULL:
            raise OSError(errno, os.strerror(errno), self.path or "anonymous arena")
        error = region_populate(self.base, min(self.file_bytes, <uint64_t>POPULATE_BYTES_MAX))
        if error != 0:
            raise OSError(error, os.strerror(error), self.path or "anonymous arena")
        return 0
