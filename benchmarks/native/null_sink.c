/* Speaks enough Kafka to acknowledge and keeps nothing: ApiVersions 0-4, Metadata 0-12, InitProducerId 0-4, Produce 3-13.
 *
 * It is every partition's leader, or with --node I --nodes PORT,PORT,… the I-th of several that lead in turn: partition p of the t-th topic
 * (both from 0) is led by node (t + p) mod count + 1. Batches are counted by their headers and their numbers checked: lengths, record counts, and that
 * the sequences of one producer id tile a partition. --verify also checks each batch's CRC-32C and walks its plain records.
 * Produce 0-2 and Fetch are advertised, not served: librdkafka writes record batches of version 2 only to brokers with Fetch 4.
 *
 * With --discard it speaks nothing and throws away what comes (the far end of the bare relay).
 * The first line of output is {"port":N}; --counters FILE is a file of little-endian u64 words that others may map and watch, in the
 * order of `enum counter`. SIGTERM and SIGINT end it with one JSON line of totals. */
#include "wire.h"
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>

enum counter { RECORDS_SEEN, BATCH_BYTES, BATCHES, REQUESTS, BYTES_READ, CONNECTIONS, FAULTS, SEQUENCE_FAULTS, COUNTERS };
static const char *const COUNTER_NAMES[] = {"records", "batch_bytes", "batches", "produce_requests", "bytes_read", "connections",
                                            "faults", "sequence_faults"};

enum { PRODUCE = 0, FETCH = 1, METADATA = 3, API_VERSIONS = 18, INIT_PRODUCER_ID = 22 };
enum { UNKNOWN_TOPIC_OR_PARTITION = 3, CORRUPT_MESSAGE = 2, UNSUPPORTED_VERSION = 35, UNKNOWN_TOPIC_ID = 100 };
enum { BATCH_HEADER_BYTES = 61, READ_BYTES = 1 << 20, TOPICS_MAX = 64, NODES_MAX = 16 };

static const int16_t RANGES[][3] = {{PRODUCE, 0, 13}, {FETCH, 4, 11}, {METADATA, 0, 12}, {API_VERSIONS, 0, 4}, {INIT_PRODUCER_ID, 0, 4}};
enum { RANGE_COUNT = sizeof RANGES / sizeof RANGES[0] };

struct partition {
    int64_t next_offset, producer_id;
    int32_t next_sequence;
    int16_t epoch;
};

struct topic {
    char name[250];
    uint8_t id[16];
    int32_t partition_count;
    struct partition *partitions;
};

static struct topic topics[TOPICS_MAX];
static int topic_count, verify, discard;
static uint64_t own_counters[COUNTERS], *counters = own_counters;
static uint32_t crc_table[256];
static volatile sig_atomic_t ending;
static const char *host = "127.0.0.1";
static uint16_t port, node_ports[NODES_MAX];
static int32_t node = 1, node_count = 1;
static int64_t last_producer_id = 1000;

/* ---- batches ---------------------------------------------------------------------------------------------------------- */

static void crc_prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
        crc_table[i] = value;
    }
}

static uint32_t crc32c(const uint8_t *at, size_t length)
{
    uint32_t value = 0xffffffffu;
    while (length--)
        value = value >> 8 ^ crc_table[(value ^ *at++) & 0xff];
    return ~value;
}

static int records_add_up(const uint8_t *records, const uint8_t *end, int32_t count)
{
    struct cursor in = {.at = records, .end = end};
    for (int32_t i = 0; i < count && !in.bad; i++) {
        int64_t length = zigzag(&in);
        struct cursor record = {.at = in.at, .end = in.at + length};
        if (length < 0 || !skip(&in, (uint64_t)length))
            return 0;
        skip(&record, 1);
        zigzag(&record);
        if (zigzag(&record) != i)
            return 0;
        for (int field = 0; field < 2; field++) {
            int64_t bytes = zigzag(&record);
            if (bytes > 0)
                skip(&record, (uint64_t)bytes);
        }
        for (int64_t left = zigzag(&record) * 2; left > 0 && !record.bad; left--) {
            int64_t bytes = zigzag(&record);
            if (bytes > 0)
                skip(&record, (uint64_t)bytes);
        }
        if (record.bad || record.at != record.end)
            return 0;
    }
    return !in.bad && in.at == end;
}

