/* Sends prepared records faster than what it measures: everything is built before the first byte goes out.
 *
 *   frames    native protocol (version 1) over a Unix stream, topic by an id agreed in the first frame
 *   lines     lines over a Unix stream
 *   datagram  one record per Unix datagram, by sendmmsg
 *   udp       one record per UDP datagram, by sendmmsg
 *
 * A record is a key (12 bytes, if there are keys; frames only) and a value of printable bytes, --record-bytes together (a line:
 * with its line feed); with --log the value is a line of a web server's log in JSON, cut or repeated to that length, since random bytes do
 * not compress, and equal ones too well. --answer accepted says HELLO, numbers the records and ends when all are accepted. --write FILE writes the
 * bytes of a stream to a file instead. Prints one JSON line at its end. */
#include "common.h"
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

enum {
    KEY_BYTES = 12,
    FRAME_HEADER_BYTES = 8,       /* length u32, type u8, flags u8, reserved u16 */
    RECORDS_FIXED_BYTES = 16,     /* topic_id u16, reserved u16, record_count u32, first_sequence u64 */
    SEQUENCE_OFFSET = 16,         /* of first_sequence within a RECORDS frame */
    RECORD_FIXED_BYTES = 5,       /* length u32, flags u8 */
    FLAG_KEY = 0x04,
    FLAG_VALUE = 0x10,
    HELLO = 0x01, RECORDS = 0x02, TOPIC = 0x03,
    GRANT = 0x41, ACCEPTED = 0x42, REJECTED = 0x43, ERROR = 0x47,
    PREPARED_BYTES = 4 << 20,
    CHUNK_BYTES = 256 << 10,      /* at most that much per write */
    BURST_MAX = 64,
    LATE_NS_MAX = 10000000,       /* further behind than this the schedule moves, so that a stall is not followed by a flood */
};

struct options {
    const char *kind, *address, *topic, *write_path;
    uint64_t records, rate, keys, record_bytes, per_frame, burst;
    int accepted, session, log;
};

struct answers {
    uint8_t window[65536];
    size_t filled;
    uint64_t accepted_to, rejected;
    int granted;
};

static struct begin begin;
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
    return at + bytes;
}

static uint64_t take(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static uint8_t *put_printable(uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)('!' + random_next() % 94);
    return at + length;
}

static uint8_t *put_log_line(uint8_t *at, size_t length)
{
    static const char *const LEVELS[] = {"INFO", "INFO", "INFO", "INFO", "WARN", "ERROR"};
    static const char *const METHODS[] = {"GET", "GET", "GET", "POST", "PUT"};
    static const char *const PATHS[] = {"/api/orders", "/api/users", "/api/basket", "/health", "/static/app.js", "/login"};
    static const char *const TEXTS[] = {"upstream connection kept alive", "cache miss, asked the database", "client gone before the answer",
                                        "session renewed", "quota checked", "retried on another upstream"};
    static uint64_t line_ms;
    char line[512];
    line_ms += random_next() % 7;
    int printed = snprintf(line, sizeof line,
                           "{\"time\":\"2026-11-25T19:%02u:%02u.%03uZ\",\"level\":\"%s\",\"id\":\"%08x\",\"ms\":%u,"
                           "\"path\":\"%s %s/%u\",\"text\":\"%s\",\"host\":\"gateway-7\"}",
                           (unsigned)(line_ms / 60000 % 60), (unsigned)(line_ms / 1000 % 60), (unsigned)(line_ms % 1000),
                           LEVELS[random_next() % 6], (unsigned)random_next(), (unsigned)(random_next() % 3000),
                           METHODS[random_next() % 5], PATHS[random_next() % 6], (unsigned)(random_next() % 5000),
                           TEXTS[random_next() % 6]);
    for (size_t done = 0; done < length; done += (size_t)printed)
        memcpy(at + done, line, length - done < (size_t)printed ? length - done : (size_t)printed);
    return at + length;
}

static uint8_t *put_value(uint8_t *at, size_t length, const struct options *options)
{
    return options->log ? put_log_line(at, length) : put_printable(at, length);
}

