# The bytes of an arena file, and the numbers that every compiled module shares. Little-endian hosts only (the header's magic tells).
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    PAGE_BYTES = 4096
    BATCH_HEADER_BYTES = 61        # Kafka record batch v2 header, in front of the records of every run
    LEDGER_WORDS = 128
    INTENT_STORES_MAX = 250        # (offset, value) pairs that fit the intent page
    SESSION_REJECTIONS_MAX = 16

cdef enum State:
    STATE_FREE = 0
    STATE_OPEN = 1
    STATE_SEALED = 2
    STATE_STAMPED = 3
    STATE_DONE = 4
    STATE_FAILED = 5

cdef enum Ledger:                  # word index in the ledger; ingestd/metrics.py names them for people
    LEDGER_RECEIVED = 0
    LEDGER_ACCEPTED = 1
    LEDGER_DELIVERED = 2
    LEDGER_REPEATED = 3
    LEDGER_RECEIVED_BYTES = 4
    LEDGER_ACCEPTED_BYTES = 5
    LEDGER_DELIVERED_BYTES = 6
    LEDGER_POSSIBLE_DUPLICATES = 7
    LEDGER_KERNEL_DROPPED = 8
    LEDGER_OFFSETS_UNKNOWN = 9
    LEDGER_REJECTED = 16           # + Rejected
    LEDGER_FAILED = 48             # + reason
    LEDGER_DROPPED = 72            # + reason

cdef enum Rejected:
    REJECTED_NONE = 0
    REJECTED_MALFORMED = 1
    REJECTED_RECORD_TOO_LARGE = 2
    REJECTED_FRAME_TOO_LARGE = 3
    REJECTED_KEY_TOO_LARGE = 4
    REJECTED_TOO_MANY_HEADERS = 5
    REJECTED_INVALID_TOPIC = 6
    REJECTED_TOPIC_NOT_ALLOWED = 7
    REJECTED_TOPIC_UNKNOWN = 8
    REJECTED_INVALID_PARTITION = 9
    REJECTED_TIMESTAMP_OUT_OF_BOUNDS = 10
    REJECTED_TRUNCATED = 11
    REJECTED_CUT = 12
    REJECTED_EMPTY = 13
    REJECTED_SHED = 14
    REJECTED_PARTITION_SHARE = 15
    REJECTED_BAD_FRAMING = 16
    REJECTED_INVALID_HEADER = 17
    REJECTED_SEQUENCE_GAP = 18
    REJECTED_STALLED = 19
    REJECTED_UNSUPPORTED_FRAME = 20
    REJECTED_LINE_TOO_LARGE = 21

cdef struct Entry:                 # directory: two cache lines per batch. First line identity, second line stamp (read only in STAMPED)
    uint64_t state                 # generation:32 | reserved:16 | codec:8 | state:8 (lowest)
    uint64_t run                   # pages:32 | first page:32 (low half)
    uint64_t commit                # rolling crc32c:32 | record bytes:32 (low half); length and checksum are one store
    uint64_t count                 # crc of this line:32 | record count:32 (low half)
    uint64_t route                 # partition:32 | topic:32 (low half)
    int64_t number                 # grows with every opened batch: the order within a partition
    int64_t base_timestamp_ms
    int64_t max_timestamp_ms
    int64_t producer_id
    uint64_t sequence              # flags:16 | epoch:16 | base sequence:32 (low half)
    int64_t first_send_ms
    uint64_t attempts              # crc of this line:32 | attempts:32 (low half)
    int64_t created_ms
    uint64_t synced[2]             # room for the sync words of durability "power"
    uint64_t reserved

cdef struct SessionRow:            # 256 bytes
    uint8_t session_id[16]         # all zero: the row is free
    uint64_t last_accepted         # sequence
    int64_t disconnected_ms        # wall clock; 0 while connected
    uint64_t rejection_count       # unconfirmed, at most SESSION_REJECTIONS_MAX
    uint64_t rejections[16]        # reason:16 | sequence:48 (low part)
    uint64_t reserved[11]
