"""The arena without its batches: header, intent, ledger, topic table, session table, cluster id."""
import os

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from ingestd.hotpath.crc32c cimport crc32c_update
from ingestd.hotpath.geometry cimport (
    data_offset, directory_offset, end_offset, sessions_offset, topics_offset, whole_pages,
)
from ingestd.hotpath.intent cimport (
    IntentPages, intent_apply, intent_clear, intent_publish, intent_recover, intent_stage, intent_stage_changes,
)
from ingestd.hotpath.layout cimport (
    ABSORBED_OFFSET, CLUSTER_ID_BYTES_MAX, CLUSTER_OFFSET, HEADER_PAGE, INTENT_PAGE, LAYOUT_VERSION,
    LEDGER_DELIVERED, LEDGER_FAILED, LEDGER_PAGE, LEDGER_WORDS, PAGE_BYTES,
    SESSION_REJECTIONS_MAX, TOPIC_NAME_BYTES_MAX,
    Absorbed, Cluster, Entry, Header, SessionRow, TopicRow,
)
from ingestd.hotpath.region cimport Region

from ingestd.hotpath.errors import ArenaDamaged, ArenaFull, ArenaLayoutUnknown
from ingestd.hotpath.snapshots import Session, Topic

# "INGARENA" on a little-endian host; a big-endian one reads something else and refuses
cdef uint64_t MAGIC = 0x414E455241474E49
cdef uint32_t ENTRIES_DENSE = 196608   # 3/4 of 1 GiB of pages: an entry per page up to there, then one per four
# A batch being compressed or repaired is there twice for a moment, so the reserve takes the largest one; the check of
# `batch.size` knows these numbers (limits.py, a test compares).
cdef uint32_t RESERVE_SHARE = 32
cdef uint32_t RESERVE_SHARE_SMALL = 16
cdef uint64_t RESERVE_BYTES_SMALL = 1 << 20
cdef uint64_t RESERVE_BYTES_MAX = 16 << 20
cdef uint32_t SEQUENCE_BITS = 48
cdef uint64_t SEQUENCE_MASK = (<uint64_t>1 << SEQUENCE_BITS) - 1


cdef uint32_t header_crc(const Header* header) noexcept:
    return ~crc32c_update(0xFFFFFFFFu, <const unsigned char*>header, sizeof(Header) - 4)


cdef uint32_t topic_crc(const TopicRow* row) noexcept:
    cdef TopicRow copy = row[0]
    copy.word &= 0xFFFFFFFF
    return ~crc32c_update(0xFFFFFFFFu, <const unsigned char*>&copy, sizeof(TopicRow))


cdef bint header_good(const Header* header) noexcept:
    return header.magic == MAGIC and header.layout_version == LAYOUT_VERSION and header.crc == header_crc(header) \
        and end_offset(header) == header.file_bytes


cdef bint header_foreign(const Header* first, const Header* second) noexcept:
    # Of another version only these two fields are known to be where we look; a bit that flipped in one copy is no
    # version.
    return first.magic == second.magic == MAGIC and first.layout_version == second.layout_version != LAYOUT_VERSION


cdef bint topic_good(const TopicRow* row) noexcept:
    return row.word == 0 or (row.word >> 32 == topic_crc(row) and <uint32_t>row.word <= TOPIC_NAME_BYTES_MAX)


