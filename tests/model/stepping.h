/* Stops a traced child after each instruction of its that stores into a mapped file. */
#ifndef INGESTD_STEPPING_H
#define INGESTD_STEPPING_H

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

enum { STORE = 1, STOPPED = 0, LOST = -1 };

/* One instruction of the stopped child. LOST: it did not come through it. */
static int step(int pid)
{
    int status;
    if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) != 0)
        return LOST;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return LOST;
    return WSTOPSIG(status);
}

/* Steps the stopped child until `bytes` at `watched` differ from `seen`. STORE: they do; STOPPED: the child stopped
   itself (SIGSTOP). */
static int step_until_store(int pid, const char *watched, const char *seen, size_t bytes)
{
    for (;;) {
        int signal = step(pid);
        if (signal == SIGSTOP)
            return STOPPED;
        if (signal != SIGTRAP)
            return LOST;
        if (memcmp(watched, seen, bytes) != 0)
            return STORE;
    }
}

#ifdef __x86_64__
/* mprotect(), for the tracer to run in the child: it needs no stack, and stops behind the call. */
__asm__(".pushsection .text\n"
        "ingestd_test_protect: movl $10, %eax\n syscall\n int3\n"
        ".popsection");
extern const char ingestd_test_protect[] __attribute__((visibility("hidden")));

static int protect_child(int pid, char *base, size_t bytes, int protection)
{
    struct user_regs_struct before, call;
    int status;
    if (ptrace(PTRACE_GETREGS, pid, 0, &before) != 0)
        return LOST;
    call = before;
    call.rip = (unsigned long)ingestd_test_protect;
    call.rdi = (unsigned long)base;
    call.rsi = bytes;
    call.rdx = (unsigned long)protection;
    call.orig_rax = (unsigned long)-1;
    if (ptrace(PTRACE_SETREGS, pid, 0, &call) != 0 || ptrace(PTRACE_CONT, pid, 0, 0) != 0)
        return LOST;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
        return LOST;
    if (ptrace(PTRACE_GETREGS, pid, 0, &call) != 0 || call.rax != 0)
        return LOST;
    return ptrace(PTRACE_SETREGS, pid, 0, &before) == 0 ? STOPPED : LOST;
}

/* After a store, so many instructions are stepped in search of the next: what copies bytes stores with every second or third. */
enum { STEPS_AFTER_STORE = 12 };

/* The same for a child whose mapping at `base` is read-only: it runs freely up to the first instruction that stores there, and is
   stepped from then on while stores follow. `*open`: steps left in which the mapping may be written, 0 before the first call. */
static int run_until_store(int pid, char *base, const char *watched, const char *seen, size_t bytes, int *open)
{
    int status, signal = 0;
    siginfo_t cause;
    for (;;) {
        while (*open > 0) {
            signal = step(pid);
            if (signal == SIGSTOP)
                return STOPPED;
            if (signal != SIGTRAP)
                return LOST;
            --*open;
            if (memcmp(watched, seen, bytes) != 0) {
                *open = STEPS_AFTER_STORE;
                return STORE;
            }
            if (*open == 0 && protect_child(pid, base, bytes, PROT_READ) != STOPPED)
                return LOST;
            signal = 0;
        }
        if (ptrace(PTRACE_CONT, pid, 0, signal) != 0)
            return LOST;
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
            return LOST;
        signal = WSTOPSIG(status);
        if (signal == SIGSTOP)
            return STOPPED;
        if (signal != SIGSEGV || ptrace(PTRACE_GETSIGINFO, pid, 0, &cause) != 0)
            continue;
        if ((char *)cause.si_addr < base || (char *)cause.si_addr >= base + bytes)
            continue;
        if (protect_child(pid, base, bytes, PROT_READ | PROT_WRITE) != STOPPED)
            return LOST;
        *open = STEPS_AFTER_STORE;
    }
}
#else
static int run_until_store(int pid, char *base, const char *watched, const char *seen, size_t bytes, int *open)
{
    (void)base;
    (void)open;
    return step_until_store(pid, watched, seen, bytes);
}
#endif

static int write_protect(char *base, size_t bytes)
{
#ifdef __x86_64__
    return mprotect(base, bytes, PROT_READ) == 0 ? 0 : errno;
#else
    return 0;
#endif
}
static int trace_me(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 0 : errno; }

#endif
