"""Logins of one subscriber at one instant, at both workers: no more get in than may; and who replaces another one has
it disconnected (charging.md section 8)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from protocol.radius.authenticator import answer, check_request, check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import (
    ACCT_SESSION_ID,
    ACCT_STATUS_TYPE,
    CLASS,
    NAS_IDENTIFIER,
    NAS_PORT,
    USER_NAME,
    USER_PASSWORD,
)
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.hidden import hide_password
from protocol.radius.packet import Packet
from tests.ocs.running import RunningServer

SECRET = b"testing123"
LOGINS, MOST = 24, 3


def login(port: int) -> bytes:
    packet = Packet(PacketCode.ACCESS_REQUEST, 1, os.urandom(16)).add(USER_NAME, "491700000001")
    packet.add(NAS_IDENTIFIER, "bras1").add(NAS_PORT, port)
    return signed_request(packet.add(USER_PASSWORD, hide_password(b"demo", SECRET, packet.authenticator)), SECRET)


def test_of_many_at_once_as_many_get_in_as_may(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data", f"charging.services.data={{sessions_max={MOST}}}", "workers=2").ready()
    try:
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(LOGINS)]
        for one in sockets:
            one.connect(server.address("radius_auth"))
            one.settimeout(30)
        for _ in range(3):  # rounds, the later ones while the first three are in
            sent = [login(port) for port in range(LOGINS)]
            for one, octets in zip(sockets, sent, strict=True):
                one.send(octets)
            codes = []
            for one, octets in zip(sockets, sent, strict=True):
                reply = Packet.decode(one.recv(4096))
                check_response(reply, octets, SECRET)
                codes.append(reply.code)
            assert codes.count(PacketCode.ACCESS_ACCEPT) == MOST
        for one in sockets:
            one.close()
    finally:
        server.stop()


def asked(server: RunningServer, port: str, octets: bytes) -> Packet:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.connect(server.address(port))
        nas.settimeout(30)
        nas.send(octets)
        reply = Packet.decode(nas.recv(4096))
        check_response(reply, octets, SECRET)
        return reply


def test_the_session_that_is_replaced_is_disconnected(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.bind(("127.0.0.1", 0))
        nas.settimeout(30)
        client = f'address="127.0.0.0/8", secret="testing123", coa="127.0.0.1:{nas.getsockname()[1]}"'
        row = 'charging.services.data={sessions_max=1, sessions_over="replace"}'
        server = RunningServer(tmp_path / "data", row, f"radius.clients=[{{{client}}}]").ready()
        try:
            first = asked(server, "radius_auth", login(7)).get(CLASS)
            assert first is not None
            start = Packet(PacketCode.ACCOUNTING_REQUEST, 2).add(USER_NAME, "491700000001").add(NAS_PORT, 7)
            start.add(NAS_IDENTIFIER, "bras1").add(ACCT_STATUS_TYPE, AcctStatusType.START).add(CLASS, first)
            asked(server, "radius_acct", signed_request(start.add(ACCT_SESSION_ID, "s1"), SECRET))
            assert asked(server, "radius_auth", login(8)).code is PacketCode.ACCESS_ACCEPT
            octets, source = nas.recvfrom(4096)
            told = Packet.decode(octets)
            check_request(told, SECRET)
            assert (told.code, told.get(ACCT_SESSION_ID)) == (PacketCode.DISCONNECT_REQUEST, "s1")
            nas.sendto(answer(told, PacketCode.DISCONNECT_ACK, SECRET), source)
        finally:
            server.stop()
