"""What a proxy changes: what it hides anew the NAS reads, whose State it is can be told, and Proxy-State is its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.radius.authenticator import check_request, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.microsoft import MS_CHAP_MPPE_KEYS, MS_MPPE_RECV_KEY, MS_MPPE_SEND_KEY
from protocol.radius.dictionary.standard import (
    EAP_MESSAGE,
    PROXY_STATE,
    REPLY_MESSAGE,
    STATE,
    TUNNEL_PASSWORD,
    USER_NAME,
)
from protocol.radius.hidden import HidingKey, hide_password, hide_salted, reveal_salted, revealed
from protocol.radius.packet import Packet
from protocol.radius.proxy import TAG, passed_back, passed_to, renamed, tag_in
from protocol.radius.vendor import separate, tlvs

HOME, NAS = HidingKey(b"home-secret", bytes(range(16))), HidingKey(b"nas", bytes(range(16, 32)))
MARK = b"\xf1home1"
assert len(MARK) == TAG
SALTS = (b"\x80\x01", b"\x80\x02", b"\x80\x03")


@given(st.binary(min_size=1, max_size=48), st.binary(min_size=1, max_size=48), st.integers(0, 31))
def test_what_was_hidden_from_others_the_nas_reads(send: bytes, recv: bytes, tag: int) -> None:
    reply = Packet(PacketCode.ACCESS_ACCEPT)
    for attribute, plain, salt in ((MS_MPPE_SEND_KEY, send, SALTS[0]), (MS_MPPE_RECV_KEY, recv, SALTS[1])):
        reply.add(attribute, hide_salted(plain, *HOME, salt))
    reply.add(TUNNEL_PASSWORD, hide_salted(b"sesame", *HOME, SALTS[2]), tag)
    reply.add(MS_CHAP_MPPE_KEYS, hide_password(bytes(8) + send[:16].ljust(16, b"k"), *HOME))
    back = Packet(PacketCode.ACCESS_ACCEPT, attributes=passed_back(reply, MARK, HOME, NAS, ATTRIBUTES))
    assert (revealed(back, MS_MPPE_SEND_KEY, *NAS), revealed(back, MS_MPPE_RECV_KEY, *NAS)) == (send, recv)
    ((found, value),) = back.tagged(TUNNEL_PASSWORD)
    assert (found, reveal_salted(value, *NAS)) == (tag, b"sesame")
    assert revealed(back, MS_CHAP_MPPE_KEYS, *NAS) == bytes(8) + send[:16].ljust(16, b"k").rstrip(b"\0")


def test_a_request_goes_on_signed_anew_with_a_proxy_state_behind_those_that_came() -> None:
    first = Packet(PacketCode.ACCESS_REQUEST, 7, bytes(16)).add(USER_NAME, "anna").add(EAP_MESSAGE, b"\2\1\0\5\1")
    came = Packet.decode(signed_request(first.add(PROXY_STATE, b"theirs").add(STATE, MARK + b"state"), b"nas"))
    assert tag_in(came) == MARK
    on = Packet.decode(signed_request(passed_to(came, MARK, 9, HOME.authenticator), b"home-secret"))
    assert check_request(on, b"home-secret")
    assert (on.identifier, on.authenticator, on.get(STATE)) == (9, HOME.authenticator, b"state")
    theirs, ours = on.get_all(PROXY_STATE)
    assert (theirs, ours) == (b"theirs", MARK + b"\x09")
    assert passed_to(came, b"other1", 9, HOME.authenticator).get(STATE) == MARK + b"state"


def test_an_answer_goes_back_without_proxy_states_and_with_the_state_of_its_server() -> None:
    reply = Packet(PacketCode.ACCESS_CHALLENGE).add(STATE, b"s" * 16).add(PROXY_STATE, b"x").add(REPLY_MESSAGE, "hello")
    back = Packet(PacketCode.ACCESS_CHALLENGE, attributes=passed_back(reply, MARK, HOME, NAS, ATTRIBUTES))
    assert (back.get(STATE), back.get_all(PROXY_STATE)) == (MARK + b"s" * 16, [])
    assert back.get(REPLY_MESSAGE) == "hello"
    long = Packet(PacketCode.ACCESS_CHALLENGE).add(STATE, b"s" * 250)  # there is no room for whose it is
    assert passed_back(long, MARK, HOME, NAS, ATTRIBUTES) == [(STATE.key, b"s" * 250)]


def test_what_one_vendor_specific_holds_is_taken_out_of_it_and_fragments_stay() -> None:
    two = Packet(1).add(ATTRIBUTES["Mikrotik-Rate-Limit"], "1M/1M").attributes[0][1]
    more = tlvs(ATTRIBUTES["Mikrotik-Group"].pack("full"))
    assert more is not None
    found = separate([(26, two + more[0][1][4:]), (1, b"anna"), (26, b"\0\0\x60\xb5\x05\x05\x80ab"), (26, b"\0")])
    assert [(key, value) for key, value, _ in found[:3]] == [
        (ATTRIBUTES["Mikrotik-Rate-Limit"].key, b"1M/1M"),
        (ATTRIBUTES["Mikrotik-Group"].key, b"full"),
        (1, b"anna"),
    ]
    assert [octets for _, _, octets in found[3:]] == [b"\x1a\x0b\0\0\x60\xb5\x05\x05\x80ab", b"\x1a\x03\0"]


def test_another_user_name_is_all_that_changes() -> None:
    packet = Packet(PacketCode.ACCESS_REQUEST, 7, b"a" * 16).add(USER_NAME, "anonymous").add(STATE, b"s")
    other = renamed(packet, "anna")
    assert (other.get_all(USER_NAME), other.get(STATE)) == (["anna"], b"s")
    assert (other.identifier, other.authenticator) == (7, b"a" * 16)
