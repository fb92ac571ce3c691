"""A capture file of messages that a trace saw, for Wireshark and tshark: as if they had been seen on the wire, one IP
packet for each piece of a message, under the addresses and ports they had.

Requests come when they are over, from several processes: what is written to a file is sorted by time as far as it came
within a window. The octets between messages, acknowledgements and TLS are not there: what was sent over TLS is shown as
plain TCP.
"""

from __future__ import annotations

import heapq
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import IO, Final

MAGIC: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 101)
"""Little endian, microseconds, raw IP packets (LINKTYPE_RAW)."""
PIECE_BYTES_MAX: Final = 16_384
TCP, UDP = 6, 17
PUSH_ACK: Final = 0x18
NOWHERE: Final = "127.0.0.1"
"""Address of an end that has none: a Unix socket."""

WINDOW_US: Final = 10_000_000
"""How much later than the newest one a message may come and still stand in its place."""

End = tuple[str, int]


class PcapWriter:
    """window_us: 0 writes each message at once, for who reads meanwhile"""

    def __init__(self, file: IO[bytes], window_us: int = 0) -> None:
        self._file, self._window_us = file, window_us
        self._held: list[tuple[int, int, bool, End, End, bytes]] = []
        """Messages that an earlier one may still have to stand before: time, number, of TCP, ends, octets."""
        self._newest_us, self._last = 0, 0
        self._next: dict[tuple[End, End], int] = {}
        """Sequence number of the next octet, by direction."""
        file.write(MAGIC)
        file.flush()

    def put(self, at_us: int, tcp: bool, source: End, target: End, octets: bytes) -> None:
        self._last += 1
        self._newest_us = max(self._newest_us, at_us)
        heapq.heappush(self._held, (at_us, self._last, tcp, source, target, octets))
        self._write(self._newest_us - self._window_us)

    def end(self) -> None:
        """Write what is still held."""
        self._write(self._newest_us)

    def _write(self, until_us: int) -> None:
        while self._held and self._held[0][0] <= until_us:
            at_us, _, tcp, source, target, octets = heapq.heappop(self._held)
            (self._tcp if tcp else self._udp)(at_us, source, target, octets)

    def _tcp(self, at_us: int, source: End, target: End, octets: bytes) -> None:
        there = (source, target)
        for begin in range(0, len(octets), PIECE_BYTES_MAX):
            piece = octets[begin : begin + PIECE_BYTES_MAX]
            sequence = self._next.get(there, 1)
            self._next[there] = (sequence + len(piece)) & 0xFFFFFFFF
            seen = self._next.setdefault((target, source), 1)
            head = struct.pack(">HHIIBBHHH", source[1], target[1], sequence, seen, 5 << 4, PUSH_ACK, 65_535, 0, 0)
            self._packet(at_us, source, target, TCP, head, piece, 16)

    def _udp(self, at_us: int, source: End, target: End, octets: bytes) -> None:
        head = struct.pack(">HHHH", source[1], target[1], 8 + len(octets), 0)
        self._packet(at_us, source, target, UDP, head, octets, 6)

    def _packet(
        self, at_us: int, source: End, target: End, protocol: int, head: bytes, octets: bytes, sum_at: int
    ) -> None:
        """sum_at: where the checksum stands in the head"""
        ends = _address(source[0]), _address(target[0])
        if {end.version for end in ends} == {4}:
            one, other = (end.packed for end in ends)
        else:
            one, other = (_as_v6(end).packed for end in ends)
        length = len(head) + len(octets)
        pseudo = one + other + struct.pack(">IxxxB", length, protocol)
        total = _checksum(pseudo + head + octets) or 0xFFFF
        head = head[:sum_at] + struct.pack(">H", total) + head[sum_at + 2 :]
        if len(one) == 4:
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, protocol, 0) + one + other
            ip = ip[:10] + struct.pack(">H", _checksum(ip)) + ip[12:]
        else:
            ip = struct.pack(">IHBB", 6 << 28, length, protocol, 64) + one + other
        frame = ip + head + octets
        seconds, micros = divmod(at_us, 1_000_000)
        self._file.write(struct.pack("<IIII", seconds, micros, len(frame), len(frame)) + frame)
        self._file.flush()  # somebody may be reading


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return ip_address(NOWHERE)
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _as_v6(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")


def _checksum(octets: bytes) -> int:
    """RFC 1071."""
    if len(octets) % 2:
        octets += b"\0"
    total: int = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
