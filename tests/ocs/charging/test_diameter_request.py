"""CCR -> ChargingRequest: field-notes.md line by line, where it touches this layer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balances.structs.charge import Action, Phase, ReportPeriod
from ocs.charging.request import AskedLine, Origin, Reason, Style, Units, Used
from ocs.charging.settings import ChargingSettings
from protocol.diameter.dictionary.base import SESSION_ID
from protocol.diameter.dictionary.credit_control import (
    MultipleServicesCreditControl,
    RequestedAction,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdExtension,
    TariffChangeUsage,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.credit_values import REQUESTED_ACTION, CcRequestType
from protocol.diameter.dictionary.tgpp_charging import (
    REFUND_INFORMATION,
    EventType,
    ImsInformation,
    PsInformation,
    RecipientAddress,
    RecipientInfo,
    ServiceInformation,
    SmsInformation,
)
from protocol.errors import AvpError, ResultCode
from tariffs.units import EXACT_MAX
from tests.ocs.charging.wire import IMSI, MSISDN, SMS, VOICE, E, I, T, U, ccr, lines, mscc, request

BEFORE, AFTER, INDETERMINATE = TariffChangeUsage


# ---- whose request it is


def test_several_subscription_ids_imsi_before_msisdn() -> None:
    both = request(subscription_id=(IMSI, MSISDN))
    assert both.identities == ("imsi:001010000000001", "msisdn:491700000001")
    order = ChargingSettings(identity_order=("msisdn", "imsi"))
    assert request(subscription_id=(IMSI, MSISDN), settings=order).identities[0] == "msisdn:491700000001"


def test_subscription_id_inside_service_information() -> None:
    inside = request(subscription_id=None, service_information=ServiceInformation(subscription_id=(MSISDN,)))
    assert inside.identities == ("msisdn:491700000001",)


def test_subscription_id_extension_and_user_name() -> None:
    extension = SubscriptionIdExtension(subscription_id_imsi="001010000000001")
    found = request(subscription_id=None, subscription_id_extension=(extension,), user_name="alice@Example.net")
    assert found.identities == ("imsi:001010000000001", "username:alice@example.net")


def test_a_sip_address_with_a_number_is_tried_as_the_number_too() -> None:
    sip = SubscriptionId(subscription_id_type=2, subscription_id_data="sip:+491700000001@ims.example.net;user=phone")
    assert request(subscription_id=(sip,)).identities == ("sip:491700000001@ims.example.net", "msisdn:491700000001")


def test_unknown_kinds_and_repetitions_of_identity_are_passed_over() -> None:
    odd = SubscriptionId(subscription_id_type=77, subscription_id_data="x")
    empty = SubscriptionId(subscription_id_type=0, subscription_id_data="+")
    assert request(subscription_id=(odd, empty, MSISDN, MSISDN)).identities == ("msisdn:491700000001",)


def test_absent_after_the_first_request() -> None:
    assert request(U, subscription_id=None).identities == ()


def test_behind_a_relay_the_client_is_not_the_peer() -> None:
    found = request(via="dra.example.net", origin_host="gw7.example.net", origin_realm="visited.example.net")
    assert found.origin == Origin("gw7.example.net", "visited.example.net", "dra.example.net")


# ---- what it is


def test_header_and_numbers() -> None:
    found = request(U, cc_request_number=7, cc_sub_session_id=3, flags=0xD0, event_timestamp=1_700_000_000)
    assert (found.phase, found.key.number, found.key.sub_session) == (Phase.UPDATE, 7, 3)
    assert (found.key.message, found.key.resend, found.event_ms) == (2, True, 1_700_000_000_000)
    assert not request().key.resend
    assert request().event_ms is None


def test_context_by_its_tail_and_nobody_for_the_unknown() -> None:
    assert request(service_context_id="ext.01.001.8.32260@3gpp.org").inputs.service == "voice"
    unknown = request(service_context_id="context@vendor.com").inputs
    assert (unknown.service, unknown.service_context) == ("", "context@vendor.com")


def test_requested_action_counts_in_events_only() -> None:
    for kind in (I, U, T):
        assert request(kind, requested_action=RequestedAction.CHECK_BALANCE).action is Action.DEBIT
    assert request(E, requested_action=RequestedAction.REFUND_ACCOUNT).action is Action.REFUND


def test_an_event_without_requested_action_is_refused_with_an_example() -> None:
    with pytest.raises(AvpError) as refused:
        ccr(E)
    assert refused.value.result_code is ResultCode.MISSING_AVP
    assert refused.value.failed_avp == REQUESTED_ACTION.example()


def test_advice_of_charge() -> None:
    assert not request(aoc_request_type=0).wants_cost
    assert request(aoc_request_type=1).wants_cost


# ---- lines


def test_without_lines_units_stand_at_command_level() -> None:
    found = request(
        U,
        requested_service_unit=RequestedServiceUnit(cc_time=60),
        used_service_unit=(UsedServiceUnit(cc_time=59),),
        service_identifier=4,
    )
    assert found.style is Style.COMMAND
    assert found.lines == (AskedLine(None, 4, Units(seconds=60), (Used(Units(seconds=59)),)),)


@pytest.mark.parametrize(
    ("kind", "indicator", "count"),
    [(I, None, 1), (I, 0, 1), (I, 1, 0), (U, None, 0), (T, None, 0)],
)
def test_without_any_unit(kind: Any, indicator: int | None, count: int) -> None:
    """An INITIAL without units asks for some, unless it announces lines to come; a report of nothing is no line."""
    assert len(request(kind, multiple_services_indicator=indicator).lines) == count


def test_lines_are_answered_as_lines_whatever_the_indicator_says() -> None:
    found = request(multiple_services_indicator=0, **lines(mscc(10, ask={})))
    assert (found.style, found.lines) == (Style.LINES, (AskedLine(10, None, Units()),))


def test_a_line_without_rating_group_and_service_identifier() -> None:
    assert request(**lines(mscc(None, ask={}))).lines == (AskedLine(None, None, Units()),)


def test_no_request_and_an_empty_request_differ() -> None:
    found = request(U, **lines(mscc(1, ask={}), mscc(2), mscc(3, ask={"cc_total_octets": 5})))
    assert [line.requested for line in found.lines] == [Units(), None, Units(octets=5)]


USE = [
    ({"cc_total_octets": 5}, Units(octets=5)),
    ({"cc_input_octets": 2, "cc_output_octets": 3}, Units(octets=5)),
    ({"cc_output_octets": 3}, Units(octets=3)),
    ({"cc_total_octets": 9, "cc_input_octets": 2, "cc_output_octets": 3}, Units(octets=9)),
    ({"cc_time": 2**32 - 1, "cc_total_octets": 5}, Units(octets=5, seconds=2**32 - 1)),  # garbage beside octets
    ({"cc_service_specific_units": 1}, Units(units=1)),
    ({"cc_total_octets": 0}, Units(octets=0)),
    ({}, Units()),
]


@pytest.mark.parametrize(("written", "read"), USE)
def test_octets_in_total_or_by_direction(written: dict[str, Any], read: Units) -> None:
    usu = UsedServiceUnit(**written)
    assert request(U, **lines(mscc(1, used_service_unit=(usu,)))).lines[0].used == (Used(read),)


def test_several_used_service_units_are_summed() -> None:
    (line,) = request(U, **lines(mscc(1, used=[{"cc_total_octets": 5, "cc_time": 1}, {"cc_input_octets": 2}]))).lines
    assert line.used == (Used(Units(octets=7, seconds=1)),)


def test_several_groups_of_one_rating_group_are_one_line() -> None:
    found = request(
        U,
        **lines(
            mscc(1, used={"cc_total_octets": 5}),
            mscc(2, ask={}),
            mscc(1, used={"cc_total_octets": 6}, ask={"cc_total_octets": 100}),
            mscc(1, ask={"cc_total_octets": 50}),
        ),
    )
    assert found.lines == (
        AskedLine(1, None, Units(octets=150), (Used(Units(octets=11)),)),
        AskedLine(2, None, Units()),
    )


def test_one_rating_group_with_two_services_is_two_lines() -> None:
    found = request(**lines(mscc(1, ask={}, service_identifier=(7,)), mscc(1, ask={}, service_identifier=(8,))))
    assert [(line.rating_group, line.service_id) for line in found.lines] == [(1, 7), (1, 8)]


def test_tariff_change_usage_in_the_piece_or_around_it() -> None:
    inside = [
        {"cc_total_octets": 4, "tariff_change_usage": AFTER},
        {"cc_total_octets": 1, "tariff_change_usage": BEFORE},
        {"cc_total_octets": 2, "tariff_change_usage": INDETERMINATE},
        {"cc_total_octets": 1},
    ]
    (line,) = request(U, **lines(mscc(1, used=inside))).lines
    assert line.used == (
        Used(Units(octets=2), ReportPeriod.BEFORE),
        Used(Units(octets=2), ReportPeriod.INDETERMINATE),
        Used(Units(octets=4), ReportPeriod.AFTER),
    )
    around = lines(
        mscc(1, used={"cc_total_octets": 1}, tariff_change_usage=BEFORE),
        mscc(1, used={"cc_total_octets": 4}, tariff_change_usage=AFTER),
    )
    (line,) = request(U, **around).lines
    assert [(used.period, used.units.octets) for used in line.used] == [
        (ReportPeriod.BEFORE, 1),
        (ReportPeriod.AFTER, 4),
    ]


@pytest.mark.parametrize(
    ("beside", "inside", "reason"),
    [
        ((2,), None, Reason.FINAL),
        ((), 2, Reason.FINAL),
        ((1,), None, Reason.IDLE),
        ((), 1, Reason.IDLE),
        ((1, 2), None, Reason.FINAL),
        ((), 3, Reason.OTHER),
        ((4,), 3, Reason.OTHER),
        ((), None, Reason.OTHER),
    ],
)
def test_reporting_reason_beside_or_inside(beside: tuple[int, ...], inside: int | None, reason: Reason) -> None:
    used: dict[str, Any] = {"cc_total_octets": 1}
    if inside is not None:
        used["reporting_reason"] = inside
    (line,) = request(U, **lines(mscc(1, used=used, reporting_reason=beside))).lines
    assert line.reason is reason


@pytest.mark.parametrize("field", ["cc_total_octets", "cc_service_specific_units"])
def test_more_than_can_be_counted_is_as_much_as_can_be(field: str) -> None:
    for fields in ({"ask": {field: 2**64 - 1}}, {"used": {field: 2**64 - 1}}):
        [line] = request(U, **lines(mscc(1, **fields))).lines
        units = line.requested or line.used[0].units
        assert EXACT_MAX in (units.octets, units.units)


def test_refund_information_in_the_line_or_beside() -> None:
    inside = request(E, requested_action=RequestedAction.REFUND_ACCOUNT, **lines(mscc(1, refund_information=b"token")))
    beside = request(E, requested_action=RequestedAction.REFUND_ACCOUNT, others=(REFUND_INFORMATION.pack(b"token"),))
    assert inside.refund_token == beside.refund_token == b"token"
    assert request(E, requested_action=RequestedAction.DIRECT_DEBITING).refund_token == b""


@pytest.mark.parametrize(
    ("told", "is_refused"),
    [
        ({"refund_information": b"event http:shop;event;1 0"}, True),
        ({"refund_information": b"event gw.example.net;1;2 0"}, False),
        ({"session_id": "gw.example.net;1;2"}, False),
    ],
)
def test_what_was_debited_over_http_is_no_diameter_clients_to_refund(told: dict[str, Any], *, is_refused: bool) -> None:
    """charging.md section 13: tokens and ids of a platform's debits can be guessed."""
    inside = {name: value for name, value in told.items() if name == "refund_information"}
    asked = {name: value for name, value in told.items() if name not in inside} | lines(mscc(1, **inside))
    if is_refused:
        with pytest.raises(AvpError) as refused:
            request(E, requested_action=RequestedAction.REFUND_ACCOUNT, **asked)
        assert refused.value.result_code is ResultCode.INVALID_AVP_VALUE
    else:
        request(E, requested_action=RequestedAction.REFUND_ACCOUNT, **asked)
    request(E, requested_action=RequestedAction.DIRECT_DEBITING, **asked)


