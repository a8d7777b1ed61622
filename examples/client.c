/* A client of ingestd's native protocol (PROTOCOL.md) in C: sends the lines of its input, each as one record, and
 * prints where each of them is in Kafka. It keeps a session: when the connection ends, it comes back and resumes.
 *
 *     cc -O2 -Wall -Wextra -Werror -o client client.c
 *     printf 'France\nUSA\n' | ./client /run/ingestd/app.sock CustomerCountry "Precision Products"
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HELLO = 0x01, RECORDS = 0x02, CONFIRM = 0x04, CLOSE = 0x05, GRANT = 0x41, ACCEPTED, REJECTED, DELIVERED, FAILED,
       OUTCOME_UNKNOWN, ERROR, CLOSED, REDIRECT,
       LEVEL_DELIVERED = 2, STALLED = 19, KEPT_MAX = 1 << 20, FRAME_MAX = 2 << 20 };

static char path[108];                 /* where to connect: the listener's path, later the session's own */
static uint8_t session_id[16];
static int fd = -1, granted;
static uint8_t *out, *in;              /* frames that are not accepted yet; unread answers */
static size_t out_size, written, in_size;
static uint8_t urgent[64];             /* HELLO, CONFIRM, CLOSE: go out in front of the next frame */
static size_t urgent_size;
static uint64_t confirm;               /* rejections up to here were seen, and the daemon is not told yet */
static uint8_t *settled;               /* by sequence: 1 when its outcome is known */
static uint64_t last_sequence, open_records, failures;

static void die(const char *what) { perror(what); exit(1); }
static uint64_t get(const uint8_t *at, int bytes) { uint64_t v = 0; while (bytes--) v = v << 8 | at[bytes]; return v; }
static uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
    for (; bytes--; value >>= 8) *at++ = (uint8_t)value;
    return at;
}
static uint8_t *put_bytes(uint8_t *at, const void *from, size_t size) { memcpy(at, from, size); return at + size; }
static uint8_t *head(uint8_t *at, size_t body, int type, int flags) {
    return put(put(put(put(at, 4 + body, 4), type, 1), flags, 1), 0, 2);
}

static void say_urgent(int type, int flags, const uint8_t *body, size_t size) {
    uint8_t *end = head(urgent + urgent_size, size, type, flags);
    urgent_size = (size_t)(put_bytes(end, body, size) - urgent);
}

static void connect_again(void) {
    if (fd >= 0) close(fd);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, path);
    for (int attempt = 0;; attempt++) {
        if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0) die("socket");
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) break;
        if (attempt == 100) die(path);
        close(fd);
        usleep(attempt < 10 ? 20000 : 200000);
    }
    written = in_size = urgent_size = 0;
    granted = 0;
    uint8_t hello[22], *at = put(hello, 1, 2);
    at = put(put(at, LEVEL_DELIVERED, 1), 0, 1);
    put(put_bytes(at, session_id, 16), 0, 2);
    say_urgent(HELLO, 1, hello, sizeof hello);
}

static void settle(uint64_t sequence, const char *what, int partition, int64_t offset) {
    if (sequence > last_sequence || settled[sequence]) return;      /* answered before the connection was lost */
    settled[sequence] = 1;
    open_records--;
    if (partition >= 0) printf("%llu %s %d %lld\n", (unsigned long long)sequence, what, partition, (long long)offset);
    else printf("%llu %s\n", (unsigned long long)sequence, what);
    failures += strcmp(what, "delivered") != 0;
}

static void settle_runs(const uint8_t *at, const char *what, int partition, int64_t base) {
    uint64_t runs = get(at, 4);
    for (at += 4; runs--;) {
        uint64_t sequence = get(at, 8), count = get(at + 8, 4), delta = get(at + 12, 4), gaps = get(at + 16, 4);
        const uint8_t *gap = at + 20;
        for (uint64_t i = 0; i < count; i++, sequence++) {
            if (i && gaps)                                          /* LEB128: how many sequences are left out here */
                for (int shift = 0;; shift += 7) {
                    sequence += (uint64_t)(*gap & 0x7f) << shift;
                    if (!(*gap++ & 0x80)) break;
                }
            settle(sequence, what, partition, base < 0 ? -1 : base + (int64_t)(delta + i));
        }
        at += 20 + gaps;
    }
}

static void drop_accepted(uint64_t accepted) {              /* the daemon has them: their frames need not be kept */
    size_t size = 0;
    while (size < out_size) {
        size_t end = size + 4 + get(out + size, 4);
        if (get(out + size + 16, 8) + get(out + size + 12, 4) - 1 > accepted) break;
        if (size < written && written < end) break;         /* begun: the rest of it must follow */
        size = end;
    }
    if (size) memmove(out, out + size, out_size -= size);
    written = written > size ? written - size : 0;
}

