"""RadSec (RFC 6614) as a client meets it: TLS connections against real processes and stores."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.radius.authenticator import check_response, signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import NAS_IDENTIFIER, NAS_PORT, USER_NAME, USER_PASSWORD
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.hidden import hide_password
from protocol.radius.packet import Packet
from tests.ocs.charging.radius.nas import USER, accounting, shown
from tests.ocs.net.test_radius_server import balance
from tests.ocs.net.test_third_party_clients import certify, needs
from tests.ocs.running import RunningServer
from tests.protocol.radius import freeradius

pytestmark = needs("openssl")

MB = 2**20
SECRET = b"radsec"
CLIENTS = '[{address="127.0.0.0/8",tls_subject="one.example.net",group="bras"},{address="::1",secret="udp"}]'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("radsec")
    for name in ("ocs", "one", "two", "stranger"):
        certify(folder, f"{name}.example.net", f"{name}-")
    (folder / "ca.pem").write_text("".join((folder / f"{name}-cert.pem").read_text() for name in ("one", "two")))
    files = {"cert": "ocs-cert.pem", "key": "ocs-key.pem", "ca": "ca.pem"}
    running = RunningServer(
        folder / "data",
        "radius.radsec_listen=127.0.0.1:0",
        f"radius.clients={CLIENTS}",
        *(f"radius.tls_{what}={folder / name}" for what, name in files.items()),
    ).ready()
    yield running
    running.stop()


class RadSecClient(contextlib.AbstractContextManager["RadSecClient"]):
    def __init__(self, server: RunningServer, name: str | None = "one") -> None:
        folder = server.data.parent
        context = ssl.create_default_context(cafile=str(folder / "ocs-cert.pem"))
        if name is not None:
            context.load_cert_chain(folder / f"{name}-cert.pem", folder / f"{name}-key.pem")
        plain = socket.create_connection(server.address("radsec"), timeout=30)
        self.socket = context.wrap_socket(plain, server_hostname="ocs.example.net")

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def answer(self) -> Packet:
        head = self._read(4)
        return Packet.decode(head + self._read(struct.unpack(">H", head[2:])[0] - 4))

    def ask(self, octets: bytes) -> Packet:
        self.socket.sendall(octets)
        reply = self.answer()
        check_response(reply, octets, SECRET)
        return reply

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self.socket.recv(size - len(found))
            if not part:
                raise EOFError(found)
            found += part
        return found

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except OSError:
            return True


def login(identifier: int = 1) -> bytes:
    """By PAP, and without Message-Authenticator, which TLS makes superfluous."""
    authenticator = os.urandom(16)
    packet = Packet(PacketCode.ACCESS_REQUEST, identifier, authenticator)
    packet.add(USER_NAME, USER).add(NAS_IDENTIFIER, "bras1").add(NAS_PORT, 7)
    packet.add(USER_PASSWORD, hide_password(b"demo", SECRET, authenticator))
    return signed_request(packet, SECRET, sign=False)


def report(status: AcctStatusType, lasted_s: int, octets: int, identifier: int = 2) -> bytes:
    made = accounting(status, "tls1", **shown(lasted_s, (octets, 0)))
    return signed_request(Packet(made.code, identifier, attributes=made.attributes), SECRET, sign=False)


def test_logins_and_accounting_over_one_connection(server: RunningServer) -> None:
    before = float(balance(server))
    with RadSecClient(server) as client:
        assert client.ask(login()).code == PacketCode.ACCESS_ACCEPT
        for status, octets in ((AcctStatusType.START, 0), (AcctStatusType.STOP, 3 * MB)):
            assert client.ask(report(status, octets // MB, octets)).code == PacketCode.ACCOUNTING_RESPONSE
        watchdog = signed_request(Packet(PacketCode.STATUS_SERVER, 9, os.urandom(16)), SECRET)
        assert client.ask(watchdog).code == PacketCode.ACCESS_ACCEPT
    assert f"{before - float(balance(server)):.2f}" == "0.03"


def test_packets_in_pieces_and_several_at_once(server: RunningServer) -> None:
    with RadSecClient(server) as client:
        octets = b"".join(login(number) for number in range(20))
        for at in range(0, len(octets), 7):
            client.socket.sendall(octets[at : at + 7])
        assert {client.answer().identifier for _ in range(20)} == set(range(20))
        client.socket.sendall(b"".join(login(number) for number in range(20)))
        assert {client.answer().identifier for _ in range(20)} == set(range(20))


@pytest.mark.parametrize("name", [None, "stranger", "two"], ids=["no-certificate", "not-trusted", "not-configured"])
def test_who_is_not_a_client_is_not_heard(server: RunningServer, name: str | None) -> None:
    with contextlib.suppress(OSError), RadSecClient(server, name) as client:
        with contextlib.suppress(OSError):
            client.socket.sendall(login())
        assert client.is_closed()


def test_a_length_that_no_packet_has_ends_the_connection(server: RunningServer) -> None:
    with RadSecClient(server) as client:
        assert client.ask(login()).code == PacketCode.ACCESS_ACCEPT
        client.socket.sendall(b"\x01\x02\x00\x13" + login(2))
        assert client.is_closed()
    server.wait(lambda: server.metric('ocs_disconnects_total{protocol="radsec",why="framing"}') >= 1, 30)


def test_a_packet_that_is_not_proven_is_dropped_and_the_connection_lives(server: RunningServer) -> None:
    with RadSecClient(server) as client:
        made = accounting(AcctStatusType.START, "forged")
        client.socket.sendall(made.octets)  # by another secret
        assert client.ask(login()).code == PacketCode.ACCESS_ACCEPT


def test_a_client_that_names_its_certificate_is_not_served_by_udp(server: RunningServer) -> None:
    def dropped() -> float:
        return server.metric('ocs_messages_dropped_total{protocol="radius",why="unknown address"}')

    before = dropped()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.sendto(login(), server.address("radius_auth"))
        server.wait(lambda: dropped() == before + 1, 30)


PROXY = """
confdir = {home}
run_dir = {home}
db_dir = {home}
logdir = {home}
libdir = {libraries}
hostname_lookups = no
proxy_requests = yes
modules {{
    always ok {{
        rcode = ok
    }}
}}
client here {{
    ipaddr = 127.0.0.1
    secret = testing123
}}
home_server ocs {{
    ipaddr = 127.0.0.1
    port = {port}
    type = auth+acct
    secret = radsec
    proto = tcp
    status_check = status-server
    tls {{
        private_key_file = {folder}/one-key.pem
        certificate_file = {folder}/one-cert.pem
        ca_file = {folder}/ocs-cert.pem
        tls_min_version = "1.2"
        tls_max_version = "1.2"
    }}
}}
home_server_pool ocs {{
    type = fail-over
    home_server = ocs
}}
realm ocs {{
    auth_pool = ocs
    acct_pool = ocs
    nostrip
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {auth}
    }}
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {acct}
    }}
    authorize {{
        update control {{
            Proxy-To-Realm := ocs
        }}
    }}
    preacct {{
        update control {{
            Proxy-To-Realm := ocs
        }}
    }}
    accounting {{
        ok
    }}
}}
"""


@needs("radclient")
@pytest.mark.skipif(freeradius.SERVER is None, reason="freeradius is not installed")
def test_freeradius_as_a_client(server: RunningServer, tmp_path: Path) -> None:
    """A proxy that takes UDP from a NAS and comes to us by TLS."""
    proxy = freeradius.FreeRadius(tmp_path)
    (tmp_path / "radiusd.conf").write_text(
        PROXY.format(
            home=tmp_path,
            libraries=freeradius.libraries(),
            folder=server.data.parent,
            port=server.address("radsec")[1],
            auth=proxy.auth,
            acct=proxy.acct,
        )
    )

    def radclient(port: int, kind: str, text: str) -> str:
        command = ["radclient", "-x", "-t", "10", "-r", "2", f"127.0.0.1:{port}", kind, "testing123"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout

    who = f'User-Name = "{USER}", NAS-Identifier = "bras2"'
    with proxy.running():
        before = float(balance(server))
        told = radclient(proxy.auth, "auth", f'{who}, User-Password = "demo", NAS-Port = 8')
        assert "Received Access-Accept" in told, (tmp_path / "log").read_text()[-4_000:]
        for status, octets in (("Start", 0), ("Stop", 2 * MB)):
            counted = f"Acct-Session-Time = {octets // MB}, Acct-Input-Octets = {octets}"
            report = f'{who}, Acct-Session-Id = "proxied", Acct-Status-Type = {status}, {counted}'
            assert "Received Accounting-Response" in radclient(proxy.acct, "acct", report)
        assert f"{before - float(balance(server)):.2f}" == "0.02"
