"""The 20 octets before the AVPs (RFC 6733 section 3)."""

from struct import Struct
from typing import NamedTuple

REQUEST, PROXIABLE, ERROR, RETRANSMITTED = 0x80, 0x40, 0x20, 0x10
SIZE = 20
VERSION = 1
LAYOUT = Struct(">IIIII")  # version << 24 | length, flags << 24 | command, application, hop-by-hop, end-to-end


class Header(NamedTuple):
    version: int
    length: int
    flags: int
    command: int
    application: int
    hop_by_hop: int
    end_to_end: int

    @classmethod
    def of(cls, frame: bytes) -> "Header":
        """The header of a frame of at least 20 octets (struct.error otherwise)."""
        first, second, application, hop_by_hop, end_to_end = LAYOUT.unpack_from(frame)
        return cls(first >> 24, first & 0xFFFFFF, second >> 24, second & 0xFFFFFF, application, hop_by_hop, end_to_end)

    @property
    def is_request(self) -> bool:
        return bool(self.flags & REQUEST)


def with_header(body: bytes, *, flags: int, command: int, application: int, hop_by_hop: int, end_to_end: int) -> bytes:
    """A whole message of version 1 around its AVPs."""
    first = 1 << 24 | SIZE + len(body)
    return LAYOUT.pack(first, flags << 24 | command, application, hop_by_hop, end_to_end) + body
