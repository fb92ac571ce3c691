"""From CCR to CCA: what clients are answered, where results stand, what the slow paths do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances import ops
from balances.keys import event_key
from balances.ops import Flag, Result
from ocs.charging.request import Busy, ChargingAnswer
from ocs.charging.settings import Regular
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CcRequestType,
    CheckBalanceResult,
    FinalUnitAction,
    RequestedAction,
    RequestedServiceUnit,
    UnitValue,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.credit_values import (
    CC_MONEY,
    RATING_GROUP,
    SERVICE_CONTEXT_ID,
    SERVICE_IDENTIFIER,
)
from protocol.diameter.dictionary.tgpp_charging import ImsInformation, ServiceInformation
from tests.ocs.charging.wire import DATA, IMSI, MSISDN, SMS, VOICE, E, I, T, U, cca, ccr, lines, mscc
from tests.ocs.charging.world import EURO, LOST, NOT_SENT, NOW_MS, World

MB = 2**20
DEBIT, REFUND, CHECK, PRICE = RequestedAction
PORTAL = {"data": {"final": {"action": "redirect", "address": "http://topup.example.net/"}}}
BARRED = 'tariff = "t"\ncurrency = "EUR"\n[[rows]]\nwhen = {rating_group = 1}\nbarred = true\n[[rows]]\nwhen = {rating_group = 2}\nuncontrolled = true\n[[rows]]\nwhen = {rating_group = [10, 11]}\nflat = {price = "1", per = "1 MB"}'  # noqa: E501


def codes(answer: Any) -> list[int]:
    """Command level first, then line by line."""
    return [answer.result_code, *(line.result_code for line in answer.multiple_services_credit_control)]


# ---- a session


def test_a_data_session() -> None:
    world = World()
    first = world.send(I, **lines(mscc(10, ask={})))
    (line,) = first.multiple_services_credit_control
    assert codes(first) == [2001, 2001]
    assert (line.rating_group, line.granted_service_unit.cc_total_octets, line.validity_time) == (10, 10 * MB, 600)
    assert line.volume_quota_threshold == MB
    assert line.final_unit_indication is None
    assert (first.cc_request_type, first.cc_request_number, first.session_id) == (I, 0, "gw.example.net;1700000000;1")
    assert (first.origin_host, first.auth_application_id) == ("ocs.example.net", 4)
    assert (world.balance(), world.held()) == (20 * EURO, 100_000)

    second = world.send(U, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": 10 * MB})))
    assert codes(second) == [2001, 2001]
    assert (world.balance(), world.held()) == (20 * EURO - 100_000, 100_000)

    last = world.send(T, cc_request_number=2, **lines(mscc(10, used={"cc_total_octets": 1})))
    assert codes(last) == [2001, 2001]
    assert last.multiple_services_credit_control[0].granted_service_unit is None
    assert (world.balance(), world.held()) == (20 * EURO - 110_000, 0)


def test_a_call_without_lines_is_answered_without_lines() -> None:
    world = World()
    first = world.send(I, service_context_id=VOICE, requested_service_unit=RequestedServiceUnit(cc_time=120))
    assert codes(first) == [2001]
    assert (first.granted_service_unit.cc_time, first.validity_time) == (120, 600)
    last = world.send(T, service_context_id=VOICE, used_service_unit=(UsedServiceUnit(cc_time=61),))
    assert codes(last) == [2001]
    assert world.balance() == 20 * EURO - 100_000


def test_an_initial_without_units_asks_for_some_unless_lines_are_to_come() -> None:
    assert World().send(I, service_context_id=VOICE).granted_service_unit.cc_time == 300
    later = World().send(I, multiple_services_indicator=1)
    assert (codes(later), later.granted_service_unit) == ([2001], None)


def test_a_report_without_request_is_settled_and_not_granted() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    answer = world.send(U, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": MB})))
    (line,) = answer.multiple_services_credit_control
    assert (line.result_code, line.granted_service_unit, line.validity_time) == (2001, None, None)
    assert (world.balance(), world.held()) == (20 * EURO - 10_000, 0)


def test_final_and_idle_lines() -> None:
    for reason, granted in ((2, False), (1, True)):
        world = World()
        world.send(I, **lines(mscc(10, ask={})))
        report = mscc(10, ask={}, used={"cc_total_octets": MB}, reporting_reason=(reason,))
        (line,) = world.send(U, cc_request_number=1, **lines(report)).multiple_services_credit_control
        assert (line.result_code, line.granted_service_unit is not None) == (2001, granted)


def test_lines_without_rating_group_take_the_service_s_own() -> None:
    world = World(services={"data": {"rating_group": 99}})
    (line,) = world.send(I, **lines(mscc(None, ask={}))).multiple_services_credit_control
    assert (line.result_code, line.rating_group, line.service_identifier) == (2001, None, ())
    assert world.held() == 0  # rating group 99 is free


def test_all_services_of_a_line_are_named_again() -> None:
    (line,) = World().send(I, **lines(mscc(10, ask={}, service_identifier=(7, 8)))).multiple_services_credit_control
    assert line.service_identifier == (7, 8)


def test_sub_sessions_are_sessions() -> None:
    world = World()
    for number in (1, 2):
        answer = world.send(I, cc_sub_session_id=number, **lines(mscc(10, ask={})))
        assert answer.cc_sub_session_id == number
    assert sorted(world.model.sessions["a1"]) == [f"gw.example.net;1700000000;1|{number}" for number in (1, 2)]
    assert world.held() == 200_000


def test_proxy_info_is_echoed_in_order() -> None:
    infos = tuple(bytes.fromhex("0000011c4000000c000000") + bytes([n]) for n in (3, 1, 2))
    proxy = tuple(
        b"\0\0\x01\x1c\x40\0\0\x20\0\0\x01\x18\x40\0\0\x0bp.x\0\0\0\0\x21\x40\0\0\x0c" + info[-4:] for info in infos
    )
    asked = ccr(I, proxy_info=proxy)
    answer = World().answer(asked)
    assert isinstance(answer, ChargingAnswer)
    assert cca(asked, answer).proxy_info == proxy


# ---- where results stand (charging.md section 5)


def test_a_refused_initial_says_so_at_command_level_and_in_every_line() -> None:
    world = World()
    world.account("a1", 0)
    answer = world.send(I, **lines(mscc(10, ask={}), mscc(11, ask={})))
    assert codes(answer) == [4012, 4012, 4012]
    assert answer.error_message == "the balance does not cover it"
    assert world.send(I, session_id="s2", service_context_id=VOICE).result_code == 4012


def test_one_line_granted_is_a_session() -> None:
    world = World()
    world.account("a1", 0)
    assert codes(world.send(I, **lines(mscc(10, ask={}), mscc(99, ask={})))) == [2001, 4012, 2001]


def test_an_update_keeps_2001_with_4012_in_the_line() -> None:
    world = World()
    world.account("a1", 100_000)
    first = world.send(I, **lines(mscc(10, ask={})))
    assert (
        first.multiple_services_credit_control[0].final_unit_indication.final_unit_action is FinalUnitAction.TERMINATE
    )
    assert first.multiple_services_credit_control[0].volume_quota_threshold is None  # nothing more to ask for
    answer = world.send(U, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": 10 * MB})))
    assert codes(answer) == [2001, 4012]


def test_an_update_without_lines_is_refused_at_command_level() -> None:
    world = World()
    world.account("a1", 50_000)
    world.send(I, service_context_id=VOICE, requested_service_unit=RequestedServiceUnit(cc_time=60))
    answer = world.send(
        U,
        cc_request_number=1,
        service_context_id=VOICE,
        requested_service_unit=RequestedServiceUnit(cc_time=60),
        used_service_unit=(UsedServiceUnit(cc_time=60),),
    )
    assert codes(answer) == [4012]
    assert world.held() == 0


def test_a_refused_initial_with_a_portal_is_a_success_without_units() -> None:
    world = World(services=PORTAL)
    world.account("a1", 0)
    answer = world.send(I, **lines(mscc(10, ask={})))
    (line,) = answer.multiple_services_credit_control
    assert codes(answer) == [2001, 2001]
    assert (line.granted_service_unit, line.validity_time) == (None, 600)
    server = line.final_unit_indication.redirect_server
    assert line.final_unit_indication.final_unit_action is FinalUnitAction.REDIRECT
    assert server is not None
    assert (int(server.redirect_address_type), server.redirect_server_address) == (2, "http://topup.example.net/")
    # The user is at the portal now: nothing asked, told how long (RFC 8506 section 5.6.2).
    begun = world.send(U, cc_request_number=1, **lines(mscc(10))).multiple_services_credit_control[0]
    assert (begun.result_code, begun.validity_time, begun.granted_service_unit) == (2001, 600, None)
    # Topped up: units again.
    world.model.accounts["a1"].buckets[0].amount = EURO
    again = world.send(U, cc_request_number=2, **lines(mscc(10, ask={}))).multiple_services_credit_control[0]
    assert again.granted_service_unit.cc_total_octets == 10 * MB


@pytest.mark.parametrize(
    ("final", "members"),
    [
        ({"action": "redirect", "address": "192.0.2.1", "address_kind": 0}, "redirect_server"),
        ({"action": "redirect", "address": "2001:db8::1", "address_kind": 1}, "redirect_server"),
        ({"action": "redirect", "address": "sip:topup@example.net", "address_kind": 3}, "redirect_server"),
        ({"action": "restrict_access", "filters": ["permit in ip from any to 192.0.2.1"]}, "restriction_filter_rule"),
        ({"action": "restrict_access", "filter_ids": ["portal"]}, "filter_id"),
    ],
)
def test_final_actions(final: dict[str, Any], members: str) -> None:
    world = World(services={"voice": {"final": final}})
    world.account("a1", 50_000)
    answer = world.send(I, service_context_id=VOICE, requested_service_unit=RequestedServiceUnit(cc_time=600))
    assert (answer.result_code, answer.granted_service_unit.cc_time) == (2001, 60)  # all there is
    indication = answer.final_unit_indication
    assert indication is not None
    assert getattr(indication, members)
    for other in {"redirect_server", "restriction_filter_rule", "filter_id"} - {members}:
        assert not getattr(indication, other)


def test_4010_4011_5031_and_4012_are_told_apart() -> None:
    world = World(BARRED)
    world.account("a1", 100)
    groups = lines(mscc(1, ask={}), mscc(2, ask={}), mscc(3, ask={}), mscc(10, ask={}))
    answer = world.send(I, **groups)
    assert codes(answer) == [2001, 4010, 4011, 5031, 4012]
    assert answer.failed_avp == (RATING_GROUP.pack(3),)
    alone = world.send(I, session_id="s2", **lines(mscc(3, ask={}, service_identifier=(5,))))
    assert (codes(alone), alone.failed_avp) == ([5031, 5031], (RATING_GROUP.pack(3),))
    assert alone.error_message == "no row of the subscriber's tariffs matches"
    service = world.send(I, session_id="s3", **lines(mscc(None, ask={}, service_identifier=(5,))))
    assert service.failed_avp == (SERVICE_IDENTIFIER.pack(5),)


def test_a_whole_session_uncontrolled_is_4011_at_command_level() -> None:
    text = 'tariff = "t"\ncurrency = "EUR"\n[[rows]]\nuncontrolled = true'
    assert World(text).send(I, service_context_id=VOICE).result_code == 4011
    assert codes(World(text).send(I, **lines(mscc(1, ask={})))) == [2001, 4011]


@pytest.mark.parametrize(("kind", "code"), [(I, 5030), (U, 5002), (T, 5002)])
def test_nobody_we_know(kind: CcRequestType, code: int) -> None:
    world = World()
    assert world.send(kind, subscription_id=(IMSI,), **lines(mscc(10, ask={}))).result_code == code
    assert world.send(kind, subscription_id=None, **lines(mscc(10, ask={}))).result_code == code
    assert not world.charged


def test_nobody_s_event() -> None:
    assert World().send(E, requested_action=DEBIT, subscription_id=(IMSI,)).result_code == 5030


def test_use_reported_for_nobody_is_on_record() -> None:
    world = World()
    answer = world.send(T, subscription_id=(IMSI,), **lines(mscc(10, used={"cc_total_octets": 5 * MB})))
    assert answer.result_code == 5002
    assert world.seen == ["load imsi:001010000000001", "where", "restore ~suspense"]
    (charge,) = world.charged[-1:]
    assert (charge.account, bool(charge.flags & Flag.SUSPENSE), charge.asks[0].reports[0].octets) == (
        "~suspense",
        True,
        5 * MB,
    )
    (usage,) = world.model.ledger[-1].record.usages
    assert usage.cost == 0
    assert usage.used + usage.suspense == 5 * MB


def test_a_session_never_seen_is_charged_and_5002() -> None:
    world = World()
    answer = world.send(T, **lines(mscc(10, used={"cc_total_octets": MB})))
    assert codes(answer) == [5002, 5002]
    assert world.balance() == 20 * EURO - 10_000
    assert world.model.ledger[-1].record.usages[0].flags & Flag.UNMATCHED


@pytest.mark.parametrize("kind", [I, E])
def test_a_context_nobody_serves(kind: CcRequestType) -> None:
    action = {"requested_action": DEBIT} if kind is E else {}
    answer = World().send(kind, service_context_id="context@vendor.com", **action)
    assert (answer.result_code, answer.failed_avp) == (5031, (SERVICE_CONTEXT_ID.pack("context@vendor.com"),))
    assert answer.error_message == "no service is configured for the context 'context@vendor.com'"


def test_a_report_under_a_context_nobody_serves_is_settled_all_the_same() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    report = lines(mscc(10, ask={}, used={"cc_total_octets": MB}))
    answer = world.send(U, cc_request_number=1, service_context_id="context@vendor.com", **report)
    assert codes(answer) == [2001, 5031]
    assert answer.failed_avp == (SERVICE_CONTEXT_ID.pack("context@vendor.com"),)
    assert world.balance() == 20 * EURO - 10_000


def test_barred_subscribers_and_accounts() -> None:
    world = World()
    world.subscriber("msisdn:491700000001", barred=True)
    assert codes(world.send(I, **lines(mscc(10, ask={})))) == [4010, 4010]
    world.subscriber("msisdn:491700000001")
    world.account("a1", EURO, state=ops.State.BARRED)
    assert codes(world.send(I, session_id="s2", **lines(mscc(10, ask={})))) == [4010, 4010]
    assert codes(world.send(I, session_id="s3", **lines(mscc(99, ask={})))) == [4010, 4010]


def test_emergency_is_never_refused() -> None:
    world = World()
    world.subscriber("msisdn:491700000001", barred=True, balance=0)
    world.account("a1", 0, state=ops.State.BARRED)
    called = ServiceInformation(ims_information=ImsInformation(called_party_address="tel:112"))
    answer = world.send(I, service_context_id=VOICE, service_information=called)
    assert (answer.result_code, answer.granted_service_unit.cc_time) == (2001, 300)


# ---- events


def test_an_sms_is_debited_at_once_and_refunded_by_its_token() -> None:
    world = World()
    sent = world.send(E, service_context_id=SMS, requested_action=DEBIT, **lines(mscc(None, ask={})))
    (line,) = sent.multiple_services_credit_control
    assert (codes(sent), line.granted_service_unit.cc_service_specific_units) == ([2001, 2001], 1)
    assert (line.validity_time, world.balance()) == (None, 20 * EURO - 70_000)
    token = line.refund_information
    back = {"requested_action": REFUND, "session_id": "other;1;2", "service_context_id": SMS}
    answer = world.send(E, **back, **lines(mscc(None, refund_information=token)))
    assert (codes(answer), world.balance()) == ([2001, 2001], 20 * EURO)
    twice = world.send(E, **back, cc_request_number=1, **lines(mscc(None, refund_information=token)))
    assert (codes(twice), world.balance()) == ([5012, 5012], 20 * EURO)


def test_a_refund_without_token_finds_the_event_of_its_session() -> None:
    world = World()
    world.send(E, service_context_id=SMS, requested_action=DEBIT)
    answer = world.send(E, service_context_id=SMS, requested_action=REFUND, cc_request_number=1)
    assert (answer.result_code, world.balance()) == (2001, 20 * EURO)


def test_an_event_is_all_or_nothing_unless_the_service_allows_a_part() -> None:
    three = {"requested_action": DEBIT, "requested_service_unit": RequestedServiceUnit(cc_service_specific_units=3)}
    for part, code, units in ((False, 4012, None), (True, 2001, 2)):
        world = World(services={"sms": {"part": part}})
        world.account("a1", 150_000)
        answer = world.send(E, service_context_id=SMS, **three)
        assert answer.result_code == code
        assert (answer.granted_service_unit and answer.granted_service_unit.cc_service_specific_units) == units


def test_an_event_is_never_cut_to_a_quota() -> None:
    world = World(services={"sms": {"units": {"default": 1, "minimum": 1, "maximum": 2}}})
    many = {"requested_service_unit": RequestedServiceUnit(cc_service_specific_units=100)}
    answer = world.send(E, service_context_id=SMS, requested_action=DEBIT, **many)
    assert answer.granted_service_unit.cc_service_specific_units == 100
    assert world.balance() == 13 * EURO


def test_check_balance_and_price_enquiry_move_nothing() -> None:
    world = World()
    many = {"requested_service_unit": RequestedServiceUnit(cc_service_specific_units=1_000)}
    asked = {"service_context_id": SMS}
    check = world.send(E, **asked, requested_action=CHECK)
    assert (check.result_code, check.check_balance_result) == (2001, CheckBalanceResult.ENOUGH_CREDIT)
    check = world.send(E, **asked, requested_action=CHECK, **many)
    assert (check.result_code, check.check_balance_result) == (2001, CheckBalanceResult.NO_CREDIT)
    price = world.send(E, **asked, requested_action=PRICE, **many)
    assert price.result_code == 2001
    assert price.cost_information is not None
    assert price.cost_information.unit_value == UnitValue(value_digits=70_000_000, exponent=-6)
    assert price.cost_information.currency_code == 978
    assert (world.balance(), world.held(), world.model.ledger) == (20 * EURO, 0, [])


def test_a_service_may_take_no_events() -> None:
    world = World(services={"data": {"events": False}})
    assert world.send(E, requested_action=DEBIT).result_code == 5012


# ---- money asked as money


def test_money_is_held_and_settled_one_to_one() -> None:
    world = World()

    def euros(number: int) -> CcMoney:
        return CcMoney(unit_value=UnitValue(value_digits=number, exponent=0), currency_code=978)

    first = world.send(I, requested_service_unit=RequestedServiceUnit(cc_money=euros(5)))
    granted = first.granted_service_unit.cc_money
    assert (granted.unit_value, granted.currency_code) == (UnitValue(value_digits=5 * EURO, exponent=-6), 978)
    assert world.held() == 5 * EURO
    world.send(T, used_service_unit=(UsedServiceUnit(cc_money=euros(2)),))
    assert (world.balance(), world.held()) == (18 * EURO, 0)


def test_money_of_another_currency() -> None:
    dollars = CcMoney(unit_value=UnitValue(value_digits=5), currency_code=840)
    answer = World().send(I, requested_service_unit=RequestedServiceUnit(cc_money=dollars))
    assert (answer.result_code, answer.failed_avp) == (5004, (CC_MONEY.pack(dollars),))


# ---- what is told besides


def test_cost_information_when_asked_or_always() -> None:
    for cost, aoc, told in (("asked", None, False), ("asked", 1, True), ("always", None, True), ("never", 1, False)):
        world = World(services={"data": {"cost": cost}})
        world.send(I, aoc_request_type=aoc, **lines(mscc(10, ask={})))
        world.send(U, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": MB})))
        last = world.send(T, aoc_request_type=aoc, **lines(mscc(10, used={"cc_total_octets": MB})))
        assert (last.cost_information is not None) == told
        if last.cost_information is not None:  # of the whole session
            assert last.cost_information.unit_value == UnitValue(value_digits=20_000, exponent=-6)


def test_low_balance_indication() -> None:
    world = World()
    world.account("a1", EURO, resume_at=2 * EURO)
    assert world.send(I, **lines(mscc(10, ask={}))).low_balance_indication == 1
    assert World().send(I, **lines(mscc(10, ask={}))).low_balance_indication is None


def test_failure_handling_is_told_where_it_matters() -> None:
    world = World(services={"sms": {"failure_handling": 1, "debit_failure_handling": 1, "session_failover": 0}})
    first = world.send(I, service_context_id=SMS, **lines(mscc(10, ask={})))
    assert (first.credit_control_failure_handling, first.cc_session_failover) == (1, 0)
    event = world.send(E, service_context_id=SMS, requested_action=DEBIT, session_id="e")
    assert (event.direct_debiting_failure_handling, event.credit_control_failure_handling) == (1, None)


def test_quota_holding_time_and_thresholds_in_the_unit_granted() -> None:
    fields = {"holding_s": 120, "threshold_percent": 20}
    world = World(services={"data": fields, "voice": fields, "sms": fields})
    for context, threshold, amount, holding in (
        (DATA, "volume_quota_threshold", 2 * MB, 120),
        (VOICE, "time_quota_threshold", 60, 120),
        (SMS, "unit_quota_threshold", 2, None),
    ):
        ask = {"cc_service_specific_units": 10} if context == SMS else {}
        answer = world.send(I, session_id=context, service_context_id=context, **lines(mscc(10, ask=ask)))
        (line,) = answer.multiple_services_credit_control
        assert (getattr(line, threshold), line.quota_holding_time) == (amount, holding)


# ---- keys, fingerprints, time


def test_the_same_request_twice_is_the_same_answer() -> None:
    world = World()
    one = world.send(I, **lines(mscc(10, ask={})))
    world.now_ms += 50
    again = world.send(I, flags=0xD0, event_timestamp=NOW_MS // 1000, **lines(mscc(10, ask={})))
    assert one == again
    assert world.held() == 100_000


def test_clients_that_reuse_numbers() -> None:
    world = World(gw_example_net=Regular(reuses_numbers=True))
    world.send(I, **lines(mscc(10, ask={})))
    assert (world.charged[-1].key, world.charged[-1].countable) == ("1:0:2", False)
    world.send(E, requested_action=DEBIT)
    assert world.charged[-1].once_key == f"{event_key('gw.example.net;1700000000;1', 0)}:2"


def test_clients_whose_session_ids_are_not_unique() -> None:
    world = World(gw_example_net=Regular(session_id_not_unique=True))
    world.send(I, **lines(mscc(10, ask={})))
    assert world.charged[-1].session == "gw.example.net;1700000000;1\tgw.example.net"


@pytest.mark.parametrize(
    ("behind_s", "believed"),
    [(0, True), (-300, True), (-301, False), (7 * 86_400, True), (7 * 86_400 + 1, False)],
)
def test_event_time_is_believed_within_bounds(behind_s: int, believed: bool) -> None:
    world = World()
    world.send(I, event_timestamp=NOW_MS // 1000 - behind_s, **lines(mscc(10, ask={})))
    (charge,) = world.charged
    assert charge.event_ms == (NOW_MS - behind_s * 1000 if believed else NOW_MS)
    assert bool(charge.flags & Flag.EVENT_TIME) is not believed


def test_validity_times_are_spread() -> None:
    world = World()
    world.shop.jitter = lambda: 1000
    answer = world.send(I, **lines(mscc(10, ask={})))
    assert answer.multiple_services_credit_control[0].validity_time == 540


# ---- the slow paths


def test_on_the_hot_path_nothing_else_is_asked() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    world.send(U, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": MB})))
    assert world.seen == []


def test_a_profile_not_at_hand_is_loaded_by_all_names_at_once() -> None:
    world = World()
    world.at_hand.clear()
    assert world.send(I, subscription_id=(IMSI, MSISDN), **lines(mscc(10, ask={}))).result_code == 2001
    assert world.seen == ["load imsi:001010000000001 msisdn:491700000001"]


def test_a_request_that_names_nobody_is_found_by_its_session() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    report = lines(mscc(10, ask={}, used={"cc_total_octets": MB}))
    answer = world.send(U, cc_request_number=1, subscription_id=None, **report)
    assert (codes(answer), world.seen) == ([2001, 2001], ["where"])
    assert answer.multiple_services_credit_control[0].granted_service_unit is not None
    assert world.balance() == 20 * EURO - 10_000


def test_a_session_whose_subscriber_is_gone_is_settled_and_granted_no_more() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    world.known.clear()
    world.at_hand.clear()
    answer = world.send(U, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": MB})))
    assert codes(answer) == [2001, 5031]
    assert world.balance() == 20 * EURO - 10_000
    assert world.send(I, session_id="new", **lines(mscc(10, ask={}))).result_code == 5030


def test_an_open_session_stays_with_the_account_it_began_with() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    before = world.model.accounts["a1"]
    world.subscriber("msisdn:491700000001", account="a2", moved_ms=NOW_MS - 1, rev=2)
    before.profile_rev = 2
    world.model.accounts["a1"] = before
    world.send(T, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": MB})))
    assert (world.balance("a1"), world.balance("a2"), world.held("a1")) == (20 * EURO - 10_000, 20 * EURO, 0)


def test_an_account_redis_does_not_have_is_restored() -> None:
    world = World()
    world.absent["a1"] = world.model.accounts.pop("a1")
    assert world.send(I, **lines(mscc(10, ask={}))).result_code == 2001
    assert world.seen == ["restore a1"]


def test_a_stale_profile_is_loaded_again() -> None:
    world = World()
    world.model.accounts["a1"].profile_rev = 2
    world.known["msisdn:491700000001"] = msgspec.structs.replace(world.at_hand["msisdn:491700000001"], rev=2)
    assert world.send(I, **lines(mscc(10, ask={}))).result_code == 2001
    assert world.seen == ["load msisdn:491700000001"]


@pytest.mark.parametrize("status", ["fenced", "full"])
def test_what_was_certainly_not_done_may_be_tried_elsewhere(status: str) -> None:
    world = World()
    world.statuses = [status]
    assert world.answer(ccr(I)) == Busy(f"the store is {status}")
    world.broken = NOT_SENT
    assert world.answer(ccr(I)) == Busy("no pass")


def test_what_may_have_been_done_is_not_answered() -> None:
    world = World()
    world.broken = LOST
    assert world.answer(ccr(I)) is None


def test_an_account_that_never_comes_in() -> None:
    world = World()
    world.statuses = ["absent"] * 9
    assert isinstance(world.answer(ccr(I)), Busy)


def test_an_amount_beyond_all_bounds() -> None:
    world = World()
    world.statuses = ["refused"]
    answer = world.answer(ccr(I))
    assert isinstance(answer, ChargingAnswer)
    assert answer.result is Result.TOO_MUCH


def remembered(world: World) -> None:
    """The event is in PostgreSQL, and Redis has forgotten it."""
    world.send(E, service_context_id=SMS, requested_action=DEBIT)
    for key, once in world.model.onces.items():
        world.onces[key] = msgspec.msgpack.encode(once)
    world.model.onces.clear()


def test_an_event_sent_again_after_days_is_not_charged_twice() -> None:
    world = World()
    remembered(world)
    again = world.send(E, service_context_id=SMS, requested_action=DEBIT, flags=0xD0)
    assert (again.result_code, again.granted_service_unit.cc_service_specific_units) == (2001, 1)
    old = {"event_timestamp": NOW_MS // 1000 - 7_200}
    world.send(E, service_context_id=SMS, requested_action=DEBIT, **old)
    assert world.balance() == 20 * EURO - 70_000


def test_another_event_under_the_same_number_is_charged() -> None:
    world = World()
    remembered(world)
    two = RequestedServiceUnit(cc_service_specific_units=2)
    old = ccr(
        E,
        service_context_id=SMS,
        requested_action=DEBIT,
        requested_service_unit=two,
        event_timestamp=NOW_MS // 1000 - 7_200,
    )
    old.__dict__["end_to_end"] = 99
    world.answer(old)
    assert world.balance() == 20 * EURO - 210_000


def test_a_refund_after_days_finds_its_original() -> None:
    world = World()
    remembered(world)
    answer = world.send(E, service_context_id=SMS, requested_action=REFUND, cc_request_number=1)
    assert (answer.result_code, world.balance()) == (2001, 20 * EURO)
    lost = world.send(E, service_context_id=SMS, requested_action=REFUND, session_id="never", cc_request_number=1)
    assert lost.result_code == 5012
    assert lost.error_message == "what is to be refunded is not known"
