"""CRC-32C bit by bit, from the polynomial: slow and obvious, to check the compiled one."""


def crc32c(data: bytes, value: int = 0) -> int:
    """CRC-32C of ``data``, going on from ``value``."""
    register = value ^ 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF
