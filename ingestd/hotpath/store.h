/* The few machine-level things Cython cannot say: ordered stores, the file lock, the mapping. */
#ifndef INGESTD_STORE_H
#define INGESTD_STORE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One aligned 8-byte store; everything written before it is in memory before it is, for another thread as for whoever
 * reads the file after our death. */
static inline void store_release(uint64_t *place, uint64_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

/* Keeps the compiler from moving later plain stores before what came so far. A dead process stopped between two instructions,
 * so no fence of the processor is needed for it. */
static inline void store_barrier(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Locks the whole file for this open file description; 0 or an errno (EAGAIN: somebody else has it). Unlike a POSIX lock
 * it is not dropped when another descriptor of the file is closed. */
static inline int region_lock(int fd)
{
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

/* fd -1: anonymous memory. Returns NULL with errno set. Memory dumps leave the arena out: it holds other people's records. */
static inline unsigned char *region_map(int fd, size_t bytes)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (base == MAP_FAILED)
        return NULL;
    madvise(base, bytes, MADV_DONTDUMP);
    return (unsigned char *)base;
}

/* Puts blank memory in the mapping's place. */
static inline void region_blank(unsigned char *base, size_t bytes)
{
    mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* Gives a finished file its name; 0 or an errno (EEXIST: there is such a file). Filesystems that cannot refuse to replace get
 * a look before the rename: whoever creates arenas holds the lock of the state directory. */
static inline int region_rename(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (access(to, F_OK) == 0)
        return EEXIST;
    return rename(from, to) == 0 ? 0 : errno;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Backs the first `bytes` with memory now, so that no store faults later; 0 or an errno. Kernels before 5.14 do not know the
 * call: there the pages come on use. */
static inline int region_populate(unsigned char *base, size_t bytes)
{
    if (madvise(base, bytes, MADV_POPULATE_WRITE) == 0 || errno == EINVAL)
        return 0;
    return errno;
}

#endif
