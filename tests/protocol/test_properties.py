"""For all messages: accept or ProtocolError, the same verdict by shape as by walk, the same octets after encoding."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.diameter.answers import error_answer
from protocol.diameter.avp import Avp, Group, many, opt, req
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.frames import FrameBuffer
from protocol.diameter.header import REQUEST
from protocol.diameter.message import DiameterCommand, Dictionary
from protocol.diameter.shapes import MAX_ALIKE, MAX_SHAPES, Shapes
from protocol.diameter.tree import decode_tree, encode_tree
from protocol.diameter.types import (
    ADDRESS,
    ENUMERATED,
    FLOAT32,
    FLOAT64,
    IDENTITY,
    INTEGER32,
    INTEGER64,
    OCTET_STRING,
    TIME,
    UNSIGNED32,
    UNSIGNED64,
    UTF8STRING,
    WHOLE,
    HostAddress,
    Type,
    enumerated,
    grouped,
)
from protocol.errors import AvpError, HeaderError, ProtocolError, ResultCode
from tests.protocol.messages import CCR_E, CCR_I, CCR_U, ccr, cer, dpr, dwr
from tests.protocol.vectors import MESSAGES, octets


class Colour(IntEnum):
    RED = -1
    GREEN = 7


VALUES: list[tuple[Type[Any], st.SearchStrategy[Any]]] = [
    (OCTET_STRING, st.binary(max_size=9)),
    (UTF8STRING, st.text(max_size=6)),
    (IDENTITY, st.text("abc.-XYZ", max_size=9)),
    (UNSIGNED32, st.integers(0, 2**32 - 1)),
    (UNSIGNED64, st.integers(0, 2**64 - 1)),
    (INTEGER32, st.integers(-(2**31), 2**31 - 1)),
    (INTEGER64, st.integers(-(2**63), 2**63 - 1)),
    (FLOAT32, st.floats(width=32, allow_nan=False)),
    (FLOAT64, st.floats(allow_nan=False)),
    (ENUMERATED, st.integers(-5, 5)),
    (enumerated(Colour), st.sampled_from(Colour)),
    (TIME, st.integers(-61_505_152, 4_233_462_143)),  # 1968-01-20 to 2104: what RFC 5905 can tell apart
    (ADDRESS, st.builds(HostAddress, st.integers(0, 65_535), st.binary(max_size=17))),
]


@st.composite
def classes(draw: st.DrawFn, base: type = Group, depth: int = 0) -> tuple[type, st.SearchStrategy[dict[str, Any]]]:
    """A random group or command and how to fill it."""
    lines: dict[str, Any] = {}
    fill: dict[str, st.SearchStrategy[Any]] = {}
    for number in range(draw(st.integers(0, 5))):
        code = number + 1000 * depth + 1
        vendor = draw(st.sampled_from([0, 0, 10415]))
        if depth < 3 and draw(st.integers(0, 3)) == 0:
            inner, inner_fill = draw(classes(depth=depth + 1))
            kind: Type[Any] = grouped(inner)
            value = st.builds(lambda make, fields: make(**fields), st.just(inner), inner_fill)
        else:
            kind, value = draw(st.sampled_from(VALUES))
        one: Avp[Any] = Avp(f"M{code}", code, kind, vendor=vendor, m=draw(st.booleans()))
        marker = draw(st.sampled_from([req, opt, many]))
        lines[one.field] = marker(one)
        several: Any = st.lists(value, max_size=3).map(tuple)
        fill[one.field] = {req: value, opt: st.none() | value, many: several}[marker]
    lazy = base is Group and draw(st.booleans())
    keywords: dict[str, Any] = {} if base is DiameterCommand else {"lazy": lazy, "lenient": draw(st.booleans())}
    made = type(
        f"Made{depth}", (base,), lines | ({"code": 77, "request": True} if base is DiameterCommand else {}), **keywords
    )
    return made, st.fixed_dictionaries(fill)


@given(st.data())
def test_random_dictionaries_round_trip(data: st.DataObject) -> None:
    command, fill = data.draw(classes(base=DiameterCommand))
    known = Dictionary()
    known.add(command)
    seen: list[type] = [command]
    while seen:  # the AVPs of all its groups are known
        for member in seen.pop().spec.members.values():  # type: ignore[attr-defined]
            known.known[member.avp.key] = member.avp
            seen += [member.avp.type.group] if member.avp.type.group else []
    for _ in range(3):
        message = command(**data.draw(fill))
        wire = message.encode(hop_by_hop=3, end_to_end=4)
        assert encode_tree(decode_tree(wire, known)) == wire
        for _ in range(2):  # by the walk, then by the shape
            again = known.decode(wire)
            assert again == message
            assert (again.hop_by_hop, again.end_to_end, again.flags) == (3, 4, REQUEST)
            assert again.encode(hop_by_hop=3, end_to_end=4) == wire
        assert FrameBuffer().feed(wire + wire[:5]) == [wire]


SEEDS = [octets(v) for i, v in MESSAGES.items()] + [CCR_I, CCR_U, CCR_E, ccr(), cer(), dwr(), dpr()]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good message with some octets changed, cut out or put in; its length mended as often as not."""
    frame = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(frame) - 1)))
        match draw(st.integers(0, 4)):
            case 0 if frame:
                frame[at] = draw(st.integers(0, 255))
            case 1 if frame:
                frame[at] ^= 1 << draw(st.integers(0, 7))
            case 2:
                del frame[at : at + draw(st.integers(1, 12))]
            case 3:
                frame[at:at] = draw(st.binary(min_size=1, max_size=12))
            case _:
                other = draw(st.sampled_from(SEEDS))
                frame[at:] = other[draw(st.integers(0, len(other))) :]
    if draw(st.booleans()) and len(frame) >= 4:
        frame += bytes(-len(frame) % 4)
        frame[1:4] = len(frame).to_bytes(3, "big")
    return bytes(frame)


