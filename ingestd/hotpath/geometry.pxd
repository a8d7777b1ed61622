# Where the regions of an arena lie, from the numbers in its header.
from libc.stdint cimport uint32_t, uint64_t

from ingestd.hotpath.layout cimport PAGE_BYTES, TABLES_PAGE, Entry, Header, SessionRow, TopicRow


cdef inline uint64_t whole_pages(uint64_t bytes) noexcept nogil:
    return (bytes + PAGE_BYTES - 1) // PAGE_BYTES


cdef inline uint64_t topics_offset(const Header* header) noexcept nogil:
    return TABLES_PAGE * PAGE_BYTES


cdef inline uint64_t sessions_offset(const Header* header) noexcept nogil:
    return topics_offset(header) + whole_pages(2 * <uint64_t>header.topic_capacity * sizeof(TopicRow)) * PAGE_BYTES


cdef inline uint64_t directory_offset(const Header* header) noexcept nogil:
    return sessions_offset(header) + whole_pages(<uint64_t>header.session_capacity * sizeof(SessionRow)) * PAGE_BYTES


cdef inline uint64_t data_offset(const Header* header) noexcept nogil:
    return directory_offset(header) + whole_pages(<uint64_t>header.entry_count * sizeof(Entry)) * PAGE_BYTES


cdef inline uint64_t end_offset(const Header* header) noexcept nogil:
    return data_offset(header) + <uint64_t>header.page_count * PAGE_BYTES
