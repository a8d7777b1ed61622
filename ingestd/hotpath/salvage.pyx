"""What can still be read of an arena that is given up: its books, topics and sessions, without opening it.

The file may hold anything. It is neither mapped (a page of a bad disk would kill us with SIGBUS) nor changed; what
cannot be read, or lies behind its end, counts as zeros; nothing follows a number that was not checked. A published
intent counts as applied.
"""
import hashlib
import os
import stat

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from ingestd.hotpath.crc32c cimport crc32c_update
from ingestd.hotpath.directory cimport Identity
from ingestd.hotpath.geometry cimport data_offset, directory_offset, sessions_offset, topics_offset
from ingestd.hotpath.intent cimport IntentPages
from ingestd.hotpath.layout cimport (
    ABSORBED_MAX, ABSORBED_OFFSET, CLUSTER_ID_BYTES_MAX, CLUSTER_OFFSET, DROPPED_REASONS, FAILED_REASONS, HEADER_PAGE,
    INTENT_PAGE, INTENT_PAIRS, LEDGER_ACCEPTED, LEDGER_DELIVERED, LEDGER_DROPPED, LEDGER_FAILED, LEDGER_PAGE,
    LEDGER_RECEIVED, LEDGER_REJECTED, LEDGER_WORDS, PAGE_BYTES, REJECTED_REASONS, SESSION_REJECTIONS_MAX, STATE_OPEN,
    STATE_STAMPED,
    Absorbed, Cluster, Entry, Header, SessionRow, TopicRow,
)
from ingestd.hotpath.tables cimport Tables, header_foreign, header_good, topic_good

from ingestd.hotpath.snapshots import Salvaged, Session, Topic

cdef uint64_t LOW_HALF = 0xFFFFFFFFu
cdef uint64_t SEQUENCE_MASK = (<uint64_t>1 << 48) - 1
cdef uint32_t MEND_WORDS_MAX = 8       # in so many 32-bit words the copies of a header may differ to be put together
cdef uint32_t DIRECTORY_PAGES = 256    # looked at at a time


class _File:
    """The file's bytes with the stores of a published intent laid over them."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.size_bytes = os.fstat(descriptor).st_size
        self.stores = {}

    def read(self, offset, size_bytes):
        content = bytearray(size_bytes)
        with memoryview(content) as view:
            for at in range(0, min(size_bytes, max(self.size_bytes - offset, 0)), PAGE_BYTES):
                with view[at:at + PAGE_BYTES] as page:
                    try:
                        os.preadv(self.descriptor, [page], offset + at)
                    except OSError:
                        continue
        for place, value in self.stores.items():
            if offset <= place <= offset + size_bytes - 8:
                content[place - offset:place - offset + 8] = value
        return bytes(content)


def salvage(path, Tables like=None):
    """What can be read of the arena in `path` (`Salvaged`), or None. Where its header is lost, but it is as large as
    `like`, it is taken to be laid out as that. OSError: there is no such file, or it may not be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return contents_read(_File(descriptor), like)
    finally:
        os.close(descriptor)


cdef object contents_read(object file, Tables like):
    cdef Header header
    cdef uint32_t seed
    cdef bint known
    cdef const unsigned char* first
    pages = file.read(HEADER_PAGE * PAGE_BYTES, 2 * PAGE_BYTES)
    first = pages
    if header_foreign(<const Header*>first, <const Header*>(first + PAGE_BYTES)):
        return None
    known = header_find(&header, <const Header*>first, <const Header*>(first + PAGE_BYTES))
    if not known:
        if like is None or like.header.file_bytes != file.size_bytes:
            return None
        header = like.header[0]
    if sessions_offset(&header) > file.size_bytes:
        return None
    if known:
        arena_id = (<const unsigned char*>header.arena_id)[:16]
        seed = crc32c_update(0xFFFFFFFFu, header.arena_id, 16)
        file.stores = stores_read(file.read(INTENT_PAGE * PAGE_BYTES, 2 * PAGE_BYTES), seed, data_offset(&header))
        pages = file.read(HEADER_PAGE * PAGE_BYTES, PAGE_BYTES)
        cluster_id = cluster_read(pages, seed)
        absorbed = absorbed_read(pages)
        buffered_records = directory_count(file, &header, seed)
    else:
        # Nothing that is sealed with the arena's id can be checked. The file does not change any more: its tables
        # name it.
        tables = file.read(LEDGER_PAGE * PAGE_BYTES, directory_offset(&header) - LEDGER_PAGE * PAGE_BYTES)
        arena_id = hashlib.blake2b(tables, digest_size=16).digest()
        cluster_id = ""
        absorbed = ()
        buffered_records = -1
    words = file.read(LEDGER_PAGE * PAGE_BYTES, LEDGER_WORDS * 8)
    counters = tuple(memoryview(words).cast("Q"))
    topics = topics_read(file, &header)
    sessions = sessions_read(file, &header)
    return Salvaged(arena_id, cluster_id, topics, sessions, counters, buffered_records, absorbed)