def verdict(frame: bytes) -> Any:
    try:
        return DICTIONARY.decode(frame)
    except ProtocolError as error:  # any other exception is our bug
        return (error.result_code, error.failed_avp, error.why)


def check_any(frame: bytes) -> None:
    """What holds for every string of octets."""
    first = verdict(frame)
    assert verdict(frame) == first
    if isinstance(first, DiameterCommand):
        fresh = type(first)._walk(frame)
        assert fresh == first
        repr(first)  # reads every lazy group
        assert first._content() == fresh._content()
        for made in first, fresh:
            again = made.encode(hop_by_hop=1, end_to_end=1, application=made.application)
            if not made.error:
                assert DICTIONARY.decode(again) == first
    elif frame[4:5] >= b"\x80":
        error = AvpError(first[0], first[2], first[1])
        answer = error_answer(frame, error, origin_host="o", origin_realm="r")
        assert len(answer) == int.from_bytes(answer[1:4], "big")
        decode_tree(answer)


@given(st.binary(max_size=400))
def test_rubbish_is_refused_politely(junk: bytes) -> None:
    check_any(junk)
    check_any(CCR_U[:20] + junk)


@given(st.binary(max_size=300))
def test_rubbish_in_a_good_frame(junk: bytes) -> None:
    body = CCR_I[:400][20:364] + junk + bytes(-len(junk) % 4)
    check_any(b"\x01" + (20 + len(body)).to_bytes(3, "big") + CCR_I[4:20] + body)


@given(mutated())
def test_mutated_messages(frame: bytes) -> None:
    check_any(frame)


@given(st.sampled_from([CCR_I, CCR_U, CCR_E, *SEEDS]), st.data())
def test_a_shape_never_lets_pass_what_a_walk_refuses(frame: bytes, data: st.DataObject) -> None:
    """One octet of a message whose shape is known is changed: both ways must agree."""
    if not isinstance(verdict(frame), DiameterCommand):
        return
    made = bytearray(frame)
    made[data.draw(st.integers(0, len(made) - 1))] ^= data.draw(st.integers(1, 255))
    changed = bytes(made)
    by_shape = verdict(changed)
    cls = DICTIONARY.commands.get((int.from_bytes(changed[5:8], "big"), changed[4] >= 0x80))
    if cls is None or changed[4] & 0x20:
        return
    try:
        walked: Any = cls._walk(changed)
    except ProtocolError as error:
        walked = (error.result_code, error.failed_avp, error.why)
    assert by_shape == walked


def test_a_longer_frame_with_a_known_end_is_another_message() -> None:
    """Found by the fuzzer: as integers under a mask they look the same."""
    DICTIONARY.decode(CCR_U)
    longer = CCR_U[:100] + CCR_U
    assert verdict(longer)[0] == ResultCode.INVALID_MESSAGE_LENGTH


@given(st.binary(max_size=200))
def test_trees_and_frames_of_rubbish(junk: bytes) -> None:
    try:
        assert encode_tree(decode_tree(junk)) == junk
    except ProtocolError:
        pass
    try:
        frames = FrameBuffer(4096).feed(junk)
    except ProtocolError as error:
        frames = error.frames  # type: ignore[attr-defined]
    assert junk.startswith(b"".join(frames))


# ---- the memory of shapes is bounded


def lengths(n: int) -> Iterator[bytes]:
    for size in range(n):
        yield ccr({"code": 1, "vendor": 0, "flags": 64, "type": "UTF8String", "value": "x" * size})


def test_shapes_are_forgotten_when_there_are_too_many() -> None:
    shapes, plan = Shapes(), object()
    for number in range(3 * MAX_SHAPES):
        frame = number.to_bytes(12, "big") + bytes(16)
        shapes.learn(frame, b"\xff" * len(frame), plan)  # type: ignore[arg-type]
        assert shapes.find(frame) is plan
        assert shapes._count == sum(map(len, shapes._young.values())) <= MAX_SHAPES
        assert sum(map(len, shapes._old.values())) <= MAX_SHAPES
    kept = b"kept" + bytes(24)
    for number in range(3 * MAX_SHAPES):  # what is asked for stays, whatever else comes by
        if number == 0:
            shapes.learn(kept, b"\xff" * len(kept), plan)  # type: ignore[arg-type]
        frame = number.to_bytes(12, "big") + bytes(18)
        shapes.learn(frame, b"\xff" * len(frame), plan)  # type: ignore[arg-type]
        assert shapes.find(kept) is plan
    for number in range(3 * MAX_ALIKE):
        frame = bytes(24) + number.to_bytes(4, "big") + b"tail"
        shapes.learn(frame[:20] + bytes(8) + frame[24:], b"\xff" * 32, plan)  # type: ignore[arg-type]
        assert max(map(len, shapes._young.values())) <= MAX_ALIKE
    for frame in lengths(60):
        assert verdict(frame) == verdict(frame)


def test_an_unreadable_shape_is_not_learnt() -> None:
    frame = ccr({"code": 1, "vendor": 0, "flags": 64, "type": "UTF8String", "value": "ü"})
    cls = DICTIONARY.commands[272, True]
    cls.decode(frame)
    assert cls.shapes.find(frame) is None
    bad = frame.replace("ü".encode(), b"\xfc\xfc")
    with pytest.raises(AvpError):
        cls.decode(bad)
    assert WHOLE.name == "Grouped"
    assert HeaderError(ResultCode.TOO_BUSY, "").e_bit
