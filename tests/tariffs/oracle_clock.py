"""The oracle's clock: which bands hold at an instant, and which period of a counter it falls into.

Part of the oracle (tests/tariffs/oracle.py): written from tariffs/README.md, never from the code it judges. It asks one
instant at a time and looks at nothing but what a clock on the wall shows there.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from tariffs.calendar import zone as zone_named

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
SECONDS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


@cache
def zone(name: str) -> ZoneInfo:
    """A zone, read once."""
    return zone_named(name)


def wall(at_ms: int, name: str) -> datetime:
    """What the clock on the wall shows, to the second."""
    return datetime.fromtimestamp(at_ms // 1_000, zone(name))


def several(value: Any) -> list[Any]:
    """`"a"` is `["a"]`."""
    return list(value) if isinstance(value, list | tuple) else [value]


def is_day_of(text: str, day: date) -> bool:
    """ "mon" or "fri-mon": a range may run over the end of the week."""
    first, _, last = text.partition("-")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    at = day.weekday()
    return begin <= at <= end if begin <= end else at >= begin or at <= end


def is_within(text: str, day: date) -> bool:
    """ "2026-04-01/2026-05-01": the last day is not in it."""
    begin, end = text.split("/")
    return date.fromisoformat(begin) <= day < date.fromisoformat(end)


def is_in_calendar(days: Any, day: date) -> bool:
    """ "12-25" is of every year, "2026-04-03" of one."""
    return any(text in (day.isoformat(), day.isoformat()[5:]) for text in several(days))


def day_counts(band: dict[str, Any], day: date, calendars: dict[str, Any]) -> bool:
    """Does everything that a band says of days hold for this day?"""
    if "days" in band and not any(is_day_of(text, day) for text in several(band["days"])):
        return False
    if "dates" in band and not any(is_within(text, day) for text in several(band["dates"])):
        return False
    if "months" in band and MONTHS[day.month - 1] not in several(band["months"]):
        return False
    if "calendars" in band and not any(is_in_calendar(calendars[name], day) for name in several(band["calendars"])):
        return False
    return not any(is_in_calendar(calendars[name], day) for name in several(band.get("except", [])))


def second_of(text: str) -> int:
    """ "08:30" is 30,600, "08:30:15" 15 more."""
    hour, minute, second = [int(part) for part in [*text.split(":"), "0"][:3]]
    return hour * 3_600 + minute * 60 + second


def band_holds(band: dict[str, Any], calendars: dict[str, Any], at_ms: int, name: str) -> bool:
    """Does the wall of this zone show a time of the band?"""
    now = wall(at_ms, name)
    if "hours" not in band:
        return day_counts(band, now.date(), calendars)
    second = now.hour * 3_600 + now.minute * 60 + now.second
    for text in several(band["hours"]):
        begin, end = (second_of(part) for part in text.split("-"))
        if begin < end:
            if begin <= second < end and day_counts(band, now.date(), calendars):
                return True
        elif second >= begin:
            if day_counts(band, now.date(), calendars):
                return True
        elif second < end and day_counts(band, now.date() - timedelta(days=1), calendars):
            return True  # past midnight they belong to the day they begin on
    return False


def length_ms(text: str) -> int:
    """ "48 h", "7 d once"."""
    number, unit = text.split()[:2]
    return int(number) * SECONDS[unit] * 1_000


def period_of(text: str, at_ms: int, name: str) -> str:
    """A name for the day, week, month or year of a counter that an instant falls into; "" for ever."""
    day = wall(at_ms, name).date()
    if text == "day":
        return day.isoformat()
    if text == "week":
        return (day - timedelta(days=day.weekday())).isoformat()
    if text == "year":
        return str(day.year)
    if text.startswith("month"):
        first = int(text.rpartition(" ")[2]) if " from " in text else 1
        if day.day < first:  # it still belongs to the month that began before
            day = day.replace(day=1) - timedelta(days=1)
        return f"{day.year}-{day.month} from {first}"
    return ""


def is_window(text: str) -> bool:
    """So long from first use."""
    return text[:1].isdigit()
