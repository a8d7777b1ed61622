"""Every fixed number that bounds what ingestd takes in.

``hotpath/limits.pxd`` mirrors the record path's share of them; a test compares.
"""

from typing import Final

# Records and their parts
TOPIC_BYTES_MAX: Final = 249
"""Length of a topic name: Kafka's own limit (a log directory is named after it)."""
HEADERS_MAX: Final = 64
"""Headers of one record, static ones of the listener included."""
HEADER_NAME_BYTES_MAX: Final = 1024
KEY_BYTES_MAX: Final = 65_535

# What carries them
FRAME_BYTES_MAX: Final = 2 << 20
"""A frame of the native protocol, counted behind its length field."""
FRAME_ENVELOPE_BYTES: Final = 4 + 16 + 2 + TOPIC_BYTES_MAX
"""What a frame with one record has around it at most: type to reserved, counts and sequence, the topic's name."""
LINE_BYTES_MAX: Final = 1 << 20
DATAGRAM_BYTES_MAX: Final = 65_535
"""One datagram; UDP itself ends at 65507 bytes of payload over IPv4."""
TOPIC_IDS_MAX: Final = 1024
"""Topic ids that one connection may agree on (0..1023)."""
READ_WINDOW_BYTES: Final = 256 << 10
"""What one read takes from a socket at most; one window per worker, shared by its connections."""
HOLD_BYTES_MAX: Final = 16 << 20
"""Unfinished frames and held remainders of all connections of a worker together."""

# Batches and sessions
BATCH_OVERHEAD_BYTES: Final = 61
"""Header of a Kafka record batch v2."""
RECORD_OVERHEAD_BYTES_MAX: Final = 21
"""What Kafka's encoding adds to key, value and headers of one record at most."""
BATCHES_IN_DOUBT_MAX: Final = 5
"""Batches of one partition that may be unanswered: as many as a broker remembers per producer."""
SESSION_REJECTIONS_MAX: Final = 16
"""Rejected sequences a session row keeps until its client confirms them."""

# The part of an arena that only compression and repair take (``hotpath/tables.pyx``; a test compares)
RESERVE_SHARE: Final = 32
RESERVE_SHARE_SMALL: Final = 16
RESERVE_BYTES_SMALL: Final = 1 << 20
"""Below this much, the reserve is a larger share."""
RESERVE_BYTES_MAX: Final = 16 << 20
PAGE_BYTES: Final = 4096
"""Batches are given whole pages."""

# Kafka's denials
DENIAL_PAUSE_MS: Final = 60_000
"""Two answers that deny a topic and are further apart than this tell nothing of the time in between."""

# Configuration
WORKERS_MAX: Final = 128
LISTENERS_MAX: Final = 128
"""A batch names the listener of its records in one byte."""
TOPICS_MAX: Final = 256
"""Rows of an arena's topic table."""
SHARDS_MAX: Final = 64
UNIX_PATH_BYTES_MAX: Final = 107
"""What a socket address holds besides its closing zero (unix(7))."""
BUFFER_MEMORY_MIN: Final = 1 << 20
"""The smallest arena in which a reserve, a directory and a few batches still have room."""
