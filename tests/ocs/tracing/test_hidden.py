"""No password, and nothing it or a shared secret could be guessed from, is shown."""

import random

from hypothesis import given
from hypothesis import strategies as st

from ocs.tracing.hidden import diameter_hidden, radius_hidden
from protocol.diameter.avp import wrap
from protocol.diameter.header import with_header
from protocol.radius.authenticator import signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dump import dump
from protocol.radius.hidden import hide_password
from protocol.radius.packet import Packet

SECRET = b"testing123"
SHOWN = {"User-Name": "491700000001", "NAS-Identifier": "bras1", "NAS-Port": 7}
PROOFS = {
    "User-Password": hide_password(b"open sesame", SECRET, bytes(range(16))),
    "CHAP-Password": b"\x07" + b"chapchapchapchap",
    "EAP-Message": b"\x02\x01\x00\x09eap-secret",
    "MS-CHAP-Response": b"r" * 50,
    "MS-CHAP2-Response": b"R" * 50,
    "MS-MPPE-Send-Key": b"mppe-key-in-octets",
    "WiMAX-MSK": b"wimax-master-key--",
}


def login() -> tuple[bytes, Packet]:
    packet = Packet(PacketCode.ACCESS_REQUEST, 9, bytes(range(16)))
    for name, value in (SHOWN | PROOFS).items():
        packet.add(ATTRIBUTES[name], value)
    return signed_request(packet, SECRET), packet


def test_what_proves_a_password_is_zero_and_all_else_stays() -> None:
    octets, _ = login()
    shown = radius_hidden(octets, ATTRIBUTES)
    assert len(shown) == len(octets)
    assert shown[:4] == octets[:4]
    for name, value in PROOFS.items():
        assert value in octets, name
        assert value not in shown, name
    packet = Packet.decode(shown)
    for name, plain in SHOWN.items():
        assert packet.get(ATTRIBUTES[name]) == plain
    assert packet.authenticator == bytes(16)  # a digest over the shared secret
    assert packet.get(ATTRIBUTES["Message-Authenticator"]) == bytes(16)


def test_the_words_of_a_packet_name_what_is_hidden_and_do_not_say_it() -> None:
    octets, _ = login()
    text = dump(radius_hidden(octets, ATTRIBUTES))
    assert "User-Name 491700000001" in text
    assert "User-Password (hidden)" in text
    assert "NAS-Port 7" in text
    assert b"chapchap".hex() not in text
    assert b"eap-secret".hex() not in text


def test_numbers_have_their_names() -> None:
    packet = Packet(PacketCode.ACCOUNTING_REQUEST, 1).add(ATTRIBUTES["Acct-Status-Type"], 3)
    packet.add(ATTRIBUTES["Mikrotik-Rate-Limit"], "2M/1M")
    packet.attributes.append((251, b"\x01\x02"))
    text = dump(signed_request(packet, SECRET, sign=False))
    assert "Acct-Status-Type 3 (interim_update)" in text
    assert "Mikrotik-Rate-Limit 2M/1M" in text
    assert "251 0102" in text


@given(st.binary(max_size=200))
def test_nothing_breaks_it(octets: bytes) -> None:
    shown = radius_hidden(octets, ATTRIBUTES)
    assert len(shown) in (len(octets), 0)
    assert len(diameter_hidden(octets)) == len(octets)


def test_a_password_is_hidden_wherever_it_stands() -> None:
    rng = random.Random(1)
    names = [*SHOWN, *PROOFS]
    for _ in range(50):
        rng.shuffle(names)
        packet = Packet(PacketCode.ACCESS_REQUEST, 1, bytes(16))
        for name in names:
            packet.add(ATTRIBUTES[name], (SHOWN | PROOFS)[name])
        shown = radius_hidden(signed_request(packet, SECRET), ATTRIBUTES)
        assert not [name for name, value in PROOFS.items() if value in shown]


def test_passwords_in_diameter() -> None:
    name, secret = wrap(1, 0x40, 0, b"user@example.net"), wrap(2, 0x40, 0, b"open sesame")
    frame = with_header(name + secret + name, flags=0x80, command=265, application=1, hop_by_hop=1, end_to_end=1)
    shown = diameter_hidden(frame)
    assert b"open sesame" in frame
    assert b"open sesame" not in shown
    assert shown == frame.replace(b"open sesame", bytes(11))
    plain = with_header(name, flags=0x80, command=265, application=1, hop_by_hop=1, end_to_end=1)
    assert diameter_hidden(plain) is plain
