"""What is counted of a connection: labels are names of ours, whatever a peer calls itself or sends."""

import struct
from typing import Any

from structlog.testing import capture_logs

from balances.structs.charge import Flag, Result
from ocs.charging.request import ChargingAnswer, FinalUnit, GrantedLine, Units
from ocs.telemetry.log import Periodic
from protocol.diameter.dictionary.credit_control import CcRequestType, RequestedAction
from tests.ocs.net.world import REMARKS, ccr, cer, until, world

OURS = set(" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_")


def unknown_avp(code: int) -> bytes:
    """With the M bit, so that it must be refused by its number."""
    return struct.pack("!IB3s", code, 0x40, (12).to_bytes(3)) + b"evil"


async def test_what_a_stranger_sends_is_no_label() -> None:
    async with world() as w:
        for code in range(1_447_417_970, 1_447_417_975):
            client = await w.client()
            client.send(cer("\x1b]0;owned\x07.example.net", others=(unknown_avp(code),)))
            await client.message()
            await client.closed()
        reason = "refused CER while waiting for CER"
        await until(lambda: w.count("ocs_disconnects_total", "diameter", reason) == 5)
        for series in w.meter.snapshot():
            assert set("".join(series.labels)) - set("0123456789") <= OURS, series
            assert not any("144741797" in label for label in series.labels)


async def test_peers_are_counted_by_the_names_they_are_configured_with() -> None:
    async with world() as w:
        assert w.count("ocs_peer_connections", "one.example.net") == 0
        one = await (await w.client()).open("ONE.example.NET")
        guest = await (await w.client()).open("somebody.example.net")
        assert w.count("ocs_peer_connections", "one.example.net") == 1
        assert w.count("ocs_peer_connections", "guest") == 1
        one.send(ccr(1), ccr(2))
        guest.send(ccr(1, session="other;1"))
        for client, times in ((one, 2), (guest, 1)):
            for _ in range(times):
                await client.message()
        assert w.count("ocs_peer_requests_total", "one.example.net", "2001") == 2
        assert w.count("ocs_peer_requests_total", "guest", "2001") == 1
        one.end()
        await until(lambda: w.count("ocs_peer_connections", "one.example.net") == 0)
        assert w.count("ocs_peer_connections", "guest") == 1


async def test_lines_have_results_of_their_own_and_final_units_are_counted() -> None:
    async with world() as w:
        w.stub.answer = ChargingAnswer(
            Result.OK,
            (
                GrantedLine(1, None, Result.OK, Units(octets=5), final=FinalUnit()),
                GrantedLine(2, None, Result.CREDIT_LIMIT),
            ),
        )
        client = await (await w.client()).open()
        client.send(ccr(1))
        await client.message()
        assert w.count("ocs_requests_total", "diameter", "CCR", "UPDATE", "2001") == 1
        assert w.count("ocs_lines_total", "diameter", "data", "2001") == 1
        assert w.count("ocs_lines_total", "diameter", "data", "4012") == 1
        assert w.count("ocs_final_units_total", "diameter", "data", "terminate") == 1


async def test_what_is_unusual_about_requests_is_counted_for_their_peer() -> None:
    """Equal events are told once in an interval, with the advice; labels are configured names, whoever asks."""
    async with world() as w:
        REMARKS.clear()
        w.stub.answer = ChargingAnswer(Result.OK, marks=int(Flag.EQUAL | Flag.FREE))
        event: dict[str, Any] = {
            "cc_request_type": CcRequestType.EVENT_REQUEST,
            "requested_action": RequestedAction.DIRECT_DEBITING,
        }
        with capture_logs() as logged:
            for host in ("one.example.net", "somebody.example.net"):
                client = await (await w.client()).open(host)
                for number in range(3):
                    client.send(ccr(number, origin_host=host, **event))
                    await client.message()
        assert w.count("ocs_peer_marks_total", "one.example.net", "equal") == 3
        assert w.count("ocs_peer_marks_total", "guest", "equal") == 3
        assert REMARKS == [("one.example.net", "equal")] * 3 + [("guest", "equal")] * 3
        lines = [line for line in logged if line["event"] == "peer.equal_events"]
        assert [(line["peer"], line["times"]) for line in lines] == [("one.example.net", 1), ("guest", 1)]
        assert all("reuses_numbers" in line["advice"] for line in lines)


def test_what_is_told_once_in_an_interval_says_how_often_it_was_seen() -> None:
    periodic = Periodic(1_000)
    seen = [periodic.times("a", at_ms) for at_ms in (5_000, 5_001, 5_999, 6_000, 6_001, 7_000)]
    assert seen == [1, 0, 0, 3, 0, 2]
    assert periodic.times("b", 7_000) == 1
