"""Packets out of a stream, however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.radius.packet import MAX_BYTES, Packet
from protocol.radius.refused import RadiusError
from protocol.radius.stream import PacketBuffer
from tests.protocol.radius.golden import PACKETS
from tests.protocol.vectors import octets

GOOD = [octets(vector) for vector in PACKETS.values()]


@given(st.lists(st.sampled_from(GOOD), max_size=6), st.lists(st.integers(1, 300), max_size=20))
def test_however_it_is_cut(packets: list[bytes], cuts: list[int]) -> None:
    stream, buffer, found = b"".join(packets), PacketBuffer(), list[bytes]()
    for cut in cuts:
        found += buffer.feed(stream[:cut])
        stream = stream[cut:]
    found += buffer.feed(stream)
    assert found == [Packet.decode(packet).octets for packet in packets]


@given(st.binary(max_size=300))
def test_rubbish(junk: bytes) -> None:
    buffer = PacketBuffer()
    try:
        found = buffer.feed(junk)
    except RadiusError:
        found = buffer.whole
    assert junk.startswith(b"".join(found))


@pytest.mark.parametrize("length", [0, 19, MAX_BYTES + 1, 65_535])
def test_a_length_that_no_packet_has_ends_it(length: int) -> None:
    buffer = PacketBuffer()
    with pytest.raises(RadiusError, match=str(length)):
        buffer.feed(GOOD[0] + b"\x01\x01" + length.to_bytes(2))
    assert buffer.whole == [Packet.decode(GOOD[0]).octets]


def test_the_largest_packet_passes() -> None:
    largest = (
        b"\x01\x01" + MAX_BYTES.to_bytes(2) + bytes(16) + (b"\x12\xff" + b"x" * 253) * 15 + b"\x12\xfb" + b"x" * 249
    )
    assert len(largest) == MAX_BYTES
    assert PacketBuffer().feed(largest) == [largest]
    assert len(Packet.decode(largest).attributes) == 16
