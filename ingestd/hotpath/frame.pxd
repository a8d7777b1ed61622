# Format `frames`: the native protocol's frames (PROTOCOL.md), as far as records need them. All other frames go to Python whole.
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from ingestd.hotpath.appender cimport Appender
from ingestd.hotpath.input cimport Input

# Returns the bytes consumed and leaves in `input` why it stopped: nothing set (bytes used up, or need_bytes of an incomplete unit),
# control_bytes (a whole control frame is next), or a flag.
cdef size_t frames_parse(Appender appender, Input* input, const unsigned char* data, size_t length) noexcept nogil
# The connection ended here: counts the frame that is cut. Returns True if one was.
cdef bint frames_cut(Appender appender, Input* input, size_t length, uint32_t reason) noexcept nogil
# Ends the connection's framing with a reason and a text; counted as one.
cdef void frames_break(Appender appender, Input* input, uint32_t reason, const char* text) noexcept nogil
