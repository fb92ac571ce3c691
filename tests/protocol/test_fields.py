"""What the reader of a message gets: the fields rating and translation ask for."""

import pytest

from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CcRequestType,
    CreditControlAnswer,
    CreditControlRequest,
    FinalUnitAction,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
    RequestedAction,
    UnitValue,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.tgpp_charging import PsInformation
from protocol.diameter.types import HostAddress
from tests.protocol.messages import CCR_E, CCR_I, CCR_U, avp, ccr
from tests.protocol.vectors import TOOL, octets

TGPP = 10415


def test_data_session() -> None:
    request = CreditControlRequest.decode(CCR_I)
    assert request.session_id == "pgw1.example.com;3876543210;42;gy1"
    assert request.cc_request_type is CcRequestType.INITIAL_REQUEST
    assert request.event_timestamp == 1_767_268_800  # 2026-01-01T12:00:00Z in Unix seconds
    assert [s.subscription_id_data for s in request.subscription_id] == ["46700000001", "001010000000001"]
    first, second = request.multiple_services_credit_control
    assert (first.rating_group, second.rating_group) == (10, 20)
    assert first.requested_service_unit is not None
    assert first.requested_service_unit.cc_time is None
    assert second.requested_service_unit is not None
    assert second.requested_service_unit.cc_time == 600
    assert (first.used_service_unit, first.service_identifier, first.validity_time) == ((), (), None)
    assert request.service_information is not None
    ps = request.service_information.ps_information
    assert ps is not None
    assert (ps.called_station_id, ps.tgpp_sgsn_mcc_mnc, ps.tgpp_rat_type) == ("internet", "00101", b"\x06")
    assert ps.tgpp_user_location_info == bytes.fromhex("8200f110000100f11000000101")
    assert ps.pdp_address == (HostAddress.of("10.0.0.7"),)
    assert ps.tgpp_charging_characteristics is None
    with pytest.raises(AttributeError):
        _ = ps.nonsense  # type: ignore[attr-defined]


def test_use() -> None:
    request = CreditControlRequest.decode(CCR_U)
    (unit,) = request.multiple_services_credit_control[0].used_service_unit
    assert unit.reporting_reason == 3
    assert unit.cc_total_octets == 10_485_760
    assert not request.is_retransmitted
    assert request.is_proxiable
    again = CreditControlRequest.decode(octets(TOOL["dia-tool-013-ccr-u-retransmit"]))
    assert again.is_retransmitted
    assert again == request  # the same content, another header
    assert again.hop_by_hop != request.hop_by_hop
    assert again.end_to_end == request.end_to_end


def test_short_message() -> None:
    request = CreditControlRequest.decode(CCR_E)
    assert request.requested_action == RequestedAction.DIRECT_DEBITING
    assert request.service_information is not None
    sms = request.service_information.sms_information
    assert sms is not None
    (recipient,) = sms.recipient_info
    assert recipient.recipient_address[0].address_data == "46700000002"


def test_call_and_picture() -> None:
    ims = [avp(823, [avp(824, "INVITE", vendor=TGPP)], vendor=TGPP), avp(829, 0, vendor=TGPP)]
    ims += [avp(831, "tel:+491", vendor=TGPP), avp(831, "sip:a@b", vendor=TGPP), avp(832, "tel:+492", vendor=TGPP)]
    mms = [avp(1201, [avp(897, "+493", vendor=TGPP)], vendor=TGPP)]
    extension = avp(659, [avp(660, "4917")], flags=0)
    info = [avp(876, ims, vendor=TGPP), avp(877, mms, vendor=TGPP), avp(443, [avp(450, 0), avp(444, "49")])]
    request = CreditControlRequest.decode(ccr(avp(873, info, vendor=TGPP), extension))
    service = request.service_information
    assert service is not None
    assert service.ims_information is not None
    assert service.mms_information is not None
    assert service.ims_information.calling_party_address == ("tel:+491", "sip:a@b")
    assert service.ims_information.called_party_address == "tel:+492"
    assert service.ims_information.role_of_node == 0
    assert service.ims_information.event_type is not None
    assert service.ims_information.event_type.sip_method == "INVITE"
    assert service.mms_information.recipient_address[0].address_data == "+493"
    assert service.subscription_id[0].subscription_id_data == "49"
    assert request.subscription_id_extension[0].subscription_id_e164 == "4917"


def test_money_and_final_units() -> None:
    answer = CreditControlAnswer.decode(octets(TOOL["dia-tool-014-cca-u-fui-redirect"]))
    final = answer.multiple_services_credit_control[0].final_unit_indication
    assert final is not None
    assert final.final_unit_action is FinalUnitAction.REDIRECT
    assert final.redirect_server is not None
    money = CcMoney(unit_value=UnitValue(value_digits=-5, exponent=-2), currency_code=978)
    unit = GrantedServiceUnit(cc_money=money)
    assert DICTIONARY.decode_group(GrantedServiceUnit, unit.encode()) == unit


def test_times_around_the_overflow_of_2036() -> None:
    for unix in (0, 1_767_268_800, 2_085_978_495, 2_085_978_496, 2_085_978_500, 3_000_000_000):
        unit = GrantedServiceUnit(tariff_time_change=unix)
        assert DICTIONARY.decode_group(GrantedServiceUnit, unit.encode()).tariff_time_change == unix


def test_lazy_groups_are_like_any_other() -> None:
    made = PsInformation(called_station_id="internet", sgsn_address=(HostAddress.of("2001:db8::1"),))
    read = DICTIONARY.decode_group(PsInformation, made.encode())
    assert read == made
    assert repr(read).count("=") == repr(made).count("=")
    assert hash(read) == hash(made)
    assert str(read.sgsn_address[0]) == "2001:db8::1"
    assert made.tgpp_rat_type is None
    assert PsInformation() == PsInformation(others=())


def test_order_is_that_of_the_declaration_whatever_the_keywords() -> None:
    one = UsedServiceUnit(cc_total_octets=1, cc_time=2).encode()
    two = UsedServiceUnit(cc_time=2, cc_total_octets=1, cc_money=None).encode()
    assert one == two
    assert MultipleServicesCreditControl(rating_group=1) != MultipleServicesCreditControl(rating_group=2)


def test_a_number_out_of_range_is_our_own_fault() -> None:
    with pytest.raises(Exception, match=r"format requires|argument out of range|int too large"):
        UsedServiceUnit(cc_time=1 << 32).encode()
