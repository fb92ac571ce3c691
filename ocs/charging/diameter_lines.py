"""The lines of a CCR: Multiple-Services-Credit-Control, or the units at command level, in our words and summed."""

from __future__ import annotations

from typing import Any, Final

from balances.ops import Period, Phase
from ocs.charging.request import AskedLine, Reason, Units, Used
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CreditControlRequest,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    TariffChangeUsage,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.credit_values import CC_MONEY, CC_TOTAL_OCTETS
from protocol.errors import AvpError, ResultCode
from tariffs.units import EXACT_MAX

PERIODS: Final = {0: Period.BEFORE, 1: Period.AFTER, 2: Period.INDETERMINATE}
REASONS: Final = {2: Reason.FINAL, 1: Reason.IDLE}

MSI_SUPPORTED: Final = 1
MICRO_EXPONENT: Final = -6


def lines_of(groups: tuple[MultipleServicesCreditControl, ...]) -> tuple[AskedLine, ...]:
    """One line for each rating group + service identifier; several groups of the same are one line."""
    if len(groups) == 1:
        return (_line(groups[0]),)
    merged: dict[tuple[int | None, int | None], AskedLine] = {}
    for group in groups:
        line = _line(group)
        key = line.rating_group, line.service_id
        before = merged.get(key)
        merged[key] = line if before is None else _merge(before, line)
    return tuple(merged.values())


def _line(group: MultipleServicesCreditControl) -> AskedLine:
    used: tuple[Used, ...] = ()
    reasons = group.reporting_reason
    if group.used_service_unit:
        used = _used(group.used_service_unit, group.tariff_change_usage)
        if not reasons:  # beside the use or inside it: field-notes.md
            reasons = tuple(u.reporting_reason for u in group.used_service_unit if u.reporting_reason is not None)
    reason = Reason.OTHER
    for number in reasons:
        if number in REASONS and reason is not Reason.FINAL:
            reason = REASONS[number]
    services = group.service_identifier
    requested = group.requested_service_unit
    return AskedLine(
        group.rating_group,
        services[0] if services else None,
        None if requested is None else _units(requested),
        used,
        reason,
    )


def _merge(one: AskedLine, other: AskedLine) -> AskedLine:
    requested = one.requested if other.requested is None else other.requested
    if one.requested is not None and other.requested is not None:
        requested = _sum(one.requested, other.requested)
    reason = max(one.reason, other.reason, key=lambda reason: reason is Reason.FINAL)
    used = _by_period([(each.period, each.units) for each in one.used + other.used])
    return AskedLine(one.rating_group, one.service_id, requested, used, reason)


def single_line(ccr: CreditControlRequest, phase: Phase) -> tuple[AskedLine, ...]:
    """A CCR without Multiple-Services-Credit-Control is one line, unless it names no unit at all: a session that asks
    when its traffic starts (RFC 8506 section 5.1.2), a report without use, a bare TERMINATION."""
    requested = ccr.requested_service_unit
    used = _used(ccr.used_service_unit, None) if ccr.used_service_unit else ()
    if requested is None and not used:
        asks_later = ccr.multiple_services_indicator == MSI_SUPPORTED
        if phase is Phase.STOP or phase is Phase.UPDATE or (phase is Phase.START and asks_later):
            return ()
    return (AskedLine(None, ccr.service_identifier, None if requested is None else _units(requested), used),)


def _used(pieces: tuple[UsedServiceUnit, ...], outer: TariffChangeUsage | None) -> tuple[Used, ...]:
    """All pieces of one period summed. Tariff-Change-Usage stands in the piece or around it."""
    if len(pieces) == 1:
        change = outer if pieces[0].tariff_change_usage is None else pieces[0].tariff_change_usage
        return (Used(_units(pieces[0]), Period.BEFORE if change is None else PERIODS[change]),)
    found = []
    for piece in pieces:
        change = outer if piece.tariff_change_usage is None else piece.tariff_change_usage
        found.append((Period.BEFORE if change is None else PERIODS[change], _units(piece)))
    return _by_period(found)


def _by_period(pieces: list[tuple[Period, Units]]) -> tuple[Used, ...]:
    sums: dict[Period, Units] = {}
    for period, units in pieces:
        before = sums.get(period)
        sums[period] = units if before is None else _sum(before, units)
    return tuple(Used(sums[period], period) for period in Period if period in sums)


def _sum(one: Units, other: Units) -> Units:
    return Units(
        _add(one.money, other.money),
        _add(one.octets, other.octets),
        _add(one.seconds, other.seconds),
        _add(one.units, other.units),
    )


def _add(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one + other, EXACT_MAX)


def _units(group: UsedServiceUnit | RequestedServiceUnit) -> Units:
    octets = group.cc_total_octets
    if octets is None:  # both directions are the total, which is the charged figure where both are given
        received, sent = group.cc_input_octets, group.cc_output_octets
        if received is not None or sent is not None:
            octets = (received or 0) + (sent or 0)
    units = group.cc_service_specific_units
    if isinstance(group, UsedServiceUnit):  # a counter that ran below zero: charged up to the bound, the rest suspense
        octets = None if octets is None else min(octets, EXACT_MAX)
        units = None if units is None else min(units, EXACT_MAX)
    if (octets is not None and octets > EXACT_MAX) or (units is not None and units > EXACT_MAX):
        failed = CC_TOTAL_OCTETS.pack(group.cc_total_octets) if group.cc_total_octets else b""
        raise AvpError(ResultCode.INVALID_AVP_VALUE, "more than 2^53 units", failed)
    money = group.cc_money
    return Units(None if money is None else _micro(money), octets, group.cc_time, units)


def _micro(money: CcMoney) -> int:
    """Digits * 10^exponent in micro-units. Negative, or finer than these: 5004 (charging.md section 2)."""
    digits, exponent = money.unit_value.value_digits, (money.unit_value.exponent or 0) - MICRO_EXPONENT
    if digits == 0:
        return 0
    if digits > 0 and -18 <= exponent <= 15:  # Value-Digits has at most 19 digits, 2^53 has 16
        micro, rest = divmod(digits * _ten(exponent), _ten(-exponent))
        if not rest and micro <= EXACT_MAX:
            return micro
    why = f"money of {digits}E{exponent + MICRO_EXPONENT}: negative, finer than a micro-unit, or too large"
    raise AvpError(ResultCode.INVALID_AVP_VALUE, why, CC_MONEY.pack(money))


def _ten(exponent: int) -> int:
    return int(10 ** max(exponent, 0))


def money_in(ccr: CreditControlRequest) -> list[CcMoney]:
    groups: list[Any] = [ccr.requested_service_unit, *ccr.used_service_unit]
    for line in ccr.multiple_services_credit_control:
        groups += (line.requested_service_unit, *line.used_service_unit)
    return [group.cc_money for group in groups if group is not None and group.cc_money is not None]


def currency_of(ccr: CreditControlRequest) -> int | None:
    found: int | None = None
    for money in money_in(ccr):
        if money.currency_code is not None:
            if found is not None and found != money.currency_code:
                why = f"currencies {found} and {money.currency_code} in one request"
                raise AvpError(ResultCode.INVALID_AVP_VALUE, why, CC_MONEY.pack(money))
            found = money.currency_code
    return found
