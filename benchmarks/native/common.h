/* What the benchmark programs share: clocks, their own CPU time, Unix and TCP sockets, messages of failure. */
#ifndef INGESTD_BENCHMARKS_COMMON_H
#define INGESTD_BENCHMARKS_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, ": %s\n", strerror(error));
    exit(1);
}

__attribute__((noreturn)) static inline void usage(const char *text)
{
    fprintf(stderr, "usage: %s\n", text);
    exit(2);
}

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline double seconds_of(struct timeval value)
{
    return (double)value.tv_sec + (double)value.tv_usec / 1e6;
}

/* Where the work to be measured begins: preparation does not count. */
struct begin {
    uint64_t at_ns;
    double user_s, system_s;
};

static inline struct begin begin_now(void)
{
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    return (struct begin){now_ns(), seconds_of(own.ru_utime), seconds_of(own.ru_stime)};
}

/* Ends a program's report: `,"elapsed_s":…,"user_s":…,"system_s":…}` and a line feed. */
static inline void print_costs(struct begin begin)
{
    struct begin end = begin_now();
    printf(",\"elapsed_s\":%.6f,\"user_s\":%.6f,\"system_s\":%.6f}\n", (double)(end.at_ns - begin.at_ns) / 1e9,
           end.user_s - begin.user_s, end.system_s - begin.system_s);
    fflush(stdout);
}

static inline uint64_t number_of(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end) {
        fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return value;
}

static inline void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (!memory)
        die("no memory for %zu bytes", bytes);
    return memory;
}

static inline struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "path too long for a Unix socket: %s\n", path);
        exit(2);
    }
    strcpy(address.sun_path, path);
    return address;
}

static inline struct sockaddr_in inet_address(const char *host, uint64_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "not an IPv4 address: %s\n", host);
        exit(2);
    }
    return address;
}

static inline int unix_connect(const char *path, int type)
{
    struct sockaddr_un address = unix_address(path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect %s", path);
    return fd;
}

static inline void write_all(int fd, const uint8_t *bytes, size_t length)
{
    while (length) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0) {
            if (errno == EINTR)
                continue;
            die("write");
        }
        bytes += written;
        length -= (size_t)written;
    }
}
#endif
