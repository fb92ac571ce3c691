"""From CCR to CCA: one-time events, and those that come again after days."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CheckBalanceResult,
    RequestedAction,
    RequestedServiceUnit,
    UnitValue,
)
from tests.ocs.charging.wire import DATA, SMS, VOICE, E, codes, lines, mscc
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


NOTHING_NAMED: list[tuple[str, dict[str, Any], int]] = [
    (SMS, {"cc_service_specific_units": 0}, 70_000),
    (DATA, {"cc_total_octets": 0}, 10_000),
    (VOICE, {"cc_time": 0}, 50_000),
    (SMS, {"cc_money": CcMoney(unit_value=UnitValue(value_digits=0, exponent=-2), currency_code=978)}, 70_000),
]


@pytest.mark.parametrize("action", [DEBIT, CHECK, PRICE])
@pytest.mark.parametrize(("context", "amount", "one"), NOTHING_NAMED, ids=["units", "octets", "seconds", "money"])
def test_an_amount_of_zero_costs_nothing(
    context: str, amount: dict[str, Any], one: int, action: RequestedAction
) -> None:
    """And is on record when it is debited; only where no amount is named it is one unit (charging.md section 9)."""
    world = World()
    nothing = {"requested_action": action, "service_context_id": context}
    named = {"requested_service_unit": RequestedServiceUnit(**amount)}
    answer = world.send(E, **nothing, **named)
    assert (answer.result_code, world.balance()) == (2001, 20 * EURO)
    if action is CHECK:
        assert answer.check_balance_result == CheckBalanceResult.ENOUGH_CREDIT
    elif action is PRICE:
        assert answer.cost_information.unit_value.value_digits == 0
    else:
        [usage] = world.model.ledger[-1].record.usages
        assert (usage.used, usage.cost, usage.result) == (0, 0, 0)
        again = world.send(E, **nothing, **named)
        assert (again.result_code, len(world.model.ledger)) == (2001, 1)
        world.send(E, **nothing, cc_request_number=1, requested_service_unit=RequestedServiceUnit())
        assert world.balance() == 20 * EURO - one


def test_a_refund_of_zero_gives_nothing_back() -> None:
    world = World()
    world.send(E, service_context_id=SMS, requested_action=DEBIT)
    for number, amount in enumerate(({"cc_service_specific_units": 0}, NOTHING_NAMED[3][1]), 1):
        back = {"requested_action": REFUND, "service_context_id": SMS, "cc_request_number": number}
        answer = world.send(E, **back, requested_service_unit=RequestedServiceUnit(**amount))
        assert (answer.result_code, world.balance()) == (2001, 20 * EURO - 70_000)
        assert len(world.model.ledger) == number + 1
    world.send(E, requested_action=REFUND, service_context_id=SMS, cc_request_number=3)
    assert world.balance() == 20 * EURO


def test_a_service_may_take_no_events() -> None:
    world = World(services={"data": {"events": False}})
    assert world.send(E, requested_action=DEBIT).result_code == 5012
