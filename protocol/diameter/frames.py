"""A stream of octets cut into messages, by nothing but the Message Length (RFC 6733 section 3)."""

from protocol.diameter.header import SIZE, VERSION
from protocol.errors import FrameError

MAX_BYTES = 65_536  # of one message; the 24-bit length would allow 16 MB


HEAD_BYTES = 8_192  # of a message that is skipped: enough for the Session-Id and the Proxy-Infos of its answer


class FrameBuffer:
    """Keeps what is not yet a whole message; never holds more than `max_bytes` plus what one feed brought.

    A length below the header or above all limits raises FrameError, which carries the frames before it; the connection
    must close. A length that is merely no multiple of four can be skipped: that frame is handed on and decoded
    to 5015. So can one above `max_bytes` and not above `skip_bytes`: its beginning is handed on, which decodes to 5015
    as well, and the rest is dropped as it comes. What is under way on the connection goes on.
    """

    __slots__ = ("_drop", "_max", "_parts", "_size", "_skip", "_want")

    def __init__(self, max_bytes: int = MAX_BYTES, skip_bytes: int = 0) -> None:
        self._max, self._skip = max_bytes, skip_bytes
        self._drop = 0  # octets of a message that is skipped
        self._parts: list[bytes] = []  # joined once, when the message is whole: no quadratic copying
        self._size = 0
        self._want = 4  # octets needed before anything can be done: those with the length, then the whole message

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The messages completed by this data, in order."""
        if self._drop:
            dropped = min(self._drop, len(data))
            self._drop -= dropped
            data = data[dropped:]
        self._parts.append(bytes(data))
        self._size += len(data)
        if self._size < self._want:
            return []
        held = b"".join(self._parts)
        frames: list[bytes] = []
        start, end = 0, len(held)
        while True:
            self._want = 4
            if end - start < 4:
                break
            length = int.from_bytes(held[start + 1 : start + 4], "big")
            if self._max < length <= self._skip and held[start] == VERSION:
                self._want = head = min(length, HEAD_BYTES)
                if end - start < head:
                    break
                frames.append(held[start : start + head])
                self._drop = max(0, length - (end - start))
                start += length
                continue
            if not SIZE <= length <= self._max:
                raise FrameError(f"Message Length {length} is not between {SIZE} and {self._max}", frames)
            self._want = length
            if end - start < length:
                break
            frames.append(held[start : start + length])
            start += length
        rest = held[start:]
        self._parts, self._size = [rest] if rest else [], len(rest)
        return frames
