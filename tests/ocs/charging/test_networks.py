"""The network that serves the user, wherever a request says it."""

from __future__ import annotations

from typing import Any

import pytest

from ocs.charging.networks import in_text, of_location
from protocol.diameter.avp import Avp
from protocol.diameter.dictionary.credit_values import UserEquipmentInfo
from protocol.diameter.dictionary.nasreq import CALLED_STATION_ID
from protocol.diameter.dictionary.tgpp_charging import (
    TGPP_RAT_TYPE,
    TGPP_SGSN_MCC_MNC,
    TGPP_USER_LOCATION_INFO,
    ImsInformation,
    PsInformation,
    ServiceInformation,
)
from tests.ocs.charging.wire import VOICE, lines, mscc, request

PLMN = {"26201": "62f210", "310410": "130014", "20801": "02f810", "302720": "030227", "00101": "00f110"}


@pytest.mark.parametrize("network", PLMN)
@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        (0, "12345678"),  # CGI
        (1, "12345678"),  # SAI
        (2, "1234ff05"),  # RAI
        (128, "1234"),  # TAI
        (129, "01234567"),  # ECGI
        (130, "1234" + "62f210" + "01234567"),  # TAI and ECGI
        (131, "012345"),  # eNodeB
        (132, "1234" + "62f210" + "012345"),  # TAI and eNodeB
        (133, "012345"),
        (134, "1234" + "62f210" + "012345"),  # TAI and extended eNodeB
        (135, "0123456789"),  # NCGI
        (136, "123456"),  # 5GS TAI
        (137, "123456" + "62f210" + "0123456789"),  # 5GS TAI and NCGI
        (138, "0123456789"),  # NG-RAN node
        (139, "123456" + "62f210" + "0123456789"),
        (0x18, "1234" + "62f210" + "01234567"),  # as TS 29.274 has it: TAI and ECGI
        (0x20, "1234"),  # LAI
    ],
)
def test_of_every_type_of_location(network: str, kind: int, rest: str) -> None:
    assert of_location(bytes((kind,)) + bytes.fromhex(PLMN[network] + rest)) == network


@pytest.mark.parametrize("octets", ["", "82", "82f210", "82ffffff1234", "820000aa", "8262a210"])
def test_what_is_no_network_is_none(octets: str) -> None:
    assert of_location(bytes.fromhex(octets)) == ""


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("26201", "26201"),
        ("310410", "310410"),
        ("262-01", "26201"),
        ("262001", "26201"),
        ("310004", "310004"),  # where MNCs have three digits the 0 is one of them
        ("ims.mnc001.mcc262.3gppnetwork.org", "26201"),
        ("IMS.MNC001.MCC262.3GPPNETWORK.ORG", "26201"),
        ("ims.mnc012.mcc310.3gppnetwork.org", "310012"),
        ("ims.mnc410.mcc310.3gppnetwork.org", "310410"),
        ("epc.mnc01.mcc262.3gppnetwork.org", "26201"),
        ('"ims.mnc015.mcc234.3gppnetwork.org"', "23415"),
        ("3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=26201a1b2012345f", "26201"),
        ("3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=310410a1b2012345f;network-provided", "310410"),
        ('3GPP-UTRAN-TDD; utran-cell-id-3gpp="26201D0F0FCE71"', "26201"),
        ("3GPP-GERAN; cgi-3gpp=2620112345678", "26201"),
        ("3GPP-GERAN; cgi-3gpp=31041012345678", "310410"),
        ("3GPP-NR-FDD;utran-cell-id-3gpp=26201123456012345678", "26201"),
        ("3GPP-NR-FDD;utran-cell-id-3gpp=310410123456012345678", "310410"),
        ("visited.example.net", ""),
        ("IEEE-802.11;i-wlan-node-id=001122334455", ""),
        ("2620", ""),
        ("2620123", ""),
        ("mcc262.mnc001", ""),
        ("", ""),
    ],
)
def test_of_texts(text: str, network: str) -> None:
    assert in_text(text) == network


def found(**fields: Any) -> Any:
    return request(**fields).inputs


def ps(**fields: Any) -> ServiceInformation:
    return ServiceInformation(ps_information=PsInformation(**fields))


def ims(**fields: Any) -> ServiceInformation:
    return ServiceInformation(ims_information=ImsInformation(node_functionality=6, **fields))


