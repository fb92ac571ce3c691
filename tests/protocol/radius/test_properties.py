"""For all packets: accepted or RadiusError; what was written is read again; what was altered is not believed."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.radius.attribute import Attribute
from protocol.radius.authenticator import answer, check_request, check_response, signed_request
from protocol.radius.chap import is_chap_of
from protocol.radius.codes import ANSWERS, PROVEN_REQUESTS, RANDOM_REQUESTS, PacketCode
from protocol.radius.counters import halves, input_octets, output_octets
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.standard import (
    ACCT_INPUT_GIGAWORDS,
    ACCT_INPUT_OCTETS,
    EAP_MESSAGE,
    PROXY_STATE,
    REPLY_MESSAGE,
    USER_NAME,
)
from protocol.radius.hidden import revealed
from protocol.radius.mschap import is_mschap1_of, mschap2_proof
from protocol.radius.packet import MAX_BYTES, Packet
from protocol.radius.refused import PacketFault, RadiusError
from protocol.radius.types import (
    BYTE,
    COMBO_IP,
    CONCAT,
    ENUM,
    ETHER,
    IFID,
    INTEGER,
    INTEGER64,
    IPV4ADDR,
    IPV4PREFIX,
    IPV6ADDR,
    IPV6PREFIX,
    RULES,
    SHORT,
    SIGNED,
    STRING,
    TEXT,
    TIME,
    TLV,
    DataType,
)
from tests.protocol.radius.golden import NEGATIVE, PACKETS, secret
from tests.protocol.vectors import octets

SECRET = b"test-secret"
U8, U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))


def prefixes(kind: type[IPv4Network] | type[IPv6Network], bits: int) -> st.SearchStrategy[Any]:
    return st.tuples(st.integers(0, (1 << bits) - 1), st.integers(0, bits)).map(lambda pair: kind(pair, strict=False))


# Texts come back as they were when they have no NUL; the empty ones are not sent.
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
VALUES: list[tuple[DataType[Any], st.SearchStrategy[Any]]] = [
    (INTEGER, U32),
    (ENUM, U32),
    (TIME, U32),
    (INTEGER64, U64),
    (BYTE, U8),
    (SHORT, U16),
    (SIGNED, st.integers(-(1 << 31), (1 << 31) - 1)),
    (TEXT, WORDS),
    (STRING, st.binary(min_size=1, max_size=60)),
    (IPV4ADDR, U32.map(IPv4Address)),
    (IPV6ADDR, st.integers(0, (1 << 128) - 1).map(IPv6Address)),
    (IPV4PREFIX, prefixes(IPv4Network, 32)),
    (IPV6PREFIX, prefixes(IPv6Network, 128)),
    (COMBO_IP, U32.map(IPv4Address) | st.integers(1 << 32, (1 << 128) - 1).map(IPv6Address)),
    (IFID, st.binary(min_size=8, max_size=8).map(lambda raw: raw.hex(":", 2))),
    (ETHER, st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))),
]
BY_TYPE = {kind.name: values for kind, values in VALUES} | {"tlv": st.binary(min_size=1, max_size=60)}
PLACES = st.one_of(
    st.tuples(st.integers(1, 240).filter(lambda code: code != 26).map(str), st.just(0)),
    st.tuples(U8.map(str), st.sampled_from([9, 429, 4846, 8164, 14988, 24757])),
    st.tuples(st.sampled_from(["37.2", "1.2.3", "84.9.5.8"]), st.sampled_from([9, 24757])),
    st.tuples(st.sampled_from(["241.3", "244.9.1", "245.7", "246.200.3", "241.26.9.1", "245.26.14988.3"]), st.just(0)),
)


@given(st.lists(st.tuples(PLACES, st.sampled_from(VALUES), st.data()), max_size=6), st.sampled_from(PacketCode), U8)
def test_what_is_added_is_read(wanted: list[Any], code: PacketCode, identifier: int) -> None:
    packet = Packet(code, identifier, bytes(range(16)))
    added: dict[tuple[Any, ...], list[Any]] = {}
    attributes: dict[tuple[Any, ...], Attribute[Any]] = {}
    for (path, vendor), (kind, values), data in wanted:
        attribute = Attribute("Any", path, kind, vendor=vendor)
        place = (attribute.key, attribute.below)
        if any(place[0] == other[0] and attributes[other].type is not kind for other in attributes):
            continue
        value = data.draw(values)
        packet.add(attribute, value)
        attributes[place] = attribute
        added.setdefault(place, []).append(value)
    read = Packet.decode(packet.encode() + b"padding")
    assert read == packet
    assert (read.code, read.identifier) == (code, identifier)
    for place, values in added.items():
        if any(other[0] == place[0] and other != place for other in added):
            continue  # one reads the other's TLVs as octets
        assert read.get(attributes[place]) == packet.get(attributes[place]) == values[0]
        assert read.get_all(attributes[place]) == values


@given(st.sampled_from(list(ATTRIBUTES)), st.data())
def test_every_attribute_we_know(attribute: Attribute[Any], data: st.DataObject) -> None:
    values: st.SearchStrategy[Any]
    if attribute.concat:
        values = st.binary(min_size=1) if attribute.type is CONCAT else st.lists(WORDS, min_size=1).map(tuple)
        assert attribute.type in (CONCAT, RULES)
    elif attribute.type.name == "string" and attribute.type.size:
        values = st.binary(min_size=attribute.type.size, max_size=attribute.type.size)
    elif attribute.tagged and attribute.type.size == 4:
        values = st.integers(0, (1 << 24) - 1)
    else:
        values = BY_TYPE[attribute.type.name]
    value, tag = data.draw(values), data.draw(st.integers(0, 31)) if attribute.tagged else 0
    packet = Packet.decode(Packet(1).add(attribute, value, tag).encode())
    assert packet.get(attribute) == value
    if attribute.tagged:
        assert packet.tagged(attribute) == [(tag, value)]


@given(st.binary(min_size=1, max_size=3000))
def test_long_values_are_cut_and_joined(value: bytes) -> None:
    for attribute in (EAP_MESSAGE, Attribute("Long", "245.9", STRING), Attribute("W", 9, STRING, vendor=24757)):
        packet = Packet.decode(Packet(1).add(attribute, value).encode())
        assert packet.get(attribute) == value
        assert packet.get_all(attribute) == [value]
    evs = Attribute("Evs", "246.26.9.1", STRING)
    assert Packet(1).add(evs, value).get(evs) == value


# ---- whatever the network sends

SEEDS = [octets(vector) for vector in (PACKETS | NEGATIVE).values() if vector["kind"] == "packet"]
ODD = [
    Attribute("Tlv", "1.2.3", TEXT, vendor=9),
    Attribute("Evs", "241.26.9.1", TEXT),
    Attribute("Long", "245.26.9.1.4", INTEGER),
    Attribute("Usr", 77, STRING, vendor=429),
    Attribute("Inner", "1.5", TLV),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good packet with some octets changed, cut out or put in; its length mended as often as not."""
    frame = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(frame) - 1)))
        match draw(st.integers(0, 4)):
            case 0 if frame:
                frame[at] = draw(U8)
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
        frame[2:4] = len(frame).to_bytes(2)
    return bytes(frame)


