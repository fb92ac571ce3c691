"""The Access-Accept of a home server, and what the balance allows, in one answer (docs/radius.md)."""

from __future__ import annotations

from typing import Any

import pytest

from ocs.charging.radius.names import SessionReference, reference_in
from ocs.charging.radius.proofs import HomeProof
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.cisco import CISCO_AVPAIR
from protocol.radius.dictionary.standard import CLASS, EAP_MESSAGE, REPLY_MESSAGE, SESSION_TIMEOUT, USER_NAME
from protocol.radius.packet import Packet


def packet(*attributes: tuple[str, Any]) -> Packet:
    made = Packet(PacketCode.ACCESS_ACCEPT)
    for name, value in attributes:
        made.add(ATTRIBUTES[name], value)
    return made


def merged(home: Packet, ours: Packet) -> Packet:
    octets = HomeProof(home.attributes).with_accept(ours.body())
    return Packet.decode(bytes((2, 1)) + (20 + len(octets)).to_bytes(2) + bytes(16) + octets)


OURS = packet(("Class", b"ocs1.a.b"), ("Acct-Interim-Interval", 600), ("Mikrotik-Rate-Limit", "2M/10M"))


def test_what_we_say_counts_and_what_only_the_home_server_says_stays() -> None:
    home = packet(
        ("Class", b"theirs"), ("Acct-Interim-Interval", 10), ("Mikrotik-Rate-Limit", "1M/1M"),
        ("Mikrotik-Group", "full"), ("Framed-Pool", "guests"), ("EAP-Message", b"\3\7\0\4"),
    )  # fmt: skip
    both = merged(home, OURS)
    assert both.get_all(CLASS) == [b"ocs1.a.b"]
    assert both.get_all(ATTRIBUTES["Acct-Interim-Interval"]) == [600]
    assert both.get_all(ATTRIBUTES["Mikrotik-Rate-Limit"]) == ["2M/10M"]
    assert (both.get(ATTRIBUTES["Mikrotik-Group"]), both.get(ATTRIBUTES["Framed-Pool"])) == ("full", "guests")
    assert both.get(EAP_MESSAGE) == b"\3\7\0\4"


@pytest.mark.parametrize(
    ("home_s", "ours_s", "ends_s"),
    [(1200, 3600, 1200), (3600, 1200, 1200), (1200, None, 1200), (None, 1200, 1200)],
    ids=["theirs", "ours", "only-theirs", "only-ours"],
)
def test_the_session_ends_at_the_earlier_end(home_s: int | None, ours_s: int | None, ends_s: int) -> None:
    home, ours = (packet(("Session-Timeout", one)) if one else packet() for one in (home_s, ours_s))
    assert merged(home, ours).get_all(SESSION_TIMEOUT) == [ends_s]


def test_pairs_of_cisco_are_told_apart_by_their_names() -> None:
    home = packet(("Cisco-AVPair", "ip:dns-servers=10.0.0.1"), ("Cisco-AVPair", "ip:sub-qos-policy-out=slow"))
    both = merged(home, packet(("Cisco-AVPair", "ip:sub-qos-policy-out=night")))
    assert both.get_all(CISCO_AVPAIR) == ["ip:sub-qos-policy-out=night", "ip:dns-servers=10.0.0.1"]


def test_a_refusal_ends_the_conversation_and_says_nothing_else() -> None:
    refusal = HomeProof(packet(("EAP-Message", b"\3\x2a\0\4")).attributes).with_reject("no money")
    assert refusal == EAP_MESSAGE.pack(b"\4\x2a\0\4")
    assert HomeProof([]).with_reject("no money") == REPLY_MESSAGE.pack("no money")


def test_class_says_who_it_is_where_the_nas_has_a_pseudonym() -> None:
    reference = SessionReference("0a1b", "cafe", "Ännchen@example.net")
    assert reference_in(packet(("Class", reference.octets))) == reference
    assert reference_in(packet(("Class", b"ocs1.0a1b.cafe.zz"))) == SessionReference("0a1b", "cafe")
    assert HomeProof(packet(("User-Name", "anna")).attributes).user == "anna"
    assert len(SessionReference("a" * 20, "b" * 12, "x" * 100).octets) <= 253
    assert packet(("User-Name", "anna")).get(USER_NAME) == "anna"
