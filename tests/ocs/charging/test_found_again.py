"""What is not where it was: sessions Redis came back without, originals only PostgreSQL has, amounts out of range."""

from __future__ import annotations

from typing import Any

import msgspec

from ocs.charging.diameter.translate import to_request
from ocs.charging.handle import handle
from protocol.diameter.dictionary.credit_control import CcMoney, RequestedAction, RequestedServiceUnit, UnitValue
from tests.ocs.charging.wire import SMS, E, I, T, U, ccr, lines, mscc, under
from tests.ocs.charging.world import EURO, World

MB = 2**20
WHO = "msisdn:491700000001"
DEBIT, REFUND = RequestedAction.DIRECT_DEBITING, RequestedAction.REFUND_ACCOUNT


def answered(world: World, request: Any) -> Any:
    try:
        handle(request, world.context, world.now_ms).send(None)
    except StopIteration as stopped:
        return stopped.value
    raise AssertionError("it waited")


def test_a_session_of_a_store_that_came_back_is_found_in_postgres() -> None:
    """durability.md rule 8: until the account is restored, and `where:` with it."""
    world = World()
    world.opened_ms = world.now_ms - 1_000
    world.send(I, **lines(mscc(10, ask={})))
    world.sessions_known, world.wheres = dict(world.wheres), {}
    report = lines(mscc(10, ask={}, used={"cc_total_octets": MB}))
    answer = world.send(U, cc_request_number=1, subscription_id=None, **report)
    assert answer.result_code == 2001
    assert world.balance() == 20 * EURO - 10_000


def only_in_postgres(world: World) -> None:
    """The event is forgotten by Redis, and the profile at hand is stale."""
    for key, once in world.model.answers.items():
        world.known_answers[key] = msgspec.msgpack.encode(once)
    world.model.answers.clear()
    world.model.accounts["a1"].profile_rev = 2
    world.known[WHO] = msgspec.structs.replace(world.at_hand[WHO], rev=2)


def test_a_refund_keeps_its_original_over_a_stale_profile() -> None:
    """Without it, the service's free refund would be paid, and the original once more."""
    world = World(services={"sms": {"refund_free_micro": 10**6}})
    world.send(E, service_context_id=SMS, requested_action=DEBIT)
    only_in_postgres(world)
    before = world.balance()
    seventy = RequestedServiceUnit(cc_money=CcMoney(unit_value=UnitValue(value_digits=70_000, exponent=-6)))
    asked = {"service_context_id": SMS, "requested_action": REFUND, "requested_service_unit": seventy}
    for number in (1, 2):
        world.send(E, cc_request_number=number, **asked)
    assert world.balance() - before == 70_000


def test_the_token_of_a_renumbered_event_is_its_own() -> None:
    """Two events under one number: each is refunded by the token it was given."""
    world = World()
    world.send(E, service_context_id=SMS, requested_action=DEBIT)
    five = RequestedServiceUnit(cc_service_specific_units=5)
    again = ccr(E, service_context_id=SMS, requested_action=DEBIT, requested_service_unit=five)
    before = world.balance()
    answer = answered(world, under(to_request(again, "gw", world.context.settings), 4_711))
    assert before - world.balance() == 350_000
    refund = to_request(
        ccr(E, service_context_id=SMS, requested_action=REFUND, cc_request_number=9), "gw", world.context.settings
    )
    answered(world, under(refund, 5, refund_token=answer.refund_token))
    assert world.balance() == before


def test_a_counter_that_ran_below_zero_ends_its_session() -> None:
    """charging.md section 2: charged up to the bound, the rest to suspense; no hold is left."""
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    answer = world.send(T, cc_request_number=1, **lines(mscc(10, used={"cc_total_octets": 2**64 - 1})))
    assert answer.result_code == 2001
    assert world.held() == 0
    assert world.model.ledger[-1].record.usages[0].suspense > 2**52


def test_money_reported_beside_octets_does_not_turn_the_grant_into_money() -> None:
    world = World()
    world.send(I, **lines(mscc(10, ask={})))
    used = {"cc_total_octets": MB, "cc_money": CcMoney(unit_value=UnitValue(value_digits=1, exponent=0))}
    answer = world.send(U, cc_request_number=1, **lines(mscc(10, ask={"cc_total_octets": MB}, used=used)))
    granted = answer.multiple_services_credit_control[0].granted_service_unit
    assert granted is not None
    assert granted.cc_money is None
    assert granted.cc_total_octets
