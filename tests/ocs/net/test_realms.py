"""A FreeRADIUS in front of us, as docs/radius.md has it: our realm comes here, another operator's goes to theirs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ocs.net.test_radius_server import RADCLIENT, balance
from tests.ocs.running import RunningServer
from tests.protocol.radius import freeradius
from tests.servers import ROOT

pytestmark = pytest.mark.skipif(freeradius.SERVER is None or RADCLIENT is None, reason="freeradius is not installed")

FRONT = """
confdir = {home}
run_dir = {home}
db_dir = {home}
logdir = {home}
libdir = {libraries}
hostname_lookups = no
proxy_requests = yes
$INCLUDE {home}/proxy.conf
modules {{
    realm suffix {{
        format = suffix
        delimiter = "@"
    }}
    always ok {{
        rcode = ok
    }}
}}
client nas {{
    ipaddr = 127.0.0.1
    secret = {secret}
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
        suffix
    }}
    preacct {{
        suffix
    }}
    accounting {{
        ok
    }}
}}
"""
THEIRS = freeradius.CONFIGURATION.replace(
    "    accounting {{\n",
    '    accounting {{\n        update reply {{\n            Reply-Message := "theirs"\n        }}\n',
)
PARTNER = 'roamer@partner.example  Cleartext-Password := "theirs"\n    Reply-Message = "welcome"\n'


class Front:
    """The FreeRADIUS of the network, with ours and the partner's behind it."""

    def __init__(self, folder: Path, server: RunningServer) -> None:
        for name in ("front", "partner"):
            (folder / name).mkdir()
        self.partner = freeradius.FreeRadius(folder / "partner", THEIRS, PARTNER)
        self.front = freeradius.FreeRadius(folder / "front", FRONT)
        proxy = (ROOT / "deploy" / "freeradius-realms.conf").read_text()
        places = {
            "192.0.2.10\n    port = 1812": f"127.0.0.1\n    port = {server.address('radius_auth')[1]}",
            "192.0.2.10\n    port = 1813": f"127.0.0.1\n    port = {server.address('radius_acct')[1]}",
            "198.51.100.20\n    port = 1812": f"127.0.0.1\n    port = {self.partner.auth}",
            "change-this-secret": "testing123",
            "secret-of-the-partner": freeradius.SECRET.decode(),
        }
        for documented, here in places.items():
            assert documented in proxy
            proxy = proxy.replace(documented, here)
        (folder / "front" / "proxy.conf").write_text(proxy)

    def ask(self, kind: str, text: str) -> str:
        assert RADCLIENT is not None
        port = self.front.auth if kind == "auth" else self.front.acct
        command = [RADCLIENT, "-x", "-t", "10", "-r", "2", f"127.0.0.1:{port}", kind, freeradius.SECRET.decode()]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("realms") / "data", "workers=1").ready()
    yield running
    running.stop()


def test_each_realm_is_served_where_it_is_at_home(server: RunningServer, tmp_path: Path) -> None:
    front = Front(tmp_path, server)
    logins = 'ocs_requests_total{command="Access-Request",protocol="radius",result="%s",type=""}'
    with front.partner.running(), front.front.running():
        before = float(balance(server))
        for name in ("491700000001@example.net", "491700000001"):
            who = f'User-Name = "{name}", NAS-Identifier = "bras9", NAS-Port = 5'
            told = front.ask("auth", f'{who}, User-Password = "demo"')
            assert "Received Access-Accept" in told, (tmp_path / "front" / "log").read_text()[-4_000:]
            given = next(line.split("= ")[1] for line in told.splitlines() if "Class = " in line)
            for status, counters in (("Start", ""), ("Stop", ", Acct-Session-Time = 9, Acct-Input-Octets = 2000000")):
                text = f'{who}, Class = {given}, Acct-Session-Id = "{name}", Acct-Status-Type = {status}{counters}'
                assert "Received Accounting-Response" in front.ask("acct", text)
        assert before - float(balance(server)) == pytest.approx(0.04)
        server.wait(lambda: server.metric(logins % "ok") == 2)
        roamer = 'User-Name = "roamer@partner.example", NAS-Identifier = "bras9", NAS-Port = 6'
        assert 'Reply-Message = "welcome"' in front.ask("auth", f'{roamer}, User-Password = "theirs"')
        assert "Received Access-Reject" in front.ask("auth", f'{roamer}, User-Password = "wrong"')
        session = f'{roamer}, Acct-Session-Id = "r1", Acct-Status-Type'
        for report in ("Start", "Stop, Acct-Session-Time = 9, Acct-Input-Octets = 2000000"):
            told = front.ask("acct", f"{session} = {report}")
            assert "Received Accounting-Response" in told, (tmp_path / "front" / "log").read_text()[-4_000:]
            assert 'Reply-Message = "theirs"' in told
        assert server.metric(logins % "unknown") == 0, "whom we do not know we are not asked for"
