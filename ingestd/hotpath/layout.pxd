# The bytes of an arena file, and the numbers that every compiled module shares. Little-endian hosts only (the
# header's magic tells).
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    PAGE_BYTES = 4096
    BATCH_HEADER_BYTES = 61        # Kafka record batch v2 header, in front of the records of every run
    LEDGER_WORDS = 128
    # (offset, value) pairs that fit the two intent pages. The most are a read's: TOUCHED_MAX batches of 8 (the first
    # commit of one; later ones take 3), 18 of a session, at most 39 of the ledger.
    INTENT_PAIRS = 510
    SESSION_REJECTIONS_MAX = 16
    LAYOUT_VERSION = 1
    TOPIC_NAME_BYTES_MAX = 249     # Kafka's limit
    CLUSTER_ID_BYTES_MAX = 120
    ABSORBED_MAX = 32              # arenas remembered as absorbed
    DROPPED_QUARANTINED = 2        # reason, behind LEDGER_DROPPED
    # From one opened batch to the next, so that the parts of a split one have room; and records that a batch may have.
    BATCH_NUMBERS = 1 << 20

# page numbers of the regions whose place never changes; then topics (two copies), sessions, directory, data
cdef enum:
    HEADER_PAGE = 0                # and its copy in page 1
    INTENT_PAGE = 2
    LEDGER_PAGE = 4
    TABLES_PAGE = 5
    CLUSTER_OFFSET = 1024          # inside page 0: what changes while the arena lives
    ABSORBED_OFFSET = 2048
    OWNER_OFFSET = 4000            # process id of the owner, u64

cdef struct Header:                # never changes after creation
    uint64_t magic
    uint32_t layout_version
    uint32_t page_bytes
    uint8_t arena_id[16]
    uint64_t buffer_bytes          # as configured
    uint64_t file_bytes
    int64_t created_ms
    uint32_t topic_capacity
    uint32_t session_capacity
    uint32_t entry_count
    uint32_t page_count            # data pages, the reserve included
    uint32_t reserve_pages         # the last ones; intake never takes them
    uint32_t crc                   # of all bytes before it

cdef struct Cluster:               # at CLUSTER_OFFSET
    uint64_t word                  # crc32c of the text:32 | length:32 (low half)
    uint8_t text[120]

cdef struct Absorbed:              # at ABSORBED_OFFSET
    uint64_t count                 # arenas ever absorbed; the newest is at (count - 1) % ABSORBED_MAX
    uint8_t arena_ids[32][16]

cdef struct TopicRow:              # 288 bytes; every change is made to both copies of the table
    uint64_t word                  # crc32c of the row:32 | name length:32 (low half; 0: row is free)
    uint8_t topic_id[16]
    int64_t partition_count        # 0: not known
    uint8_t name[256]

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
    LEDGER_TIMESTAMPS_REPLACED = 10
    LEDGER_REJECTED = 16           # + Rejected
    LEDGER_FAILED = 48             # + reason
    LEDGER_DROPPED = 72            # + reason

cdef enum:                         # so many words each
    REJECTED_REASONS = 32
    FAILED_REASONS = 24
    DROPPED_REASONS = 16

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
    REJECTED_PARTITIONER_FAILED = 22

# Provenance, at the back of a run, growing to lower addresses; a reader walks down from the run's end and stops once
# it has met the
# batch's record count, or at the end of the records. Per provenance run, in walking order:
#   kind u8 (PROVENANCE_*; bit 7: an answer of level "delivered" is wanted), listener u8,
#   sender: 4 bytes (connection number, session row), 6 (IPv4 address, port), 18 (IPv6 address, port), 0 (datagram
# path),
#   [PROVENANCE_SESSION: first_sequence u64], record_count u32,
#   [PROVENANCE_SESSION: record_count - 1 LEB128 varints: sequences skipped before the next record; each byte at the
# next lower address].
# Every field of more than one byte but the varints lies as a block at ascending addresses, numbers little-endian: the
# cursor goes
# down by the field's size, then the field is stored there. An address is in network order, its port a u16 behind it.
# A stored record_count may exceed what is committed: readers clip it.
cdef enum Provenance:
    PROVENANCE_CONNECTION = 1
    PROVENANCE_SESSION = 2
    PROVENANCE_DATAGRAM_PATH = 3
    PROVENANCE_UDP4 = 4
    PROVENANCE_UDP6 = 5
    PROVENANCE_DELIVERED = 128

cdef struct Entry:                 # directory: two cache lines per batch. First line identity, second line stamp
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
    uint64_t provenance            # from SEALED on: crc32c:32 | bytes:32 (low half) of the provenance runs

cdef struct SessionRow:            # 256 bytes
    uint8_t session_id[16]         # all zero: the row is free
    uint64_t last_accepted         # sequence
    int64_t disconnected_ms        # wall clock; 0 while connected
    uint64_t rejection_count       # unconfirmed, at most SESSION_REJECTIONS_MAX
    uint64_t rejections[16]        # reason:16 | sequence:48 (low part)
    uint64_t adopted               # not 0: another arena has taken the session over; it goes on, or ended, there
    uint64_t reserved[10]