def tried(read: Any, *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except RadiusError as error:  # any other exception is our bug
        return error.reason


def check_any(frame: bytes) -> None:
    """What holds for every string of octets."""
    packet = tried(Packet.decode, frame)
    if not isinstance(packet, Packet):
        return
    assert packet.encode() == packet.octets == frame[: len(packet.octets)]
    assert Packet.decode(packet.octets + b"\xff\x00pad") == packet
    for attribute in [*ATTRIBUTES, *ODD]:
        one, several = tried(packet.get, attribute), tried(packet.get_all, attribute)
        if isinstance(several, list):
            assert (one is None) == (not several)
            if several:
                assert one == several[0]
        elif one is not None and not isinstance(one, PacketFault):
            assert len(packet.raw(attribute)) > 1
        if attribute.encrypt:
            tried(revealed, packet, attribute, SECRET, packet.authenticator)
    for read in input_octets, output_octets:
        tried(read, packet)
    tried(is_chap_of, packet, b"password")
    tried(is_mschap1_of, packet, bytes(16))
    tried(mschap2_proof, packet, bytes(16))
    if packet.code in PROVEN_REQUESTS | RANDOM_REQUESTS:
        tried(check_request, packet, SECRET)
        made = tried(answer, packet, min(ANSWERS[packet.code]), SECRET)
        if isinstance(made, bytes):
            signed = check_response(Packet.decode(made), packet.octets, SECRET)
            assert signed == (packet.code != PacketCode.ACCOUNTING_REQUEST)
            again = tried(lambda: answer(packet, min(ANSWERS[packet.code]), SECRET, sign=True))
            assert isinstance(again, PacketFault) or check_response(Packet.decode(again), packet.octets, SECRET)
            assert Packet.decode(made).proxy_states == packet.proxy_states
    else:
        assert tried(check_request, packet, SECRET) == PacketFault.CODE
    for request in SEEDS[:5]:
        if len(request) >= 20:
            tried(check_response, packet, request, SECRET)
    repr(packet)


@given(st.binary(max_size=200))
def test_rubbish(junk: bytes) -> None:
    check_any(junk)
    check_any(b"\x04\x01" + (20 + len(junk)).to_bytes(2) + bytes(16) + junk)


@given(st.lists(st.tuples(U8, st.binary(max_size=30)), max_size=12), st.sampled_from(PacketCode))
def test_any_attributes(attributes: list[tuple[int, bytes]], code: PacketCode) -> None:
    check_any(Packet(code, 7, bytes(range(16)), attributes).encode())


@given(st.lists(st.tuples(st.sampled_from([26, 26, 26, 241, 245, 246]), st.binary(max_size=12)), max_size=8), st.data())
def test_any_holders(attributes: list[tuple[int, bytes]], data: st.DataObject) -> None:
    vendors = [number.to_bytes(4) for number in (9, 311, 429, 4846, 8164, 14988, 24757)]
    held = [(kind, data.draw(st.sampled_from(vendors)) + value if kind == 26 else value) for kind, value in attributes]
    check_any(Packet(4, 7, bytes(16), held).encode())


@given(mutated())
def test_mutated_packets(frame: bytes) -> None:
    check_any(frame)


@given(st.sampled_from(SEEDS), st.data())
def test_a_truncated_packet_is_none(frame: bytes, data: st.DataObject) -> None:
    if isinstance(tried(Packet.decode, frame), Packet):
        short = frame[: data.draw(st.integers(0, len(Packet.decode(frame).octets) - 1))]
        assert tried(Packet.decode, short) == PacketFault.LENGTH


@given(st.data())
def test_one_altered_octet_is_noticed(data: st.DataObject) -> None:
    """Of a packet whose authenticator proves the secret; of an Access-Request where Message-Authenticator does."""
    packet = Packet(data.draw(st.sampled_from(sorted(PROVEN_REQUESTS | RANDOM_REQUESTS))), 3, bytes(range(16)))
    packet.add(USER_NAME, "alice").add(PROXY_STATE, b"1")
    frame = bytearray(signed_request(packet, SECRET))
    assert check_request(Packet.decode(bytes(frame)), SECRET)
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    altered = tried(Packet.decode, bytes(frame))
    assert not isinstance(altered, Packet) or tried(check_request, altered, SECRET) is not True

    reply = bytearray(answer(packet, min(ANSWERS[packet.code]), SECRET, sign=True))
    at = data.draw(st.integers(0, len(reply) - 1))
    reply[at] ^= data.draw(st.integers(1, 255))
    altered = tried(Packet.decode, bytes(reply))
    request = signed_request(packet, SECRET)
    assert not isinstance(altered, Packet) or tried(check_response, altered, request, SECRET) is not True


@given(U64)
def test_counters_are_joined(total: int) -> None:
    low, high = halves(total)
    assert input_octets(Packet(4).add(ACCT_INPUT_OCTETS, low).add(ACCT_INPUT_GIGAWORDS, high)) == total
    assert input_octets(Packet(4).add(ACCT_INPUT_OCTETS, low)) == low
    assert input_octets(Packet(4).add(ACCT_INPUT_GIGAWORDS, high)) == high << 32
    assert input_octets(Packet(4)) is None
    assert output_octets(Packet(4)) is None


# ---- limits and what is not sent


def test_a_packet_ends_at_4096_octets() -> None:
    request = Packet(1, 1, bytes(16), [(33, bytes(253))] * 15)
    assert len(answer(request, 2, SECRET, bytes(100))) == 20 + 18 + 100 + 15 * 255
    with pytest.raises(RadiusError, match="4096"):
        answer(request, 2, SECRET, bytes(300))
    full = Packet(4, 1, attributes=[(33, bytes(253))] * 15 + [(33, bytes(231))])
    assert len(answer(Packet.decode(signed_request(full, SECRET)), 5, SECRET, sign=True)) == MAX_BYTES
    assert check_request(Packet.decode(signed_request(full, SECRET)), SECRET)
    full.attributes[-1] = (33, bytes(232))
    with pytest.raises(RadiusError, match="no room for an answer"):
        check_request(Packet.decode(signed_request(full, SECRET, sign=False)), SECRET)
    long = Packet(1, 1, bytes(16), [(18, bytes(253))] * 16)
    for make in (long.encode, lambda: signed_request(long, SECRET)):
        with pytest.raises(ValueError, match="4096"):
            make()
    frame = b"\x01\x01" + (MAX_BYTES + 1).to_bytes(2) + bytes(MAX_BYTES - 3)
    assert tried(Packet.decode, frame) == PacketFault.LENGTH


def test_what_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="at most 253"):
        USER_NAME.pack("x" * 254)
    with pytest.raises(ValueError, match="does not fit"):
        ACCT_INPUT_OCTETS.pack(1 << 32)
    with pytest.raises(ValueError, match="does not fit"):
        ACCT_INPUT_OCTETS.pack(-1)
    with pytest.raises(ValueError, match="at most 247"):
        ATTRIBUTES["Cisco-AVPair"].pack("x" * 248)
    with pytest.raises(ValueError, match="three octets behind a tag"):
        ATTRIBUTES["Tunnel-Type"].pack(1 << 24, tag=1)
    with pytest.raises(ValueError, match="has no tag"):
        USER_NAME.pack("x", tag=1)
    with pytest.raises(ValueError, match="tag 32"):
        ATTRIBUTES["Tunnel-Type"].pack(1, tag=32)
    with pytest.raises(ValueError, match="sent encrypted"):
        ATTRIBUTES["Tunnel-Password"].pack("clear")
    with pytest.raises(ValueError, match="NUL inside"):
        ATTRIBUTES["NAS-Filter-Rule"].pack(("a\0b",))
    with pytest.raises(ValueError, match="is no request"):
        signed_request(Packet(2), SECRET)
    with pytest.raises(ValueError, match="is no ether"):
        Attribute("Mac", 1, ETHER, vendor=5).pack("00:01")
    with pytest.raises(ValueError, match="256 is no type"):
        Attribute("Much", 256, INTEGER)
    with pytest.raises(ValueError, match="does not fit into 1"):
        Attribute("Much", 256, TEXT, vendor=5)
    with pytest.raises(ValueError, match="300 is no type"):
        Attribute("Much", "1.300", TEXT, vendor=5)
    assert REPLY_MESSAGE.pack("") == b""
    assert Packet(2).add(REPLY_MESSAGE, "").attributes == []


def test_texts_of_nases() -> None:
    packet = Packet(1, attributes=[(1, b"alice\0"), (18, b"a\0b"), (18, b"caf\xe9")])
    assert packet.get(USER_NAME) == "alice"
    assert packet.raw(USER_NAME) == [b"alice\0"]
    assert packet.get_all(REPLY_MESSAGE) == ["a\\x00b", "caf\\xe9"]


@pytest.mark.parametrize("vector", [i for i, v in PACKETS.items() if "request" in v])
def test_a_response_belongs_to_one_request(vector: str) -> None:
    golden = PACKETS[vector]
    reply, request = Packet.decode(octets(golden)), octets(PACKETS[golden["request"]])
    other = request[:1] + bytes((request[1] ^ 1,)) + request[2:]
    assert tried(check_response, reply, other, secret(golden)) == PacketFault.CODE
    assert tried(check_response, reply, b"\x28" + request[1:], secret(golden)) == PacketFault.CODE
