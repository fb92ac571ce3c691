"""Which time bands hold at an instant, until when, and which period of a counter it falls into.

The one idea: what counts is what the clock on the wall of the tariff's zone shows. On the 25-hour day both passes of
the repeated hour show the same times, so a band in it holds twice; the hour that the 23-hour day skips is never shown.
Good for the years 1970 to 2100, for which tzdata has been checked never to move a clock twice within two days.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from tariffs.notation import Quantity
from tariffs.units import Kind

T = TypeVar("T")
Text = str | Annotated[tuple[str, ...], Meta(min_length=1)]
"""An empty list is refused: taken for one that was not given, it would make the band hold at all times."""

DAY_S: Final = 86_400
WINDOW_MS_MAX: Final = 36_500 * DAY_S * 1_000
"""A hundred years: any longer is "ever", and the sum with an instant stays below 2^53."""

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_EPOCH: Final = date(1970, 1, 1).toordinal()
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?|24:00(?::00)?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EVERY_YEAR: Final = re.compile(r"\d\d-\d\d", re.ASCII)
_MONTH_FROM: Final = re.compile(r"month from (\d{1,2})", re.ASCII)


# --- zones


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split())


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of that name in the tzdata package. Never what the machine has, nor may add by PYTHONTZPATH: a price
    must not depend on who computed it."""
    if name not in _zone_names():
        raise ValueError(f'expected a time zone such as "Europe/Berlin" or "UTC", not {name!r}')
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _offset_s(of: ZoneInfo, at_s: int) -> int:
    """Offset of local time from UTC in seconds."""
    return (datetime.fromtimestamp(at_s, of).utcoffset() or timedelta()) // _SECOND


def _change_s(of: ZoneInfo, before_s: int, after_s: int) -> int:
    """First second of the offset that holds at `after_s`, when another one holds at `before_s`. They are less than
    two days apart, so there is one change between them."""
    old_s = _offset_s(of, before_s)
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(of, middle_s) == old_s:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s


def offset_changes(of: ZoneInfo, from_s: int, to_s: int) -> list[int]:
    """The offset of an instant, and then in pairs each instant up to another one from which on another offset holds,
    and that."""
    found = [_offset_s(of, from_s)]
    for at_s in range(from_s, to_s, DAY_S):
        while _offset_s(of, at_s + DAY_S) != found[-1]:
            change_s = _change_s(of, at_s, at_s + DAY_S)
            found += [change_s, _offset_s(of, change_s)]
    return found


def begin_ms(of: ZoneInfo, day: date) -> int:
    """First instant at which the wall shows this day or a later one. Where the clock skips midnight that is after the
    gap, where it shows midnight twice the first time, and a day that never was has the begin of the next."""
    wall_s = (day.toordinal() - _EPOCH) * DAY_S
    before_s = wall_s - DAY_S  # no zone is a whole day away from UTC
    begin_s = wall_s - _offset_s(of, before_s)
    if _offset_s(of, begin_s) != wall_s - begin_s:
        change_s = _change_s(of, before_s, begin_s)
        begin_s = max(change_s, wall_s - _offset_s(of, change_s))
    return begin_s * 1_000


# --- calendars and bands, as written


class Calendar:
    """Days such as public holidays: "12-25" is one of every year, "2026-04-03" of that year only."""

    __slots__ = ("_every_year", "_once")

    def __init__(self, days: str | Iterable[str]) -> None:
        self._every_year: set[tuple[int, int]] = set()
        self._once: set[date] = set()
        for written in (days,) if isinstance(days, str) else days:
            try:
                if _EVERY_YEAR.fullmatch(written):
                    day = date.fromisoformat(f"2000-{written}")  # a leap year, for the sake of 02-29
                    self._every_year.add((day.month, day.day))
                else:
                    self._once.add(_date(written))
            except ValueError:
                raise ValueError(f'expected a day such as "12-25" or "2026-12-25", not {written!r}') from None

    def __contains__(self, day: date) -> bool:
        return (day.month, day.day) in self._every_year or day in self._once


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"except_": "except"}):
    """A time band as written: it holds when all that is given does, each by any of its values."""

    days: Text = ()
    """ "sat", "mon-fri", "sat-mon"; absent: every day."""
    hours: Text = ()
    """ "08:00-20:00", "22:30:15-23:00", half open; absent: all day. "22:00-06:00" goes past midnight and belongs to the
    day it begins on: days, dates, months and calendars are asked of that one."""
    dates: Text = ()
    """ "2026-12-31", or half open "2026-04-01/2026-05-01"."""
    months: Text = ()
    """ "apr", "nov-feb"."""
    calendars: Text = ()
    """Only on their days."""
    except_: Text = ()
    """Not on the days of these calendars."""


