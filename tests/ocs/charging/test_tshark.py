"""Every kind of answer we give, read by somebody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from balances.structs.charge import Result
from ocs.charging.diameter.translate import to_cca
from ocs.charging.request import (
    AddressKind,
    ChargingAnswer,
    Fault,
    FinalAction,
    FinalUnit,
    GrantedLine,
    Units,
)
from protocol.diameter.dictionary.credit_control import RequestedAction
from tests.ocs.charging.wire import LOCAL, SETTINGS, E, I, ccr, lines, mscc
from tests.protocol.test_tshark import capture, tshark

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

LINES = ccr(I, **lines(mscc(10, ask={}), mscc(11, ask={})))
SINGLE = ccr(I)
EVENT = ccr(E, requested_action=RequestedAction.DIRECT_DEBITING, **lines(mscc(10)))
PORTAL = FinalUnit(FinalAction.REDIRECT, AddressKind.SIP, "sip:topup@example.net")
WALL = FinalUnit(FinalAction.RESTRICT_ACCESS, filters=("permit in ip from any to 192.0.2.1",), filter_ids=("f",))

ANSWERS = [
    (
        LINES,
        ChargingAnswer(
            Result.OK,
            (
                GrantedLine(10, None, Result.OK, Units(octets=2**40), 600, 1_700_000_000_000, None, 2**33, 120),
                GrantedLine(11, 7, Result.OK, Units(seconds=60), 60, final=PORTAL),
                GrantedLine(12, None, Result.CREDIT_LIMIT),
                GrantedLine(13, None, Result.RATING_FAILED),
            ),
            fault=Fault.LINE,
            cost_micro=1,
            currency=978,
            low_balance=True,
            service="data",
        ),
    ),
    (
        SINGLE,
        ChargingAnswer(Result.OK, (GrantedLine(None, None, Result.OK, Units(money=5), 60, final=WALL),), currency=978),
    ),
    (SINGLE, ChargingAnswer(Result.CREDIT_LIMIT, reason="the balance does not cover it")),
    (SINGLE, ChargingAnswer(Result.RATING_FAILED, fault=Fault.SERVICE)),
    (
        EVENT,
        ChargingAnswer(
            Result.OK,
            (GrantedLine(10, None, Result.OK, Units(units=1)),),
            refund_token=b"s 0",
            service="sms",
        ),
    ),
    (EVENT, ChargingAnswer(Result.OK, enough=False)),
]


def test_nothing_is_malformed(tmp_path: Path) -> None:
    wire = [to_cca(asked, answer, LOCAL, SETTINGS.services).answer(asked) for asked, answer in ANSWERS]
    capture(tmp_path / "ours.pcap", wire)
    assert len(tshark(tmp_path / "ours.pcap", "-Y", "diameter.cmd.code == 272")) == len(wire)
    assert tshark(tmp_path / "ours.pcap", "-V", "-Y", "_ws.malformed || _ws.expert.severity >= error") == []


def test_it_reads_what_we_granted(tmp_path: Path) -> None:
    wire = [to_cca(asked, answer, LOCAL, SETTINGS.services).answer(asked) for asked, answer in ANSWERS]
    capture(tmp_path / "ours.pcap", wire)
    names = ("Result-Code", "CC-Total-Octets", "Volume-Quota-Threshold", "Validity-Time", "Redirect-Server-Address")
    fields = [option for name in names for option in ("-e", f"diameter.{name}")]
    read = tshark(tmp_path / "ours.pcap", "-T", "fields", "-E", "separator=|", "-E", "aggregator=,", *fields)
    assert read[0].split("|") == [
        "2001,2001,2001,4012,5031",
        str(2**40),
        str(2**32 - 1),  # the threshold has 32 bits, and no more is said
        "600,60",
        "sip:topup@example.net",
    ]
    assert [line.split("|")[0] for line in read[1:]] == ["2001", "4012", "5031", "2001,2001", "2001"]