/* One RECORDS frame; returns its end. */
static uint8_t *put_frame(uint8_t *at, const struct options *options, uint64_t records)
{
    uint8_t *frame = at;
    at += FRAME_HEADER_BYTES;
    at = put(at, 0, 4);
    at = put(at, records, 4);
    at = put(at, 1, 8);
    for (uint64_t i = 0; i < records; i++) {
        uint64_t key_bytes = options->keys ? KEY_BYTES : 0;
        uint64_t value_bytes = options->record_bytes - key_bytes;
        at = put(at, 1 + (key_bytes ? 4 + key_bytes : 0) + value_bytes, 4);
        *at++ = (uint8_t)((key_bytes ? FLAG_KEY : 0) | FLAG_VALUE);
        if (key_bytes) {
            char key[KEY_BYTES + 1];
            snprintf(key, sizeof key, "key-%08u", (unsigned)(random_next() % options->keys % 100000000u));
            at = put(at, KEY_BYTES, 4);
            memcpy(at, key, KEY_BYTES);
            at += KEY_BYTES;
        }
        at = put_value(at, value_bytes, options);
    }
    put(frame, (uint64_t)(at - frame) - 4, 4);
    put(frame + 4, RECORDS, 4);
    return at;
}

/* Handles the answers that have come; with `wait` at least one read is made. */
static void read_answers(int fd, struct answers *answers, int wait)
{
    ssize_t got = recv(fd, answers->window + answers->filled, sizeof answers->window - answers->filled, wait ? 0 : MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        die("the daemon closed the connection, accepted up to %llu", (unsigned long long)answers->accepted_to);
    answers->filled += (size_t)got;
    const uint8_t *at = answers->window, *end = answers->window + answers->filled;
    while (end - at >= FRAME_HEADER_BYTES) {
        size_t length = take(at, 4) + 4;
        if (length > sizeof answers->window) {
            errno = EMSGSIZE;
            die("answer of %zu bytes", length);
        }
        if ((size_t)(end - at) < length)
            break;
        const uint8_t *body = at + FRAME_HEADER_BYTES;
        if (at[4] == GRANT)
            answers->granted = 1;
        else if (at[4] == ACCEPTED)
            answers->accepted_to = take(body + 8, 8);
        else if (at[4] == REJECTED)
            answers->rejected += take(body + 8, 4);
        else if (at[4] == ERROR) {
            errno = EPROTO;
            die("error %u from the daemon: %.*s", (unsigned)take(body, 2), (int)take(body + 2, 2), (const char *)body + 4);
        }
        at += length;
    }
    answers->filled = (size_t)(end - at);
    memmove(answers->window, at, answers->filled);
}

/* Writes, and takes answers in while the daemon does not read. */
static void write_and_listen(int fd, struct answers *answers, const uint8_t *bytes, size_t length)
{
    while (length) {
        ssize_t written = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written > 0) {
            bytes += written;
            length -= (size_t)written;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            die("write");
        struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};
        poll(&ready, 1, -1);
        if (ready.revents & (POLLIN | POLLHUP | POLLERR))
            read_answers(fd, answers, 0);
    }
}