def _date(written: str) -> date:
    if not _DATE.fullmatch(written):  # fromisoformat takes "2026-W14-5" and "20260403" too
        raise ValueError(written)
    return date.fromisoformat(written)


def read_hours(written: str) -> tuple[int, int]:
    """Seconds of the day; the end lies beyond the day when the band goes past midnight."""
    first, _, last = written.partition("-")
    from_s, until_s = _read_clock(first), _read_clock(last)
    if from_s is None or until_s is None or from_s == DAY_S:
        raise ValueError(f'expected hours such as "08:00-20:00" or "22:30:15-06:00", not {written!r}')
    if from_s == until_s:
        raise ValueError(f'expected hours of some length ("00:00-24:00" is all day), not {written!r}')
    return from_s, until_s if from_s < until_s else until_s + DAY_S


def _read_clock(written: str) -> int | None:
    """Seconds of the day; None where it is no time."""
    found = _CLOCK.fullmatch(written)
    if found is None:
        return None
    hour, minute, second = (int(part or 0) for part in found.groups())
    return hour * 3_600 + minute * 60 + second if found.group(1) else DAY_S


def _read_dates(written: str) -> tuple[int, int]:
    """Ordinals, half open."""
    first, is_range, last = written.partition("/")
    try:
        from_day = _date(first).toordinal()
        until_day = _date(last).toordinal() if is_range else from_day + 1
    except ValueError:
        raise ValueError(f'expected dates such as "2026-12-31" or "2026-04-01/2026-05-01", not {written!r}') from None
    if from_day >= until_day:
        raise ValueError(f"expected dates that end after they begin (the last one is not included), not {written!r}")
    return from_day, until_day


def _read_names(what: str, example: str, names: Sequence[str]) -> Callable[[str], list[int]]:
    """Reader of "fri" and "fri-mon" as places in `names`, over its end where the last is before the first."""

    def read(written: str) -> list[int]:
        first, is_range, last = written.partition("-")
        last = last if is_range else first
        if first not in names or last not in names:
            raise ValueError(f"expected {what} such as {example} ({', '.join(names)}), not {written!r}")
        place, more = names.index(first), names.index(last) - names.index(first)
        return [(place + step) % len(names) for step in range(more % len(names) + 1)]

    return read


read_days: Final = _read_names("days", '"sat" or "mon-fri"', DAYS)
_read_months: Final = _read_names("months", '"apr" or "nov-feb"', MONTHS)


def _each(key: str, written: Text, read: Callable[[str], T]) -> list[T]:
    try:
        return [read(text) for text in ((written,) if isinstance(written, str) else written)]
    except ValueError as bad:
        raise ValueError(f"{key}: {bad}") from None


