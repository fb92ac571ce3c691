"""From CCR to CCA: sessions, their lines, and what is told besides."""

from __future__ import annotations

import pytest

from balances.keys import event_key
from balances.structs.charge import Flag
from ocs.charging.request import ChargingAnswer
from ocs.charging.settings import ChargingSettings, Regular
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    RequestedAction,
    RequestedServiceUnit,
    UnitValue,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.credit_values import (
    CC_MONEY,
)
from tests.ocs.charging.wire import DATA, SMS, VOICE, E, I, T, U, cca, ccr, codes, lines, mscc
from tests.ocs.charging.world import EURO, NOW_MS, World

MB = 2**20
DEBIT = RequestedAction.DIRECT_DEBITING


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
    assert world.charged[-1].once_key == event_key("gw.example.net;1700000000;1", 0, 2)


def test_clients_whose_session_ids_are_not_unique() -> None:
    world = World(gw_example_net=Regular(session_id_not_unique=True))
    world.send(I, **lines(mscc(10, ask={})))
    assert world.charged[-1].session == "gw.example.net;1700000000;1||gw.example.net"


def test_a_profile_is_found_in_whatever_letter_case_the_client_says_its_name() -> None:
    profile = Regular(reuses_numbers=True, session_id_not_unique=True)
    world = World(gw_example_net=profile)
    world.send(I, origin_host="GW.Example.NET", **lines(mscc(10, ask={})))
    assert world.charged[-1].session == "gw.example.net;1700000000;1||gw.example.net"
    assert not world.charged[-1].countable
    spelled = ChargingSettings(clients={"GW.example.net": profile})
    assert spelled.client("gw.EXAMPLE.net") is profile
    assert spelled.client("other.example.net") == Regular()


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
    world.context.jitter = lambda: 1000
    answer = world.send(I, **lines(mscc(10, ask={})))
    assert answer.multiple_services_credit_control[0].validity_time == 540