cdef bint header_find(Header* found, const Header* first, const Header* second):
    # Either copy, or one put together from both where each is damaged in a place of its own.
    cdef const uint32_t* others = <const uint32_t*>second
    cdef uint32_t* words = <uint32_t*>found
    cdef uint32_t choice, bit
    found[0] = second[0]
    if header_good(found):
        return True
    found[0] = first[0]
    if header_good(found):
        return True
    places = []
    for bit in range(<uint32_t>(sizeof(Header) // 4)):
        if words[bit] != others[bit]:
            places.append(bit)
    if <uint32_t>len(places) > MEND_WORDS_MAX:
        return False
    for choice in range(<uint32_t>1 << <uint32_t>len(places)):
        found[0] = first[0]
        for bit in range(<uint32_t>len(places)):
            if choice >> bit & 1:
                words[<uint32_t>places[bit]] = others[<uint32_t>places[bit]]
        if header_good(found):
            return True
    return False


cdef dict stores_read(bytes pages, uint32_t seed, uint64_t bytes_max):
    # As intent_recover: all of a published intent, or nothing.
    cdef const unsigned char* start = pages
    cdef const IntentPages* intent = <const IntentPages*>start
    cdef uint32_t index, count = <uint32_t>intent.word
    stores = {}
    if not 0 < count <= INTENT_PAIRS:
        return stores
    if crc32c_update(seed, <const unsigned char*>intent.pairs, count * 16) != intent.word >> 32:
        return stores
    for index in range(count):
        if intent.pairs[index].offset % 8 != 0 or intent.pairs[index].offset > bytes_max - 8:
            return {}
        stores[intent.pairs[index].offset] = int(intent.pairs[index].value).to_bytes(8, "little")
    return stores


cdef str cluster_read(bytes page, uint32_t seed):
    cdef const unsigned char* start = page
    cdef const Cluster* cluster = <const Cluster*>(start + CLUSTER_OFFSET)
    cdef uint32_t length = <uint32_t>cluster.word
    if length > CLUSTER_ID_BYTES_MAX or crc32c_update(seed, cluster.text, length) != cluster.word >> 32:
        return ""
    return text_read(cluster.text, length)


cdef str text_read(const unsigned char* text, uint32_t length):
    try:
        return text[:length].decode("utf-8")
    except UnicodeDecodeError:
        return ""


cdef tuple absorbed_read(bytes page):
    cdef const unsigned char* start = page
    cdef const Absorbed* absorbed = <const Absorbed*>(start + ABSORBED_OFFSET)
    cdef uint64_t number, first = max(absorbed.count, <uint64_t>ABSORBED_MAX) - ABSORBED_MAX
    cdef list ids = []
    for number in range(first, absorbed.count):
        ids.append((<const unsigned char*>absorbed.arena_ids[number % ABSORBED_MAX])[:16])
    return tuple(ids)


cdef tuple topics_read(object file, const Header* header):
    cdef TopicRow row
    cdef uint32_t index, copy, count = header.topic_capacity
    cdef bytes table = file.read(topics_offset(header), 2 * <uint64_t>count * sizeof(TopicRow))
    cdef const unsigned char* start = table
    cdef list topics = []
    names = {""}
    for index in range(count):
        for copy in range(2):
            memcpy(&row, start + (<uint64_t>copy * count + index) * sizeof(TopicRow), sizeof(TopicRow))
            if row.word == 0 or not topic_good(&row):
                continue
            name = text_read(row.name, <uint32_t>row.word)
            if name not in names:
                names.add(name)
                topic_id = (<const unsigned char*>row.topic_id)[:16]
                topics.append(Topic(index, name, topic_id, max(row.partition_count, 0)))
            break
    return tuple(topics)


cdef tuple sessions_read(object file, const Header* header):
    # The rows have no checksum: one that no arena would write is left out.
    cdef SessionRow row
    cdef uint32_t index, at, count
    cdef uint64_t table_bytes = <uint64_t>header.session_capacity * sizeof(SessionRow)
    cdef uint64_t place = sessions_offset(header)
    cdef list sessions = []
    table_bytes = min(table_bytes, <uint64_t>file.size_bytes - place)
    cdef bytes table = file.read(place, table_bytes)
    cdef const unsigned char* start = table
    found = {bytes(16)}
    count = <uint32_t>(table_bytes // sizeof(SessionRow))
    for index in range(count):
        memcpy(&row, start + index * sizeof(SessionRow), sizeof(SessionRow))
        session_id = (<const unsigned char*>row.session_id)[:16]
        spare = (<const unsigned char*>row.reserved)[:sizeof(row.reserved)]
        if session_id in found or row.adopted or any(spare) or row.rejection_count > SESSION_REJECTIONS_MAX \
                or row.last_accepted > SEQUENCE_MASK or row.disconnected_ms < 0:
            continue
        found.add(session_id)
        rejections = []
        for at in range(<uint32_t>row.rejection_count):
            rejections.append((row.rejections[at] & SEQUENCE_MASK, row.rejections[at] >> 48))
        sessions.append(Session(index, session_id, row.last_accepted, tuple(rejections), row.disconnected_ms))
    return tuple(sessions)


cdef object directory_count(object file, const Header* header, uint32_t seed):
    # Records of the batches whose first line is as it was written.
    cdef Identity line
    cdef uint32_t crc, seal, state
    cdef uint64_t word, place, at, total = 0
    cdef uint64_t step = <uint64_t>DIRECTORY_PAGES * PAGE_BYTES
    cdef uint64_t start = directory_offset(header)
    cdef uint64_t end = min(start + <uint64_t>header.entry_count * sizeof(Entry), <uint64_t>file.size_bytes)
    cdef bytes lines
    cdef const unsigned char* first
    for place in range(start, end, step):
        lines = file.read(place, min(step, end - place))
        first = lines
        for at in range(0, <uint64_t>len(lines) // sizeof(Entry) * sizeof(Entry), sizeof(Entry)):
            memcpy(&line, first + at, sizeof(Identity))
            state = line.state & 255
            if not STATE_OPEN <= state <= STATE_STAMPED:
                continue
            crc = <uint32_t>(line.count >> 32)
            line.count &= LOW_HALF
            word = LOW_HALF << 32 | (place + at - start) // sizeof(Entry)
            seal = crc32c_update(seed, <unsigned char*>&word, 8)
            if crc == crc32c_update(seal, <unsigned char*>&line, sizeof(Identity)):
                total += line.count
    return total


def books_closed(found, buffered_records, dropped_word):
    """(ledger words, records) after everything that was still in the arena is booked in `dropped_word`.

    Counters that contradict each other are no books: what the directory holds is then all that was ever taken in.
    """
    words = list(found)
    credible = max(words) < 1 << 62 and words[LEDGER_RECEIVED] == \
        words[LEDGER_ACCEPTED] + sum(words[LEDGER_REJECTED:LEDGER_REJECTED + REJECTED_REASONS])
    left = 0
    if credible:
        left = words[LEDGER_ACCEPTED] - words[LEDGER_DELIVERED] \
            - sum(words[LEDGER_FAILED:LEDGER_FAILED + FAILED_REASONS]) \
            - sum(words[LEDGER_DROPPED:LEDGER_DROPPED + DROPPED_REASONS])
    if not credible or left < 0:
        words = [0] * LEDGER_WORDS
        left = 0
    more = max(buffered_records - left, 0)
    for word in (LEDGER_RECEIVED, LEDGER_ACCEPTED):
        words[word] += more
    words[dropped_word] += left + more
    return words, left + more
