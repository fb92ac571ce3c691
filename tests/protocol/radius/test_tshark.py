"""An independent judge: Wireshark finds nothing wrong with what we encode, reads the same values, and agrees with the
authenticators."""

import shutil
import struct
import subprocess
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from protocol.radius.authenticator import answer, signed_request
from protocol.radius.chap import chap_response
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES as A
from protocol.radius.dictionary import standard as s
from protocol.radius.dictionary.values import AcctStatusType, ErrorCause, NasPortType, ServiceType
from protocol.radius.hidden import hidden
from protocol.radius.packet import Packet

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

SECRET = b"test-secret"
RANDOM = bytes(range(100, 116))


def access() -> Packet:
    packet = Packet(PacketCode.ACCESS_REQUEST, 1, RANDOM).add(s.USER_NAME, "alice@example.net")
    packet.add(s.CHAP_PASSWORD, chap_response(3, b"wonderland", RANDOM)).add(s.NAS_IDENTIFIER, "bng1")
    packet.add(s.NAS_PORT_TYPE, NasPortType.ETHERNET).add(s.SERVICE_TYPE, ServiceType.FRAMED_USER)
    packet.add(s.NAS_IPV6_ADDRESS, IPv6Address("2001:db8::1"))
    return packet.add(s.PROXY_STATE, b"px1").add(s.PROXY_STATE, b"px2")


def accept() -> bytes:
    """As much of what we can send as one answer holds."""
    made = Packet(PacketCode.ACCESS_ACCEPT)
    made.add(s.SESSION_TIMEOUT, 3600).add(s.ACCT_INTERIM_INTERVAL, 600).add(s.CLASS, b"session-1")
    made.add(A["Framed-IPv6-Prefix"], "2001:db8:1::/48").add(A["Framed-IP-Address"], "10.0.0.7")
    made.add(A["Mikrotik-Rate-Limit"], "2M/10M").add(A["Mikrotik-Xmit-Limit"], 4_000_000_000)
    made.add(A["Cisco-AVPair"], "subscriber:sub-qos-policy-out=SILVER").add(
        A["h323-credit-time"], "h323-credit-time=60"
    )
    made.add(A["ERX-Service-Activate"], "internet(10M)", tag=1).add(A["ERX-Service-Statistics"], 2, tag=1)
    made.add(A["Tunnel-Type"], 3, tag=2).add(A["Tunnel-Server-Endpoint"], "lns.example.net", tag=2)
    password = hidden(A["Tunnel-Password"], b"sesame", SECRET, RANDOM, b"\x80\x01")
    made.add(A["Tunnel-Password"], password, tag=2)
    made.add(A["MS-MPPE-Send-Key"], hidden(A["MS-MPPE-Send-Key"], bytes(16), SECRET, RANDOM, b"\x80\x02"))
    ppaq = A["WiMAX-PPAQ-Quota-Identifier"].tlv(b"Q1") + A["WiMAX-Volume-Quota"].tlv(10240)
    made.add(A["WiMAX-PPAQ"], ppaq)
    made.add(A["Operator-NAS-Identifier"], b"nas-1")
    made.add(A["NAS-Filter-Rule"], ("permit in ip from any to any",))
    return answer(Packet.decode(signed_request(access(), SECRET)), made.code, SECRET, made.body())


def accounting() -> Packet:
    packet = Packet(PacketCode.ACCOUNTING_REQUEST, 2).add(s.ACCT_STATUS_TYPE, AcctStatusType.INTERIM_UPDATE)
    packet.add(s.ACCT_SESSION_ID, "0000A1B2").add(s.ACCT_INPUT_OCTETS, 10).add(s.ACCT_INPUT_GIGAWORDS, 2)
    return packet.add(s.EVENT_TIMESTAMP, 1_767_268_800).add(s.NAS_IDENTIFIER, "bng1")


