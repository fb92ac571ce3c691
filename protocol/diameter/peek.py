"""A look into a message that is not decoded: for decisions that must cost less than decoding it."""

from typing import Final

from protocol.diameter.avp import HEADER
from protocol.diameter.header import SIZE

VENDOR: Final = 1 << 31  # of the word of flags and length


def first(frame: bytes, code: int) -> bytes:
    """The data of the first AVP of the message itself (not of a group in it) that has this code and no vendor; b""
    where there is none, or where the octets are no AVPs."""
    start, end = SIZE, len(frame)
    while start + 8 <= end:
        found, word = HEADER.unpack_from(frame, start)
        length = word & 0xFFFFFF
        if length < 8:
            break
        if found == code and not word & VENDOR:
            return frame[start + 8 : start + length]
        start += length + 3 & ~3
    return b""


def first_number(frame: bytes, code: int) -> int:
    """The same as an unsigned number; 0 where there is none."""
    return int.from_bytes(first(frame, code), "big")
