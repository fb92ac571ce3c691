"""charging.md section 2: what asks is refused by line, what reports is never refused."""

from __future__ import annotations

from typing import Any

import pytest

from balances.structs.charge import Flag, Suspense
from balances.structs.record import Usage
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    RequestedServiceUnit,
    UnitValue,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.credit_values import CC_MONEY
from protocol.errors import AvpError, ResultCode
from tests.ocs.charging.wire import E, I, T, U, codes, lines, mscc, request
from tests.ocs.charging.world import EURO, World

MEGABYTE = 2**20
ENDLESS = 2**64 - 1


def money(digits: int, exponent: int = -2, currency: int | None = 978) -> CcMoney:
    return CcMoney(unit_value=UnitValue(value_digits=digits, exponent=exponent), currency_code=currency)


def begun(*groups: int, **service: Any) -> World:
    """A session with 2 MB granted of each rating group."""
    world = World(**service)
    world.send(I, **lines(*(mscc(group, ask={"cc_total_octets": 2 * MEGABYTE}) for group in groups)))
    return world


def usages(world: World) -> list[Usage]:
    return [usage for usage in world.model.ledger[-1].record.usages if usage.used or usage.set_aside]


# --- wishes


@pytest.mark.parametrize("field", ["cc_total_octets", "cc_input_octets", "cc_service_specific_units"])
@pytest.mark.parametrize("kind", [U, T])
def test_an_absurd_wish_beside_a_report(kind: Any, field: str) -> None:
    """`answered 5004, nothing debited, the hold stays`: a wish too large is a large one, and in T it is not read."""
    world = begun(10)
    line = mscc(10, ask={field: ENDLESS}, used={"cc_total_octets": 2 * MEGABYTE})
    answer = world.send(kind, cc_request_number=1, **lines(line))
    assert (codes(answer), world.balance()) == ([2001, 2001], 20 * EURO - 20_000)
    granted = answer.multiple_services_credit_control[0].granted_service_unit
    if kind is U:
        assert granted.cc_total_octets == (10 * MEGABYTE if field == "cc_service_specific_units" else 2**30)
    else:
        assert (granted, world.held()) == (None, 0)


@pytest.mark.parametrize("amount", [money(2**63 - 1, 0), money(1, 2**31 - 1), money(10**18, -6)])
def test_a_wish_for_more_money_than_there_can_be(amount: CcMoney) -> None:
    world = World()
    answer = world.send(I, requested_service_unit=RequestedServiceUnit(cc_money=amount))
    assert answer.result_code == 2001
    assert answer.granted_service_unit.cc_money.unit_value.value_digits == 20 * EURO


UNUSABLE = [money(-1), money(1, -7), money(1, currency=840)]


@pytest.mark.parametrize("wish", UNUSABLE, ids=["negative", "too fine", "other currency"])
def test_a_wish_that_cannot_be_used_refuses_its_line_and_no_report(wish: CcMoney) -> None:
    world = begun(10, 11)
    used = {"cc_total_octets": MEGABYTE}
    both = lines(mscc(10, ask={"cc_money": wish}, used=used), mscc(11, ask={}, used=used))
    answer = world.send(U, cc_request_number=1, **both)
    assert codes(answer) == [2001, 5004, 2001]
    refused, granted = answer.multiple_services_credit_control
    assert refused.granted_service_unit is None
    assert granted.granted_service_unit is not None
    assert [(one.used, one.cost, one.set_aside) for one in usages(world)] == [(MEGABYTE, 10_000, Suspense.NONE)] * 2
    ended = world.send(T, cc_request_number=2, **both)
    assert codes(ended) == [2001, 2001, 2001]
    assert [usage.used for usage in usages(world)] == [MEGABYTE, MEGABYTE]
    assert world.held() == 0