ULI = bytes.fromhex("8202f810000102f81001234567")


def test_location_says_it_where_nothing_else_does() -> None:
    assert found(service_information=ps(tgpp_user_location_info=ULI)).visited == "20801"
    both = ps(tgpp_user_location_info=ULI, tgpp_sgsn_mcc_mnc="26201")
    assert found(service_information=both).visited == "26201"
    assert found(service_information=ps(tgpp_user_location_info=b"\x82\xff\xff\xff\x00")).visited == ""


def test_of_a_call() -> None:
    def call(**fields: Any) -> str:
        return str(found(service_context_id=VOICE, service_information=ims(**fields)).visited)

    cell = b"3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=208011a2b3c4d5e6f"[:-1]
    assert call(access_network_information=(cell,)) == "20801"
    ours = b"3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=26201a1b2012345f;network-provided"
    assert call(access_network_information=(cell, ours)) == "26201"
    phone = b'IEEE-802.11;x="a;network-provided;b";utran-cell-id-3gpp=310410a1b2012345f'
    assert (
        call(access_network_information=(phone, ours)) == "26201"
    )  # what a phone only quotes, the network did not say
    assert call(access_network_information=(b'IEEE-802.11;x="network-provided', ours)) == "26201"
    host = "ims.mnc001.mcc262.3gppnetwork.org"
    assert call(access_network_information=(cell,), ims_visited_network_identifier=host) == "26201"
    named = call(access_network_information=(cell,), ims_visited_network_identifier="visited.example.net")
    assert named == "visited.example.net"


def at_command(avp: Avp[Any], value: Any) -> bytes:
    return avp.pack(value)


def test_facts_at_command_level_and_beside_the_groups() -> None:
    loose = (
        at_command(CALLED_STATION_ID, "Internet"),
        at_command(TGPP_SGSN_MCC_MNC, "20801"),
        at_command(TGPP_RAT_TYPE, b"\x06"),
        at_command(TGPP_USER_LOCATION_INFO, ULI),
    )
    for fields in (
        {"others": loose},
        {"others": loose, "service_information": ServiceInformation()},
        {"service_information": ServiceInformation(others=loose)},
    ):
        inputs = found(**fields)
        assert (inputs.apn, inputs.visited, inputs.rat_type, inputs.location) == ("internet", "20801", 6, ULI.hex())
    within = ps(called_station_id="ims", tgpp_sgsn_mcc_mnc="26201")
    inputs = found(others=loose, service_information=within)
    assert (inputs.apn, inputs.visited, inputs.rat_type) == ("ims", "26201", 6)
    only = found(others=(at_command(TGPP_USER_LOCATION_INFO, ULI),))
    assert only.visited == "20801"


def test_what_cannot_be_read_at_command_level_is_no_fault() -> None:
    inputs = found(others=(at_command(TGPP_USER_LOCATION_INFO, b""), CALLED_STATION_ID.pack("")))
    assert (inputs.apn, inputs.visited, inputs.location) == ("", "", "")


def test_facts_inside_the_line() -> None:
    asked = request(**lines(mscc(10, ask={}, tgpp_rat_type=b"\x06"), mscc(20, ask={})))
    assert asked.line_facts == {(10, None): {"rat_type": 6}}
    inside = (at_command(TGPP_USER_LOCATION_INFO, ULI),)
    asked = request(**lines(mscc(10, ask={}, service_identifier=(7,), others=inside)))
    assert asked.line_facts == {(10, 7): {"location": ULI.hex(), "visited": "20801"}}


@pytest.mark.parametrize(
    ("kind", "value", "equipment"),
    [
        (0, b"3534900698733190", "3534900698733190"),
        (0, b"35-349006-987331-90", "3534900698733190"),
        (0, bytes.fromhex("5343096089371309"), "3534900698733190"),
        (0, bytes.fromhex("53430960893713f9"), "353490069873319"),
        (1, bytes.fromhex("00112233aabb"), "00112233aabb"),
        (1, b"00:11:22:33:AA:BB", "00112233aabb"),
        (0, b"", ""),
    ],
)
def test_equipment_as_text_or_octets(kind: int, value: bytes, equipment: str) -> None:
    info = UserEquipmentInfo(user_equipment_info_type=kind, user_equipment_info_value=value)
    assert found(user_equipment_info=info).equipment == equipment
    assert found(service_information=ps(user_equipment_info=info)).equipment == equipment
