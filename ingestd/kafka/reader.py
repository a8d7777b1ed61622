"""A cursor over the bytes of one answer: Kafka's primitive types, none of which is believed."""

from struct import Struct
from typing import Final

from ingestd.kafka.errors import ProtocolError

_I16: Final = Struct(">h")
_I32: Final = Struct(">i")
_I64: Final = Struct(">q")


class Reader:
    """Every read past the end raises ProtocolError, or IndexError or struct.error, which the caller turns into one."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def i16(self) -> int:
        self.at += 2
        return int(_I16.unpack_from(self.data, self.at - 2)[0])

    def i32(self) -> int:
        self.at += 4
        return int(_I32.unpack_from(self.data, self.at - 4)[0])

    def i64(self) -> int:
        self.at += 8
        return int(_I64.unpack_from(self.data, self.at - 8)[0])

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 28:
                raise ProtocolError("varint of more than five bytes")

    def take(self, length: int) -> bytes:
        end = self.at + length
        if length < 0 or end > len(self.data):
            raise ProtocolError("response ends inside a field")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def octets(self, flexible: bool, short: bool = False) -> bytes | None:
        """Nullable bytes; ``short``: where it is not flexible, the length has 16 bits (a string's)."""
        length = self.uvarint() - 1 if flexible else self.i16() if short else self.i32()
        return None if length < 0 else self.take(length)

    def string(self, flexible: bool) -> str:
        """A nullable string; null reads as empty."""
        return (self.octets(flexible, short=True) or b"").decode("utf-8", "replace")

    def count(self, flexible: bool, least_bytes: int) -> int:
        """Length of an array whose elements take at least ``least_bytes`` each: a lie ends here, not in memory."""
        count = self.uvarint() - 1 if flexible else self.i32()
        if count > (len(self.data) - self.at) // least_bytes:
            raise ProtocolError("array longer than the response")
        return max(count, 0)

    def tags(self) -> list[tuple[int, bytes]]:
        """A tag section: (tag, value) of each field; those that nobody knows are skipped by their size (KIP-482)."""
        count = self.uvarint()
        return [(self.uvarint(), self.take(self.uvarint())) for _ in range(count)] if count else []
