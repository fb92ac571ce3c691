"""FreeRADIUS as a stand-in server, in the foreground and of this test alone."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SERVER = shutil.which("freeradius") or shutil.which("radiusd")
CLIENT = shutil.which("radclient")
SECRET = b"test-secret"

CONFIGURATION = """
confdir = {home}
run_dir = {home}
db_dir = {home}
logdir = {home}
libdir = {libraries}
hostname_lookups = no
modules {{
    always ok {{
        rcode = ok
    }}
    pap {{
    }}
    chap {{
    }}
    mschap {{
        use_mppe = yes
        require_encryption = yes
        require_strong = yes
    }}
    files {{
        filename = {home}/users
    }}
}}
client here {{
    ipaddr = 127.0.0.1
    secret = {secret}
    require_message_authenticator = yes
}}
security {{
    status_server = yes
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
        chap
        mschap
        files
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type CHAP {{
            chap
        }}
        Auth-Type MS-CHAP {{
            mschap
        }}
    }}
    accounting {{
        ok
    }}
}}
"""
USERS = """
alice   Cleartext-Password := "wonderland"
        Session-Timeout = 3600,
        Mikrotik-Rate-Limit = "2M/10M",
        Cisco-AVPair = "ip:a=1",
        Cisco-AVPair += "ip:b=2",
        ERX-Service-Activate:1 = "internet(10M)",
        Tunnel-Type:2 = L2TP,
        Tunnel-Password:2 = "sesame",
        Framed-IPv6-Prefix = 2001:db8:1::/48,
        WiMAX-Volume-Quota = 10240,
        SN-VPN-Name = "vpn",
        Class = 0x736573732d31
"""


def libraries() -> str:
    return next(
        (str(path) for path in map(Path, ("/usr/lib/freeradius", "/usr/lib64/freeradius")) if path.exists()), ""
    )


class FreeRadius:
    """`auth` and `acct` are its ports, one behind the other: so `type = auth+acct` of a proxy means them."""

    def __init__(self, home: Path, configuration: str = CONFIGURATION, users: str = USERS, **own: object) -> None:
        """own: what else stands in braces in the configuration"""
        self.home = home
        self.auth, self.acct = free_udp_ports(2)
        (home / "users").write_text(users)
        (home / "radiusd.conf").write_text(
            configuration.format(
                home=home, libraries=libraries(), secret=SECRET.decode(), auth=self.auth, acct=self.acct, **own
            )
        )

    @contextlib.contextmanager
    def running(self) -> Iterator["FreeRadius"]:
        log = self.home / "log"
        with log.open("wb") as out:
            command = [str(SERVER), "-f", "-X", "-d", str(self.home)]
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 30
            while b"Ready to process requests" not in log.read_bytes():
                assert process.poll() is None, log.read_text()[-3_000:]
                assert time.monotonic() < end, log.read_text()[-3_000:]
                time.sleep(0.02)
            yield self
        finally:
            process.kill()
            process.wait()

    def ask(self, octets: bytes, port: int) -> bytes:
        """Its answer to a packet; TimeoutError when there is none."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.settimeout(10)
            link.connect(("127.0.0.1", port))
            link.send(octets)
            return link.recv(4096)


def free_udp_ports(count: int) -> list[int]:
    """In a row."""
    while True:
        with contextlib.ExitStack() as stack:
            ports: list[int] = []
            try:
                for at in range(count):
                    one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    one.bind(("127.0.0.1", ports[0] + at if ports else 0))
                    ports.append(int(one.getsockname()[1]))
            except (OSError, OverflowError):  # the next one is in use, or there is none
                continue
            return ports
