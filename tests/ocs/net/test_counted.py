"""What is counted of a connection: labels are names of ours, whatever a peer calls itself or sends."""

import struct

from balances.ops import Result
from ocs.charging.request import ChargingAnswer, FinalUnit, GrantedLine, Units
from tests.ocs.net.world import ccr, cer, until, world

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