@pytest.mark.parametrize("session", ["http:shop;event;1", "radius:loopback:nas;12", "radius-hold;loopback"])
@pytest.mark.parametrize("kind", [I, U, T, E])
def test_sessions_of_other_protocols_are_no_diameter_clients(kind: CcRequestType, session: str) -> None:
    """RFC 6733 section 8.8: a Session-Id begins with a DiameterIdentity. They could be guessed."""
    asked: dict[str, Any] = {"requested_action": RequestedAction.DIRECT_DEBITING} if kind == E else {}
    with pytest.raises(AvpError) as refused:
        request(kind, session_id=session, **asked, **lines(mscc(1, ask={"cc_total_octets": 1})))
    assert refused.value.result_code is ResultCode.INVALID_AVP_VALUE
    assert refused.value.failed_avp == SESSION_ID.pack(session)


def test_the_same_code_of_another_vendor_is_no_refund_information() -> None:
    avp = bytearray(REFUND_INFORMATION.pack(b"token"))
    avp[8:12] = (9).to_bytes(4, "big")
    avp[4] &= 0xBF  # not mandatory
    asked = request(E, requested_action=RequestedAction.REFUND_ACCOUNT, others=(bytes(avp),))
    assert asked.refund_token == b""


# ---- what rating may look at