@pytest.mark.parametrize("wish", UNUSABLE, ids=["negative", "too fine", "other currency"])
@pytest.mark.parametrize("kind", [I, E])
def test_where_nothing_is_reported_it_is_refused_with_the_amount(kind: Any, wish: CcMoney) -> None:
    """`5004 with Failed-AVP in an I without use, or an event`."""
    world = World()
    asked: dict[str, Any] = {"requested_service_unit": RequestedServiceUnit(cc_money=wish)}
    if wish.currency_code == 978:
        with pytest.raises(AvpError) as refused:
            request(kind, requested_action=0, **asked)
        assert refused.value.result_code is ResultCode.INVALID_AVP_VALUE
        assert CC_MONEY.pack(wish) in refused.value.failed_avp
    else:
        answer = world.send(kind, requested_action=0, **asked)
        assert answer.result_code == 5004
        assert CC_MONEY.pack(wish) in answer.failed_avp[0]
    assert world.model.ledger == []


def test_an_initial_that_reports_is_not_refused_for_one_line() -> None:
    world = World()
    odd = mscc(10, ask={"cc_money": money(-1)})
    answer = world.send(I, **lines(odd, mscc(11, ask={}, used={"cc_total_octets": MEGABYTE})))
    assert codes(answer) == [2001, 5004, 2001]


@pytest.mark.parametrize("amount", [{"cc_total_octets": ENDLESS}, {"cc_service_specific_units": 2**53}])
def test_an_event_that_names_more_than_can_be_counted_is_refused(amount: dict[str, Any]) -> None:
    """It is debited what it names, and of that it would be another amount."""
    with pytest.raises(AvpError) as refused:
        request(E, requested_action=0, requested_service_unit=RequestedServiceUnit(**amount))
    assert refused.value.result_code is ResultCode.INVALID_AVP_VALUE


# --- reports


def holding_money() -> World:
    """One line holds 2.00, another one 2 MB."""
    world = World()
    groups = mscc(10, ask={"cc_money": money(200)}), mscc(11, ask={"cc_total_octets": 2 * MEGABYTE})
    assert codes(world.send(I, **lines(*groups))) == [2001, 2001, 2001]
    assert world.held() == 2 * EURO + 20_000
    return world


@pytest.mark.parametrize("kind", [U, T])
@pytest.mark.parametrize(
    ("amount", "known"), [(money(-150), 1_500_000), (money(70, currency=840), 700_000)], ids=["negative", "currency"]
)
def test_use_that_cannot_be_used_is_set_aside_and_the_rest_settled(kind: Any, amount: CcMoney, known: int) -> None:
    """`the other lines are settled, that line's use goes to suspense, its hold is released, the line gets 5004`."""
    world = holding_money()
    both = lines(mscc(10, used={"cc_money": amount}), mscc(11, used={"cc_total_octets": MEGABYTE}))
    answer = world.send(kind, cc_request_number=1, **both)
    assert codes(answer) == [2001, 5004, 2001]
    assert (world.balance(), world.held()) == (20 * EURO - 10_000, 0)
    odd, fine = usages(world)
    assert (odd.used, odd.suspense, odd.set_aside, odd.cost) == (0, known, Suspense.UNUSABLE, 0)
    assert odd.flags & Flag.SUSPENSE
    assert (fine.used, fine.set_aside) == (MEGABYTE, Suspense.NONE)


@pytest.mark.parametrize("kind", [U, T])
def test_without_lines_it_is_the_command_that_gets_5004(kind: Any) -> None:
    world = World()
    world.send(I, requested_service_unit=RequestedServiceUnit(cc_money=money(200)))
    answer = world.send(kind, cc_request_number=1, used_service_unit=(UsedServiceUnit(cc_money=money(-1)),))
    assert (answer.result_code, world.held(), world.balance()) == (5004, 0, 20 * EURO)
    assert usages(world)[0].set_aside == Suspense.UNUSABLE


@pytest.mark.parametrize(("rounding", "micro"), [("up", 124), ("down", 123), ("half_up", 123)])
@pytest.mark.parametrize("kind", [U, T])
def test_use_finer_than_a_micro_unit_is_rounded_and_flagged(kind: Any, rounding: str, micro: int) -> None:
    """`a too fine amount in a report is rounded in the service's direction and flagged`."""
    world = World(services={"data": {"rounding": rounding}})
    world.send(I, **lines(mscc(10, ask={"cc_money": money(200)})))
    answer = world.send(kind, cc_request_number=1, **lines(mscc(10, used={"cc_money": money(12345, -8)})))
    assert (codes(answer), world.balance()) == ([2001, 2001], 20 * EURO - micro)
    assert usages(world)[0].flags & Flag.ROUNDED