/* Counts one batch; the answer is its error code, *base_offset where it "was written". */
static int16_t take_batch(struct partition *partition, const uint8_t *batch, int64_t length, int64_t *base_offset)
{
    int32_t count = length >= BATCH_HEADER_BYTES ? (int32_t)big(batch + 57, 4) : 0;
    if (count <= 0 || big(batch + 8, 4) != length - 12 || batch[16] != 2 || big(batch + 23, 4) != count - 1 ||
        (verify && (uint32_t)big(batch + 17, 4) != crc32c(batch + 21, (size_t)length - 21)) ||
        (verify && !(batch[22] & 7) && !records_add_up(batch + BATCH_HEADER_BYTES, batch + length, count))) {
        counters[FAULTS]++;
        return CORRUPT_MESSAGE;
    }
    int64_t producer_id = big(batch + 43, 8);
    int16_t epoch = (int16_t)big(batch + 51, 2);
    int32_t sequence = (int32_t)big(batch + 53, 4);
    if (producer_id >= 0) {
        if (producer_id == partition->producer_id && epoch == partition->epoch && sequence != partition->next_sequence)
            counters[SEQUENCE_FAULTS]++;
        partition->producer_id = producer_id;
        partition->epoch = epoch;
        partition->next_sequence = (int32_t)(((uint32_t)sequence + (uint32_t)count) & 0x7fffffffu);
    }
    *base_offset = partition->next_offset;
    partition->next_offset += count;
    counters[BATCHES]++;
    counters[BATCH_BYTES] += (uint64_t)length;
    counters[RECORDS_SEEN] += (uint64_t)count;
    return 0;
}

/* ---- requests --------------------------------------------------------------------------------------------------------- */

static struct topic *topic_named(const char *name, int64_t length)
{
    for (int i = 0; i < topic_count; i++)
        if ((int64_t)strlen(topics[i].name) == length && !memcmp(topics[i].name, name, (size_t)length))
            return &topics[i];
    return NULL;
}

static struct topic *topic_identified(const uint8_t *id)
{
    for (int i = 0; i < topic_count; i++)
        if (!memcmp(topics[i].id, id, 16))
            return &topics[i];
    return NULL;
}

static void answer_produce(struct connection *peer, struct cursor *in, int version)
{
    int flexible = version >= 9;
    int64_t length;
    text(in, &length);
    int64_t acks = integer(in, 2);
    integer(in, 4);
    int64_t topics_asked = length_of(in, 4);
    size_t answer_from = peer->out_filled;
    counters[REQUESTS]++;
    put_length(peer, flexible, topics_asked, 4);
    for (int64_t i = 0; i < topics_asked && !in->bad; i++) {
        const uint8_t *id = NULL;
        const char *name = NULL;
        struct topic *topic = NULL;
        if (version >= 13) {
            id = skip(in, 16);
            if (id)
                memcpy(room(peer, 16), id, 16), topic = topic_identified(id);
        } else {
            name = text(in, &length);
            if (name)
                put_text(peer, flexible, name, length), topic = topic_named(name, length);
        }
        int64_t partitions_asked = length_of(in, 4);
        put_length(peer, flexible, partitions_asked, 4);
        for (int64_t j = 0; j < partitions_asked && !in->bad; j++) {
            int64_t index = integer(in, 4), bytes = length_of(in, 4), base_offset = -1;
            const uint8_t *batch = skip(in, bytes < 0 ? 0 : (uint64_t)bytes);
            tags(in);
            int16_t error = (int16_t)(version >= 13 ? UNKNOWN_TOPIC_ID : UNKNOWN_TOPIC_OR_PARTITION);
            if (topic && batch && index >= 0 && index < topic->partition_count)
                error = take_batch(&topic->partitions[index], batch, bytes, &base_offset);
            put(peer, index, 4);
            put(peer, error, 2);
            put(peer, base_offset, 8);
            put(peer, -1, 8);
            if (version >= 5)
                put(peer, 0, 8);
            if (version >= 8) {
                put_length(peer, flexible, 0, 4);
                put_text(peer, flexible, NULL, 0);
            }
            put_tags(peer, flexible);
        }
        tags(in);
        put_tags(peer, flexible);
    }
    put(peer, 0, 4);
    put_tags(peer, flexible);
    if (acks == 0)
        peer->out_filled = answer_from;
}

