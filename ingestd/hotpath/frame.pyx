"""Format `frames`: walks RECORDS frames record by record, across reads, without ever needing a whole frame at once.

    frame:   length u32 (bytes after this field) | type u8 | flags u8 | reserved u16 | body
    RECORDS: topic_id u16 | reserved u16 | record_count u32 | first_sequence u64 | [topic_length u16, topic] | records
    record:  length u32 (bytes after this field) | flags u8 | [partition i32] | [timestamp_ms i64] | [key_length u32, key]
             | [header_count u16, per header: name_length u16, name, value_length i32 (-1 null), value] | [value: the rest]

A record that breaks a rule inside its own length is refused and counted. A length that contradicts the frame is broken framing: where
the next frame starts is no longer known.
"""

from libc.stddef cimport size_t
from libc.stdint cimport INT32_MAX, INT64_MIN, int32_t, uint32_t, uint64_t

from ingestd.hotpath.appender cimport Appender, record_prepare
from ingestd.hotpath.batch cimport Record
from ingestd.hotpath.input cimport (
    FLAG_BROKEN, FLAG_CONTROL, FLAG_REJECTED, KEY_SENDER, TOPIC_ID_NOT_ALLOWED, FrameState, Input, Listener, Topic,
)
from ingestd.hotpath.layout cimport (
    REJECTED_BAD_FRAMING, REJECTED_FRAME_TOO_LARGE, REJECTED_INVALID_HEADER, REJECTED_INVALID_TOPIC,
    REJECTED_KEY_TOO_LARGE, REJECTED_MALFORMED, REJECTED_NONE, REJECTED_RECORD_TOO_LARGE, REJECTED_SEQUENCE_GAP,
    REJECTED_TOO_MANY_HEADERS, REJECTED_TOPIC_NOT_ALLOWED, REJECTED_UNSUPPORTED_FRAME,
)
from ingestd.hotpath.limits cimport (
    CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX, HEADER_NAME_BYTES_MAX, KEY_BYTES_MAX, HEADERS_MAX, RECORD_WIRE_OVERHEAD,
)
from ingestd.hotpath.names cimport topic_find, utf8_valid
from ingestd.hotpath.unaligned cimport load_i32, load_i64, load_u16, load_u32, load_u64
from ingestd.hotpath.varint cimport varint_bytes, zigzag

cdef enum:
    FRAME_HEAD_BYTES = 8
    RECORDS_HEAD_BYTES = 16
    TYPE_RECORDS = 2
    FRAME_TOPIC_NAME = 1
    RECORD_PARTITION = 1
    RECORD_TIMESTAMP = 2
    RECORD_KEY = 4
    RECORD_HEADERS = 8
    RECORD_VALUE = 16
    RECORD_KNOWN = 31


cdef size_t frames_parse(Appender appender, Input* input, const unsigned char* data, size_t length) noexcept nogil:
    cdef FrameState* frame = &input.frame
    cdef size_t used = 0
    cdef size_t taken
    input.need_bytes = 0
    input.control_bytes = 0
    while True:
        if not frame.inside:
            taken = frame_begin(appender, input, data + used, length - used)
            if taken == 0:
                return used
            used += taken
        taken = records_parse(appender, input, data + used, length - used)
        used += taken
        if frame.inside or input.flags & FLAG_BROKEN:
            return used


# Reads a frame's head. Returns 0 if it stops here: incomplete, control, broken.
cdef size_t frame_begin(Appender appender, Input* input, const unsigned char* data, size_t length) noexcept nogil:
    cdef FrameState* frame = &input.frame
    cdef uint32_t frame_bytes, head_bytes = FRAME_HEAD_BYTES + RECORDS_HEAD_BYTES
    cdef uint64_t sequence
    if length < FRAME_HEAD_BYTES:
        input.need_bytes = FRAME_HEAD_BYTES if length else 0
        return 0
    frame_bytes = load_u32(data)
    # Nothing is taken, or given up, before the control frames in front of it were: only more of them are looked for.
    if input.control_seen and (data[4] == TYPE_RECORDS or frame_bytes < 4 or frame_bytes > CONTROL_FRAME_BYTES_MAX):
        input.flags |= FLAG_CONTROL
        return 0
    if frame_bytes < 4:
        frames_break(appender, input, REJECTED_BAD_FRAMING, b"a frame's length is less than its own head")
        return 0
    if frame_bytes > FRAME_BYTES_MAX:
        frames_break(appender, input, REJECTED_FRAME_TOO_LARGE, b"a frame's length is above the limit")
        return 0
    if data[4] != TYPE_RECORDS:
        return control_begin(appender, input, frame_bytes, length)
    if data[5] & FRAME_TOPIC_NAME:
        head_bytes += 2
    if frame_bytes + 4 < head_bytes:
        frames_break(appender, input, REJECTED_BAD_FRAMING, b"a RECORDS frame is shorter than its head")
        return 0
    if length >= head_bytes and data[5] & FRAME_TOPIC_NAME:
        head_bytes += load_u16(data + FRAME_HEAD_BYTES + RECORDS_HEAD_BYTES)
        if frame_bytes + 4 < head_bytes:
            frames_break(appender, input, REJECTED_BAD_FRAMING, b"a topic name is longer than its frame")
            return 0
    if length < head_bytes:
        input.need_bytes = head_bytes
        return 0
    sequence = load_u64(data + 16)
    if input.session.row != NULL and sequence - 1 > input.session.sequence:
        frames_break(appender, input, REJECTED_SEQUENCE_GAP, b"a frame's first sequence leaves a gap behind the last accepted one")
        return 0
    # Whoever wants answers without a session is answered in ranges, too; nothing is sent twice on one connection.
    if input.session.row == NULL and input.answers and sequence - 1 != input.session.sequence:
        frames_break(appender, input, REJECTED_SEQUENCE_GAP, b"without a session, sequences go on from frame to frame, from 1")
        return 0
    frame.inside = True
    frame.skip_left = 0
    frame.body_left = frame_bytes + 4 - head_bytes
    frame.records_left = load_u32(data + 12)
    frame.sequence = sequence
    if data[5] & FRAME_TOPIC_NAME:
        frame.topic = topic_find(input.listener, data + 26, head_bytes - 26, &frame.topic_verdict)
    else:
        topic_of_id(appender, input, load_u16(data + FRAME_HEAD_BYTES))
    return head_bytes