class CompiledBand:
    """A band, ready to be asked about a day."""

    __slots__ = ("_calendars", "_dates", "_excepted", "_months", "_weekdays", "hours", "name", "tails")

    def __init__(self, name: str, band: Band, calendars: Mapping[str, Calendar]) -> None:
        def read_calendar(written: str) -> Calendar:
            if written not in calendars:
                known = ", ".join(sorted(calendars)) or "none is there"
                raise ValueError(f"expected a calendar ({known}), not {written!r}")
            return calendars[written]

        if band == Band():
            raise ValueError(f"expected at least one of {', '.join(band.__struct_encode_fields__)}")
        self.name = name
        self._weekdays = frozenset(day for days in _each("days", band.days, read_days) for day in days)
        self._months = frozenset(month for months in _each("months", band.months, _read_months) for month in months)
        self._dates = _each("dates", band.dates, _read_dates)
        self._calendars = _each("calendars", band.calendars, read_calendar)
        self._excepted = _each("except", band.except_, read_calendar)
        self.hours = _each("hours", band.hours, read_hours) or [(0, DAY_S)]
        """In seconds on the clock of the day itself..."""
        self.tails = [(0, until_s - DAY_S) for _, until_s in self.hours if until_s > DAY_S]
        """ ... and what of them reaches into the next one."""

    def spans(self, day: date) -> list[tuple[int, int]]:
        """When it holds on this day, in seconds on its clock; the last may reach beyond."""
        spans = self.hours if self.on(day) else []
        return spans + self.tails if self.tails and self.on(day - _DAY) else spans

    def on(self, day: date) -> bool:
        """Its hours count on this day."""
        ordinal = day.toordinal()
        return (
            (not self._weekdays or day.weekday() in self._weekdays)
            and (not self._months or day.month - 1 in self._months)
            and (not self._dates or any(first <= ordinal < last for first, last in self._dates))
            and (not self._calendars or any(day in calendar for calendar in self._calendars))
            and not any(day in calendar for calendar in self._excepted)
        )


class OtherTimes:
    """All times but those of some bands: `time = { not = "peak" }`."""

    __slots__ = ("name", "of", "tails")

    def __init__(self, of: Sequence[CompiledBand]) -> None:
        self.name = f"not {' or '.join(band.name for band in of)}"
        self.of = tuple(of)
        self.tails: tuple[()] = ()

    def spans(self, day: date) -> list[tuple[int, int]]:
        """As those of a band."""
        spans, at_s = [], 0
        for begin_s, end_s in sorted(span for band in self.of for span in band.spans(day)):
            if begin_s > at_s:
                spans.append((at_s, begin_s))
            at_s = max(at_s, end_s)
        return [*spans, (at_s, DAY_S)] if at_s < DAY_S else spans


TimeBand = CompiledBand | OtherTimes


def compile_bands(bands: Mapping[str, Band], calendars: Mapping[str, Calendar]) -> tuple[CompiledBand, ...]:
    """In their order, which is that of the bits of `Stretch.holds`; ValueError "peak: hours: expected ..."."""
    compiled = []
    for name, band in bands.items():
        try:
            compiled.append(CompiledBand(name, band, calendars))
        except ValueError as bad:
            raise ValueError(f"{name}: {bad}") from None
    return tuple(compiled)


# --- in time


class Stretch(NamedTuple):
    """Half-open interval in which no band begins or ends. It may end where nothing changes: at midnight, and where the
    clock is moved."""

    from_ms: int
    until_ms: int
    """0: for good."""
    holds: int
    """Bit i: band i holds."""


class Schedule:
    """Bands on the wall clock of one zone."""

    __slots__ = ("_bands", "zone")

    def __init__(self, zone: ZoneInfo, bands: Sequence[TimeBand]) -> None:
        self.zone = zone
        self._bands = tuple((1 << place, band) for place, band in enumerate(bands))

    def at(self, at_ms: int) -> Stretch:
        """The stretch around this instant."""
        if not self._bands:
            return Stretch(0, 0, 0)
        at_s = at_ms // 1_000
        offset_s = _offset_s(self.zone, at_s)
        day, clock_s = divmod(at_s + offset_s, DAY_S)
        today = date.fromordinal(_EPOCH + day)
        since_s, to_s, holds = 0, DAY_S, 0  # on the clock
        for bit, band in self._bands:
            for begin_s, end_s in band.spans(today):
                if clock_s < begin_s:
                    to_s = min(to_s, begin_s)
                elif clock_s >= end_s:
                    since_s = max(since_s, end_s)
                else:
                    since_s, to_s, holds = max(since_s, begin_s), min(to_s, end_s), holds | bit
        from_s, until_s = at_s - clock_s + since_s, at_s - clock_s + to_s
        # The clock showed all of that one after the other only while it was not moved.
        if _offset_s(self.zone, from_s) != offset_s:
            from_s = _change_s(self.zone, from_s, at_s)
        if _offset_s(self.zone, until_s - 1) != offset_s:
            until_s = _change_s(self.zone, at_s, until_s - 1)
        return Stretch(from_s * 1_000, until_s * 1_000, holds)


