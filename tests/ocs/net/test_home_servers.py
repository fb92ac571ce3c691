"""EAP by way of us: FreeRADIUS authenticates, eapol_test logs in, and the session is charged here."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ocs.net.home_freeradius import METHODS, MISSING, WHY, home_server, supplicant
from tests.ocs.net.test_radius_server import balance, radclient
from tests.ocs.running import RunningServer
from tests.protocol.radius.freeradius import FreeRadius

pytestmark = pytest.mark.skipif(MISSING, reason=WHY)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> list[FreeRadius]:
    folder = tmp_path_factory.mktemp("homes")
    return [home_server(folder / f"home{number}") for number in range(2)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, homes: list[FreeRadius]) -> Iterator[RunningServer]:
    servers = ",".join(f'{{address="127.0.0.1:{home.auth}",secret="test-secret",probe_s=1}}' for home in homes)
    settings = f"radius.home={{within_ms=6000,servers=[{servers}]}}"
    running = RunningServer(tmp_path_factory.mktemp("eap") / "data", settings, "workers=1").ready()
    yield running
    running.stop()


def accept_of(told: str) -> str:
    """The Access-Accept as eapol_test shows it."""
    return told.rpartition("code=2 (Access-Accept)")[2].partition("STA ")[0]


@pytest.mark.parametrize("method", METHODS)
def test_who_is_let_in_by_the_home_server_is_charged_here(
    server: RunningServer, homes: list[FreeRadius], tmp_path: Path, method: str
) -> None:
    with homes[0].running(), homes[1].running():
        told = supplicant(server, tmp_path, method, "491700000001")
    assert told.rstrip().endswith("SUCCESS"), told[-3_000:]
    if method != "md5":
        assert "MPPE keys OK: 1  mismatch: 0" in told
    accept = accept_of(told)
    assert re.search(r"Session-Timeout\) length=6\s+Value: 1200", accept), "the end that the home server says"
    assert re.search(r"Acct-Interim-Interval\) length=6\s+Value: 600", accept), "and our interval"
    assert accept.count("(Class)") == 1
    found = re.search(r"\(Class\) length=\d+\s+Value: (\w+)", accept)
    assert found
    before = float(balance(server))
    who = f'User-Name = "anonymous@example.net", NAS-Identifier = "wifi1", NAS-Port = 7, Class = 0x{found[1]}'
    if method == "md5":
        who = who.replace("anonymous@example.net", "491700000001")
    for status, counters in (("Start", ""), ("Stop", ", Acct-Session-Time = 9, Acct-Input-Octets = 3000000")):
        text = f'{who}, Acct-Session-Id = "{method}", Acct-Status-Type = {status}{counters}'
        assert "Received Accounting-Response" in radclient(server, "acct", text)
    assert float(balance(server)) == pytest.approx(before - 0.03), "whoever the NAS believes it is"
    assert held(server) == "0.00"


def held(server: RunningServer) -> str:
    host, port = server.address("http")
    request = urllib.request.Request(f"http://{host}:{port}/v1/accounts/demo-1")
    request.add_header("Authorization", f"Bearer {(server.data / 'admin.token').read_text().strip()}")
    with urllib.request.urlopen(request) as reply:
        return str(json.load(reply)["held"])


@pytest.mark.parametrize(
    ("user", "password", "result"),
    [
        ("491700000001", "wrong", "home-refused"),
        ("491700000002", "demo", "credit-limit"),
        ("stranger", "demo", "unknown"),
    ],
    ids=["password", "no-money", "nobody-here"],
)
def test_who_is_not_is_told_by_eap(
    server: RunningServer, homes: list[FreeRadius], tmp_path: Path, user: str, password: str, result: str
) -> None:
    counted = f'ocs_requests_total{{command="Access-Request",protocol="radius",result="{result}",type=""}}'
    before = server.metric(counted)
    with homes[0].running(), homes[1].running():
        told = supplicant(server, tmp_path, "ttls-pap", user, password)
    assert told.rstrip().endswith("FAILURE")
    assert "EAP: Received EAP-Failure" in told
    server.wait(lambda: server.metric(counted) == before + 1)


def test_while_one_of_them_lives_everybody_gets_in(
    server: RunningServer, homes: list[FreeRadius], tmp_path: Path
) -> None:
    def up(home: FreeRadius) -> float:
        return server.metric(f'ocs_radius_home_up{{server="127.0.0.1:{home.auth}"}}')

    with homes[0].running():
        server.wait(lambda: (up(homes[0]), up(homes[1])) == (1, 0))
        for number in range(4):
            mac = f"02:00:00:00:01:{number:02x}"
            assert supplicant(server, tmp_path, "md5", "491700000001", mac=mac).rstrip().endswith("SUCCESS")
        with homes[1].running():
            server.wait(lambda: up(homes[1]) == 1)
    server.wait(lambda: "radius.home" in server.text)
