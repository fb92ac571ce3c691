"""Diameter clients that others wrote: OTP's and freeDiameter's. Skipped where they are not installed."""

import asyncio
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.ocs.net.world import until, world

pytestmark = pytest.mark.serial

ESCRIPT = Path(__file__).parent / "otp_client.escript"

FREE_DIAMETER = """
Identity = "fd.example.net";
Realm = "example.net";
Port = {own_port};
SecPort = 0;
No_SCTP;
No_IPv6;
ListenOn = "127.0.0.1";
TwTimer = 6;
TLS_Cred = "{folder}/cert.pem", "{folder}/key.pem";
TLS_CA = "{folder}/cert.pem";
LoadExtension = "dict_nasreq.fdx";
LoadExtension = "dict_dcca.fdx";
ConnectPeer = "ocs.example.net" {{ ConnectTo = "127.0.0.1"; Port = {port}; No_TLS; }};
"""


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@needs("escript")
async def test_otp() -> None:
    """CER, watchdogs of its own for more than an interval, DPR."""
    async with world() as w:
        otp = await asyncio.create_subprocess_exec(
            "escript", str(ESCRIPT), str(w.port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        async with asyncio.timeout(40):
            out, _ = await otp.communicate()
        if b"undefined function diameter" in out or b"undef" in out:
            pytest.skip("Erlang without diameter")
        assert otp.returncode == 0, out.decode()
        assert out.decode().splitlines() in (["up ocs.example.net", f"dwa {n}", "down"] for n in (1, 2)), out.decode()
        await until(lambda: w.count("ocs_peers_up", "diameter") == 0)


@needs("freeDiameterd", "openssl")
async def test_free_diameter(tmp_path: Path) -> None:
    certify(tmp_path, "fd.example.net")
    with socket.create_server(("127.0.0.1", 0)) as free:
        own_port = free.getsockname()[1]
    async with world() as w:
        conf, log = tmp_path / "fd.conf", tmp_path / "log"
        conf.write_text(FREE_DIAMETER.format(own_port=own_port, folder=tmp_path, port=w.port))
        with log.open("wb") as out:
            peer = await asyncio.create_subprocess_exec("freeDiameterd", "-c", str(conf), stdout=out, stderr=out)
        try:
            await until(lambda: w.count("ocs_peers_up", "diameter") == 1, timeout_s=15)
            await asyncio.sleep(9)  # a watchdog of theirs
            assert w.count("ocs_peers_up", "diameter") == 1, log.read_text()
            peer.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                await peer.wait()
        finally:
            if peer.returncode is None:
                peer.kill()
                await peer.wait()
        text = log.read_text()
        assert "'STATE_OPEN'\t-> 'STATE_CLOSING_GRACE'" in text, text
        assert "ERROR" not in text, text
        await until(lambda: w.count("ocs_peers_up", "diameter") == 0)


def certify(folder: Path, name: str, file: str = "") -> None:
    """A self-signed certificate for that host: `<file>cert.pem`, `<file>key.pem`."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", f"subjectAltName=DNS:{name}"]
    command += ["-keyout", str(folder / f"{file}key.pem"), "-out", str(folder / f"{file}cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
