"""A trace of a running server: Diameter by the general way and by templates, RADIUS, HTTP charging; a capture of it."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlAnswer,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdType,
    UsedServiceUnit,
)
from protocol.diameter.frames import FrameBuffer
from tests.ocs.charging.radius.nas import access
from tests.ocs.net.world import ccr, cer
from tests.ocs.running import RunningServer
from tests.servers import ROOT

pytestmark = [pytest.mark.serial, pytest.mark.skipif(shutil.which("tshark") is None, reason="no tshark")]

UPDATES = 4
SESSION = "pgw.example.net;1;1"
ANNA, OTHER = "491700000001", "491700000006"
PASSWORD = "open sesame"


def request(number: int, whose: str, session: str) -> bytes:
    kind = {0: CcRequestType.INITIAL_REQUEST, UPDATES + 1: CcRequestType.TERMINATION_REQUEST}
    line: dict[str, Any] = {"rating_group": 10}
    if number <= UPDATES:
        line["requested_service_unit"] = RequestedServiceUnit(cc_total_octets=1_048_576)
    if number:
        line["used_service_unit"] = (UsedServiceUnit(cc_total_octets=1_000_000 + number),)
    told = SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data=whose)
    return ccr(
        number,
        session,
        cc_request_type=kind.get(number, CcRequestType.UPDATE_REQUEST),
        subscription_id=(told,),
        multiple_services_credit_control=(MultipleServicesCreditControl(**line),),
    )


class Gateway:
    """A peer that asks and waits."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._buffer = reader, writer, FrameBuffer()

    async def ask(self, frame: bytes) -> bytes:
        self._writer.write(frame)
        while True:
            for found in self._buffer.feed(await self._reader.read(65_536)):
                return found

    def close(self) -> None:
        self._writer.close()

    async def session(self, whose: str, session: str) -> None:
        for number in range(UPDATES + 2):
            answer = CreditControlAnswer.decode(await self.ask(request(number, whose, session)))
            assert answer.result_code == 2001


