/* Kafka's primitive types: big-endian integers, both kinds of lengths, tag sections; a bounds-checked reader and a growing writer. */
#ifndef INGESTD_BENCHMARKS_WIRE_H
#define INGESTD_BENCHMARKS_WIRE_H

#include "common.h"

enum { REQUEST_BYTES_MAX = 100 << 20 };

struct connection {
    int fd;
    int writing;                  /* waits for EPOLLOUT */
    uint8_t *in, *out;
    size_t in_filled, in_room, out_filled, out_sent, out_room;
};

/* Reads a request; once `bad`, every further read gives 0. */
struct cursor {
    const uint8_t *at, *end;
    int bad, flexible;
};

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

static const uint8_t *skip(struct cursor *in, uint64_t bytes)
{
    if (in->bad || (uint64_t)(in->end - in->at) < bytes) {
        in->bad = 1;
        return NULL;
    }
    in->at += bytes;
    return in->at - bytes;
}

static int64_t big(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return bytes == 8 ? (int64_t)value : bytes == 4 ? (int32_t)value : bytes == 2 ? (int16_t)value : (int8_t)value;
}

static int64_t integer(struct cursor *in, int bytes)
{
    const uint8_t *at = skip(in, (uint64_t)bytes);
    return at ? big(at, bytes) : 0;
}

static uint64_t varint(struct cursor *in)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        const uint8_t *at = skip(in, 1);
        if (!at)
            return 0;
        value |= (uint64_t)(*at & 0x7f) << shift;
        if (!(*at & 0x80))
            return value;
    }
    in->bad = 1;
    return 0;
}

static int64_t zigzag(struct cursor *in)
{
    uint64_t value = varint(in);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* A length or count, -1 null: compact (n + 1) or an integer of `bytes`. */
static int64_t length_of(struct cursor *in, int bytes)
{
    int64_t length = in->flexible ? (int64_t)varint(in) - 1 : integer(in, bytes);
    if (length > REQUEST_BYTES_MAX)
        in->bad = 1;
    return in->bad ? 0 : length;
}

static const char *text(struct cursor *in, int64_t *length)
{
    *length = length_of(in, 2);
    return *length < 0 ? NULL : (const char *)skip(in, (uint64_t)*length);
}

static void tags(struct cursor *in)
{
    if (!in->flexible)
        return;
    for (uint64_t left = varint(in); left && !in->bad; left--) {
        varint(in);
        skip(in, varint(in));
    }
}

/* ---- writing ---------------------------------------------------------------------------------------------------------- */

static uint8_t *room(struct connection *peer, size_t bytes)
{
    if (peer->out_filled + bytes > peer->out_room) {
        peer->out_room = (peer->out_filled + bytes) * 2;
        peer->out = realloc(peer->out, peer->out_room);
        if (!peer->out)
            die("no memory for an answer");
    }
    peer->out_filled += bytes;
    return peer->out + peer->out_filled - bytes;
}

static void put(struct connection *peer, int64_t value, int bytes)
{
    uint8_t *at = room(peer, (size_t)bytes);
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
}

static void put_length(struct connection *peer, int flexible, int64_t length, int bytes)
{
    if (!flexible) {
        put(peer, length, bytes);
        return;
    }
    uint64_t value = (uint64_t)(length + 1);
    for (; value >= 0x80; value >>= 7)
        put(peer, (int64_t)(value & 0x7f) | 0x80, 1);
    put(peer, (int64_t)value, 1);
}

static void put_text(struct connection *peer, int flexible, const char *value, int64_t length)
{
    put_length(peer, flexible, value ? length : -1, 2);
    if (value)
        memcpy(room(peer, (size_t)length), value, (size_t)length);
}

static void put_tags(struct connection *peer, int flexible)
{
    if (flexible)
        put(peer, 0, 1);
}
#endif
