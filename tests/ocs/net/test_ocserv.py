"""ocserv as NAS, with openconnect as subscriber: as docs/elements/ocserv.md says. Skipped where they are not installed,
or no tunnel may be made."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ocs.net.test_radius_server import balance
from tests.ocs.net.test_third_party_clients import certify, needs
from tests.ocs.running import RunningServer
from tests.protocol.radius.freeradius import free_udp_ports

pytestmark = pytest.mark.serial

DICTIONARY = Path("/etc/radcli/dictionary")
RADCLI = """
nas-identifier vpn1
authserver {auth}
acctserver {acct}
servers {folder}/servers
dictionary {dictionary}
default_realm
radius_timeout 5
radius_retries 3
bindaddr *
"""
OCSERV = """
auth = "radius[config={folder}/radiusclient.conf]"
acct = "radius[config={folder}/radiusclient.conf]"
stats-report-time = 2
listen-host = 127.0.0.1
tcp-port = {port}
socket-file = {folder}/socket
pid-file = {folder}/pid
run-as-user = root
run-as-group = root
server-cert = {folder}/cert.pem
server-key = {folder}/key.pem
device = vpnocs
ipv4-network = 10.199.0.0
ipv4-netmask = 255.255.255.0
cisco-client-compat = true
"""


def makes_tunnels() -> bool:
    if os.geteuid() != 0:
        return False
    made = subprocess.run(["ip", "tuntap", "add", "mode", "tun", "name", "ocstry"], capture_output=True, check=False)
    if made.returncode == 0:
        subprocess.run(["ip", "tuntap", "del", "mode", "tun", "name", "ocstry"], capture_output=True, check=False)
    return made.returncode == 0


@contextlib.contextmanager
def started(folder: Path, *command: str, typed: str = "") -> Iterator[Path]:
    """Runs it until the end of the block. The file that it writes to."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
    try:
        assert child.stdin is not None
        child.stdin.write(typed.encode())
        child.stdin.close()
        yield log
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@needs("ocserv", "openconnect", "openssl", "ip")
@pytest.mark.skipif(not DICTIONARY.exists(), reason="libradcli has no dictionary here")
def test_a_vpn_of_ocserv_is_authenticated_and_charged(tmp_path: Path) -> None:
    if not makes_tunnels():
        pytest.skip("no tunnel may be made here")
    tmp_path.chmod(0o755)
    server = RunningServer(tmp_path / "data").ready()
    try:
        certify(tmp_path, "vpn.example.net")
        (auth_host, auth), (acct_host, acct) = server.address("radius_auth"), server.address("radius_acct")
        [port] = free_udp_ports(1)
        (tmp_path / "servers").write_text("127.0.0.1 testing123\n")
        (tmp_path / "radiusclient.conf").write_text(
            RADCLI.format(
                auth=f"{auth_host}:{auth}", acct=f"{acct_host}:{acct}", folder=tmp_path, dictionary=DICTIONARY
            )
        )
        (tmp_path / "ocserv.conf").write_text(OCSERV.format(folder=tmp_path, port=port))
        found, before = shutil.which("ocserv") or "", balance(server)
        with started(tmp_path, found, "-f", "-c", str(tmp_path / "ocserv.conf")):
            server.wait(lambda: is_open(port))
            connect = ["openconnect", "--passwd-on-stdin", "-u", "491700000001", "--no-dtls", "--script-tun"]
            connect += ["--script", "cat >/dev/null", "--servercert", pin(tmp_path), f"https://127.0.0.1:{port}"]
            with started(tmp_path, *connect, typed="wrong\n") as told:
                server.wait(lambda: "wrong user name or password" in told.read_text())  # our Reply-Message
            with started(tmp_path, *connect, typed="demo\n") as told:
                server.wait(lambda: "Configured as" in told.read_text())
                subscriber = told.read_text().partition("Configured as ")[2].partition(",")[0]
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
                    server.wait(lambda: link.sendto(bytes(1_000), (subscriber, 9)) and balance(server) != before)
    finally:
        server.stop()


def is_open(port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0


def pin(folder: Path) -> str:
    """By which openconnect knows the certificate."""
    command = ["openssl", "x509", "-in", str(folder / "cert.pem"), "-pubkey", "-noout"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    key = base64.b64decode("".join(line for line in lines if "-----" not in line))
    return f"pin-sha256:{base64.b64encode(hashlib.sha256(key).digest()).decode()}"
