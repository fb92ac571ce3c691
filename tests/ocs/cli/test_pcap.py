"""Captures as Wireshark reads them."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ocs.cli.pcap import PIECE_BYTES_MAX, WINDOW_US, PcapWriter
from protocol.radius.authenticator import signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import USER_NAME
from protocol.radius.packet import Packet
from tests.ocs.net.world import ccr

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="no tshark")
GATEWAY, OURS = ("192.0.2.7", 40_001), ("192.0.2.1", 3868)
CHECKED = ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum")


def read(file: io.BytesIO, home: Path, *fields: str) -> list[dict[str, Any]]:
    path = home / "seen.pcap"
    path.write_bytes(file.getvalue())
    command = ["tshark", "-r", str(path), "-T", "json", *(part for one in CHECKED for part in ("-o", f"{one}:TRUE"))]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


def test_diameter_over_tcp(tmp_path: Path) -> None:
    file = io.BytesIO()
    writer = PcapWriter(file)
    for number in range(3):
        writer.put(1_796_000_000_123_456 + number, True, GATEWAY, OURS, ccr(number))
        writer.put(1_796_000_000_123_460 + number, True, OURS, GATEWAY, ccr(number))
    writer.put(1_796_000_000_999_999, True, GATEWAY, OURS, ccr(7, subscription_id=(), session="s" * PIECE_BYTES_MAX))
    found = read(
        file, tmp_path, "ip.src", "tcp.srcport", "diameter.CC-Request-Number", "tcp.checksum.status",
        "ip.checksum.status", "tcp.analysis.flags", "frame.time_epoch",
    )  # fmt: skip
    assert [one["diameter.CC-Request-Number"][0] for one in found if "diameter.CC-Request-Number" in one] == [
        *("0", "0", "1", "1", "2", "2", "7")
    ]
    assert found[0]["ip.src"] == ["192.0.2.7"]
    assert found[0]["tcp.srcport"] == ["40001"]
    assert all(one["tcp.checksum.status"] == ["1"] and one["ip.checksum.status"] == ["1"] for one in found)
    assert not [one for one in found if "tcp.analysis.flags" in one], "no lost and no repeated segments"
    assert found[0]["frame.time_epoch"][0].startswith("1796000000.123456")


def test_radius_over_udp_and_ipv6(tmp_path: Path) -> None:
    file = io.BytesIO()
    writer = PcapWriter(file)
    packet = signed_request(Packet(PacketCode.ACCOUNTING_REQUEST, 7).add(USER_NAME, "anna"), b"s", sign=False)
    writer.put(1, False, GATEWAY, ("192.0.2.1", 1813), packet)
    writer.put(2, False, ("2001:db8::7", 40_001), ("2001:db8::1", 1813), packet)
    writer.put(3, False, ("::ffff:192.0.2.7", 40_001), ("192.0.2.1", 1813), packet)
    found = read(file, tmp_path, "radius.User_Name", "ipv6.src", "ip.src", "udp.checksum.status")
    assert [one["radius.User_Name"] for one in found] == [["anna"]] * 3
    assert found[1]["ipv6.src"] == ["2001:db8::7"]
    assert found[2]["ip.src"] == ["192.0.2.7"]
    assert all(one["udp.checksum.status"] == ["1"] for one in found)


def test_what_comes_late_stands_in_its_place_within_the_window(tmp_path: Path) -> None:
    """A slow request of one process is over after quick ones of another; sequence numbers follow the sorted order."""
    file = io.BytesIO()
    writer = PcapWriter(file, WINDOW_US)
    at_us = 1_796_000_000_000_000
    for number, after_us in ((1, 500), (2, WINDOW_US), (0, 0), (3, WINDOW_US + 700)):
        writer.put(at_us + after_us, True, GATEWAY, OURS, ccr(number))
    assert len(file.getvalue()) > 24, "what nothing can come before any more is written"
    writer.end()
    found = read(file, tmp_path, "diameter.CC-Request-Number", "tcp.analysis.flags", "frame.time_delta")
    assert [one["diameter.CC-Request-Number"] for one in found] == [["0"], ["1"], ["2"], ["3"]]
    assert not [one for one in found if "tcp.analysis.flags" in one]
    assert not [one for one in found if one["frame.time_delta"][0].startswith("-")]
