"""FreeRADIUS answers what we write and we read what it writes; radclient believes our answers."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from protocol.radius.authenticator import answer, check_request, check_response, signed_request
from protocol.radius.chap import chap_response, is_chap_of
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES as A
from protocol.radius.dictionary import standard as s
from protocol.radius.dictionary.values import AcctStatusType, ErrorCause
from protocol.radius.hidden import hidden, revealed
from protocol.radius.mschap import (
    challenge_hash,
    challenge_response,
    is_mschap1_of,
    mschap1_keys,
    mschap2_proof,
    nt_hash,
)
from protocol.radius.packet import Packet
from tests.protocol.radius.freeradius import CLIENT, SECRET, SERVER, FreeRadius, libraries

PASSWORD, HASH = b"wonderland", nt_hash("wonderland")

needs_server = pytest.mark.skipif(not (SERVER and libraries()), reason="FreeRADIUS is not installed")
needs_client = pytest.mark.skipif(CLIENT is None, reason="radclient is not installed")


# ---- we ask


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with FreeRadius(tmp_path_factory.mktemp("freeradius")).running() as running:
        yield running


def asked(server: FreeRadius, packet: Packet) -> Packet:
    request = signed_request(packet, SECRET)
    reply = Packet.decode(server.ask(request, server.acct if packet.code == 4 else server.auth))
    check_response(reply, request, SECRET)
    return reply


def access(identifier: int) -> Packet:
    packet = Packet(PacketCode.ACCESS_REQUEST, identifier, os.urandom(16))
    return packet.add(s.USER_NAME, "alice").add(s.NAS_IDENTIFIER, "bng1").add(s.PROXY_STATE, b"one")


@needs_server
def test_pap_and_what_the_accept_says(server: FreeRadius) -> None:
    packet = access(1)
    packet.add(s.USER_PASSWORD, hidden(s.USER_PASSWORD, PASSWORD, SECRET, packet.authenticator))
    reply = asked(server, packet)
    assert reply.code == PacketCode.ACCESS_ACCEPT
    assert reply.get(s.SESSION_TIMEOUT) == 3600
    assert reply.get(A["Mikrotik-Rate-Limit"]) == "2M/10M"
    assert reply.get_all(A["Cisco-AVPair"]) == ["ip:a=1", "ip:b=2"]
    assert reply.tagged(A["ERX-Service-Activate"]) == [(1, "internet(10M)")]
    assert reply.tagged(A["Tunnel-Type"]) == [(2, 3)]
    assert revealed(reply, A["Tunnel-Password"], SECRET, packet.authenticator) == b"sesame"
    assert str(reply.get(A["Framed-IPv6-Prefix"])) == "2001:db8:1::/48"
    assert reply.get(A["WiMAX-Volume-Quota"]) == 10240
    assert [key for key, _ in reply.attributes if key == 33] == [33]
    assert reply.get(s.CLASS) == b"sess-1"


@needs_server
def test_a_wrong_password_is_rejected(server: FreeRadius) -> None:
    packet = access(2)
    packet.add(s.USER_PASSWORD, hidden(s.USER_PASSWORD, b"wrong", SECRET, packet.authenticator))
    assert asked(server, packet).code == PacketCode.ACCESS_REJECT


@needs_server
def test_chap(server: FreeRadius) -> None:
    packet = access(3)
    assert asked(server, packet.add(s.CHAP_PASSWORD, chap_response(9, PASSWORD, packet.authenticator))).code == 2
    packet = access(4).add(s.CHAP_CHALLENGE, b"0123456789abcdef!")
    assert asked(server, packet.add(s.CHAP_PASSWORD, chap_response(9, PASSWORD, b"0123456789abcdef!"))).code == 2


@needs_server
def test_mschap1_and_its_keys(server: FreeRadius) -> None:
    packet, challenge = access(5), os.urandom(8)
    response = b"\x01\x01" + bytes(24) + challenge_response(challenge, HASH)
    reply = asked(server, packet.add(A["MS-CHAP-Challenge"], challenge).add(A["MS-CHAP-Response"], response))
    assert reply.code == PacketCode.ACCESS_ACCEPT
    keys = revealed(reply, A["MS-CHAP-MPPE-Keys"], SECRET, packet.authenticator)
    assert keys is not None
    assert keys[8:24] == mschap1_keys(HASH)[8:]  # it sends an LM key as well


@needs_server
def test_mschap2_its_proof_and_its_keys(server: FreeRadius) -> None:
    packet, challenge, peer = access(6), os.urandom(16), os.urandom(16)
    nt = challenge_response(challenge_hash(peer, challenge, b"alice"), HASH)
    packet.add(A["MS-CHAP-Challenge"], challenge).add(A["MS-CHAP2-Response"], b"\x07\0" + peer + bytes(8) + nt)
    reply, proof = asked(server, packet), mschap2_proof(packet, HASH)
    assert proof is not None
    assert reply.get(A["MS-CHAP2-Success"]) == proof.success
    assert revealed(reply, A["MS-MPPE-Send-Key"], SECRET, packet.authenticator) == proof.send_key
    assert revealed(reply, A["MS-MPPE-Recv-Key"], SECRET, packet.authenticator) == proof.recv_key


@needs_server
def test_accounting_and_status(server: FreeRadius) -> None:
    report = Packet(PacketCode.ACCOUNTING_REQUEST, 7).add(s.ACCT_STATUS_TYPE, AcctStatusType.START)
    report.add(s.ACCT_SESSION_ID, "1").add(s.USER_NAME, "alice").add(s.NAS_IDENTIFIER, "bng1")
    assert asked(server, report).code == PacketCode.ACCOUNTING_RESPONSE
    assert asked(server, Packet(PacketCode.STATUS_SERVER, 8, os.urandom(16))).code == PacketCode.ACCESS_ACCEPT


# ---- radclient asks


def radclient(kind: str, attributes: str, reply: Callable[[Packet], bytes]) -> str:
    """What radclient prints when `reply` answers it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        here.settimeout(30)

        def serve() -> None:
            octets, address = here.recvfrom(4096)
            here.sendto(reply(Packet.decode(octets)), address)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        command = [
            str(CLIENT),
            "-x",
            "-r",
            "1",
            "-t",
            "10",
            f"127.0.0.1:{here.getsockname()[1]}",
            kind,
            SECRET.decode(),
        ]
        ran = subprocess.run(command, input=attributes, capture_output=True, text=True, timeout=60, check=False)
        serving.join(30)
    return ran.stdout + ran.stderr


