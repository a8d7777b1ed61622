# Numeric limits of everything that foreign bytes can claim. The first block mirrors ingestd/limits.py; a test compares.
cdef enum:
    TOPIC_BYTES_MAX = 249               # Kafka's own limit
    HEADERS_MAX = 64                    # of one record, the listener's static headers included
    HEADER_NAME_BYTES_MAX = 1024
    KEY_BYTES_MAX = 65535
    LINE_BYTES_MAX = 1048576            # without its newline
    FRAME_BYTES_MAX = 2097152           # what a frame's length field may say
    TOPIC_IDS_MAX = 1024                # topic ids that one connection may agree on
    DATAGRAM_BYTES_MAX = 65535          # longer ones (Unix datagrams can be) are refused as truncated
    LISTENERS_MAX = 128

cdef enum:                              # how the intake behaves inside those
    CONTROL_FRAME_BYTES_MAX = 65536     # every frame but RECORDS: these are held whole before Python sees them
    DATAGRAM_SLOTS = 64                 # datagrams per recvmmsg
    RECORD_WIRE_OVERHEAD = 2048         # a frame's record may be this much longer than record_bytes_max before it is refused unread
    RUN_BYTES_FIRST = 16384             # a partition's first batch; doubled up to batch_bytes whenever one filled
    HOLD_BYTES_FREE = 4096              # bytes a stream may always hold, whatever the common budget says
    HOLD_COPY_BYTES_MAX = 65536         # a longer incomplete unit is read on in its own buffer instead of being copied to the window
