"""AVPs of a gateway's maker that we do not know: refused by the RFC, passed over where the peer's profile says so."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from ocs.config.diameter import VENDORS, PeerProfile
from protocol.diameter.avp import wrap
from protocol.diameter.dictionary.base import (
    CapabilitiesExchangeAnswer,
    DeviceWatchdogAnswer,
    DeviceWatchdogRequest,
    ErrorAnswer,
)
from protocol.diameter.dictionary.credit_control import CreditControlAnswer, MultipleServicesCreditControl
from protocol.diameter.message import DiameterCommand
from protocol.errors import ResultCode
from tests.ocs.net.world import ccr, cer, world

STRANGE = "strange.example.net"


def own(vendor: int, code: int = 20_300) -> bytes:
    """An AVP of a vendor, with the M bit."""
    return wrap(code, 0xC0, vendor, b"abcd")


def within(vendor: int) -> dict[str, Any]:
    line = MultipleServicesCreditControl(rating_group=10, others=(own(vendor),))
    return {"multiple_services_credit_control": (line,)}


def result(message: DiameterCommand) -> int:
    assert isinstance(message, CreditControlAnswer | ErrorAnswer), message
    return int(message.result_code or 0)


@pytest.mark.parametrize("where", ["beside", "within"])
async def test_by_the_profile_of_the_peer(where: str) -> None:
    def sent(number: int, vendor: int) -> bytes:
        return ccr(number, **({"others": (own(vendor),)} if where == "beside" else within(vendor)))

    async with world() as w:
        tolerant = await (await w.client()).open(STRANGE)
        strict = await (await w.client()).open("one.example.net")
        for turn in (0, 1):  # the second time its shape is known: it lets only through whom it may
            for vendor, code in ((2011, 2001), (4242, 2001), (8164, 5001)):
                tolerant.send(sent(turn, vendor))
                assert (vendor, result(await tolerant.message())) == (vendor, code)
                strict.send(sent(turn, vendor))
                assert (vendor, result(await strict.message())) == (vendor, 5001)


async def test_what_has_no_vendor_is_never_passed_over() -> None:
    async with world() as w:
        client = await (await w.client()).open(STRANGE)
        client.send(ccr(0, others=(wrap(999_998, 0x40, 0, b"abcd"),)))
        assert result(await client.message()) == 5001


async def test_the_refusal_says_what_lets_it_pass() -> None:
    async with world() as w:
        client = await (await w.client()).open("one.example.net")
        with capture_logs() as logged:
            client.send(ccr(0, others=(own(8164, 77),)))
            assert result(await client.message()) == 5001
        (line,) = [one for one in logged if one["event"] == "diameter.refused"]
        assert (line["peer"], line["result"], line["avp"], line["vendor"]) == ("one.example.net", 5001, 77, 8164)
        assert line["setting"] == "diameter.peers[].profile.ignore_vendors = [8164]"
        assert line["why"] == "AVP 77 of vendor 8164 is not known and has the M bit"


async def test_the_peer_s_own_messages_too() -> None:
    async with world() as w:
        client = await w.client()
        client.send(cer(STRANGE, others=(own(2011),)))
        cea = await client.message()
        assert isinstance(cea, CapabilitiesExchangeAnswer)
        assert cea.result_code == ResultCode.SUCCESS
        watchdog = DeviceWatchdogRequest(origin_host=STRANGE, origin_realm="example.net", others=(own(2011),))
        client.send(watchdog.encode(hop_by_hop=5, end_to_end=5))
        dwa = await client.message()
        assert isinstance(dwa, DeviceWatchdogAnswer)
        assert dwa.result_code == ResultCode.SUCCESS
        other = await w.client()
        other.send(cer("one.example.net", others=(own(2011),)))
        refused = await other.message()
        assert getattr(refused, "result_code", None) == ResultCode.AVP_UNSUPPORTED


def test_names_and_numbers() -> None:
    assert PeerProfile().ignored == frozenset()
    every = PeerProfile(ignore_vendors=("cisco", "nokia", "ericsson", "huawei", "starent", "verizon", 99_999))
    assert every.ignored == {9, 94, 193, 2011, 8164, 12951, 99_999}
    assert {*VENDORS.values()} < every.ignored
