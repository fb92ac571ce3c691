"""The lines of a CCR: Multiple-Services-Credit-Control, or the units at command level, in our words and summed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, NamedTuple

from balances.structs.charge import Phase, ReportPeriod
from ocs.charging.request import AskedLine, MoneyAmount, Reason, Units, Used
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CreditControlRequest,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.credit_values import CC_MONEY, CC_TOTAL_OCTETS
from protocol.errors import AvpError, ResultCode
from tariffs.units import EXACT_MAX, Rounding

PERIODS: Final = {0: ReportPeriod.BEFORE, 1: ReportPeriod.AFTER, 2: ReportPeriod.INDETERMINATE}
REASONS: Final = {2: Reason.FINAL, 1: Reason.IDLE}

MSI_SUPPORTED: Final = 1
MICRO_EXPONENT: Final = -6


class Reading(NamedTuple):
    """How the amounts of a request are read."""

    phase: Phase
    reports: bool
    """It says what was used: then nothing in it refuses that (charging.md section 2)."""
    rounding: Rounding
    """Of reported money finer than a micro-unit."""


class Amounts(NamedTuple):
    units: Units
    money: MoneyAmount | None = None
    """What was odd about its money."""


def says_use(ccr: CreditControlRequest, phase: Phase) -> bool:
    if phase is not Phase.START:
        return phase is not Phase.EVENT
    return bool(ccr.used_service_unit) or any(g.used_service_unit for g in ccr.multiple_services_credit_control)


def lines_of(groups: tuple[MultipleServicesCreditControl, ...], reading: Reading) -> tuple[AskedLine, ...]:
    """One line for each rating group + service identifier; several groups of the same are one line."""
    if len(groups) == 1:
        return (_line(groups[0], reading),)
    merged: dict[tuple[int | None, int | None], AskedLine] = {}
    for group in groups:
        line = _line(group, reading)
        key = line.rating_group, line.service_id
        before = merged.get(key)
        merged[key] = line if before is None else _merge(before, line)
    return tuple(merged.values())


def _line(group: MultipleServicesCreditControl, reading: Reading) -> AskedLine:
    used: tuple[Used, ...] = ()
    use: MoneyAmount | None = None
    reasons = group.reporting_reason
    if group.used_service_unit:
        used, use = _used(group.used_service_unit, group.tariff_change_usage, reading)
        if not reasons:  # beside the use or inside it: field-notes.md
            reasons = tuple(u.reporting_reason for u in group.used_service_unit if u.reporting_reason is not None)
    reason = Reason.OTHER
    for number in reasons:
        if number in REASONS and reason is not Reason.FINAL:
            reason = REASONS[number]
    services = group.service_identifier
    requested, wish = _wish(group.requested_service_unit, reading)
    service_id = services[0] if services else None
    return AskedLine(group.rating_group, service_id, requested, used, reason, wish, use)


def _merge(one: AskedLine, other: AskedLine) -> AskedLine:
    requested = one.requested if other.requested is None else other.requested
    if one.requested is not None and other.requested is not None:
        requested = _sum(one.requested, other.requested)
    reason = max(one.reason, other.reason, key=lambda reason: reason is Reason.FINAL)
    used = _by_period([(each.period, each.units) for each in one.used + other.used])
    wish, use = _both(one.wish, other.wish), _both(one.use, other.use)
    return AskedLine(one.rating_group, one.service_id, requested, used, reason, wish, use)


def _both(one: MoneyAmount | None, other: MoneyAmount | None) -> MoneyAmount | None:
    if one is None or other is None:
        return other if one is None else one
    currencies = tuple(dict.fromkeys(one.currencies + other.currencies))
    return MoneyAmount(currencies, one.unusable or other.unusable, one.rounded or other.rounded)


def single_line(ccr: CreditControlRequest, reading: Reading) -> tuple[AskedLine, ...]:
    """A CCR without Multiple-Services-Credit-Control is one line, unless it names no unit at all: a session that asks
    when its traffic starts (RFC 8506 section 5.1.2), a report without use, a bare TERMINATION."""
    phase = reading.phase
    requested, wish = _wish(ccr.requested_service_unit, reading)
    used, use = _used(ccr.used_service_unit, None, reading) if ccr.used_service_unit else ((), None)
    if requested is None and not used:
        asks_later = ccr.multiple_services_indicator == MSI_SUPPORTED
        if phase is Phase.STOP or phase is Phase.UPDATE or (phase is Phase.START and asks_later):
            return ()
    return (AskedLine(None, ccr.service_identifier, requested, used, wish=wish, use=use),)


def _used(
    pieces: tuple[UsedServiceUnit, ...], outer: int | None, reading: Reading
) -> tuple[tuple[Used, ...], MoneyAmount | None]:
    """All pieces of one period summed. Tariff-Change-Usage stands in the piece or around it."""
    found, money = [], None
    for piece in pieces:
        change = outer if piece.tariff_change_usage is None else piece.tariff_change_usage
        amounts = _units(piece, reading)
        found.append((_period(change), amounts.units))
        money = _both(money, amounts.money)
    if len(found) == 1:
        return (Used(found[0][1], found[0][0]),), money
    return _by_period(found), money


def _period(change: int | None) -> ReportPeriod:
    """A value nobody knows says nothing; the use is charged all the same."""
    return ReportPeriod.BEFORE if change is None else PERIODS.get(change, ReportPeriod.BEFORE)


def _by_period(pieces: list[tuple[ReportPeriod, Units]]) -> tuple[Used, ...]:
    sums: dict[ReportPeriod, Units] = {}
    for period, units in pieces:
        before = sums.get(period)
        sums[period] = units if before is None else _sum(before, units)
    return tuple(Used(sums[period], period) for period in ReportPeriod if period in sums)


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


def _wish(group: RequestedServiceUnit | None, reading: Reading) -> tuple[Units | None, MoneyAmount | None]:
    """In a TERMINATION it is not read at all."""
    if group is None or reading.phase is Phase.STOP:
        return None, None
    return _units(group, reading)


def _units(group: UsedServiceUnit | RequestedServiceUnit, reading: Reading) -> Amounts:
    """More than can be counted is a large wish, and a report of as much as can be. An event is debited what it names:
    of that it would be another amount, so it is refused."""
    octets = group.cc_total_octets
    if octets is None:  # both directions are the total, which is the charged figure where both are given
        received, sent = group.cc_input_octets, group.cc_output_octets
        if received is not None or sent is not None:
            octets = (received or 0) + (sent or 0)
    units = group.cc_service_specific_units
    if (octets is not None and octets > EXACT_MAX) or (units is not None and units > EXACT_MAX):
        if reading.phase is Phase.EVENT:
            failed = CC_TOTAL_OCTETS.pack(group.cc_total_octets) if group.cc_total_octets else b""
            raise AvpError(ResultCode.INVALID_AVP_VALUE, "more than 2^53 units", failed)
        octets = None if octets is None else min(octets, EXACT_MAX)
        units = None if units is None else min(units, EXACT_MAX)
    if group.cc_money is None:
        return Amounts(Units(None, octets, group.cc_time, units))
    micro, money = _micro(group.cc_money, reading, used=isinstance(group, UsedServiceUnit))
    return Amounts(Units(micro, octets, group.cc_time, units), money)


def _micro(given: CcMoney, reading: Reading, *, used: bool) -> tuple[int, MoneyAmount | None]:
    """Digits * 10^exponent in micro-units, and what is odd about it (charging.md section 2). AvpError 5004: it is
    negative or finer than a micro-unit, or an event names more than can be counted."""
    digits, exponent = given.unit_value.value_digits, (given.unit_value.exponent or 0) - MICRO_EXPONENT
    micro, rest = _counted(abs(digits), exponent)
    large, fine = micro > EXACT_MAX, rest > 0
    unusable = digits < 0 or (fine and not used) or (large and reading.phase is Phase.EVENT)
    if unusable and not reading.reports:
        why = f"money of {digits}E{exponent + MICRO_EXPONENT}: negative, finer than a micro-unit, or too large"
        raise AvpError(ResultCode.INVALID_AVP_VALUE, why, CC_MONEY.pack(given))
    if fine and (reading.rounding is Rounding.UP or (reading.rounding is Rounding.HALF_UP and 2 * rest >= 1)):
        micro += 1
    code = given.currency_code
    if code is None and not unusable and not fine:
        return min(micro, EXACT_MAX), None
    return min(micro, EXACT_MAX), MoneyAmount(() if code is None else (code,), unusable, fine)


def _counted(digits: int, exponent: int) -> tuple[int, Fraction]:
    """Whole micro-units, and what is left of one. Value-Digits has at most 19 digits, 2^53 has 16."""
    if digits == 0 or exponent > 16:
        return (EXACT_MAX + 1 if digits else 0), Fraction(0)
    if exponent >= 0:
        return digits * _ten(exponent), Fraction(0)
    whole = _ten(min(-exponent, 20))
    return digits // whole, Fraction(digits % whole, whole)


def _ten(exponent: int) -> int:
    return int(10 ** max(exponent, 0))


def money_in(ccr: CreditControlRequest) -> list[CcMoney]:
    groups: list[Any] = [ccr.requested_service_unit, *ccr.used_service_unit]
    for line in ccr.multiple_services_credit_control:
        groups += (line.requested_service_unit, *line.used_service_unit)
    return [group.cc_money for group in groups if group is not None and group.cc_money is not None]