def conversations() -> list[tuple[int, int, bytes]]:
    """Source port, destination port, octets."""
    nas, ask, report = 40_000, signed_request(access(), SECRET), signed_request(accounting(), SECRET)
    change = Packet(PacketCode.COA_REQUEST, 3).add(s.ACCT_SESSION_ID, "0000A1B2").add(A["Mikrotik-Rate-Limit"], "64k")
    cut = Packet(PacketCode.DISCONNECT_REQUEST, 4).add(s.USER_NAME, "alice@example.net")
    probe = Packet(PacketCode.STATUS_SERVER, 5, RANDOM)
    coa, disconnect, status = (signed_request(packet, SECRET) for packet in (change, cut, probe))
    no = s.ERROR_CAUSE.pack(ErrorCause.SESSION_CONTEXT_NOT_FOUND)
    return [
        (nas, 1812, ask),
        (1812, nas, accept()),
        (nas, 1813, report),
        (1813, nas, answer(Packet.decode(report), PacketCode.ACCOUNTING_RESPONSE, SECRET, sign=False)),
        (nas, 3799, coa),
        (3799, nas, answer(Packet.decode(coa), PacketCode.COA_NAK, SECRET, no)),
        (nas, 3799, disconnect),
        (3799, nas, answer(Packet.decode(disconnect), PacketCode.DISCONNECT_ACK, SECRET)),
        (nas, 1812, status),
        (1812, nas, answer(Packet.decode(status), PacketCode.ACCESS_ACCEPT, SECRET, s.REPLY_MESSAGE.pack("up"))),
    ]


def capture(path: Path, wire: list[tuple[int, int, bytes]]) -> None:
    """A pcap file of link type 101: bare IP packets."""
    body = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)]
    for number, (source, destination, octets) in enumerate(wire):
        udp = struct.pack(">HHHH", source, destination, 8 + len(octets), 0) + octets
        here, there = (b"\xc0\0\2\1", b"\xc0\0\2\2") if source == 40_000 else (b"\xc0\0\2\2", b"\xc0\0\2\1")
        packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0) + here + there + udp
        body.append(struct.pack("<IIII", number, 0, len(packet), len(packet)) + packet)
    path.write_bytes(b"".join(body))


def tshark(path: Path, *options: str) -> list[str]:
    settings = ("-o", f"radius.shared_secret:{SECRET.decode()}", "-o", "radius.validate_authenticator:TRUE")
    command = ["tshark", "-n", "-r", str(path), "-d", "udp.port==3799,radius", *settings, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()


def test_nothing_is_malformed(tmp_path: Path) -> None:
    wire = conversations()
    capture(tmp_path / "ours.pcap", wire)
    assert len(tshark(tmp_path / "ours.pcap", "-Y", "radius")) == len(wire)
    wrong = (
        "_ws.malformed || _ws.expert.severity >= warning || radius.invalid_length || radius.authenticator.invalid == 1"
    )
    assert tshark(tmp_path / "ours.pcap", "-V", "-Y", wrong) == []
    # It judges those it knows how: tshark 4.0 the Accept, the Accounting-Response, and both dynamic requests.
    assert len(tshark(tmp_path / "ours.pcap", "-Y", "radius.authenticator.valid == 1")) >= 4


def test_it_reads_what_we_wrote(tmp_path: Path) -> None:
    capture(tmp_path / "ours.pcap", conversations())
    shown = "\n".join(tshark(tmp_path / "ours.pcap", "-V"))
    for wanted in (
        "t=Mikrotik-Rate-Limit(8) l=8 val=2M/10M",
        "t=Cisco-AVPair(1) l=38 val=subscriber:sub-qos-policy-out=SILVER",
        "t=Framed-IPv6-Prefix(97) l=10 val=2001:db8:1::/48",
        "Service-Activate(65) l=16 Tag=0x01 val=internet(10M)",
        "t=Tunnel-Type(64) l=6 Tag=0x02 val=L2TP(3)",
        "t=WiMAX-PPAQ(37) l=13 C=0x00 val=2 TLV(s) inside",
        "t=Acct-Status-Type(40) l=6 val=Interim-Update(3)",
        "t=Acct-Input-Gigawords(52) l=6 val=2",
        "t=Event-Timestamp(55) l=6 val=Jan  1, 2026 12:00:00.000000000 UTC",
        "t=Error-Cause(101) l=6 val=Session-Context-Not-Found(503)",
    ):
        assert wanted in shown, wanted
