"""Recurring fees: roundings, retries and graces that undo what they are for, units nothing takes, too many buckets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from tariffs import phrases
from tariffs.fee_periods import FeeCalendar
from tariffs.fees import FeeAllowance, FeeRule
from tariffs.lint.case import LintCase, LintFinding, Rule
from tariffs.notation import Column
from tariffs.units import Kind

BUCKETS_FEW: Final = 32
"""Half of what an account has room for."""
SAMPLED: Final = FeeCalendar(ZoneInfo("UTC"), 1, date(2026, 1, 31).toordinal())
DAY_S: Final = 86_400


def _period_s(rule: FeeRule) -> int:
    """The shortest of a year."""
    day, shortest = SAMPLED.began_day, DAY_S * 1_000_000
    while day < SAMPLED.began_day + 366:
        first, until = rule.every.around(day, SAMPLED)
        shortest, day = min(shortest, (until - first) * DAY_S), until
    return shortest


def fees(case: LintCase) -> Iterator[LintFinding]:
    """Each by itself."""
    for rule in case.parts.fees:
        where, written = f'fee "{rule.name}"', rule.written
        price = written.price.written
        if not isinstance(price, Column) and price % rule.round_to:
            text = f"its price of {phrases.amount(price)} is finer than {phrases.amount(rule.round_to)}, to which it"
            yield LintFinding("warning", "fee-rounding", where, f"{text} is rounded: nobody ever pays it")
        if not rule.every.is_once:
            period_s = _period_s(rule)
            if written.funds != "debt" and rule.in_advance and written.retry.amount >= period_s:
                text = f"is tried again every {written.retry!r}, and its period may end before that"
                yield LintFinding("note", "fee-retry", where, f"{text}: a period that lapses is not paid any more")
            if written.grace is not None and written.grace.amount >= period_s:
                text = f"its grace of {written.grace!r} is as long as a period"
                yield LintFinding("warning", "fee-grace", where, f"{text}: units are given that nobody has paid")
        yield from _units(case, rule, where)


def _is_within(one: FeeAllowance, other: FeeAllowance) -> bool:
    """Whether all that one may pay, the other may too."""
    return not other.scope or (bool(one.scope) and set(one.scope) <= set(other.scope))


def _units(case: LintCase, rule: FeeRule, where: str) -> Iterator[LintFinding]:
    buckets = sum((one.rollover + 1) * (2 if one.money else 1) for one in rule.allowances)
    if buckets > BUCKETS_FEW:
        text = f"its units fill {buckets} of the 64 buckets that an account has room for"
        yield LintFinding("warning", "fee-buckets", where, text)
    for one in rule.allowances:
        for other in rule.allowances:
            kinds = {one.kind, Kind.MONEY} if one.money else {one.kind}
            blocks = Kind.MONEY if other.money else other.kind
            if other.blocker and blocks in kinds and other.priority < one.priority and _is_within(one, other):
                text = f'its units "{one.name}" stand behind the blocker "{other.name}"'
                yield LintFinding("warning", "fee-blocked", where, f"{text}: while that is there, nothing takes them")
            if one.price and not other.price and one.kind == other.kind and one.priority < other.priority:
                text = f'its units "{one.name}", which have a price, pay before the units "{other.name}"'
                if _is_within(one, other):
                    yield LintFinding("warning", "fee-priced", where, f"{text}, which cost nothing besides")
    if not case.tariff.rows or any(element.included() for row in case.tariff.rows for element in row.elements):
        return
    for one in rule.allowances:
        if one.kind != Kind.MONEY:
            text = f'no row is a bundle, which would take the units "{one.name}"'
            yield LintFinding(
                "warning", "fee-units", where, f"{text}; if another tariff of the subscriber has one, fine"
            )


RULES: Final[tuple[Rule, ...]] = (fees,)