/* Sleeps until the `done`-th record is due; returns the start of the schedule, moved if it was missed. */
static uint64_t pace(uint64_t start_ns, uint64_t done, uint64_t rate)
{
    uint64_t due_ns = start_ns + (uint64_t)((double)done * 1e9 / (double)rate), now = now_ns();
    if (now > due_ns + LATE_NS_MAX)
        return start_ns + (now - due_ns);
    if (now < due_ns) {
        struct timespec until = {.tv_sec = (time_t)(due_ns / 1000000000u), .tv_nsec = (long)(due_ns % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
    }
    return start_ns;
}

static void open_protocol(int fd, const struct options *options, struct answers *answers)
{
    uint8_t opening[512], *at = opening;
    size_t name_bytes = strlen(options->topic);
    if (options->accepted) {
        at = put(at, FRAME_HEADER_BYTES - 4 + 22, 4);
        at = put(at, HELLO | (uint64_t)options->session << 8, 4);
        at = put(at, 1, 2);
        at = put(at, 1, 2); /* answer accepted */
        memset(at, 0, 16);
        at = put(at + 16, 0, 2);
        write_all(fd, opening, (size_t)(at - opening));
        while (!answers->granted)
            read_answers(fd, answers, 1);
        at = opening;
    }
    at = put(at, FRAME_HEADER_BYTES - 4 + 4 + name_bytes, 4);
    at = put(at, TOPIC, 4);
    at = put(at, 0, 2);
    at = put(at, name_bytes, 2);
    memcpy(at, options->topic, name_bytes);
    write_all(fd, opening, (size_t)(at + name_bytes - opening));
}

static int stream_target(const struct options *options)
{
    if (!options->write_path)
        return unix_connect(options->address, SOCK_STREAM);
    int fd = open(options->write_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die("open %s", options->write_path);
    return fd;
}

static uint64_t run_frames(const struct options *options, struct answers *answers)
{
    size_t record_max = RECORD_FIXED_BYTES + 4 + options->record_bytes;
    size_t frame_max = FRAME_HEADER_BYTES + RECORDS_FIXED_BYTES + options->per_frame * record_max;
    uint64_t whole = options->records / options->per_frame, rest = options->records % options->per_frame;
    uint64_t prepared = PREPARED_BYTES / frame_max ? PREPARED_BYTES / frame_max : 1;
    uint8_t *block = allocate((prepared + 1) * frame_max), *end = block;
    for (uint64_t i = 0; i < prepared; i++)
        end = put_frame(end, options, options->per_frame);
    size_t frame_bytes = (size_t)(end - block) / prepared; /* all of one size */
    uint8_t *tail_end = put_frame(end, options, rest);
    uint64_t chunk_frames = options->rate || CHUNK_BYTES < frame_bytes ? 1 : CHUNK_BYTES / frame_bytes;
    int fd = stream_target(options);
    uint64_t bytes = 0, next_sequence = 1;
    begin = begin_now();
    uint64_t start_ns = begin.at_ns;
    open_protocol(fd, options, answers);
    for (uint64_t done = 0; done < whole;) {
        uint64_t place = done % prepared, count = chunk_frames;
        if (count > prepared - place)
            count = prepared - place;
        if (count > whole - done)
            count = whole - done;
        if (options->rate)
            start_ns = pace(start_ns, done * options->per_frame, options->rate);
        uint8_t *from = block + place * frame_bytes;
        if (!options->accepted)
            write_all(fd, from, count * frame_bytes);
        else {
            for (uint64_t i = 0; i < count; i++, next_sequence += options->per_frame)
                put(from + i * frame_bytes + SEQUENCE_OFFSET, next_sequence, 8);
            write_and_listen(fd, answers, from, count * frame_bytes);
            read_answers(fd, answers, 0);
        }
        bytes += count * frame_bytes;
        done += count;
    }
    if (rest) {
        put(end + SEQUENCE_OFFSET, options->accepted ? next_sequence : 1, 8);
        write_all(fd, end, (size_t)(tail_end - end));
        bytes += (uint64_t)(tail_end - end);
    }
    while (options->accepted && answers->accepted_to < options->records)
        read_answers(fd, answers, 1);
    close(fd);
    return bytes;
}

static uint64_t run_lines(const struct options *options)
{
    uint64_t prepared = PREPARED_BYTES / options->record_bytes;
    uint8_t *block = allocate(prepared * options->record_bytes), *at = block;
    for (uint64_t i = 0; i < prepared; i++) {
        at = put_value(at, options->record_bytes - 1, options);
        *at++ = '\n';
    }
    uint64_t chunk = options->rate ? options->burst : CHUNK_BYTES / options->record_bytes;
    int fd = stream_target(options);
    begin = begin_now();
    uint64_t start_ns = begin.at_ns;
    for (uint64_t done = 0; done < options->records;) {
        uint64_t place = done % prepared, count = chunk ? chunk : 1;
        if (count > prepared - place)
            count = prepared - place;
        if (count > options->records - done)
            count = options->records - done;
        if (options->rate)
            start_ns = pace(start_ns, done, options->rate);
        write_all(fd, block + place * options->record_bytes, count * options->record_bytes);
        done += count;
    }
    close(fd);
    return options->records * options->record_bytes;
}

static int datagram_target(const struct options *options)
{
    if (!strcmp(options->kind, "datagram"))
        return unix_connect(options->address, SOCK_DGRAM);
    char host[64];
    const char *colon = strrchr(options->address, ':');
    if (!colon || (size_t)(colon - options->address) >= sizeof host)
        usage("an UDP address is HOST:PORT");
    memcpy(host, options->address, (size_t)(colon - options->address));
    host[colon - options->address] = 0;
    struct sockaddr_in address = inet_address(host, number_of(colon + 1));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect %s", options->address);
    return fd;
}

static uint64_t run_datagrams(const struct options *options)
{
    uint64_t prepared = PREPARED_BYTES / options->record_bytes;
    uint8_t *block = allocate(prepared * options->record_bytes);
    put_printable(block, prepared * options->record_bytes);
    struct mmsghdr messages[BURST_MAX];
    struct iovec places[BURST_MAX];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BURST_MAX; i++) {
        messages[i].msg_hdr.msg_iov = &places[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    prctl(PR_SET_TIMERSLACK, 1);
    int fd = datagram_target(options);
    begin = begin_now();
    uint64_t start_ns = begin.at_ns;
    for (uint64_t done = 0; done < options->records;) {
        uint64_t count = options->burst < options->records - done ? options->burst : options->records - done;
        for (uint64_t i = 0; i < count; i++)
            places[i] = (struct iovec){block + (done + i) % prepared * options->record_bytes, options->record_bytes};
        if (options->rate)
            start_ns = pace(start_ns, done, options->rate);
        for (uint64_t sent = 0; sent < count;) {
            int now = sendmmsg(fd, messages, (unsigned)(count - sent), 0);
            if (now < 0 && errno != EINTR && errno != ENOBUFS)
                die("sendmmsg");
            if (now > 0) {
                sent += (uint64_t)now;
                memmove(places, places + now, (size_t)(count - sent) * sizeof *places);
            }
        }
        done += count;
    }
    close(fd);
    return options->records * options->record_bytes;
}

static struct options parse(int argc, char **argv)
{
    static const char text[] = "generator frames|lines|datagram|udp ADDRESS [--records N] [--rate PER_SECOND] [--keys N] [--record-bytes N]\n"
                               "       [--per-frame N] [--burst N] [--topic NAME] [--answer none|accepted] [--session] [--log] [--write FILE]";
    static const struct option known[] = {
        {"records", 1, 0, 'n'}, {"rate", 1, 0, 'r'}, {"keys", 1, 0, 'k'}, {"record-bytes", 1, 0, 'b'}, {"per-frame", 1, 0, 'f'},
        {"burst", 1, 0, 'u'}, {"topic", 1, 0, 't'}, {"answer", 1, 0, 'a'}, {"session", 0, 0, 's'}, {"log", 0, 0, 'l'}, {"write", 1, 0, 'w'}, {0, 0, 0, 0}};
    struct options options = {.topic = "bench", .records = 1000000, .record_bytes = 133, .per_frame = 400, .burst = 10, .keys = 10000};
    for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (found) {
        case 'n': options.records = number_of(optarg); break;
        case 'r': options.rate = number_of(optarg); break;
        case 'k': options.keys = number_of(optarg); break;
        case 'b': options.record_bytes = number_of(optarg); break;
        case 'f': options.per_frame = number_of(optarg); break;
        case 'u': options.burst = number_of(optarg); break;
        case 't': options.topic = optarg; break;
        case 's': options.session = 1; break;
        case 'l': options.log = 1; break;
        case 'w': options.write_path = optarg; break;
        case 'a': options.accepted = !strcmp(optarg, "accepted"); break;
        default: usage(text);
        }
    }
    if (argc - optind != 2 || strlen(options.topic) > 249 || !options.per_frame || !options.burst || options.burst > BURST_MAX ||
        options.record_bytes < KEY_BYTES + 1 || options.record_bytes > 60000 || options.record_bytes * options.per_frame > 1 << 20 ||
        (options.accepted && options.write_path))
        usage(text);
    options.kind = argv[optind];
    options.address = argv[optind + 1];
    return options;
}

int main(int argc, char **argv)
{
    static struct answers answers;
    struct options options = parse(argc, argv);
    uint64_t bytes;
    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(options.kind, "frames"))
        bytes = run_frames(&options, &answers);
    else if (!strcmp(options.kind, "lines"))
        bytes = run_lines(&options);
    else if (!strcmp(options.kind, "datagram") || !strcmp(options.kind, "udp"))
        bytes = run_datagrams(&options);
    else
        usage("generator frames|lines|datagram|udp ADDRESS [options]");
    printf("{\"records\":%llu,\"bytes\":%llu,\"rejected\":%llu", (unsigned long long)options.records,
           (unsigned long long)bytes, (unsigned long long)answers.rejected);
    print_costs(begin);
    return 0;
}
