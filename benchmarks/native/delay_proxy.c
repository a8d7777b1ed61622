/* A line with a round trip of --delay milliseconds between a producer and the one broker behind it.
 *
 * Requests are held for that long, answers pass at once, and at most --window bytes are held: on a real line a byte stays in the
 * sender's buffer until it is acknowledged, a round trip later, so a send buffer of that size lets so much be under way. On loopback
 * everything is acknowledged at once, so the buffer itself bounds nothing. Looks every LOOK_NS, so a delay is that much too long at
 * most. Runs until it is killed. */
#include "common.h"
#include <getopt.h>
#include <poll.h>

enum {
    LINKS_MAX = 64,
    MARKS_MAX = 1024,
    ANSWER_BYTES = 64 << 10,
    RECEIVE_BYTES = 64 << 10, /* the kernel's buffer, which is not part of the line */
    LOOK_NS = 250000,
};

/* Bytes up to `upto`, counted from the beginning of the connection, may pass at `due_ns`. */
struct mark {
    uint64_t due_ns, upto;
};

struct link {
    int client, broker;
    uint64_t passed, seen;
    uint8_t *held; /* a ring: byte n is at n % window_bytes */
    unsigned first, marks;
    struct mark ring[MARKS_MAX];
};

static struct link *links[LINKS_MAX];
static int link_count;
static uint64_t delay_ns, window_bytes;

static void open_link(int listening, const struct sockaddr_in *target)
{
    int client = accept4(listening, NULL, NULL, SOCK_CLOEXEC), broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), no_delay = 1;
    if (client < 0 || broker < 0)
        die("accept");
    if (link_count == LINKS_MAX || connect(broker, (const struct sockaddr *)target, sizeof *target)) {
        close(client);
        close(broker);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
    struct link *made = allocate(sizeof *made);
    made->client = client;
    made->broker = broker;
    made->held = allocate(window_bytes);
    links[link_count++] = made;
}

static int write_on(int fd, const uint8_t *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t sent = send(fd, bytes + done, length - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return 0;
        if (sent > 0)
            done += (size_t)sent;
    }
    return 1;
}

/* How many of `count` bytes from `position` on lie side by side in the ring. */
static uint64_t together(uint64_t position, uint64_t count)
{
    uint64_t to_end = window_bytes - position % window_bytes;
    return count < to_end ? count : to_end;
}

/* Takes what has come from the producer, as far as the window goes, and passes on what is old enough; false: it is over. */
static int pass_requests(struct link *link, uint64_t at_ns)
{
    while (link->seen - link->passed < window_bytes && link->marks < MARKS_MAX) {
        uint64_t room = together(link->seen, window_bytes - (link->seen - link->passed));
        ssize_t got = recv(link->client, link->held + link->seen % window_bytes, room, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (got <= 0)
            return 0;
        link->seen += (uint64_t)got;
        link->ring[(link->first + link->marks++) % MARKS_MAX] = (struct mark){at_ns + delay_ns, link->seen};
    }
    while (link->marks && link->ring[link->first].due_ns <= at_ns) {
        uint64_t count = together(link->passed, link->ring[link->first].upto - link->passed);
        if (!write_on(link->broker, link->held + link->passed % window_bytes, count))
            return 0;
        link->passed += count;
        if (link->passed == link->ring[link->first].upto) {
            link->first = (link->first + 1) % MARKS_MAX;
            link->marks--;
        }
    }
    return 1;
}

static int pass_answers(struct link *link)
{
    static uint8_t answer[ANSWER_BYTES];
    ssize_t got = recv(link->broker, answer, sizeof answer, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    return got > 0 && write_on(link->client, answer, (size_t)got);
}

static void run(int listening, const struct sockaddr_in *target)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};
    for (;;) {
        struct pollfd polled[LINKS_MAX + 1] = {{.fd = listening, .events = POLLIN}};
        for (int i = 0; i < link_count; i++)
            polled[i + 1] = (struct pollfd){.fd = links[i]->broker, .events = POLLIN};
        if (ppoll(polled, (nfds_t)link_count + 1, link_count ? &look : NULL, NULL) < 0 && errno != EINTR)
            die("poll");
        uint64_t at_ns = now_ns();
        for (int i = link_count - 1; i >= 0; i--) {
            if (pass_requests(links[i], at_ns) && (!polled[i + 1].revents || pass_answers(links[i])))
                continue;
            close(links[i]->client);
            close(links[i]->broker);
            free(links[i]->held);
            free(links[i]);
            links[i] = links[--link_count];
        }
        if (polled[0].revents)
            open_link(listening, target);
    }
}

int main(int argc, char **argv)
{
    static const char text[] = "delay_proxy --port LISTEN --target PORT --delay MS --window BYTES";
    static const struct option known[] = {{"port", 1, 0, 'p'}, {"target", 1, 0, 't'}, {"delay", 1, 0, 'd'},
                                          {"window", 1, 0, 'w'}, {0, 0, 0, 0}};
    uint64_t port = 0, target_port = 0;
    for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (found) {
        case 'p': port = number_of(optarg); break;
        case 't': target_port = number_of(optarg); break;
        case 'd': delay_ns = number_of(optarg) * 1000000u; break;
        case 'w': window_bytes = number_of(optarg); break;
        default: usage(text);
        }
    }
    if (argc != optind || !port || !target_port || !window_bytes)
        usage(text);
    struct sockaddr_in here = inet_address("127.0.0.1", port), target = inet_address("127.0.0.1", target_port);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1, receive_bytes = RECEIVE_BYTES;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    if (listening < 0 || bind(listening, (struct sockaddr *)&here, sizeof here) || listen(listening, LINKS_MAX))
        die("listen on %llu", (unsigned long long)port);
    printf("{\"port\":%llu}\n", (unsigned long long)port);
    fflush(stdout);
    run(listening, &target);
}
