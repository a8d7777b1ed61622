# The intake as Python sees it: topics, listeners, and the sockets that records come from.
from libc.stdint cimport int64_t, uint32_t

from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.datagram cimport Ring
from ingestd.hotpath.input cimport Listener, Topic
from ingestd.hotpath.publisher cimport Publisher
from ingestd.hotpath.window cimport Window

cdef class Intake:
    cdef Appender appender
    cdef Publisher publisher
    cdef Window window
    cdef Ring ring                 # None until the first datagram socket
    cdef Listener* listeners[128]  # LISTENERS_MAX

    cdef Topic* _topic(self, int topic_index) except NULL
    cdef int _choose_available(self, Topic* topic) except -1
    cdef int _place_available(self, Topic* topic, uint32_t partition) except -1
    cdef Listener* _listener(self, int listener_index) except NULL
    cdef bint _any_due(self, int64_t tick_ms)
