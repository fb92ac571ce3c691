"""What is refused, and for which reason it is counted."""

import pytest

from protocol.radius.authenticator import answer, check_request, check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import EAP_MESSAGE, FRAMED_IPV6_PREFIX, USER_NAME
from protocol.radius.hidden import hide_salted, reveal_salted
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError
from protocol.radius.vendor import unfold

SECRET, RANDOM = b"test-secret", bytes(range(16))


def frame(body: bytes) -> bytes:
    return b"\x01\x07" + (20 + len(body)).to_bytes(2) + RANDOM + body


@pytest.mark.parametrize("body", [b"\x01\x01\x03a", b"\x01\x00", b"\x01", b"\x01\x05ab"], ids=lambda body: body.hex())
def test_an_attribute_that_does_not_fit(body: bytes) -> None:
    with pytest.raises(RadiusError) as error:
        Packet.decode(frame(body))
    assert error.value.reason == PacketFault.ATTRIBUTE


@pytest.mark.parametrize("inside", ["0001020000", "000104aaaa0001", "00010500"])
def test_a_vendor_format_that_does_not_fit_is_left_unread(inside: str) -> None:
    assert unfold([(26, (4846).to_bytes(4) + bytes.fromhex(inside))]) == []


def test_two_signatures() -> None:
    signed = signed_request(Packet(PacketCode.ACCESS_REQUEST, 7, RANDOM).add(USER_NAME, "alice"), SECRET)
    twice = signed[:2] + (len(signed) + 18).to_bytes(2) + signed[4:] + b"\x50\x12" + bytes(16)
    with pytest.raises(RadiusError, match="comes twice") as error:
        check_request(Packet.decode(twice), SECRET)
    assert error.value.reason == PacketFault.MESSAGE_AUTHENTICATOR


def test_where_a_signature_is_required() -> None:
    probe = Packet(PacketCode.STATUS_SERVER, 7, RANDOM)
    ask = Packet(PacketCode.ACCESS_REQUEST, 7, RANDOM).add(EAP_MESSAGE, b"\x02\x00\x00\x04")
    for packet in (probe, ask):
        with pytest.raises(RadiusError) as error:
            check_request(Packet.decode(signed_request(packet, SECRET, sign=False)), SECRET)
        assert error.value.reason == PacketFault.MESSAGE_AUTHENTICATOR_MISSING
        assert check_request(Packet.decode(signed_request(packet, SECRET)), SECRET)
    request = signed_request(ask, SECRET)
    challenge = EAP_MESSAGE.pack(b"\x01\x01\x00\x05\x01")
    bare = answer(ask, PacketCode.ACCESS_CHALLENGE, SECRET, challenge, sign=False)
    with pytest.raises(RadiusError) as error:
        check_response(Packet.decode(bare), request, SECRET)
    assert error.value.reason == PacketFault.MESSAGE_AUTHENTICATOR_MISSING
    assert check_response(Packet.decode(answer(ask, 11, SECRET, challenge)), request, SECRET)


def test_a_salted_value_under_another_secret_is_mostly_impossible() -> None:
    value, refused = hide_salted(b"sesame", SECRET, RANDOM, b"\x80\0"), 0
    for number in range(64):
        try:
            assert len(reveal_salted(value, b"%d" % number, RANDOM)) <= 15
        except RadiusError:
            refused += 1
    assert refused > 32


@pytest.mark.parametrize("raw", ["0081" + 16 * "20", "0040" + 7 * "20", "00", "0040" + 17 * "00"])
def test_what_is_no_prefix(raw: str) -> None:
    with pytest.raises(RadiusError) as error:
        Packet(1, attributes=[(97, bytes.fromhex(raw))]).get(FRAMED_IPV6_PREFIX)
    assert error.value.reason == PacketFault.VALUE
