"""CC-Money in a CCR: exact, of one currency, or refused with the AVP that was wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ocs.charging.request import MoneyAmount, Units
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    RequestedServiceUnit,
    UnitValue,
)
from protocol.diameter.dictionary.credit_values import CC_MONEY
from protocol.errors import AvpError, ResultCode
from tariffs.units import EXACT_MAX
from tests.ocs.charging.wire import E, I, lines, mscc, request


def money(digits: int, exponent: int | None = None, currency: int | None = 978) -> CcMoney:
    return CcMoney(unit_value=UnitValue(value_digits=digits, exponent=exponent), currency_code=currency)


MONEY = [
    (1, 0, 1_000_000),
    (1, None, 1_000_000),
    (5, -2, 50_000),
    (1, -6, 1),
    (70, -7, 7),
    (0, -99, 0),
    (0, 2**31 - 1, 0),
    (9, 9, 9 * 10**15),
    (EXACT_MAX, -6, EXACT_MAX),
]


@pytest.mark.parametrize(("digits", "exponent", "micro"), MONEY)
def test_money_in_micro_units(digits: int, exponent: int | None, micro: int) -> None:
    found = request(requested_service_unit=RequestedServiceUnit(cc_money=money(digits, exponent)))
    assert found.lines[0].requested == Units(money=micro)
    assert found.currency == 978


TOO_LARGE = [(10, 9), (1, 2**31 - 1), (EXACT_MAX + 1, -6), (2**63 - 1, 0)]


@pytest.mark.parametrize(("digits", "exponent"), TOO_LARGE)
def test_a_wish_too_large_is_a_large_wish(digits: int, exponent: int) -> None:
    found = request(requested_service_unit=RequestedServiceUnit(cc_money=money(digits, exponent)))
    assert found.lines[0].requested == Units(money=EXACT_MAX)


@pytest.mark.parametrize(
    ("kind", "digits", "exponent"),
    [(I, -1, 0), (I, 1, -7), (I, 15, -7), (I, 1, -(2**31)), (E, -1, 0), (E, 1, -7), *((E, *one) for one in TOO_LARGE)],
)
def test_money_that_is_negative_or_too_fine_or_an_event_too_large(kind: Any, digits: int, exponent: int) -> None:
    asked = RequestedServiceUnit(cc_money=money(digits, exponent))
    with pytest.raises(AvpError) as refused:
        request(kind, requested_action=0, requested_service_unit=asked)
    assert refused.value.result_code is ResultCode.INVALID_AVP_VALUE
    assert refused.value.failed_avp == CC_MONEY.pack(money(digits, exponent))


def test_money_in_two_currencies() -> None:
    """Each line has its own: which of them is the account's is known later."""
    two = lines(mscc(1, ask={"cc_money": money(1)}), mscc(2, ask={"cc_money": money(1, currency=840)}))
    found = request(**two)
    assert [line.wish for line in found.lines] == [MoneyAmount((978,)), MoneyAmount((840,))]
    one = lines(mscc(1, ask={"cc_money": money(1)}), mscc(1, ask={"cc_money": money(1, currency=840)}))
    assert [line.wish for line in request(**one).lines] == [MoneyAmount((978, 840))]
    assert request(**lines(mscc(1, ask={"cc_money": money(1, currency=None)}))).currency is None