def test_facts_of_a_data_session() -> None:
    ps = PsInformation(
        called_station_id="Internet",
        tgpp_rat_type=b"\x06",
        tgpp_sgsn_mcc_mnc="26201",
        tgpp_user_location_info=b"\x82\x00\xf1\x10",
        tgpp_charging_characteristics="0A00",
        tgpp_ms_timezone=b"\x80\x01",
        node_id="pgw1",
    )
    found = request(service_information=ServiceInformation(ps_information=ps)).inputs
    assert msgspec.structs.asdict(found) | {"service": "", "service_context": ""} == msgspec.structs.asdict(found) | {
        "service": "",
        "service_context": "",
        "apn": "internet",
        "rat_type": 6,
        "visited": "26201",
        "location": "8200f110",
        "charging_characteristics": "0a00",
        "user_time_zone": "8001",
        "node": "pgw1",
    }


def test_facts_of_a_call() -> None:
    ims = ImsInformation(
        role_of_node=0,
        calling_party_address=("sip:+491700000001@ims.example.net", "tel:+491700000001"),
        called_party_address="tel:+49-30-1234",
        event_type=EventType(sip_method="INVITE"),
        ims_visited_network_identifier="ims.mnc001.mcc262.3gppnetwork.org",
    )
    found = request(service_context_id=VOICE, service_information=ServiceInformation(ims_information=ims)).inputs
    assert (found.role, found.calling, found.called, found.event_type) == (0, "+491700000001", "+49301234", "INVITE")
    assert found.visited == "26201"


