"""Which period of a recurring fee comes next, when it is due, and which part of it is charged (charging.md section 21).
Pure: the calendar, the assignment and how far it is settled come in."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from tariffs.fee_periods import EVER, FeeCalendar, day_of, midnight_ms
from tariffs.fees import FeeRule, Prorated


class FeeCourse(NamedTuple):
    """An assignment, as its fees see it."""

    calendar: FeeCalendar
    ended_ms: int = 0
    """0: it goes on."""
    begins_by_change: bool = False
    """Another assignment ended on the instant it began on."""
    ends_by_change: bool = False
    """Another one begins on the instant it ends on."""


class PlannedPeriod(NamedTuple):
    """A period of a fee."""

    from_day: int
    until_day: int
    due_ms: int
    part: Fraction
    """Which is charged."""
    over_ms: int
    """When it, or the assignment, is over."""


def next_period(rule: FeeRule, course: FeeCourse, start_ms: int, day: int) -> PlannedPeriod | None:
    """The period that begins on the first day that is not settled; None where the assignment has ended before it.

    start_ms: when this fee began
    day:      first day that is not settled; 0: none is
    """
    zone = course.calendar.zone
    start_day = day_of(zone, start_ms)
    day = max(day, start_day)
    if day >= EVER:
        return None
    is_first = day == start_day
    end_day = day_of(zone, course.ended_ms) if course.ended_ms else EVER
    if (end_day <= day and not is_first) or 0 < course.ended_ms <= start_ms:
        return None
    whole = rule.every.around(day, course.calendar)
    due_ms, over_ms = max(midnight_ms(zone, day), start_ms), course.ended_ms
    if whole.until_day < EVER:
        over_ms = min(midnight_ms(zone, whole.until_day), course.ended_ms or midnight_ms(zone, whole.until_day))
    part = charged_part(rule, course, day, is_first=is_first)
    return PlannedPeriod(day, whole.until_day, due_ms if rule.in_advance or not over_ms else over_ms, part, over_ms)


def charged_part(rule: FeeRule, course: FeeCourse, day: int, *, is_first: bool) -> Fraction:
    """Of the period that begins on this day: the days that are charged by those of the whole one."""
    if rule.every.is_once:
        return Fraction(1)
    whole = rule.every.around(day, course.calendar)
    begins: Prorated = "first" if is_first and not course.begins_by_change else "changed"
    length = whole.until_day - whole.from_day
    days = length
    if begins in rule.written.prorate:
        days -= day - whole.from_day
    if course.ended_ms and end_cut(rule, course):
        end_day = max(day_of(course.calendar.zone, course.ended_ms), day + 1)
        days -= max(whole.until_day - end_day, 0)
    return Fraction(days, length)


def end_cut(rule: FeeRule, course: FeeCourse) -> bool:
    """Whether the period in which the assignment ends costs a part."""
    ends: Prorated = "changed" if course.ends_by_change else "last"
    return ends in rule.written.prorate
