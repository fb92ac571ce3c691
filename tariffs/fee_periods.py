"""Periods of recurring fees: whole days of a calendar, half open, without gap (charging.md section 21). Days are
ordinals (`date.toordinal`), so that a period is the same in every zone."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from tariffs.calendar import DAYS, begin_ms

EVER: Final = date.max.toordinal()
"""The day on which what has no end ends."""
DAYS_MAX: Final = 3_660
EXPECTED: Final = (
    'expected day, week, "week from thu", month, "month from 31", "month from start", "billing month", "30 d", or once'
)
_MONTH: Final = re.compile(r"month from (\d{1,2})", re.ASCII)
_DAYS: Final = re.compile(r"(\d{1,4}) ?d", re.ASCII)


class FeeCalendar(NamedTuple):
    """What the periods of a fee depend on besides its document."""

    zone: ZoneInfo
    """Of the account."""
    billing_day: int
    """Of the account: 1 to 31."""
    began_day: int
    """On which the assignment began."""


class DayPeriod(NamedTuple):
    from_day: int
    until_day: int


def day_of(zone: ZoneInfo, at_ms: int) -> int:
    """The day that the wall shows at an instant."""
    return datetime.fromtimestamp(at_ms // 1_000, zone).date().toordinal()


def midnight_ms(zone: ZoneInfo, day: int) -> int:
    """The instant a day begins."""
    return begin_ms(zone, date.fromordinal(day))


def day_text(day: int) -> str:
    """2026-11-01"""
    return date.fromordinal(day).isoformat()


def _month_begin(year: int, month: int, first: int) -> date:
    """A month that has no such day begins on its last one."""
    return date(year, month, min(first, monthrange(year, month)[1]))


def _months(day: int, first: int) -> DayPeriod:
    today = date.fromordinal(day)
    begin = _month_begin(today.year, today.month, first)
    if today < begin:
        before = today.replace(day=1) - timedelta(days=1)
        begin = _month_begin(before.year, before.month, first)
    after = begin.replace(day=1) + timedelta(days=32)
    return DayPeriod(begin.toordinal(), _month_begin(after.year, after.month, first).toordinal())


def _weeks(day: int, first: int) -> DayPeriod:
    begin = day - (day - 1 - first) % 7  # 0001-01-01 was a Monday
    return DayPeriod(begin, begin + 7)


class FeePeriod:
    """How often a fee is due, as written."""

    __slots__ = ("_around", "is_daily", "is_once", "written")

    def __init__(self, written: str, around: Callable[[int, FeeCalendar], DayPeriod]) -> None:
        self.written, self._around = written, around
        self.is_once, self.is_daily = written == "once", written == "day"

    @classmethod
    def read(cls, written: object) -> FeePeriod:
        text = " ".join(written.split()) if isinstance(written, str) else ""
        if text == "day":
            return cls(text, lambda day, _: DayPeriod(day, day + 1))
        if text == "once":
            return cls(text, lambda day, _: DayPeriod(day, EVER))
        if text == "week" or (text.startswith("week from ") and text[10:] in DAYS):
            first = DAYS.index(text[10:]) if text != "week" else 0
            return cls(text, lambda day, _: _weeks(day, first))
        if text == "month":
            return cls(text, lambda day, _: _months(day, 1))
        if text == "month from start":
            return cls(text, lambda day, of: _months(day, date.fromordinal(of.began_day).day))
        if text == "billing month":
            return cls(text, lambda day, of: _months(day, of.billing_day))
        if (found := _MONTH.fullmatch(text)) and 1 <= (number := int(found[1])) <= 31:
            return cls(text, lambda day, _: _months(day, number))
        if (found := _DAYS.fullmatch(text)) and 1 <= (days := int(found[1])) <= DAYS_MAX:
            return cls(f"{days} d", lambda day, of: _blocks(day, of.began_day, days))
        raise ValueError(f"{EXPECTED}, not {written!r}")

    def around(self, day: int, of: FeeCalendar) -> DayPeriod:
        """The period that this day is in."""
        return self._around(day, of)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeePeriod) and self.written == other.written

    def __hash__(self) -> int:
        return hash(self.written)

    def __repr__(self) -> str:
        return self.written


def _blocks(day: int, began_day: int, days: int) -> DayPeriod:
    begin = day - (day - began_day) % days
    return DayPeriod(begin, begin + days)
