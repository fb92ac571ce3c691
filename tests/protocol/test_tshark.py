"""An independent judge: Wireshark finds nothing wrong with what we encode, and reads the same values."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from protocol.diameter.answers import error_answer
from protocol.diameter.dictionary.base import TerminationCause
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CcRequestType,
    CostInformation,
    CreditControlAnswer,
    CreditControlRequest,
    FinalUnitAction,
    FinalUnitIndication,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
    RedirectAddressType,
    RedirectServer,
    RequestedServiceUnit,
    SubscriptionId,
    TariffChangeUsage,
    UnitValue,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.tgpp_charging import PsInformation, ServiceInformation
from protocol.diameter.peer import Send
from protocol.diameter.types import HostAddress
from protocol.errors import ResultCode
from tests.protocol.messages import CCR_U, cer, dpr, dwr
from tests.protocol.peers import World
from tests.protocol.test_peer import RAR

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

REQUEST = CreditControlRequest(
    session_id="gw.example.com;1;2",
    origin_host="gw.example.com",
    origin_realm="example.com",
    destination_realm="example.net",
    auth_application_id=4,
    service_context_id="32251@3gpp.org",
    cc_request_type=CcRequestType.UPDATE_REQUEST,
    cc_request_number=3,
    event_timestamp=1_767_268_800,
    subscription_id=(SubscriptionId(subscription_id_type=0, subscription_id_data="4917"),),
    termination_cause=TerminationCause.LOGOUT,
    multiple_services_indicator=1,
    multiple_services_credit_control=(
        MultipleServicesCreditControl(
            rating_group=10,
            requested_service_unit=RequestedServiceUnit(),
            used_service_unit=(
                UsedServiceUnit(
                    cc_total_octets=12_345_678_901,
                    cc_time=60,
                    tariff_change_usage=TariffChangeUsage.UNIT_BEFORE_TARIFF_CHANGE,
                ),
            ),
            reporting_reason=(3,),
        ),
    ),
    service_information=ServiceInformation(
        ps_information=PsInformation(
            called_station_id="internet",
            tgpp_rat_type=b"\x06",
            sgsn_address=(HostAddress.of("192.0.2.1"), HostAddress.of("2001:db8::1")),
        )
    ),
)
MONEY = UnitValue(value_digits=-5, exponent=-2)
ANSWER = CreditControlAnswer(
    session_id="gw.example.com;1;2",
    result_code=ResultCode.SUCCESS,
    origin_host="ocs.example.net",
    origin_realm="example.net",
    auth_application_id=4,
    cc_request_type=CcRequestType.UPDATE_REQUEST,
    cc_request_number=3,
    cost_information=CostInformation(unit_value=MONEY, currency_code=978, cost_unit="minutes"),
    multiple_services_credit_control=(
        MultipleServicesCreditControl(
            rating_group=10,
            granted_service_unit=GrantedServiceUnit(cc_total_octets=1 << 33, tariff_time_change=1_767_268_800),
            validity_time=600,
            result_code=ResultCode.SUCCESS,
            volume_quota_threshold=1000,
            final_unit_indication=FinalUnitIndication(
                final_unit_action=FinalUnitAction.REDIRECT,
                redirect_server=RedirectServer(
                    redirect_address_type=RedirectAddressType.URL, redirect_server_address="https://top.up/"
                ),
            ),
        ),
        MultipleServicesCreditControl(
            rating_group=11,
            granted_service_unit=GrantedServiceUnit(cc_money=CcMoney(unit_value=MONEY)),
        ),
    ),
)


def peers() -> list[bytes]:
    """What the peer machine itself says."""
    world = World()
    said: list[bytes] = []
    connection = world.table.accepted(world.now)
    for frame in (cer(), dwr(), dpr()):
        said += [action.octets for action in connection.received(frame, world.now) if isinstance(action, Send)]
    return said


def frames() -> list[bytes]:
    wire = [REQUEST.encode(hop_by_hop=1, end_to_end=1), RAR.encode(hop_by_hop=2, end_to_end=2)]
    wire += [ANSWER.answer(CreditControlRequest.decode(wire[0])), *peers()]
    for code in (ResultCode.TOO_BUSY, ResultCode.UNKNOWN_SESSION_ID):
        wire.append(error_answer(CCR_U, code, origin_host="o", origin_realm="r", why="because"))
    return wire


def capture(path: Path, wire: list[bytes]) -> None:
    """A pcap file of user-defined link type 147, one message each."""
    body = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 147)]
    body += [struct.pack("<IIII", n, 0, len(frame), len(frame)) + frame for n, frame in enumerate(wire)]
    path.write_bytes(b"".join(body))


def tshark(path: Path, *options: str) -> list[str]:
    dlt = 'uat:user_dlts:"User 0 (DLT=147)","diameter","0","","0",""'
    ran = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-o", dlt, *options], capture_output=True, text=True, timeout=120, check=True
    )
    return ran.stdout.splitlines()


def test_nothing_is_malformed(tmp_path: Path) -> None:
    wire = frames()
    capture(tmp_path / "ours.pcap", wire)
    assert len(tshark(tmp_path / "ours.pcap", "-Y", "diameter")) == len(wire)
    # Warnings are left out: an empty Requested-Service-Unit is one, and it is how quota is asked for.
    assert tshark(tmp_path / "ours.pcap", "-V", "-Y", "_ws.malformed || _ws.expert.severity >= error") == []


def test_it_reads_what_we_wrote(tmp_path: Path) -> None:
    capture(tmp_path / "ours.pcap", frames())
    fields = "CC-Total-Octets,Rating-Group,Called-Station-Id,Result-Code,Value-Digits,Validity-Time,SGSN-Address.IPv6"
    options = [part for field in fields.split(",") for part in ("-e", f"diameter.{field}")]
    lines = tshark(tmp_path / "ours.pcap", "-T", "fields", "-E", "separator=|", *options)
    assert lines[0].split("|") == ["12345678901", "10", "internet", "", "", "", "2001:db8::1"]
    assert lines[2].split("|") == ["8589934592", "10,11", "", "2001,2001", "-5,-5", "600", ""]
