"""CRC-32C (Castagnoli) for Python callers: the checksum that Kafka's record batches carry."""
from ingestd.hotpath.crc32c cimport crc32c_shift, crc32c_update, crc32c_update_lanes, crc32c_update_table


def crc32c(const unsigned char[::1] data, unsigned int value=0):
    """CRC-32C of `data`, going on from `value` (the result of an earlier call)."""
    if data.shape[0] == 0:
        return value
    return crc32c_update(~value, &data[0], data.shape[0]) ^ 0xFFFFFFFFu


def crc32c_lanes(const unsigned char[::1] data, unsigned int value=0):
    """The same without folding: what runs on a machine without AVX-512, and everywhere for what is short."""
    if data.shape[0] == 0:
        return value
    return crc32c_update_lanes(~value, &data[0], data.shape[0]) ^ 0xFFFFFFFFu


def crc32c_portable(const unsigned char[::1] data, unsigned int value=0):
    """The same by tables only: what runs on a machine without the instruction."""
    if data.shape[0] == 0:
        return value
    return crc32c_update_table(~value, &data[0], data.shape[0]) ^ 0xFFFFFFFFu


def crc32c_combine(unsigned int first, unsigned int second, unsigned long second_bytes):
    """CRC-32C of two byte strings put together, from their own checksums and the second one's length (below 512 MiB).
    """
    return crc32c_shift(first, second_bytes) ^ second
