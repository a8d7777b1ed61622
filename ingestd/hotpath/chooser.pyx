"""Asks partitioners written in Python, once per topic for what has been noted of a read."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport free, malloc

from ingestd.hotpath.batch cimport Record
from ingestd.hotpath.debug cimport invariant
from ingestd.hotpath.input cimport Topic


cdef bytes bytes_or_none(const unsigned char* data, uint32_t length):
    return PyBytes_FromStringAndSize(<const char*>data, length) if data != NULL else None


cdef class Chooser:

    def __cinit__(self):
        self.hooks = {}
        self.clear()

    def __dealloc__(self):
        free(self.noted)

    cdef void clear(self):
        self.count = self.next = 0
        self.keys = []
        self.values = []

    def add_hook(self, int topic_index, hook) -> None:
        """Takes its table when the first topic needs one: most workers have none."""
        if self.noted == NULL:
            self.noted = <Noted*>malloc(CHOICES_MAX * sizeof(Noted))
            if self.noted == NULL:
                raise MemoryError
        self.hooks[topic_index] = hook

    cdef bint note(self, Topic* topic, const Record* record) noexcept nogil:
        cdef Noted* noted = &self.noted[self.count]
        if self.count == CHOICES_MAX:
            return False
        noted.topic = topic
        noted.key = record.key
        noted.key_bytes = record.key_bytes
        noted.value = record.value
        noted.value_bytes = record.value_bytes
        noted.partition = CHOICE_FAILED
        self.count += 1
        return True

    cdef int32_t take(self, const Topic* topic, const Record* record) noexcept nogil:
        cdef const Noted* noted = &self.noted[self.next]
        if self.next == self.count:
            return NOT_CHOSEN
        invariant(noted.topic == topic and noted.value == record.value and noted.value_bytes == record.value_bytes)
        self.next += 1
        return noted.partition

    cdef int gather(self) except -1:
        cdef Noted* noted
        cdef uint32_t index
        for index in range(<uint32_t>len(self.keys), self.count):
            noted = &self.noted[index]
            self.keys.append(bytes_or_none(noted.key, noted.key_bytes))
            self.values.append(bytes_or_none(noted.value, noted.value_bytes))
        return 0

    cdef int choose(self) except -1:
        cdef uint32_t index
        cdef Topic* topic = self.noted[0].topic if self.count else NULL
        for index in range(self.count):
            if self.noted[index].topic != topic:
                break
        else:
            if self.count:
                self._ask(topic, range(self.count), self.keys, self.values)
            return 0
        places = {}
        for index in range(self.count):
            places.setdefault(self.noted[index].topic.index, []).append(index)
        for found in places.values():
            index = found[0]
            self._ask(self.noted[index].topic, found, [self.keys[place] for place in found], [self.values[place] for place in found])
        return 0

    cdef int _ask(self, Topic* topic, places, list keys, list values) except -1:
        cdef uint32_t place
        cdef int32_t partition
        for place, partition in zip(places, self.hooks[topic.index](keys, values, topic.partitions.count), strict=True):
            self.noted[place].partition = partition
        return 0
