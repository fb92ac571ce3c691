"""CC-Money in a CCR: exact, of one currency, or refused with the AVP that was wrong."""

from __future__ import annotations

import pytest

from ocs.charging.request import Units
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    RequestedServiceUnit,
    UnitValue,
)
from protocol.diameter.dictionary.credit_values import CC_MONEY
from protocol.errors import AvpError, ResultCode
from tariffs.units import EXACT_MAX
from tests.ocs.charging.wire import lines, mscc, request


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


@pytest.mark.parametrize(
    ("digits", "exponent"),
    [(-1, 0), (1, -7), (15, -7), (10, 9), (1, 2**31 - 1), (1, -(2**31)), (EXACT_MAX + 1, -6), (2**63 - 1, 0)],
)
def test_money_that_is_negative_too_fine_or_too_large(digits: int, exponent: int) -> None:
    with pytest.raises(AvpError) as refused:
        request(requested_service_unit=RequestedServiceUnit(cc_money=money(digits, exponent)))
    assert refused.value.result_code is ResultCode.INVALID_AVP_VALUE
    assert refused.value.failed_avp == CC_MONEY.pack(money(digits, exponent))


def test_money_in_two_currencies() -> None:
    two = lines(mscc(1, ask={"cc_money": money(1)}), mscc(2, ask={"cc_money": money(1, currency=840)}))
    with pytest.raises(AvpError) as refused:
        request(**two)
    assert refused.value.failed_avp == CC_MONEY.pack(money(1, currency=840))
    assert request(**lines(mscc(1, ask={"cc_money": money(1, currency=None)}))).currency is None
