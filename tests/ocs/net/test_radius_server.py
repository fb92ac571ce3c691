"""RADIUS as a NAS meets it: radclient against real processes and stores."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.radius.authenticator import check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet
from tests.ocs.charging.radius.nas import SECRET, accounting, shown
from tests.ocs.running import RunningServer

MB = 2**20
RADCLIENT = shutil.which("radclient")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("radius") / "data").ready()
    yield running
    running.stop()


def api(server: RunningServer, path: str, body: dict[str, Any] | None = None, version: int = 0) -> Any:
    """GET, or PUT of a body in the place of what has that version."""
    host, port = server.address("http")
    token = (server.data / "admin.token").read_text().strip()
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{host}:{port}/v1/{path}", data, method="PUT" if data else "GET")
    request.add_header("Authorization", f"Bearer {token}")
    if data:
        request.add_header("Content-Type", "application/json")
        request.add_header("If-Match", f'"{version}"')
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def balance(server: RunningServer, account: str = "demo-1") -> str:
    return str(api(server, f"accounts/{account}")["balance"])


def radclient(server: RunningServer, kind: str, text: str, secret: str = "testing123") -> str:
    assert RADCLIENT is not None
    host, port = server.address("radius_auth" if kind == "auth" else "radius_acct")
    command = [RADCLIENT, "-x", "-t", "5", "-r", "2", f"{host}:{port}", kind, secret]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


class NasSocket(contextlib.AbstractContextManager["NasSocket"]):
    """A socket of a NAS, by which what is sent can be sent again."""

    def __init__(self, server: RunningServer, within_s: float = 30) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(server.address("radius_acct"))
        self.socket.settimeout(within_s)

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, octets: bytes) -> bytes:
        self.socket.send(octets)
        return self.socket.recv(4096)


@pytest.mark.skipif(RADCLIENT is None, reason="radclient is not installed")
def test_a_session_of_radclient_is_charged(server: RunningServer) -> None:
    def send(status: str, counters: str) -> str:
        who = 'User-Name = "491700000004", NAS-Identifier = "bras1", Acct-Session-Id = "s1"'
        return radclient(server, "acct", f"{who}, Acct-Status-Type = {status}, {counters}")

    for status, counters in (
        ("Start", "Acct-Session-Time = 0"),
        ("Interim-Update", "Acct-Session-Time = 60, Acct-Input-Octets = 5000000, Acct-Output-Octets = 5000000"),
        ("Stop", "Acct-Session-Time = 90, Acct-Input-Octets = 6000000, Acct-Output-Octets = 5000000"),
        ("Stop", "Acct-Session-Time = 90, Acct-Input-Octets = 6000000, Acct-Output-Octets = 5000000"),
    ):
        assert "Received Accounting-Response" in send(status, counters)
    assert balance(server, "demo-family") == "29.89"


@pytest.mark.skipif(RADCLIENT is None, reason="radclient is not installed")
def test_a_prepaid_call_of_radclient_is_told_its_time_and_charged(server: RunningServer) -> None:
    """The demo has a voice gateway at 127.0.0.2: who calls, where to, and both legs of the call."""
    who = 'Packet-Src-IP-Address = 127.0.0.2, User-Name = "491700000001", NAS-Identifier = "gw1"'
    call = f'{who}, Calling-Station-Id = "493012345", Called-Station-Id = "442071234567"'
    call += ', h323-conf-id = "h323-conf-id=A1 B2"'

    def leg(status: str, session: str, times: str) -> str:
        return radclient(server, "acct", f'{call}, Acct-Session-Id = "{session}", Acct-Status-Type = {status}{times}')

    before = float(balance(server))
    told = radclient(server, "auth", f'{who}, User-Password = "demo"')
    assert f"h323-credit-amount={before:.2f}" in told
    told = radclient(server, "auth", f'{call}, User-Password = "demo"')
    assert "Session-Timeout = 7200" in told
    assert "h323-credit-time=7200" in told
    day = "UTC Mon Nov 16 2026"
    times = f', h323-connect-time = "h323-connect-time=12:00:00.000 {day}"'
    times += f', h323-disconnect-time = "h323-disconnect-time=12:02:00.000 {day}"'
    for status, session, times_of_leg in (
        ("Start", "l1", ""), ("Start", "l2", ""), ("Stop", "l1", times), ("Stop", "l2", times), ("Stop", "l1", times)
    ):  # fmt: skip
        assert "Received Accounting-Response" in leg(status, session, times_of_leg)
    assert float(balance(server)) == pytest.approx(before - 0.10)


@pytest.mark.skipif(RADCLIENT is None, reason="radclient is not installed")
def test_it_says_that_it_is_there(server: RunningServer) -> None:
    assert "Received Accounting-Response" in radclient(server, "status", "Message-Authenticator = 0x00")


@pytest.mark.skipif(RADCLIENT is None, reason="radclient is not installed")
@pytest.mark.parametrize(
    ("user", "credential", "says"),
    [
        ("491700000001", 'User-Password = "demo"', "Received Access-Accept"),
        ("491700000001", 'CHAP-Password = "demo"', "Received Access-Accept"),
        ("491700000001", 'User-Password = "wrong"', "wrong user name or password"),
        ("491700000001", 'CHAP-Password = "wrong"', "wrong user name or password"),
        ("491700000002", 'User-Password = "demo"', "the balance does not cover it"),
        ("491700000003", 'User-Password = "demo"', "barred"),
    ],
    ids=["pap", "chap", "pap-wrong", "chap-wrong", "no-money", "suspended"],
)
def test_who_logs_in_is_told(server: RunningServer, user: str, credential: str, says: str) -> None:
    asked = f'User-Name = "{user}", {credential}, NAS-Identifier = "bras1", NAS-Port = 7'
    assert says in radclient(server, "auth", asked)


def test_a_packet_that_comes_again_gets_the_same_octets(server: RunningServer) -> None:
    packet = accounting(AcctStatusType.START, "again", Proxy_State=b"p1")
    with NasSocket(server) as nas:
        first = nas.ask(packet.octets)
        assert nas.ask(packet.octets) == first
    reply = Packet.decode(first)
    check_response(reply, packet.octets, SECRET)
    assert (reply.code, reply.proxy_states) == (PacketCode.ACCOUNTING_RESPONSE, b"\x21\x04p1")


def test_what_is_not_proven_gets_no_answer_and_harms_nothing(server: RunningServer) -> None:
    good = accounting(AcctStatusType.INTERIM_UPDATE, "proven", **shown(60, (MB, 0)))
    forged = signed_request(Packet(good.code, good.identifier, attributes=good.attributes), b"another", sign=False)
    before = balance(server)
    with NasSocket(server) as nas:
        for octets in (b"", b"x", forged, forged[:-1], good.octets[:-1], b"\xff" + good.octets[1:]):
            nas.socket.send(octets)
        nas.ask(good.octets)
    assert balance(server) == f"{float(before) - 0.01:.2f}"
    server.wait(lambda: 'ocs_messages_dropped_total{protocol="radius",why="authenticator"} 1' in server.metrics(), 30)


@pytest.mark.skipif(RADCLIENT is None, reason="radclient is not installed")
def test_who_logs_in_is_given_what_is_his_own(server: RunningServer) -> None:
    path = "subscribers/demo-491700000001"
    known = api(server, path)
    kept = {name: known[name] for name in ("account", "identities", "tariffs")}
    own = {"framed_ip_address": "192.0.2.77", "delegated_ipv6_prefix": "2001:db8:2::/56", "session_timeout": "3600"}
    api(server, path, {**kept, "attributes": own}, known["version"])
    asked = 'User-Name = "491700000001", User-Password = "demo", NAS-Identifier = "bras1", NAS-Port = 8'

    def told() -> str:
        return radclient(server, "auth", asked)

    server.wait(lambda: "Framed-IP-Address = 192.0.2.77" in told(), 30)
    answer = told()
    assert "Delegated-IPv6-Prefix = 2001:db8:2::/56" in answer
    assert "Session-Timeout = 3600" in answer