class Rhythm(NamedTuple):
    """A way to cut the calendar into periods."""

    days_max: int
    """Of the longest period. So many days after the first one lies the next period, whichever it is."""
    begin: Callable[[date], date]
    """First day of the period that this day is in."""
    key: Callable[[date], str]
    """Name of the period that begins on this day."""


def _from_day(first: int) -> Callable[[date], date]:
    """Months that begin on this day, 1 to 28."""

    def begin(day: date) -> date:
        month = day if day.day >= first else day.replace(day=1) - timedelta(days=1)
        return month.replace(day=first)

    return begin


RHYTHMS: Final = {
    "day": Rhythm(1, lambda day: day, date.isoformat),
    "week": Rhythm(
        7,
        lambda day: day - timedelta(days=day.weekday()),
        lambda day: f"{day.isocalendar().year}-W{day.isocalendar().week:02}",
    ),
    "month": Rhythm(31, _from_day(1), lambda day: day.isoformat()[:7]),
    "year": Rhythm(366, lambda day: day.replace(month=1, day=1), lambda day: day.isoformat()[:4]),
}


class CounterPeriod:
    """What a counter counts over: a part of the calendar, for ever, or so long from its first use."""

    __slots__ = ("_rhythm", "once", "window_ms", "written")

    def __init__(self, written: str, rhythm: Rhythm | None = None, window_ms: int = 0, once: bool = False) -> None:
        """
        rhythm:     None: no part of the calendar
        window_ms:  from the first use; 0: no such window
        once:       it never begins again
        """
        self.written, self._rhythm, self.window_ms, self.once = written, rhythm, window_ms, once

    @classmethod
    def read(cls, written: object) -> CounterPeriod:
        """From "day", "week", "month", "month from 15", "year", "ever", "48 h" or "7 d once"."""
        expected = (
            'expected day, week, month, "month from 15", year, ever, or a time from first use such as "48 h" or '
            f'"7 d once", not {written!r}'
        )
        if not isinstance(written, str):
            raise ValueError(expected)
        text = " ".join(written.split())
        if text == "ever":
            return cls(text)
        if text in RHYTHMS:
            return cls(text, RHYTHMS[text])
        if found := _MONTH_FROM.fullmatch(text):
            first = int(found.group(1))
            if not 1 <= first <= 28:
                raise ValueError(f"expected a first day that every month has, 1 to 28, not {first}")
            return cls(text, Rhythm(31, _from_day(first), date.isoformat))
        window = text.removesuffix(" once")
        try:
            quantity = Quantity.read(window)
        except ValueError:
            raise ValueError(expected) from None
        if quantity.kind != Kind.SECONDS:
            raise ValueError(expected)
        if quantity.amount * 1_000 > WINDOW_MS_MAX:
            raise ValueError(f"expected at most {WINDOW_MS_MAX // DAY_S // 1_000} d, not {written!r}")
        return cls(text, None, quantity.amount * 1_000, window != text)

    def at(self, zone: ZoneInfo, at_ms: int) -> tuple[str, int, int]:
        """Key of the period around this instant, and its half-open interval in that zone; ("", 0, 0) where the
        calendar does not matter."""
        rhythm = self._rhythm
        if rhythm is None:
            return "", 0, 0
        begin = rhythm.begin(datetime.fromtimestamp(at_ms // 1_000, zone).date())
        while True:
            following = rhythm.begin(begin + timedelta(days=rhythm.days_max))
            until_ms = begin_ms(zone, following)
            if at_ms < until_ms:
                return rhythm.key(begin), begin_ms(zone, begin), until_ms
            begin = following  # the clock was put back over midnight: what has begun is not taken back

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CounterPeriod) and self.written == other.written

    def __hash__(self) -> int:
        return hash(self.written)

    def __repr__(self) -> str:
        return self.written