static void put_topic(struct connection *peer, int version, const struct topic *topic, const char *name, int64_t length)
{
    static const uint8_t no_id[16];
    int flexible = version >= 9;
    put(peer, topic ? 0 : UNKNOWN_TOPIC_OR_PARTITION, 2);
    put_text(peer, flexible, name, length);
    if (version >= 10)
        memcpy(room(peer, 16), topic ? topic->id : no_id, 16);
    if (version >= 1)
        put(peer, 0, 1);
    int32_t count = topic ? topic->partition_count : 0;
    put_length(peer, flexible, count, 4);
    for (int32_t i = 0; i < count; i++) {
        int32_t leader = (int32_t)((topic - topics) + i) % node_count + 1;
        put(peer, 0, 2);
        put(peer, i, 4);
        put(peer, leader, 4);
        if (version >= 7)
            put(peer, 0, 4);
        for (int list = 0; list < 2; list++) { /* replicas, in sync */
            put_length(peer, flexible, 1, 4);
            put(peer, leader, 4);
        }
        if (version >= 5)
            put_length(peer, flexible, 0, 4);
        put_tags(peer, flexible);
    }
    if (version >= 8)
        put(peer, INT32_MIN, 4);
    put_tags(peer, flexible);
}

static void answer_metadata(struct connection *peer, struct cursor *in, int version)
{
    int flexible = version >= 9;
    if (version >= 3)
        put(peer, 0, 4);
    put_length(peer, flexible, node_count, 4);
    for (int32_t i = 0; i < node_count; i++) {
        put(peer, i + 1, 4);
        put_text(peer, flexible, host, (int64_t)strlen(host));
        put(peer, node_ports[i] ? node_ports[i] : port, 4);
        if (version >= 1)
            put_text(peer, flexible, NULL, 0);
        put_tags(peer, flexible);
    }
    if (version >= 2)
        put_text(peer, flexible, "null-sink", 9);
    if (version >= 1)
        put(peer, node, 4);
    int64_t asked = length_of(in, 4);
    int all = asked < 0 || (asked == 0 && version == 0);
    put_length(peer, flexible, all ? topic_count : asked, 4);
    for (int i = 0; all && i < topic_count; i++)
        put_topic(peer, version, &topics[i], topics[i].name, (int64_t)strlen(topics[i].name));
    for (int64_t i = 0; i < asked && !in->bad; i++) {
        const uint8_t *id = version >= 10 ? skip(in, 16) : NULL;
        int64_t length;
        const char *name = text(in, &length);
        tags(in);
        const struct topic *topic = name ? topic_named(name, length) : id ? topic_identified(id) : NULL;
        if (!name && topic)
            name = topic->name, length = (int64_t)strlen(name);
        put_topic(peer, version, topic, name, length);
    }
    if (version >= 8 && version <= 10)
        put(peer, INT32_MIN, 4);
    put_tags(peer, flexible);
}

static void answer_api_versions(struct connection *peer, int version, int16_t error)
{
    int flexible = version >= 3;
    put(peer, error, 2);
    put_length(peer, flexible, RANGE_COUNT, 4);
    for (int i = 0; i < RANGE_COUNT; i++) {
        for (int j = 0; j < 3; j++)
            put(peer, RANGES[i][j], 2);
        put_tags(peer, flexible);
    }
    if (version >= 1)
        put(peer, 0, 4);
    put_tags(peer, flexible);
}

static void answer_init_producer_id(struct connection *peer, int version)
{
    put(peer, 0, 4);
    put(peer, 0, 2);
    put(peer, ++last_producer_id, 8);
    put(peer, 0, 2);
    put_tags(peer, version >= 2);
}