@needs_client
@pytest.mark.parametrize("method", ["PAP", "CHAP", "MS-CHAP"])
def test_radclient_logs_in(method: str) -> None:
    def reply(packet: Packet) -> bytes:
        check_request(packet, SECRET)
        assert packet.get(s.USER_NAME) == "alice"
        if method == "PAP":
            good = revealed(packet, s.USER_PASSWORD, SECRET, packet.authenticator) == PASSWORD
        else:
            good = is_chap_of(packet, PASSWORD) if method == "CHAP" else is_mschap1_of(packet, HASH)
        made = Packet(2).add(s.SESSION_TIMEOUT, 3600).add(A["Mikrotik-Rate-Limit"], "2M/10M")
        made.add(A["ERX-Service-Activate"], "internet", tag=1).add(A["WiMAX-Volume-Quota"], 10240)
        made.add(A["Framed-IPv6-Prefix"], "2001:db8::/32").add(A["NAS-Filter-Rule"], ("permit in ip from any to any",))
        made.add(
            A["Tunnel-Password"], hidden(A["Tunnel-Password"], b"sesame", SECRET, packet.authenticator, b"\x80\0"), 1
        )
        return answer(packet, PacketCode.ACCESS_ACCEPT if good else PacketCode.ACCESS_REJECT, SECRET, made.body())

    word = {"PAP": "User-Password", "CHAP": "CHAP-Password", "MS-CHAP": "MS-CHAP-Password"}[method]
    said = radclient("auth", f'User-Name = "alice"\n{word} = "wonderland"\nMessage-Authenticator = 0x00\n', reply)
    assert "Received Access-Accept" in said, said
    for wanted in (
        "Message-Authenticator = 0x",
        "Session-Timeout = 3600",
        'Mikrotik-Rate-Limit = "2M/10M"',
        'ERX-Service-Activate:1 = "internet"',
        "WiMAX-Volume-Quota = 10240",
        "Framed-IPv6-Prefix = 2001:db8::/32",
        'Tunnel-Password:1 = "sesame"',
    ):
        assert wanted in said, said


@needs_client
@pytest.mark.parametrize("sign", [None, True], ids=["as always", "signed"])
def test_radclient_accounts(sign: bool | None) -> None:
    def reply(packet: Packet) -> bytes:
        assert check_request(packet, SECRET) is False
        assert packet.get(s.ACCT_INPUT_GIGAWORDS) == 3
        return answer(packet, PacketCode.ACCOUNTING_RESPONSE, SECRET, sign=sign)

    report = 'Acct-Status-Type = Interim-Update\nAcct-Session-Id = "1"\nAcct-Input-Gigawords = 3\n'
    said = radclient("acct", report, reply)
    assert "Received Accounting-Response" in said, said
    assert "incorrect" not in said
    assert ("Message-Authenticator" in said) == bool(sign)


@needs_client
@pytest.mark.parametrize("kind", ["coa", "disconnect"])
def test_radclient_changes_and_cuts(kind: str) -> None:
    code = PacketCode.COA_NAK if kind == "coa" else PacketCode.DISCONNECT_NAK

    def reply(packet: Packet) -> bytes:
        check_request(packet, SECRET)
        return answer(packet, code, SECRET, s.ERROR_CAUSE.pack(ErrorCause.SESSION_CONTEXT_NOT_FOUND))

    said = radclient(kind, 'User-Name = "alice"\nMessage-Authenticator = 0x00\n', reply)
    assert "Error-Cause = Session-Context-Not-Found" in said, said


@needs_client
def test_radclient_probes() -> None:
    def reply(packet: Packet) -> bytes:
        assert check_request(packet, SECRET)
        return answer(packet, PacketCode.ACCESS_ACCEPT, SECRET, s.REPLY_MESSAGE.pack("up"))

    assert 'Reply-Message = "up"' in radclient("status", "Message-Authenticator = 0x00\n", reply)