cdef size_t control_begin(Appender appender, Input* input, uint32_t frame_bytes, size_t length) noexcept nogil:
    if input.datagram:
        frames_break(appender, input, REJECTED_UNSUPPORTED_FRAME, b"a datagram carries RECORDS frames only")
    elif frame_bytes > CONTROL_FRAME_BYTES_MAX:
        frames_break(appender, input, REJECTED_FRAME_TOO_LARGE, b"a frame that is not RECORDS is above its limit")
    elif length < frame_bytes + 4:
        input.need_bytes = frame_bytes + 4
    else:
        input.control_bytes = frame_bytes + 4
    return 0


cdef void topic_of_id(Appender appender, Input* input, uint32_t topic_id) noexcept nogil:
    cdef int32_t index = input.topics[topic_id] if <int32_t>topic_id < input.topic_count else -2
    if index >= 0:
        input.frame.topic = appender.topics[index]
        return
    input.frame.topic = NULL
    input.frame.topic_verdict = REJECTED_TOPIC_NOT_ALLOWED if index == TOPIC_ID_NOT_ALLOWED else REJECTED_INVALID_TOPIC


# Takes the records that are there. frame.inside is False afterwards when the frame is finished.
cdef size_t records_parse(Appender appender, Input* input, const unsigned char* data, size_t length) noexcept nogil:
    cdef FrameState* frame = &input.frame
    cdef const unsigned char* place = data
    cdef const unsigned char* end = data + length
    cdef uint32_t record_bytes
    cdef Record record
    record_prepare(&record, input.listener)
    while frame.records_left:
        if frame.skip_left:
            record_bytes = <uint32_t>min(<size_t>frame.skip_left, <size_t>(end - place))
            place += record_bytes
            frame.skip_left -= record_bytes
            frame.body_left -= record_bytes
            if frame.skip_left:
                return place - data
            frame.records_left -= 1
            continue
        if frame.body_left < 5:
            frames_break(appender, input, REJECTED_BAD_FRAMING, b"a frame ends before its last record")
            return place - data
        if end - place < 4:
            input.need_bytes = 4 if place < end else 0
            return place - data
        record_bytes = load_u32(place)
        if record_bytes == 0 or record_bytes > frame.body_left - 4:
            frames_break(appender, input, REJECTED_BAD_FRAMING, b"a record's length does not fit its frame")
            return place - data
        if <uint64_t>record_bytes > <uint64_t>input.listener.record_bytes_max + RECORD_WIRE_OVERHEAD:
            if not record_refuse(appender, input, REJECTED_RECORD_TOO_LARGE):
                return place - data
            frame.skip_left = record_bytes + 4
            continue
        if <size_t>(end - place) < <size_t>record_bytes + 4:
            input.need_bytes = record_bytes + 4
            return place - data
        if not record_take(appender, input, &record, place + 4, record_bytes):
            return place - data
        place += record_bytes + 4
        frame.body_left -= record_bytes + 4
        frame.records_left -= 1
    if frame.body_left:
        frames_break(appender, input, REJECTED_BAD_FRAMING, b"a frame goes on behind its last record")
        return place - data
    frame.inside = False
    return place - data


# False: not taken, wait. True: accepted, refused or skipped as repeated; the frame's sequence has moved on.
cdef bint record_take(Appender appender, Input* input, Record* record, const unsigned char* data, uint32_t length) noexcept nogil:
    cdef FrameState* frame = &input.frame
    cdef uint32_t verdict
    if input.session.row != NULL and frame.sequence <= input.session.sequence:
        appender.pending.repeated += 1
        frame.sequence += 1
        return True
    if frame.topic == NULL:
        return record_refuse(appender, input, frame.topic_verdict)
    verdict = record_read(input, record, data, data + length)
    if verdict != REJECTED_NONE:
        return record_refuse(appender, input, verdict)
    if not appender.offer(input, frame.topic, record, frame.sequence):
        return False
    frame.sequence += 1
    return True


