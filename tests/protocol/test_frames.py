"""Feeds a decoder in three ways: a whole message, octet by octet, and with more behind it."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.diameter.dictionary.credit_control import CreditControlRequest
from protocol.diameter.frames import HEAD_BYTES, FrameBuffer
from protocol.errors import FrameError, ProtocolError, ResultCode
from tests.protocol.messages import CCR_I, CCR_U, cer, dwr


def feed(*pieces: bytes | bytearray | memoryview, max_bytes: int = 65_536) -> list[bytes]:
    buffer = FrameBuffer(max_bytes)
    return [frame for piece in pieces for frame in buffer.feed(piece)]


def check(wire: bytes, want: list[bytes]) -> None:
    assert feed(wire) == want
    assert feed(*(wire[i : i + 1] for i in range(len(wire)))) == want
    assert feed(wire + wire[:7]) == want  # the seven wait for the rest
    assert feed(bytearray(wire)) == want
    assert feed(memoryview(wire)) == want


def test_one_and_many() -> None:
    check(CCR_I, [CCR_I])
    check(cer() + CCR_I + dwr() + CCR_U, [cer(), CCR_I, dwr(), CCR_U])
    check(b"", [])


@given(st.lists(st.sampled_from([CCR_I, CCR_U, cer(), dwr()]), max_size=6), st.lists(st.integers(0, 3000), max_size=8))
def test_any_cut(frames: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(frames)
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    assert feed(*(wire[a:b] for a, b in pairwise(edges))) == frames


@pytest.mark.parametrize("length", [0, 4, 16, 19, 65_537, 0xFFFFFF])
def test_an_unusable_length_ends_the_stream_after_what_came_before(length: int) -> None:
    bad = b"\x01" + length.to_bytes(3, "big") + bytes(16)
    with pytest.raises(FrameError) as caught:
        feed(CCR_I + dwr() + bad)
    assert caught.value.frames == [CCR_I, dwr()]
    assert caught.value.result_code is ResultCode.INVALID_MESSAGE_LENGTH
    with pytest.raises(FrameError):
        feed(*(bad[i : i + 1] for i in range(len(bad))))


def test_a_length_that_can_be_skipped_is_handed_on() -> None:
    odd = b"\x01" + (22).to_bytes(3, "big") + bytes(18)
    check(odd + dwr(), [odd, dwr()])


def test_the_limit_is_a_limit() -> None:
    assert feed(CCR_I, max_bytes=len(CCR_I)) == [CCR_I]
    with pytest.raises(FrameError):
        feed(CCR_I, max_bytes=len(CCR_I) - 1)


def test_a_message_that_is_too_long_is_skipped() -> None:
    """Its beginning is handed on, and what follows is read as ever."""
    long = CCR_I[:1] + (100_000).to_bytes(3, "big") + CCR_I[4:] + bytes(100_000 - len(CCR_I))
    wire = CCR_U + long + dwr() + long + CCR_I
    want = [CCR_U, long[:HEAD_BYTES], dwr(), long[:HEAD_BYTES], CCR_I]
    for step in (1, 7, 4_096, 65_536, 100_000, len(wire)):
        buffer = FrameBuffer(65_536, 200_000)
        assert [f for i in range(0, len(wire), step) for f in buffer.feed(wire[i : i + step])] == want, step
    with pytest.raises(ProtocolError) as caught:
        CreditControlRequest.decode(long[:HEAD_BYTES])
    assert caught.value.result_code is ResultCode.INVALID_MESSAGE_LENGTH
    with pytest.raises(FrameError):
        FrameBuffer(65_536, 99_999).feed(long)
    with pytest.raises(FrameError):
        FrameBuffer(65_536, 200_000).feed(b"G" + long[1:])  # that is no Diameter


def test_octet_by_octet_is_not_quadratic() -> None:
    """A message of 1 MB in pieces of 16 octets: with a copy per piece this takes a minute."""
    wire = b"\x01" + (1 << 20).to_bytes(3, "big") + bytes((1 << 20) - 4)
    buffer, started = FrameBuffer(1 << 20), time.perf_counter()
    frames = [frame for i in range(0, len(wire), 16) for frame in buffer.feed(wire[i : i + 16])]
    assert frames == [wire]
    assert time.perf_counter() - started < 5