def test_the_half_is_rounded_up() -> None:
    assert begun(10, services={"data": {"rounding": "half_up"}}).balance() == 20 * EURO
    world = World(services={"data": {"rounding": "half_up"}})
    world.send(T, **lines(mscc(10, used={"cc_money": money(15, -7)})))
    assert world.balance() == 20 * EURO - 2


def test_a_period_nobody_knows_says_nothing() -> None:
    world = begun(10)
    line = mscc(10, used={"cc_total_octets": MEGABYTE, "tariff_change_usage": 9})
    assert codes(world.send(U, cc_request_number=1, **lines(line), requested_action=77)) == [2001, 2001]
    assert world.balance() == 20 * EURO - 10_000


def test_an_event_with_an_action_nobody_knows_is_refused() -> None:
    with pytest.raises(AvpError) as refused:
        request(E, requested_action=77)
    assert refused.value.result_code is ResultCode.INVALID_AVP_VALUE


# --- many lines


def many(count: int, **fields: Any) -> dict[str, Any]:
    return lines(*(mscc(1_000 + place, **fields) for place in range(count)))


def test_of_many_lines_the_first_are_granted() -> None:
    """`the first 32 granted (the rest 5012)`."""
    world = World()
    answer = world.send(I, **many(40, ask={"cc_total_octets": MEGABYTE}))
    assert codes(answer) == [2001, *[2001] * 32, *[5012] * 8]
    assert world.held() == 32 * 10_000


@pytest.mark.parametrize("kind", [U, T])
def test_of_many_lines_those_that_report_are_settled(kind: Any) -> None:
    """`of more than 32 lines the first 128 are settled; the use of lines beyond 128 is written to suspense`."""
    world = World()
    world.send(I, **many(32, ask={"cc_total_octets": MEGABYTE}))
    report = many(140, used={"cc_total_octets": MEGABYTE})
    answer = world.send(kind, cc_request_number=1, **report)
    assert codes(answer) == [2001, *[2001] * 128, *[5012] * 12]
    assert (world.balance(), world.held()) == (20 * EURO - 128 * 10_000, 0)
    charged, aside = usages(world)[:128], usages(world)[128:]
    assert {(one.used, one.suspense, one.set_aside) for one in charged} == {(MEGABYTE, 0, Suspense.NONE)}
    assert {(one.used, one.suspense, one.set_aside) for one in aside} == {(0, MEGABYTE, Suspense.TOO_MANY_LINES)}
    assert [one.rating_group for one in aside] == [*range(1_128, 1_140)]
    records = len(world.model.ledger)
    assert codes(world.send(kind, cc_request_number=1, **report)) == codes(answer)
    assert len(world.model.ledger) == records


def test_lines_that_were_set_aside_are_none_of_the_session() -> None:
    world = begun(10)
    world.send(U, cc_request_number=1, **many(130, ask={}, used={"cc_time": 7}))
    [session] = world.model.sessions["a1"].values()
    assert {line.rating_group for line in session.lines}.isdisjoint({1_128, 1_129})
    assert [(one.unit, one.suspense) for one in usages(world)[-2:]] == [(2, 7), (2, 7)]


def test_an_event_of_many_lines_debits_the_first() -> None:
    world = World()
    answer = world.send(E, requested_action=0, **many(33, ask={"cc_total_octets": MEGABYTE}))
    assert codes(answer) == [2001, *[2001] * 32, 5012]
    assert world.balance() == 20 * EURO - 32 * 10_000


def test_use_in_an_initial_under_a_context_nobody_serves_is_on_record() -> None:
    """It cannot be priced, and is not lost."""
    world = World()
    line = mscc(10, ask={}, used={"cc_total_octets": MEGABYTE})
    answer = world.send(I, service_context_id="nobody@example.net", **lines(line))
    assert codes(answer) == [5031, 5031]
    [usage] = usages(world)
    assert (usage.suspense, usage.set_aside) == (MEGABYTE, Suspense.NO_PRICE)
