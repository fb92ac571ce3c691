"""A second codec: what we encode pyrad decodes, what it encodes we decode, and both believe each other's signatures."""

from io import StringIO
from ipaddress import IPv6Network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyrad.dictionary import Dictionary
from pyrad.packet import AccessAccept, AcctPacket, AuthPacket, CoAPacket

from protocol.radius.attribute import AnyAttribute
from protocol.radius.authenticator import answer, check_request, check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.standard import TUNNEL_PASSWORD, USER_NAME, USER_PASSWORD
from protocol.radius.hidden import hide_password, hide_salted, revealed
from protocol.radius.packet import Packet
from tests.protocol.radius.test_properties import BY_TYPE

SECRET = b"test-secret"
WORDS = {
    "text": "string",
    "string": "octets",
    "concat": "octets",
    "ipv4addr": "ipaddr",
    "time": "date",
    "enum": "integer",
}
SHARED = [
    one
    for one in ATTRIBUTES
    if not (one.below or one.encrypt or one.concat or "." in one.code)
    and one.vendor in (0, 9, 14988, 4874, 2352)
    and one.name not in ("Message-Authenticator", "Proxy-State", "Vendor-Specific")
    and one.type.name in ("text", "string", "integer", "enum", "time", "ipv4addr", "ipv6addr", "ipv6prefix", "ifid")
]


def declared(attributes: list[AnyAttribute]) -> str:
    """A dictionary file for pyrad."""
    vendors = sorted({one.vendor for one in attributes} - {0})
    lines = [f"VENDOR V{vendor} {vendor}" for vendor in vendors]
    for one in attributes:
        kind = WORDS.get(one.type.name, one.type.name)
        flags = ["has_tag"] if one.tagged else []
        flags += [f"encrypt={one.encrypt}"] if one.encrypt else []
        lines += [f"BEGIN-VENDOR V{one.vendor}"] if one.vendor else []
        lines += [f"ATTRIBUTE {one.name} {one.code} {kind} {','.join(flags)}".rstrip()]
        lines += [f"END-VENDOR V{one.vendor}"] if one.vendor else []
    return "\n".join(lines) + "\n"


WHOLE = Dictionary(StringIO(declared([*SHARED, USER_PASSWORD, TUNNEL_PASSWORD])))


def theirs(value: Any) -> Any:
    """A value of ours as pyrad has it."""
    return value if isinstance(value, (int, bytes, str)) else str(value)


@st.composite
def filled(draw: st.DrawFn) -> list[tuple[AnyAttribute, Any, int]]:
    """Attributes with values that both sides can say: pyrad takes a text that starts like a tag for one."""
    found: list[tuple[AnyAttribute, Any, int]] = []
    for attribute in draw(st.lists(st.sampled_from(SHARED), max_size=8, unique_by=lambda one: one.name)):
        tag = draw(st.integers(1, 31)) if attribute.tagged else 0
        if attribute.type.size and attribute.type.name == "string":
            value: Any = draw(st.binary(min_size=attribute.type.size, max_size=attribute.type.size))
        elif attribute.tagged and attribute.type.size == 4:
            value = draw(st.integers(0, (1 << 24) - 1))
        else:
            value = draw(BY_TYPE[attribute.type.name])
        found.append((attribute, value, tag))
    return found


@given(filled(), st.integers(0, 255))
def test_pyrad_reads_what_we_write(wanted: list[tuple[AnyAttribute, Any, int]], identifier: int) -> None:
    packet = Packet(PacketCode.ACCOUNTING_REQUEST, identifier)
    for attribute, value, tag in wanted:
        packet.add(attribute, value, tag)
    read = AcctPacket(packet=signed_request(packet, SECRET), secret=SECRET, dict=WHOLE)
    assert read.VerifyAcctRequest()
    assert read.verify_message_authenticator()
    assert read.id == identifier
    for attribute, value, tag in wanted:
        key = f"{attribute.name}:{tag}" if attribute.tagged else attribute.name
        found = read[key]
        assert len(found) == 1
        if isinstance(value, IPv6Network):
            assert IPv6Network(found[0]) == value
        else:
            assert found[0] == theirs(value)


