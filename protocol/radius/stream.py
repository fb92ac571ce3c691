"""A stream of octets cut into packets by their Length: RADIUS over TCP (RFC 6613) and TLS (RFC 6614)."""

from protocol.radius.packet import MAX_BYTES, MIN_BYTES
from protocol.radius.refused import PacketFault, RadiusError


class PacketBuffer:
    """Keeps what is not yet a whole packet; never holds more than one packet plus what one feed brought.

    A Length that no packet may have raises RadiusError: nothing on the connection can be trusted to start where it
    should, so it must close (RFC 6613 section 2.6.4). `whole` has the packets that came before it.
    """

    __slots__ = ("_held", "whole")

    def __init__(self) -> None:
        self._held = b""
        self.whole: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The packets completed by this data, in order."""
        held = self._held + data if self._held else data
        self.whole = whole = []
        at, end = 0, len(held)
        while end - at >= 4:
            length = held[at + 2] << 8 | held[at + 3]
            if not MIN_BYTES <= length <= MAX_BYTES:
                raise RadiusError(PacketFault.LENGTH, f"Length {length} is not between {MIN_BYTES} and {MAX_BYTES}")
            if end - at < length:
                break
            whole.append(held[at : at + length])
            at += length
        self._held = held[at:]
        return whole
