"""Hours of the week as they are written, "mon-fri 22:00-06:00, sat", and the clock on the wall of a zone as instants in
which it is moved: what hours need where no zone is known.

Hours that go past midnight belong to the day on which they begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from tariffs.calendar import DAY_S, DAYS, offset_changes, read_days, read_hours, zone

PARTS_MAX: Final = 8
CLOCK_YEARS: Final = 10
"""So many years ahead the moves of a clock are known; after that it stays as it is then."""


class HoursOfDays(NamedTuple):
    days: int
    """Bit 0 is Monday."""
    from_s: int
    until_s: int
    """Beyond the end of the day where they go past midnight."""


def read_week_hours(written: str) -> tuple[HoursOfDays, ...]:
    """In the order in which they begin; ValueError says what cannot be read. "" is none."""
    expected = f'expected hours such as "mon-fri 22:00-06:00, sat", at most {PARTS_MAX} of them, not {written[:80]!r}'
    parts = [part.split() for part in written.split(",")] if written.strip() else []
    if len(parts) > PARTS_MAX or not all(1 <= len(part) <= 2 for part in parts):
        raise ValueError(expected)
    found = []
    for part in parts:
        *days, hours = part if ":" in part[-1] else [*part, "00:00-24:00"]
        if len(days) > 1:
            raise ValueError(expected)
        mask = sum(1 << day for day in read_days(days[0])) if days else (1 << len(DAYS)) - 1
        found.append(HoursOfDays(mask, *read_hours(hours)))
    return tuple(sorted(found, key=lambda one: one.from_s))


def written_week_hours(hours: Sequence[tuple[int, int, int]]) -> str:
    """As they could be written."""
    return ", ".join(" ".join(filter(None, (_days(days), _clock(first, last)))) for days, first, last in hours)


def _days(mask: int) -> str:
    if mask == (1 << len(DAYS)) - 1:
        return ""
    first = next(day for day in range(len(DAYS)) if mask >> day & 1 and not mask >> (day - 1) % len(DAYS) & 1)
    count = next(more for more in range(1, len(DAYS)) if not mask >> (first + more) % len(DAYS) & 1)
    return DAYS[first] if count == 1 else f"{DAYS[first]}-{DAYS[(first + count - 1) % len(DAYS)]}"


def _clock(from_s: int, until_s: int) -> str:
    def text(of_s: int) -> str:
        minutes, second = divmod(of_s if of_s <= DAY_S else of_s - DAY_S, 60)
        return f"{minutes // 60:02}:{minutes % 60:02}" + (f":{second:02}" if second else "")

    return f"{text(from_s)}-{text(until_s)}"


@lru_cache(512)
def _clock_of(zone_name: str, year: int) -> tuple[int, ...]:
    begin, end = (int(datetime(of, 1, 1, tzinfo=UTC).timestamp()) for of in (year - 1, year + CLOCK_YEARS))
    return tuple(offset_changes(zone(zone_name), begin, end))


def clock_of(zone_name: str, now_ms: int) -> list[int]:
    """The clock on the wall of a zone, from the year before: seconds from UTC, and then in pairs an instant in seconds
    and what holds from then on."""
    return list(_clock_of(zone_name, datetime.fromtimestamp(now_ms // 1_000, UTC).year))