cdef bint record_refuse(Appender appender, Input* input, uint32_t reason) noexcept nogil:
    if input.session.row != NULL and input.frame.sequence <= input.session.sequence:
        appender.pending.repeated += 1
    elif not appender.refuse(input, reason, input.frame.sequence):
        return False
    input.frame.sequence += 1
    return True


# Sets the fields of `record` from its wire form; returns why it is refused, if it is.
cdef uint32_t record_read(Input* input, Record* record, const unsigned char* place, const unsigned char* end) noexcept nogil:
    cdef uint32_t flags = place[0]
    cdef uint32_t verdict
    place += 1
    record.partition = -1
    record.timestamp_ms = INT64_MIN
    record.key = NULL
    record.headers_count = 0
    record.headers_bytes = 0
    if flags & ~<uint32_t>RECORD_KNOWN:
        return REJECTED_MALFORMED
    # What the flags promise must be there; one sum instead of a check per field.
    if end - place < <size_t>((flags & RECORD_PARTITION) * 4 + (flags & RECORD_TIMESTAMP) * 4 + (flags & RECORD_KEY)):
        return REJECTED_MALFORMED
    if flags & RECORD_PARTITION:
        record.partition = load_i32(place)
        place += 4
        if record.partition < 0:
            # Larger than any count: refused as invalid_partition where the count is known.
            record.partition = INT32_MAX
    if flags & RECORD_TIMESTAMP:
        record.timestamp_ms = load_i64(place)
        place += 8
        if record.timestamp_ms == INT64_MIN:
            record.timestamp_ms = -1
    if flags & RECORD_KEY:
        record.key_bytes = load_u32(place)
        place += 4
        if record.key_bytes > end - place:
            return REJECTED_MALFORMED
        if record.key_bytes > KEY_BYTES_MAX:
            return REJECTED_KEY_TOO_LARGE
        record.key = place
        place += record.key_bytes
    elif input.listener.key_kind == KEY_SENDER:
        record.key = input.origin.key
        record.key_bytes = input.origin.key_bytes
    if flags & RECORD_HEADERS:
        verdict = headers_read(record, &place, end)
        if verdict != REJECTED_NONE:
            return verdict
    if flags & RECORD_VALUE:
        record.value = place
        record.value_bytes = <uint32_t>(end - place)
        return REJECTED_NONE
    record.value = NULL
    return REJECTED_NONE if place == end else REJECTED_MALFORMED


cdef uint32_t headers_read(Record* record, const unsigned char** at, const unsigned char* end) noexcept nogil:
    cdef const unsigned char* place = at[0]
    cdef uint32_t count, name_bytes
    cdef int32_t value_bytes
    cdef bint names_valid = True
    cdef bint names_short = True
    if end - place < 2:
        return REJECTED_MALFORMED
    record.headers_count = load_u16(place)
    place += 2
    if record.headers_count + record.headers_fixed_count > HEADERS_MAX:
        return REJECTED_TOO_MANY_HEADERS
    record.headers = place
    for count in range(record.headers_count):
        if end - place < 2:
            return REJECTED_MALFORMED
        name_bytes = load_u16(place)
        place += 2
        if end - place < <size_t>name_bytes + 4:
            return REJECTED_MALFORMED
        names_short &= name_bytes <= HEADER_NAME_BYTES_MAX
        names_valid &= utf8_valid(place, name_bytes)
        place += name_bytes
        value_bytes = load_i32(place)
        place += 4
        if value_bytes < -1 or value_bytes > end - place:
            return REJECTED_MALFORMED
        record.headers_bytes += varint_bytes(<uint64_t>name_bytes << 1) + name_bytes + varint_bytes(zigzag(value_bytes))
        if value_bytes > 0:
            record.headers_bytes += <uint32_t>value_bytes
            place += value_bytes
    at[0] = place
    return REJECTED_NONE if names_valid and names_short else REJECTED_INVALID_HEADER


cdef bint frames_cut(Appender appender, Input* input, size_t length, uint32_t reason) noexcept nogil:
    if length == 0 and not input.frame.inside:
        return False
    count_frame(appender, input, reason)
    input.frame.inside = False
    return True


cdef void frames_break(Appender appender, Input* input, uint32_t reason, const char* text) noexcept nogil:
    count_frame(appender, input, reason)
    input.flags |= FLAG_BROKEN
    input.broken_reason = reason
    input.broken_text = text
    input.frame.inside = False


# A frame that cannot be parsed counts as one, and not as a record of its session: whatever it held was not accepted.
cdef void count_frame(Appender appender, Input* input, uint32_t reason) noexcept nogil:
    appender.pending.rejected[reason] += 1
    appender.pending.rejected_mask |= <uint32_t>1 << reason
    input.flags |= FLAG_REJECTED
