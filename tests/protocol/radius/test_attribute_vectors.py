"""The attribute encodings of FreeRADIUS's unit tests: what is inside, by key, type by type, and written again."""

from typing import Any

import pytest

from protocol.radius.attribute import Attribute
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError
from protocol.radius.types import BYTE, COMBO_IP, ETHER, INTEGER, IPV4ADDR, SHORT, STRING, TEXT
from protocol.radius.vendor import unfold
from tests.protocol.radius.golden import HELD
from tests.protocol.vectors import octets

A = Attribute[Any]


def wimax(path: str, kind: Any) -> A:
    return A(path, path, kind, vendor=24757)


SERVICE_ACTIVATE = ATTRIBUTES["ERX-Service-Activate"]
CISCO_AVPAIR = ATTRIBUTES["Cisco-AVPair"]
PREFIX = ATTRIBUTES["Framed-IPv6-Prefix"]
RULE = ATTRIBUTES["NAS-Filter-Rule"]
EVS = A("EVS", "245.26.1.6", STRING)
VPN = A("SN1-VPN-Name", 2, TEXT, vendor=8164)

# What is found: attributes with their values, (tag, value) where there is a tag, RadiusError where it is no value. An
# empty list: nothing is inside, and the octets stay what they are.
EXPECT: dict[str, list[tuple[A, list[Any]]]] = {
    "001": [(VPN, ["foo"])],
    "002": [(VPN, ["foo"])],
    "004": [(A("?", 1, STRING, vendor=20000), [b"lithiasprings"])],
    "006": [
        (A("3Com-User-Access-Level", 1, INTEGER, vendor=43), [0]),
        (A("3Com-Ip-Host-Addr", 60, TEXT, vendor=43), ["155.4.12.100 00:00:00:00:00:00"]),
    ],
    "007": [
        (A("3Com-User-Access-Level", 1, INTEGER, vendor=43), [0]),
        (A("3Com-Ip-Host-Addr", 60, TEXT, vendor=43), ["155.4.12.100 00:00:00:00:00:00"]),
    ],
    "008": [],
    "010": [],
    "013": [(A("raw", 1, STRING, vendor=311), [b"x" * 49])],
    "014": [(CISCO_AVPAIR, ["foo"])],
    "015": [(CISCO_AVPAIR, ["foo"])],
    "016": [(CISCO_AVPAIR, ["foo", "bar"])],
    "017": [(CISCO_AVPAIR, ["foo", "bar"])],
    "018": [(A("?", 1, STRING, vendor=6809), [b"\xab\xcd\xef"])],
    "020": [(A("?", "1.2.3", STRING, vendor=6809), [b"\xab\xcd\xef"])],
    "022": [(A("?", 200, STRING, vendor=311), [b"\xab\xcd\xef"])],
    "023": [(wimax("1.1", TEXT), ["1.0"])],
    "024": [(wimax("1.2", BYTE), [1])],
    "025": [(wimax("1.1", TEXT), ["1.0"]), (wimax("1.2", BYTE), [1])],
    "026": [(wimax("28.11.5.1", COMBO_IP), ["127.0.0.1"]), (wimax("28.11.5.4", SHORT), [2112])],
    "027": [(wimax("28.11.5.4", SHORT), [2112])],
    "029": [(wimax("84.9.5.8", ETHER), ["00:01:02:03:04:05"])],
    "030": [(wimax("84.9.6.8", ETHER), ["00:01:02:03:04:05"])],
    "031": [(wimax("28.11.5.7", BYTE), [1])],
    "032": [(wimax("28.11.6.7", BYTE), [1])],
    "033": [(wimax("84.9.4", BYTE), [1])],
    "034": [(wimax("84.9.4", BYTE), [1])],
    "035": [(wimax("84.9.4", BYTE), [1]), (wimax("84.9.5.4", SHORT), [6809])],
    "036": [(wimax("84.9.5.4", SHORT), [6809])],
    "037": [(wimax("84.9.4", BYTE), [1]), (wimax("84.9.5", STRING), [b"\x04\x05\x1a\x99"])],
    "038": [],
    "039": [],
    "043": [(wimax("1", STRING), [bytes.fromhex("0105312e30020201")])],
    "044": [(wimax("1", STRING), [bytes.fromhex("0105312e30020201")])],
    "045": [(wimax("1", STRING), [bytes.fromhex("0105312e30020401")])],
    "046": [(wimax("1", STRING), [bytes.fromhex("0105312e30020401")])],
    "049": [(wimax("84.9.9.3.1", BYTE), [55]), (wimax("84.9.9.3.2", BYTE), [84])],
    "050": [(wimax("84.9.9.3", STRING), [bytes.fromhex("010437020354")])],
    "051": [(wimax("84.9.9.3", STRING), [bytes.fromhex("010337020454")])],
    "052": [(wimax("84.9.9.3", STRING), [bytes.fromhex("010337"), bytes.fromhex("020454")])],
    "053": [(wimax("84.9.9.3", STRING), [bytes.fromhex("010237"), bytes.fromhex("020354")])],
    "061": [
        (wimax("28.11.5.1", IPV4ADDR), ["127.0.0.1"]),
        (wimax("28.11.5.4", SHORT), [2112]),
        (wimax("28.11.5.5", STRING), [bytes.fromhex("08401a99")]),
    ],
    "062": [(ATTRIBUTES["WiMAX-DNS-Server"], ["::1"])],
    "063": [(ATTRIBUTES["WiMAX-DNS-Server"], ["127.0.0.1"])],
    "066": [(wimax("1.1", TEXT), ["1.0"])],
    "070": [(SERVICE_ACTIVATE, [(2, "UNPOLICED")])],
    "071": [(ATTRIBUTES["Tunnel-Private-Group-Id"], [(1, "foo")]), (SERVICE_ACTIVATE, [(1, "UNPOLICED")])],
    "072": [(SERVICE_ACTIVATE, [(1, "UNPOLICED")])],
    "073": [(PREFIX, [RadiusError])],
    "075": [(PREFIX, ["2001:db8:a0b:12f0::/64"])],
    "076": [(PREFIX, ["2001:db8:a0b:12f0::/64"])],
    "077": [(PREFIX, ["2001:db8:a0b:12f0::/64"])],
    "083": [(ATTRIBUTES["Tunnel-Client-Endpoint"], [(0, "foo")])],
    "082": [(ATTRIBUTES["Tunnel-Type"], [RadiusError])],  # 0x20 is no tag
    "084": [(ATTRIBUTES["Tunnel-Client-Endpoint"], [(0, "\x01\x02\x03")])],
    "085": [],
    "086": [(EVS, [b"\xad"])],
    "087": [],
    "090": [(EVS, [b"\x01"])],
    "091": [(EVS, [b"\x01"])],
    "092": [(EVS, [b"\x01\x01"])],
    "093": [(RULE, [("hello",)])],
    "094": [(RULE, [("hello", "bob")])],
    "095": [(RULE, [("hello", "bob", "stuff")])],
}
# Several attributes at once, prefixes longer than we write them, a last fragment that says more follows.
NOT_WRITTEN_SO = {"052", "053", "016", "017", "071", "076", "077", "091", "092"}


def plain(value: Any) -> Any:
    return value if isinstance(value, (int, bytes, tuple)) else str(value)


@pytest.mark.parametrize("vector", HELD)
def test_attributes(vector: str) -> None:
    short, held = vector.rpartition("-")[2], octets(HELD[vector])
    frame = b"\x01\x00" + (20 + len(held)).to_bytes(2) + bytes(16) + held
    packet = Packet.decode(frame)
    assert packet.encode() == frame
    wanted = EXPECT[short]
    if not wanted:
        assert packet.get(A("raw", held[0], STRING)) == held[2:]
        assert unfold(packet.attributes) == []
    for attribute, values in wanted:
        if values == [RadiusError]:
            with pytest.raises(RadiusError):
                packet.get(attribute)
            continue
        if attribute.tagged:
            assert packet.tagged(attribute) == values
            assert packet.get(attribute) == values[0][1]
        else:
            assert [plain(value) for value in packet.get_all(attribute)] == values
            assert plain(packet.get(attribute)) == values[0]
        assert packet.has(attribute)
    if len(wanted) == 1 and short not in NOT_WRITTEN_SO and values != [RadiusError]:
        tag, value = values[0] if attribute.tagged else (0, values[0])
        assert attribute.pack(value, tag) == held