@cython.no_gc_clear      # see BatchView
cdef class Tables(Region):
    """Base of the arena: everything in it that is not a batch."""

    cdef int tables_create(self, uint64_t buffer_bytes, uint32_t topic_capacity, uint32_t session_capacity,
                           object reserve_pages, object now_ms) except -1:
        cdef Header header
        cdef uint64_t rest
        cdef bytes arena_id = os.urandom(16)
        memset(&header, 0, sizeof(Header))
        header.magic = MAGIC
        header.layout_version = LAYOUT_VERSION
        header.page_bytes = PAGE_BYTES
        memcpy(header.arena_id, <const unsigned char*>arena_id, 16)
        header.buffer_bytes = buffer_bytes
        header.created_ms = now_ms
        header.topic_capacity = topic_capacity
        header.session_capacity = session_capacity or max(256, min(4096, buffer_bytes // 65536))
        if directory_offset(&header) + 17 * <uint64_t>PAGE_BYTES > buffer_bytes:
            raise ValueError(f"an arena of {buffer_bytes} bytes has no room for its tables and 16 pages of records")
        rest = min(buffer_bytes // <uint64_t>PAGE_BYTES, <uint64_t>1 << 31) - whole_pages(directory_offset(&header))
        header.page_count = <uint32_t>rest
        while True:
            # An entry per page up to 1 GiB; behind that, batches of four pages and more are the rule.
            header.entry_count = min(header.page_count, ENTRIES_DENSE + header.page_count // 4)
            if whole_pages(<uint64_t>header.entry_count * sizeof(Entry)) + header.page_count <= rest:
                break
            header.page_count -= 1 + (header.page_count + header.entry_count // 32 - <uint32_t>rest) // 2
        if reserve_pages is None:
            reserve_pages = max(
                buffer_bytes // RESERVE_SHARE, min(buffer_bytes // RESERVE_SHARE_SMALL, RESERVE_BYTES_SMALL))
            reserve_pages = max(4, min(reserve_pages, RESERVE_BYTES_MAX) // PAGE_BYTES)
        header.reserve_pages = reserve_pages
        if header.reserve_pages >= header.page_count:
            raise ValueError(f"a reserve of {header.reserve_pages} pages leaves nothing of {header.page_count}")
        header.file_bytes = end_offset(&header)
        header.crc = header_crc(&header)
        self.region_create(header.file_bytes)
        memcpy(self.base + HEADER_PAGE * PAGE_BYTES, &header, sizeof(Header))
        memcpy(self.base + (HEADER_PAGE + 1) * PAGE_BYTES, &header, sizeof(Header))
        return self._attach()

    cdef int tables_open(self) except -1:
        cdef Header* header
        cdef uint32_t copy, index
        self.region_open()
        copy = self._header_copy()
        header = <Header*>(self.base + (HEADER_PAGE + copy) * PAGE_BYTES)
        memcpy(self.base + (HEADER_PAGE + 1 - copy) * PAGE_BYTES, header, sizeof(Header))
        self._attach()
        self.region_adopt()
        intent_recover(&self.intent)
        for index in range(self.header.topic_capacity):
            if not topic_good(&self.topic_rows[index]):
                memcpy(&self.topic_rows[index], &self.topic_copies[index], sizeof(TopicRow))
            if not topic_good(&self.topic_copies[index]) or \
                    memcmp(&self.topic_rows[index], &self.topic_copies[index], sizeof(TopicRow)) != 0:
                memcpy(&self.topic_copies[index], &self.topic_rows[index], sizeof(TopicRow))
            if self.topic_rows[index].word != 0 and topic_good(&self.topic_rows[index]):
                self.topic_count = index + 1
        for index in range(self.header.session_capacity):
            session_id = (<const unsigned char*>self.sessions[index].session_id)[:16]
            if self.sessions[index].rejection_count > <uint64_t>SESSION_REJECTIONS_MAX:
                self.sessions[index].rejection_count = SESSION_REJECTIONS_MAX
            self.session_busy.add(index)
            if session_id != bytes(16):
                self.session_indexes[session_id] = index
        return 0

    cdef int _header_copy(self) except -1:
        # Which of the two copies is good.
        cdef Header* header
        cdef Header* first = <Header*>(self.base + HEADER_PAGE * PAGE_BYTES)
        cdef int copy
        for copy in range(2):
            header = <Header*>(self.base + (HEADER_PAGE + copy) * PAGE_BYTES)
            if header_good(header) and header.file_bytes <= self.file_bytes:
                return copy
        header = <Header*>(self.base + (HEADER_PAGE + 1) * PAGE_BYTES)
        if header_foreign(first, header):
            version = header.layout_version
            raise ArenaLayoutUnknown(f"arena {self.path} has layout version {version}, not {LAYOUT_VERSION}")
        raise ArenaDamaged(f"arena {self.path}: both copies of the header are damaged")

    cdef int _attach(self) except -1:
        self.header = <Header*>self.base
        self.seed = crc32c_update(0xFFFFFFFFu, self.header.arena_id, 16)
        self.intent.base = self.base
        self.intent.pages = <IntentPages*>(self.base + INTENT_PAGE * PAGE_BYTES)
        self.intent.bytes_max = data_offset(self.header)
        self.intent.seed = self.seed
        self.ledger = <uint64_t*>(self.base + LEDGER_PAGE * PAGE_BYTES)
        self.cluster = <Cluster*>(self.base + CLUSTER_OFFSET)
        self.absorbed = <Absorbed*>(self.base + ABSORBED_OFFSET)
        self.topic_rows = <TopicRow*>(self.base + topics_offset(self.header))
        self.topic_copies = self.topic_rows + self.header.topic_capacity
        self.sessions = <SessionRow*>(self.base + sessions_offset(self.header))
        self.session_indexes = {}
        self.session_busy = set()
        self.sessions_forgotten = set()
        self.session_marked = True
        return 0

    cdef void intent_add(self, uint64_t* place, uint64_t value) noexcept nogil:
        intent_stage(&self.intent, place, value)

    cdef void intent_commit(self) noexcept nogil:
        if self.intent.count == 0:
            return
        intent_publish(&self.intent)
        intent_apply(&self.intent, self.intent.count)
        intent_clear(&self.intent)

    cdef void ledger_add(self, uint32_t word, uint64_t value) noexcept nogil:
        # At most once per word and intent: the store is absolute.
        self.intent_add(&self.ledger[word], self.ledger[word] + value)

    @property
    def arena_id(self):
        """16 random bytes, given at creation."""
        return (<const unsigned char*>self.header.arena_id)[:16]

    @property
    def buffer_bytes(self):
        """The size as configured at creation; the file may be a little smaller."""
        return self.header.buffer_bytes

    @property
    def created_ms(self):
        """Wall clock at its creation."""
        return self.header.created_ms

    @property
    def topic_capacity(self):
        return self.header.topic_capacity

    @property
    def session_capacity(self):
        return self.header.session_capacity

    @property
    def cluster_id(self):
        """Of the cluster that the stamped batches were made for; "" when not set, or damaged."""
        cdef uint32_t length = <uint32_t>self.cluster.word
        if length > CLUSTER_ID_BYTES_MAX:
            return ""
        if crc32c_update(self.seed, self.cluster.text, length) != self.cluster.word >> 32:
            return ""
        return (<const unsigned char*>self.cluster.text)[:length].decode("utf-8", "replace")

    def set_cluster_id(self, str cluster_id):
        """Stores the cluster id; ValueError beyond 120 bytes."""
        cdef bytes text = cluster_id.encode()
        cdef Cluster new
        if len(text) > CLUSTER_ID_BYTES_MAX:
            raise ValueError(f"cluster id of {len(text)} bytes")
        memset(&new, 0, sizeof(Cluster))
        memcpy(new.text, <const unsigned char*>text, len(text))
        new.word = <uint64_t>crc32c_update(self.seed, new.text, len(text)) << 32 | <uint64_t>len(text)
        intent_stage_changes(&self.intent, <uint64_t*>self.cluster, <uint64_t*>&new, sizeof(Cluster) // 8)
        self.intent_commit()

    def ledger_counters(self):
        """All ledger words, by position."""
        cdef uint32_t index
        return [self.ledger[index] for index in range(<uint32_t>LEDGER_WORDS)]

    def topics(self):
        """The topic table's rows in use. Indexes stay as they are for the life of the arena."""
        cdef uint32_t index
        rows = []
        for index in range(self.topic_count):
            if self.topic_rows[index].word != 0 and topic_good(&self.topic_rows[index]):
                rows.append(self._topic(index))
        return rows

    def _topic(self, uint32_t index):
        cdef TopicRow* row = &self.topic_rows[index]
        name = (<const unsigned char*>row.name)[:<uint32_t>row.word].decode("utf-8", "replace")
        return Topic(index, name, (<const unsigned char*>row.topic_id)[:16], row.partition_count)

    def topic_add(self, str name):
        """Row of the topic of that name, a new one if there is none; ArenaFull when the table is."""
        cdef bytes text = name.encode()
        cdef TopicRow row
        if not 0 < len(text) <= TOPIC_NAME_BYTES_MAX:
            raise ValueError(f"topic name of {len(text)} bytes")
        for topic in self.topics():
            if topic.name == name:
                return topic.index
        if self.topic_count == self.header.topic_capacity:
            raise ArenaFull(f"the arena's topic table is full: {self.topic_count} topics")
        memset(&row, 0, sizeof(TopicRow))
        row.word = <uint64_t>len(text)
        memcpy(row.name, <const unsigned char*>text, len(text))
        self._topic_write(self.topic_count, &row)
        self.topic_count += 1
        return self.topic_count - 1

    def topic_update(self, uint32_t index, bytes topic_id, int64_t partition_count):
        """Stores what metadata said about a topic."""
        cdef TopicRow row
        if index >= self.topic_count or len(topic_id) != 16:
            raise ValueError(f"no topic {index}, or a topic id of {len(topic_id)} bytes")
        row = self.topic_rows[index]
        memcpy(row.topic_id, <const unsigned char*>topic_id, 16)
        row.partition_count = partition_count
        self._topic_write(index, &row)

    cdef int _topic_write(self, uint32_t index, TopicRow* row) except -1:
        row.word = <uint64_t>topic_crc(row) << 32 | <uint32_t>row.word
        intent_stage_changes(&self.intent, <uint64_t*>&self.topic_rows[index], <uint64_t*>row, sizeof(TopicRow) // 8)
        intent_stage_changes(&self.intent, <uint64_t*>&self.topic_copies[index], <uint64_t*>row, sizeof(TopicRow) // 8)
        self.intent_commit()
        return 0

    cdef set sessions_in_batches(self):
        # Rows named by the provenance of batches; the subclass that has batches knows.
        return set()

    def _session(self, uint32_t index):
        cdef SessionRow* row = &self.sessions[index]
        cdef uint32_t at
        rejections = []
        for at in range(<uint32_t>row.rejection_count):
            rejections.append((row.rejections[at] & SEQUENCE_MASK, row.rejections[at] >> SEQUENCE_BITS))
        session_id = (<const unsigned char*>row.session_id)[:16]
        return Session(index, session_id, row.last_accepted, tuple(rejections), row.disconnected_ms, row.adopted != 0)

    def sessions_list(self):
        """All sessions in the table."""
        return [self._session(index) for index in sorted(self.session_indexes.values())]

    def session_find(self, bytes session_id):
        """The session of that id, or None."""
        index = self.session_indexes.get(session_id)
        return None if index is None else self._session(index)

    def session_at(self, uint32_t index):
        """The session in that row, or None."""
        if index >= self.header.session_capacity:
            return None
        session = self._session(index)
        return session if session.session_id in self.session_indexes else None

    def session_open(self, bytes session_id, now_ms):
        """A new, connected session; ArenaFull when no row is free: forget one first. `now_ms` is not stored: a
        connected session has no age.
        """
        if len(session_id) != 16 or session_id == bytes(16):
            raise ValueError("a session id is 16 bytes, not all zero")
        if session_id in self.session_indexes:
            raise ValueError("there is a session of that id")
        index = self._session_row()
        self._session_write(index, session_id, 0, (), 0)
        self.session_indexes[session_id] = index
        return self._session(index)

    def _session_row(self):
        # A row whose last session's records are still in the arena would give its answers to a stranger: such rows
        # wait.
        taken = set(self.session_indexes.values())
        # Where every row has a session, a look finds none: one has to be forgotten first.
        while len(taken) < self.header.session_capacity:
            for index in range(self.header.session_capacity):
                if index not in taken and index not in self.session_busy:
                    return index
            if not self._sessions_look():
                break
        raise ArenaFull(f"the arena's session table is full: {self.header.session_capacity} rows")

    cdef int _sessions_look(self) except -1:
        # Walks all batches for the rows that they name. False: the walk would find what it found last, since nothing has
        # left the arena and no row was marked.
        cdef uint32_t word
        cdef uint64_t left = self.ledger[<uint32_t>LEDGER_DELIVERED]
        for word in range(LEDGER_FAILED, LEDGER_WORDS):
            left += self.ledger[word]
        if left == self.session_look_left and not self.session_marked:
            return False
        self.session_busy = self.sessions_in_batches()
        self.session_look_left = left
        self.session_marked = False
        return True

    # The row's session may have had records taken in since the last look.
    cdef int _session_mark(self, uint32_t index) except -1:
        if index not in self.session_busy:
            self.session_busy.add(index)
            self.session_marked = True
        return 0

    def _session_write(self, uint32_t index, bytes session_id, uint64_t last_accepted, rejections,
                       int64_t disconnected_ms):
        cdef SessionRow new
        cdef uint32_t at
        memset(&new, 0, sizeof(SessionRow))
        memcpy(new.session_id, <const unsigned char*>session_id, 16)
        new.last_accepted = last_accepted
        new.disconnected_ms = disconnected_ms
        new.rejection_count = <uint64_t>len(rejections)
        for at in range(<uint32_t>len(rejections)):
            new.rejections[at] = <uint64_t>rejections[at][0] | <uint64_t>rejections[at][1] << SEQUENCE_BITS
        intent_stage_changes(&self.intent, <uint64_t*>&self.sessions[index], <uint64_t*>&new, sizeof(SessionRow) // 8)
        self.intent_commit()

    def session_close(self, uint32_t index):
        """Ends a session. Its row is given out again once no record of it is in the arena."""
        self._session_known(index)
        del self.session_indexes[(<const unsigned char*>self.sessions[index].session_id)[:16]]
        # One that was disconnected is marked if it has to be.
        if not self.sessions[index].disconnected_ms:
            self._session_mark(index)
        self._session_write(index, bytes(16), 0, (), 0)

    def session_confirm(self, uint32_t index, uint64_t sequence):
        """The client has seen the rejections up to `sequence`: they are forgotten."""
        self._session_known(index)
        session = self._session(index)
        left = tuple(item for item in session.rejections if item[0] > sequence)
        self._session_write(index, session.session_id, session.last_accepted, left, session.disconnected_ms)

    def session_disconnected(self, uint32_t index, int64_t now_ms):
        """The session's connection is gone since `now_ms`; 0: it is back."""
        self._session_known(index)
        if now_ms:
            self._session_mark(index)
        self.intent_add(<uint64_t*>&self.sessions[index].disconnected_ms, <uint64_t>now_ms)
        self.intent_commit()

    def session_forgettable(self, int64_t now_ms):
        """Row of the session longest disconnected (before `now_ms`) with nothing in the arena when its batches were
        last walked, or -1; they are walked if there is none, unless nothing has changed since.
        """
        while True:
            best = -1
            best_ms = now_ms
            for index in self.session_indexes.values():
                disconnected_ms = self.sessions[<uint32_t>index].disconnected_ms
                if 0 < disconnected_ms <= best_ms and index not in self.session_busy:
                    best, best_ms = index, disconnected_ms
            if best >= 0 or not self._sessions_look():
                return best

    def _session_known(self, uint32_t index):
        if index >= self.header.session_capacity or \
                (<const unsigned char*>self.sessions[index].session_id)[:16] not in self.session_indexes:
            raise ValueError(f"no session in row {index}")