static int answer(int type, const uint8_t *b) {             /* 0: the conversation is over */
    const uint8_t *rest;
    switch (type) {
    case GRANT:
        if (b[3] == 2) {
            fprintf(stderr, "the session was forgotten, %llu outcomes are unknown\n", (unsigned long long)open_records);
            exit(1);
        }
        memcpy(session_id, b + 4, 16);
        snprintf(path, sizeof path, "%.*s", (int)get(b + 36, 2), (const char *)b + 38);
        granted = 1;                                        /* what is kept goes out again: what is known is skipped */
        break;
    case REDIRECT: snprintf(path, sizeof path, "%.*s", (int)get(b, 2), (const char *)b + 2); break;
    case ACCEPTED: drop_accepted(get(b + 8, 8)); break;
    case REJECTED:
        for (uint64_t i = 0, n = get(b + 8, 4); i < n; i++) settle(get(b, 8) + i, "rejected", -1, 0);
        confirm = get(b, 8) + get(b + 8, 4) - 1;
        break;
    case OUTCOME_UNKNOWN: for (uint64_t s = get(b, 8); s <= get(b + 8, 8); s++) settle(s, "unknown", -1, 0); break;
    case DELIVERED: settle_runs(b + 22 + get(b + 20, 2), "delivered", (int)get(b, 4), (int64_t)get(b + 4, 8)); break;
    case FAILED:
        rest = b + 12 + get(b + 10, 2);
        settle_runs(rest + 2 + get(rest, 2), "failed", -1, -1);
        break;
    case ERROR:
        fprintf(stderr, "ingestd: reason %u: %.*s\n", (unsigned)get(b, 2), (int)get(b + 2, 2), (const char *)b + 4);
        if (get(b, 2) != STALLED) exit(1);                  /* resume at once; all else would end the same way */
        break;
    case CLOSED: return 0;
    }
    return 1;                                               /* a type that we do not know is ignored */
}

static int read_answers(void) {
    ssize_t got = recv(fd, in + in_size, FRAME_MAX + 8 - in_size, 0);
    if (got <= 0) { connect_again(); return 1; }
    in_size += (size_t)got;
    size_t used = 0;
    while (in_size - used >= 8 && in_size - used >= 4 + get(in + used, 4)) {
        if (!answer(in[used + 4], in + used + 8)) return 0;
        used += 4 + get(in + used, 4);
    }
    memmove(in, in + used, in_size -= used);
    return 1;
}

static void write_frames(void) {
    static size_t frame_left;                               /* of the frame that is begun: nothing may come between */
    if (written == 0) frame_left = 0;
    if (confirm && granted && !urgent_size) {
        uint8_t sequence[8];
        put(sequence, confirm, 8);
        say_urgent(CONFIRM, 0, sequence, 8);
        confirm = 0;
    }
    if (urgent_size && !frame_left) {
        ssize_t sent = send(fd, urgent, urgent_size, MSG_NOSIGNAL);
        if (sent > 0) memmove(urgent, urgent + sent, urgent_size -= (size_t)sent);
        return;
    }
    if (!granted || written == out_size) return;
    if (!frame_left) frame_left = 4 + get(out + written, 4);
    ssize_t sent = send(fd, out + written, frame_left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) { written += (size_t)sent; frame_left -= (size_t)sent; }
    else if (errno == EPIPE) usleep(1000);                  /* the daemon stops; its last answers are still to come */
}

static void add_record(const char *topic, const char *key, const char *value, size_t value_size) {
    size_t key_size = key ? strlen(key) : 0, topic_size = strlen(topic);
    size_t record = 1 + (key ? 4 + key_size : 0) + value_size, body = 16 + 2 + topic_size + 4 + record;
    out = realloc(out, out_size + 8 + body);
    settled = realloc(settled, ++last_sequence + 1);
    if (!out || !settled) die("memory");
    settled[last_sequence] = 0;
    open_records++;
    uint8_t *at = head(out + out_size, body, RECORDS, 1);   /* flag 1: the topic by name; one record in this frame */
    at = put(put(put(put(at, 0, 2), 0, 2), 1, 4), last_sequence, 8);
    at = put_bytes(put(at, topic_size, 2), topic, topic_size);
    at = put(put(at, record, 4), 0x10 | (key ? 0x04 : 0), 1);
    if (key) at = put_bytes(put(at, key_size, 4), key, key_size);
    put_bytes(at, value, value_size);
    out_size += 8 + body;
}

int main(int count, char **arguments) {
    if (count < 3 || count > 4 || strlen(arguments[1]) >= sizeof path) {
        fprintf(stderr, "usage: %s SOCKET TOPIC [KEY] < lines\n", arguments[0]);
        return 2;
    }
    strcpy(path, arguments[1]);
    if (!(in = malloc(FRAME_MAX + 8))) die("memory");
    connect_again();
    static char line[1 << 20];
    size_t line_size = 0;
    for (int input_open = 1, closing = 0;;) {
        if (!input_open && !open_records && granted && !closing) { say_urgent(CLOSE, 0, session_id, 0); closing = 1; }
        if (closing && !granted) break;                     /* all is answered; the daemon went before CLOSED */
        short wanted = POLLIN | (urgent_size || (granted && (confirm || written < out_size)) ? POLLOUT : 0);
        struct pollfd ends[2] = { { fd, wanted, 0 }, { input_open && out_size < KEPT_MAX ? 0 : -1, POLLIN, 0 } };
        if (poll(ends, 2, -1) < 0 && errno != EINTR) die("poll");
        if (ends[1].revents) {
            ssize_t got = read(0, line + line_size, sizeof line - line_size);
            input_open = got > 0;
            line_size += got > 0 ? (size_t)got : 0;
            size_t start = 0;
            for (char *end; (end = memchr(line + start, '\n', line_size - start)); start = (size_t)(end - line) + 1)
                add_record(arguments[2], arguments[3], line + start, (size_t)(end - line) - start);
            if (line_size > start && (!input_open || (start == 0 && line_size == sizeof line))) {
                add_record(arguments[2], arguments[3], line + start, line_size - start);
                start = line_size;
            }
            memmove(line, line + start, line_size -= start);
        }
        if (ends[0].revents & POLLOUT) write_frames();
        if (ends[0].revents & ~POLLOUT && !read_answers()) break;
    }
    return failures ? 1 : 0;
}