/* One request without its size; false: not understood, the connection ends. */
static int answer(struct connection *peer, const uint8_t *request, size_t length)
{
    static const int FIRST_FLEXIBLE[] = {[PRODUCE] = 9, [METADATA] = 9, [API_VERSIONS] = 3, [INIT_PRODUCER_ID] = 2};
    struct cursor in = {.at = request, .end = request + length};
    int api = (int)integer(&in, 2), version = (int)integer(&in, 2);
    int64_t correlation = integer(&in, 4), client_bytes = integer(&in, 2);
    if (client_bytes > 0)
        skip(&in, (uint64_t)client_bytes);
    int served = 0;
    for (int i = 0; i < RANGE_COUNT; i++)
        served |= api == RANGES[i][0] && version >= RANGES[i][1] && version <= RANGES[i][2];
    served &= api != FETCH && !(api == PRODUCE && version < 3);
    if (in.bad || (!served && api != API_VERSIONS))
        return 0;
    in.flexible = version >= FIRST_FLEXIBLE[api];
    tags(&in);
    size_t from = peer->out_filled;
    put(peer, 0, 4);
    put(peer, correlation, 4);
    if (api == API_VERSIONS)
        answer_api_versions(peer, served ? version : 0, (int16_t)(served ? 0 : UNSUPPORTED_VERSION));
    else {
        put_tags(peer, in.flexible);
        size_t body_from = peer->out_filled;
        if (api == METADATA)
            answer_metadata(peer, &in, version);
        else if (api == INIT_PRODUCER_ID)
            answer_init_producer_id(peer, version);
        else
            answer_produce(peer, &in, version);
        if (peer->out_filled == body_from)
            peer->out_filled = from; /* acks=0 has no answer */
    }
    if (in.bad)
        return 0;
    if (peer->out_filled > from) {
        uint32_t size = htonl((uint32_t)(peer->out_filled - from - 4));
        memcpy(peer->out + from, &size, 4);
    }
    return 1;
}

/* ---- connections ------------------------------------------------------------------------------------------------------ */

/* Answers all complete requests; false: the connection ends. */
static int answer_all(struct connection *peer)
{
    size_t done = 0, wanted = READ_BYTES;
    while (peer->in_filled - done >= 4) {
        uint64_t size = (uint32_t)big(peer->in + done, 4);
        if (size > REQUEST_BYTES_MAX)
            return 0;
        if (peer->in_filled - done < 4 + size) {
            wanted = 4 + size > wanted ? 4 + size : wanted;
            break;
        }
        if (!answer(peer, peer->in + done + 4, size))
            return 0;
        done += 4 + size;
    }
    peer->in_filled -= done;
    memmove(peer->in, peer->in + done, peer->in_filled);
    if (wanted > peer->in_room) {
        peer->in_room = wanted;
        peer->in = realloc(peer->in, wanted);
        if (!peer->in)
            die("no memory for a request");
    }
    return 1;
}

static int flush(struct connection *peer, int poller)
{
    while (peer->out_sent < peer->out_filled) {
        ssize_t sent = send(peer->fd, peer->out + peer->out_sent, peer->out_filled - peer->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            return 0;
        if (sent < 0)
            break;
        peer->out_sent += (size_t)sent;
    }
    int writing = peer->out_sent < peer->out_filled;
    if (!writing)
        peer->out_sent = peer->out_filled = 0;
    if (writing != peer->writing) {
        struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = peer};
        epoll_ctl(poller, EPOLL_CTL_MOD, peer->fd, &event);
        peer->writing = writing;
    }
    return 1;
}

static int serve(struct connection *peer, int poller)
{
    ssize_t got = recv(peer->fd, peer->in + peer->in_filled, peer->in_room - peer->in_filled, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return flush(peer, poller);
    if (got <= 0)
        return 0;
    counters[BYTES_READ] += (uint64_t)got;
    if (discard)
        return 1;
    peer->in_filled += (size_t)got;
    return answer_all(peer) && flush(peer, poller);
}

static void welcome(int listening, int poller)
{
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC), no_delay = 1;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
    struct connection *peer = allocate(sizeof *peer);
    peer->fd = fd;
    peer->in_room = READ_BYTES;
    peer->in = allocate(READ_BYTES);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    counters[CONNECTIONS]++;
}