@given(filled(), st.binary(max_size=16).map(lambda raw: raw.ljust(16, b"x")))
def test_we_read_what_pyrad_writes(wanted: list[tuple[AnyAttribute, Any, int]], random: bytes) -> None:
    made = AuthPacket(code=1, secret=SECRET, id=9, dict=WHOLE, authenticator=random)
    for attribute, value, tag in wanted:
        key = f"{attribute.name}:{tag}" if attribute.tagged else attribute.name
        # A text that begins with 0x is hexadecimal to pyrad when it is of octets: octets are given as octets.
        made[key] = theirs(value)
    made.add_message_authenticator()
    packet = Packet.decode(made.RequestPacket())
    assert check_request(packet, SECRET)
    for attribute, value, tag in wanted:
        assert packet.tagged(attribute) == [(tag, value)]


@given(filled())
def test_answers_of_both(wanted: list[tuple[AnyAttribute, Any, int]]) -> None:
    ask = AuthPacket(code=1, secret=SECRET, id=9, dict=WHOLE)
    ask["User-Name"] = "alice"
    ask.add_message_authenticator()
    octets = ask.RequestPacket()
    body = Packet(2)
    for attribute, value, tag in wanted:
        body.add(attribute, value, tag)
    ours = answer(Packet.decode(octets), PacketCode.ACCESS_ACCEPT, SECRET, body.body())
    reply = ask.CreateReply(packet=ours)
    assert ask.VerifyReply(reply, ours, enforce_ma=True)
    assert not ask.VerifyReply(reply, ours[:-1] + bytes((ours[-1] ^ 1,)), enforce_ma=True)

    other = AuthPacket(code=1, secret=SECRET, packet=octets, dict=WHOLE).CreateReply()
    other.code = AccessAccept
    other.add_message_authenticator()
    assert check_response(Packet.decode(other.ReplyPacket()), octets, SECRET)


def test_dynamic_authorisation_and_status() -> None:
    change = signed_request(Packet(PacketCode.COA_REQUEST, 4).add(USER_NAME, "alice"), SECRET)
    assert CoAPacket(packet=change, secret=SECRET, dict=WHOLE).VerifyCoARequest()
    cut = signed_request(Packet(PacketCode.DISCONNECT_REQUEST, 4).add(USER_NAME, "alice"), SECRET)
    assert CoAPacket(packet=cut, secret=SECRET, dict=WHOLE).VerifyCoARequest()
    made = CoAPacket(code=43, id=5, secret=SECRET, dict=WHOLE)
    made["User-Name"] = "alice"
    assert check_request(Packet.decode(made.RequestPacket()), SECRET) is False
    probe = AuthPacket(code=12, id=6, secret=SECRET, dict=WHOLE, message_authenticator=True)
    assert check_request(Packet.decode(probe.RequestPacket()), SECRET)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_passwords(password: str) -> None:
    ask = AuthPacket(code=1, secret=SECRET, id=9, dict=WHOLE)
    ask["User-Password"] = ask.PwCrypt(password)
    packet = Packet.decode(ask.RequestPacket())
    assert revealed(packet, USER_PASSWORD, SECRET, packet.authenticator) == password.encode()
    ours = Packet(1, 1, ask.authenticator)
    ours.add(USER_PASSWORD, hide_password(password.encode(), SECRET, ask.authenticator))
    read = AuthPacket(packet=ours.encode(), secret=SECRET, dict=WHOLE)
    assert read.PwDecrypt(read["User-Password"][0]) == password


@given(st.binary(min_size=1, max_size=60))
def test_salted_values(plain: bytes) -> None:
    ask = AuthPacket(code=1, secret=SECRET, id=9, dict=WHOLE)
    octets = ask.RequestPacket()
    hidden = hide_salted(plain, SECRET, octets[4:20], b"\x81\0")
    body = TUNNEL_PASSWORD.pack(hidden, tag=4)
    ours = answer(Packet.decode(octets), 2, SECRET, body)
    reply = ask.CreateReply(packet=ours)
    reply.request_authenticator = octets[4:20]
    found = reply["Tunnel-Password:4"][0]
    assert (found.encode() if isinstance(found, str) else found) == plain
