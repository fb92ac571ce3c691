"""From CCR to CCA: one-time events, and those that come again after days."""

from __future__ import annotations

from protocol.diameter.dictionary.credit_control import (
    CheckBalanceResult,
    RequestedAction,
    RequestedServiceUnit,
    UnitValue,
)
from tests.ocs.charging.wire import SMS, E, codes, lines, mscc
from tests.ocs.charging.world import EURO, World

DEBIT, REFUND, CHECK, PRICE = RequestedAction


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