static void part(struct connection *peer)
{
    close(peer->fd);
    free(peer->in);
    free(peer->out);
    free(peer);
}

/* ---- start ------------------------------------------------------------------------------------------------------------ */

static void end_soon(int signal_number)
{
    (void)signal_number;
    ending = 1;
}

static void add_topic(char *specification)
{
    char *colon = strrchr(specification, ':');
    if (!colon || colon - specification > 249 || topic_count == TOPICS_MAX)
        usage("a topic is NAME:PARTITIONS");
    struct topic *topic = &topics[topic_count++];
    *colon = 0;
    strcpy(topic->name, specification);
    topic->partition_count = (int32_t)number_of(colon + 1);
    topic->partitions = allocate((size_t)topic->partition_count * sizeof *topic->partitions);
    memcpy(topic->id, "null-sink-topic", 15);
    topic->id[15] = (uint8_t)topic_count;
    for (int32_t i = 0; i < topic->partition_count; i++)
        topic->partitions[i].producer_id = -1;
}

static void name_nodes(char *ports)
{
    node_count = 0;
    for (char *one = strtok(ports, ","); one; one = strtok(NULL, ",")) {
        if (node_count == NODES_MAX)
            usage("too many nodes");
        node_ports[node_count++] = (uint16_t)number_of(one);
    }
}

static void map_counters(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof own_counters))
        die("counters %s", path);
    counters = mmap(NULL, sizeof own_counters, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counters == MAP_FAILED)
        die("counters %s", path);
    memset(counters, 0, sizeof own_counters);
    close(fd);
}

static int listen_here(void)
{
    struct sockaddr_in here = inet_address(host, port);
    socklen_t length = sizeof here;
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, length) || listen(fd, 64) || getsockname(fd, (struct sockaddr *)&here, &length))
        die("listen %s:%u", host, port);
    port = ntohs(here.sin_port);
    printf("{\"port\":%u}\n", port);
    fflush(stdout);
    return fd;
}

static void run(int listening)
{
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ready[64], event = {.events = EPOLLIN};
    sigset_t none;
    sigemptyset(&none);
    epoll_ctl(poller, EPOLL_CTL_ADD, listening, &event);
    while (!ending) {
        int count = epoll_pwait(poller, ready, 64, -1, &none);
        for (int i = 0; i < count; i++) {
            if (!ready[i].data.ptr)
                welcome(listening, poller);
            else if (!serve(ready[i].data.ptr, poller))
                part(ready[i].data.ptr);
        }
    }
}

int main(int argc, char **argv)
{
    static const char text[] = "null_sink [--host ADDRESS] [--port N] [--topic NAME:PARTITIONS]... [--counters FILE] [--verify] [--discard] "
                               "[--node I --nodes PORT,PORT,...]";
    static const struct option known[] = {{"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"topic", 1, 0, 't'}, {"counters", 1, 0, 'c'},
                                          {"verify", 0, 0, 'v'}, {"discard", 0, 0, 'd'}, {"node", 1, 0, 'n'}, {"nodes", 1, 0, 'N'},
                                          {0, 0, 0, 0}};
    for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (found) {
        case 'h': host = optarg; break;
        case 'p': port = (uint16_t)number_of(optarg); break;
        case 't': add_topic(optarg); break;
        case 'c': map_counters(optarg); break;
        case 'v': verify = 1; break;
        case 'd': discard = 1; break;
        case 'n': node = (int32_t)number_of(optarg); break;
        case 'N': name_nodes(optarg); break;
        default: usage(text);
        }
    }
    struct sigaction action = {.sa_handler = end_soon};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* they arrive while the poller waits, nowhere else */
    crc_prepare();
    int listening = listen_here();
    struct begin begin = begin_now();
    run(listening);
    for (int i = 0; i < COUNTERS; i++)
        printf("%c\"%s\":%llu", i ? ',' : '{', COUNTER_NAMES[i], (unsigned long long)counters[i]);
    print_costs(begin);
    return 0;
}