def asked(server: RunningServer, method: str, path: str, body: Any = None, **headers: str) -> Any:
    host, port = server.address("http")
    token = (server.data / "admin.token").read_text().strip()
    sent = urllib.request.Request(f"http://{host}:{port}/v1/{path}", body and json.dumps(body).encode(), method=method)
    for name, value in ({"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | headers).items():
        sent.add_header(name, value)
    try:
        with urllib.request.urlopen(sent) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        raise AssertionError(refused.read()) from None


def udp(server: RunningServer, name: str, octets: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.settimeout(30)
        nas.sendto(octets, server.address(name))
        return nas.recv(4_096)


def tracing(server: RunningServer, home: Path, *more: str) -> "subprocess.Popen[str]":
    host, port = server.address("http")
    command = [sys.executable, "-m", "ocs", "trace", "--url", f"http://{host}:{port}", "--data", str(server.data)]
    return subprocess.Popen(
        [*command, *more], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


async def test_what_is_seen_of_a_subscriber(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data", "workers=2").ready()
    try:
        gateway = Gateway(*await asyncio.open_connection(*server.address("diameter")))
        await gateway.ask(cer())
        await gateway.session(ANNA, "before;1;1")
        by_template = server.metric('ocs_template_requests_total{protocol="diameter"}')
        assert by_template > 0
        pcap = tmp_path / "seen.pcap"
        trace = tracing(server, tmp_path, "--subscriber", "+49 170 0000001", "--pcap", str(pcap), "--json")
        lines: list[dict[str, Any]] = []
        reading = threading.Thread(target=lambda: lines.extend(map(json.loads, trace.stdout)), daemon=True)  # type: ignore[arg-type]
        reading.start()
        number = 0

        async def until_seen(protocol: str, ask: Callable[[int], Awaitable[object]]) -> None:
            """Each process looks for itself who traces, and tells for itself."""
            nonlocal number
            async with asyncio.timeout(240):
                while not any(one["protocol"] == protocol for one in lines):
                    number += 1
                    await ask(number)
                    await asyncio.sleep(0.2)

        def charge(number: int) -> None:
            body = {
                "service": "data",
                "identity": f"msisdn:{ANNA}",
                "id": f"box-{number}",
                "lines": [{"requested": {}}],
            }
            asked(server, "POST", "charging/sessions", body, **{"Idempotency-Key": f"traced-{number}"})

        login = access(PASSWORD, User_Name=ANNA).octets
        await until_seen("diameter", lambda number: gateway.session(ANNA, f"probe;1;{number}"))
        await gateway.session(OTHER, "other;1;1")
        await gateway.session(ANNA, SESSION)
        await until_seen("radius", lambda _: asyncio.to_thread(udp, server, "radius_auth", login))
        await until_seen("http", lambda number: asyncio.to_thread(charge, number))
        async with asyncio.timeout(240):
            while sum(one["session"] == SESSION for one in lines) < UPDATES + 2:
                await asyncio.sleep(0.05)
        assert [one["caller"] for one in asked(server, "GET", "traces")["items"]] == ["admin"]
        trace.send_signal(2)
        await asyncio.to_thread(reading.join, 60)
        _, said = trace.communicate(timeout=60)
        assert trace.returncode == 0
        assert "tell Wireshark what port" in said
        assert asked(server, "GET", "traces")["items"] == []
        _check_decisions([one for one in lines if one["session"] == SESSION])
        _check_others(lines)
        _check_capture(server, pcap)
        asked_for = asked(server, "GET", "audit")["items"]
        assert {"begin_trace", "end_trace"} <= {row["operation"] for row in asked_for}
        # Nobody traces any more: templates serve again.
        while server.metric('ocs_template_requests_total{protocol="diameter"}') <= by_template + UPDATES:
            number += 1
            await gateway.session(ANNA, f"after;1;{number}")
        gateway.close()
    finally:
        server.stop()


def _check_decisions(lines: list[dict[str, Any]]) -> None:
    """One session: the general way, each update once, the money exact."""
    assert len(lines) == UPDATES + 2
    for number, one in enumerate(lines):
        (call,) = one["calls"]
        (line,) = call["lines"]
        assert (call["account"], call["status"], line["tariff"]) == ("demo-1", "ok", "demo@1:internet")
        assert one["times"]["store"] > 0
        assert one["times"]["total"] >= one["times"]["store"]
        assert one["process"].startswith("worker ")
        assert any(f"CC-Request-Number (415/0) {number}" in text for text in one["request"]["decoded"])
        assert any("Result-Code (268/0) 2001" in text for text in one["answer"]["decoded"])
    # Whole megabytes that were begun, at 0.01: the report of each is one million and a little more.
    assert [one["calls"][0]["lines"][0]["session_cost"] for one in lines] == [
        "0",
        "0.01",
        "0.02",
        "0.03",
        "0.04",
        "0.05",
    ]
    assert lines[1]["calls"][0]["lines"][0]["reported"] == ["1000001 octets"]
    assert lines[0]["calls"][0]["lines"][0]["granted"] == "1 MB"
    assert [one["calls"][0]["cost"] for one in lines[1:]] == ["0.01"] * (UPDATES + 1)


def _check_others(lines: list[dict[str, Any]]) -> None:
    assert not [one for one in lines if OTHER in json.dumps(one) or one["session"] == "other;1;1"]
    for login in (one for one in lines if one["protocol"] == "radius"):
        assert PASSWORD not in json.dumps(login)
        assert "    User-Password" not in login["request"]["decoded"]
        assert "  User-Password (hidden)" in login["request"]["decoded"]
        assert login["answer"]["decoded"][0].startswith("Access-Reject")
    for http in (one for one in lines if one["protocol"] == "http"):
        assert '"id":"box-' in http["request"]["decoded"][0]
        assert http["calls"][0]["status"] == "ok"


def _check_capture(server: RunningServer, pcap: Path) -> None:
    diameter, radius = server.address("diameter")[1], server.address("radius_auth")[1]
    command = ["tshark", "-r", str(pcap), "-d", f"tcp.port=={diameter},diameter", "-d", f"udp.port=={radius},radius"]
    command += ["-T", "fields", "-e", "tcp.dstport", "-e", "diameter.Session-Id", "-e", "diameter.CC-Request-Number"]
    command += ["-e", "radius.code", "-e", "radius.User_Name"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in text.splitlines()]
    numbers = [row[2] for row in rows if row[1] == SESSION and row[0] == str(diameter)]
    assert numbers == [str(number) for number in range(UPDATES + 2)]
    codes = [row[3] for row in rows if row[3]]
    assert codes == ["1", "3"] * (len(codes) // 2) != []
    assert ANNA in [row[4] for row in rows]
    assert PASSWORD.encode() not in pcap.read_bytes()
