# What the formats work on: where bytes came from, how they are to be routed, and how far parsing has got.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from ingestd.hotpath.directory cimport OpenBatch
from ingestd.hotpath.layout cimport SessionRow
from ingestd.hotpath.partition cimport Partitioner, Partitions, Sticky

cdef enum Flag:                    # what a read returns; ingestd/hotpath/intake.pyi documents them
    FLAG_READ_MORE = 1
    FLAG_SEALED = 2
    FLAG_OPENED = 4
    FLAG_ACCEPTED = 8
    FLAG_REJECTED = 16
    FLAG_CONTROL = 32
    FLAG_BLOCKED = 64
    FLAG_TOPIC_WAIT = 128
    FLAG_EOF = 256
    FLAG_BROKEN = 512
    FLAG_ERRNO = 1024
    FLAG_AGAIN = 2048
    # A stream that stopped for one of these keeps its place and goes on in resume().
    FLAGS_PARKED = FLAG_CONTROL | FLAG_BLOCKED | FLAG_TOPIC_WAIT

cdef enum Blocked:                 # why FLAG_BLOCKED was returned
    BLOCKED_NOT = 0
    BLOCKED_ARENA = 1              # no pages: resume when some were freed
    BLOCKED_PARTITION = 2          # its partition takes no new batch: resume when hold() let go
    BLOCKED_CONFIRM = 3            # the session has 16 unconfirmed rejections: read on, only to find its CONFIRM frame
    BLOCKED_HOLD = 4               # the common budget of held bytes is used up: resume when pages were freed or another stream has gone on
    BLOCKED_PRESSURE = 5           # the supervisor said pause: resume when the pressure is gone

cdef enum Format:
    FORMAT_RAW = 0
    FORMAT_LINES = 1
    FORMAT_FRAMES = 2

cdef enum KeyKind:
    KEY_NONE = 0
    KEY_SENDER = 1
    KEY_FIELD = 2

cdef enum SenderKind:              # first byte of a provenance run
    SENDER_CONNECTION = 1
    SENDER_SESSION = 2
    SENDER_PATH = 3
    SENDER_IPV4 = 4
    SENDER_IPV6 = 5
    SENDER_ANSWER = 128            # bit: a delivered answer is wanted

cdef struct Slot:                  # one partition of a topic
    OpenBatch batch
    Topic* topic
    uint32_t partition
    uint32_t run_bytes             # predicted length of the next batch's run
    uint64_t origin_tag            # who wrote the newest provenance run
    uint64_t last_sequence         # of the newest record in it
    Slot* open_next                # open batches of a topic, oldest first
    Slot* open_previous
    bint held                      # no new batch may be opened
    bint growing                   # its open batch is not sealed for its linger time: it could not be sent anyway
    bint leader

cdef struct Topic:
    uint32_t index                 # row of the arena's topic table
    uint32_t batch_bytes
    uint32_t record_bytes_max
    uint32_t run_bytes_least       # of a batch that is opened: what it takes is given back when it is sealed
    int64_t linger_ms
    Partitioner partitioner
    Partitions partitions
    uint32_t direct_count          # 0: a record that names no partition is not simply taken. Else the count
    Sticky sticky
    uint64_t rotation              # round robin: records taken
    Slot** slots                   # slot_count of them; at least partitions.count
    uint32_t slot_count
    Slot* open_first
    Slot* open_last
    bint refused                   # records are refused while the partition count is not known
    uint16_t name_bytes
    unsigned char name[249]

cdef struct Listener:
    uint8_t index
    uint8_t format
    uint8_t key_kind
    unsigned char key_delimiter
    uint32_t key_field             # counted from 1
    bint timestamp_of_record
    bint timestamp_refuse
    int64_t timestamp_past_ms
    int64_t timestamp_future_ms
    bint shed                      # a full arena refuses the record instead of holding its sender up
    uint32_t record_bytes_max
    uint32_t line_bytes_max
    Topic* topic                   # NULL: named by the record
    Topic** topics                 # allow-list
    uint32_t topic_count
    unsigned char* headers         # encoded for Kafka
    uint32_t headers_bytes
    uint32_t headers_count

cdef struct Origin:                # the sender, as provenance runs name it
    uint64_t tag                   # equal tags: same sender. Never 0
    uint32_t head_bytes            # length of a run's fixed part, count and first sequence included
    bint has_sequence              # kind 2
    uint32_t tail_bytes            # of `tail`
    unsigned char tail[24]         # the run's bytes above first sequence and count, at ascending addresses: sender, listener, kind
    uint32_t key_bytes
    unsigned char key[108]         # the sender as a record key

cdef struct SessionCursor:
    SessionRow* row                # NULL: no session
    uint64_t sequence              # last one accepted or refused in this parse
    uint32_t fresh_count           # rejections to be added to the row by the next commit
    uint64_t fresh[16]

cdef struct RejectedRange:         # answered to the sender, coalesced
    uint64_t first_sequence
    uint32_t count
    uint32_t reason

cdef struct FrameState:            # where in a RECORDS frame the parser stands
    bint inside
    uint32_t body_left             # bytes of the frame not yet consumed
    uint32_t records_left
    uint32_t skip_left             # bytes of a refused record that are still to come
    uint64_t sequence              # of the next record
    Topic* topic                   # NULL: `topic_verdict` says why
    uint32_t topic_verdict

cdef struct Input:
    const Listener* listener
    Origin origin
    SessionCursor session
    FrameState frame
    bint datagram                  # never waits for a count or a share
    bint answers                   # rejections are kept as ranges for the sender
    uint32_t refuse_reason         # not 0: every record is refused with it; or one of chooser.pxd's ways
    uint32_t flags
    uint32_t blocked_reason
    uint32_t wanted_topic          # index, with FLAG_TOPIC_WAIT
    uint32_t broken_reason
    const char* broken_text
    # what parsing found out about the bytes it left
    uint32_t need_bytes            # the incomplete unit's whole length, 0: not known
    uint32_t scanned_bytes         # lines: so many of them hold no newline
    bint skipping                  # lines: the rest of a refused line is still to come
    bint control_seen              # frames: stop in front of the next RECORDS frame
    uint32_t control_bytes         # frames: a complete control frame of this length is next
    uint64_t accepted_sequence     # committed
    RejectedRange* ranges
    uint32_t range_count
    uint32_t range_capacity
    int32_t topic_count            # topic ids agreed on this connection, by id:
    int32_t* topics                # topic index, or one of TopicVerdict

cdef enum TopicVerdict:
    TOPIC_ID_NOT_ALLOWED = -1
    TOPIC_ID_INVALID = -2