def test_facts_of_a_message() -> None:
    to = RecipientInfo(recipient_address=(RecipientAddress(address_type=1, address_data="+49170999"),))
    sms = SmsInformation(recipient_info=(to,), sm_message_type=0)
    found = request(service_context_id=SMS, service_information=ServiceInformation(sms_information=sms)).inputs
    assert (found.service, found.called, found.event_type) == ("sms", "+49170999", "0")


def test_facts_are_kept_as_a_map_of_what_was_given() -> None:
    packed = msgspec.msgpack.encode(request().inputs)
    assert msgspec.msgpack.decode(packed) == {"service": "data", "service_context": "32251@3gpp.org"}


# ---- whatever comes


AMOUNT = st.none() | st.integers(0, EXACT_MAX)
PIECE = st.fixed_dictionaries(
    {
        "cc_total_octets": AMOUNT,
        "cc_input_octets": AMOUNT,
        "cc_output_octets": AMOUNT,
        "cc_time": st.none() | st.integers(0, 2**32 - 1),
        "cc_service_specific_units": AMOUNT,
        "tariff_change_usage": st.none() | st.sampled_from(list(TariffChangeUsage)),
        "reporting_reason": st.none() | st.integers(-1, 12),
    }
).map(lambda fields: {name: value for name, value in fields.items() if value is not None})


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(0, 3),
            st.none() | st.just({}) | st.fixed_dictionaries({"cc_total_octets": st.integers(0, EXACT_MAX)}),
            st.lists(PIECE, max_size=3),
        ),
        max_size=6,
    ),
    st.sampled_from([I, U, T]),
)
def test_no_use_is_lost_or_counted_twice(groups: list[tuple[Any, Any, Any]], kind: Any) -> None:
    sent: list[MultipleServicesCreditControl] = [mscc(group, ask=ask, used=used) for group, ask, used in groups]
    try:
        found = request(kind, **lines(*sent))
    except AvpError:
        return
    assert len({(line.rating_group, line.service_id) for line in found.lines}) == len(found.lines)
    if sent:
        seconds = sum(piece.get("cc_time", 0) for _, _, pieces in groups for piece in pieces)
        assert sum(used.units.seconds or 0 for line in found.lines for used in line.used) == seconds
        units = sum(piece.get("cc_service_specific_units", 0) for _, _, pieces in groups for piece in pieces)
        assert sum(used.units.units or 0 for line in found.lines for used in line.used) == units
