"""Logins of one subscriber at one instant, at both workers: no more get in than may (charging.md section 8)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from protocol.radius.authenticator import check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import NAS_IDENTIFIER, NAS_PORT, USER_NAME, USER_PASSWORD
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
