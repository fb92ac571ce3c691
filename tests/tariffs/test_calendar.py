"""Bands, calendars and periods against an oracle that looks at the wall clock minute by minute, where clocks move most
oddly; and tables of what a product manager would expect."""

from __future__ import annotations

import re
import time
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.calendar import DAYS, MONTHS, Band, Calendar, CounterPeriod, Schedule, Stretch, compile_bands, zone

HOUR_MS = 3_600_000
CALENDARS = {
    "every": ["01-01", "02-29", "03-29", "10-25", "12-31"],
    "once": ["2011-12-29", "2011-12-30", "2025-11-02", "2026-04-24", "2026-10-25"],
}
COMPILED = {name: Calendar(days) for name, days in CALENDARS.items()}

MOVES = """
    Europe/Berlin        2026-03-29T01:00:00   # 02:00 -> 03:00
    Europe/Berlin        2026-10-25T01:00:00   # 03:00 -> 02:00
    Europe/Berlin        2099-10-25T01:00:00   # by the rule, beyond all listed years
    America/New_York     2026-11-01T06:00:00
    Australia/Lord_Howe  2026-04-04T15:00:00   # half an hour back
    Australia/Lord_Howe  2026-10-03T15:30:00   # half an hour on
    America/Havana       2026-03-08T05:00:00   # 00:00 -> 01:00: no midnight
    America/Havana       2025-11-02T05:00:00   # 01:00 -> 00:00: midnight twice
    Asia/Beirut          2026-03-28T22:00:00   # 00:00 -> 01:00
    Asia/Beirut          2026-10-24T21:00:00   # 00:00 -> 23:00 of the day before
    Africa/Cairo         2026-04-23T22:00:00
    Africa/Cairo         2026-10-29T21:00:00
    America/St_Johns     2006-10-29T02:31:00   # 00:01 -> 23:01: the new day is left again
    Pacific/Apia         2011-12-30T10:00:00   # no 30 December at all
    Pacific/Kwajalein    1993-08-21T12:00:00   # no 21 August
    Asia/Kathmandu       1985-12-31T18:30:00   # a quarter of an hour on
    Africa/Monrovia      1972-01-07T00:44:30   # offsets of seconds until then
"""


def moves() -> list[tuple[str, int]]:
    return [(line.split()[0], ms(line.split()[1])) for line in MOVES.strip().splitlines()]


def ms(written: str, name: str = "UTC") -> int:
    """Of "2026-03-29T01:00+01:00", or of a time on the wall in a zone (the first, where it is shown twice)."""
    at = datetime.fromisoformat(written)
    return int((at if at.tzinfo else at.replace(tzinfo=zone(name))).timestamp()) * 1_000


def refuses(why: str) -> AbstractContextManager[object]:
    return pytest.raises(ValueError, match=re.escape(why))


def wall(name: str, at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1_000, zone(name)).replace(tzinfo=None)


class OracleBand(NamedTuple):
    """A band as meant, for the oracle. Hours in minutes, all else in days."""

    days: Sequence[tuple[int, int]] = ()
    hours: Sequence[tuple[int, int]] = ()
    dates: Sequence[tuple[date, date]] = ()
    months: Sequence[tuple[int, int]] = ()
    calendars: Sequence[str] = ()
    except_: Sequence[str] = ()

    def written(self) -> Band:
        def named(names: tuple[str, ...], spans: Sequence[tuple[int, int]]) -> tuple[str, ...]:
            return tuple(names[a] if a == b else f"{names[a]}-{names[b]}" for a, b in spans)

        return Band(
            named(DAYS, self.days),
            tuple(f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in self.hours),
            tuple(f"{a}/{b}" if (b - a).days > 1 else str(a) for a, b in self.dates),
            named(MONTHS, self.months),
            tuple(self.calendars),
            tuple(self.except_),
        )

    def on(self, day: date) -> bool:
        def between(value: int, spans: Sequence[tuple[int, int]]) -> bool:
            return not spans or any(a <= value <= b if a <= b else value >= a or value <= b for a, b in spans)

        def listed(name: str) -> bool:
            return day.isoformat() in CALENDARS[name] or day.isoformat()[5:] in CALENDARS[name]

        return (
            between(day.weekday(), self.days)
            and between(day.month - 1, self.months)
            and (not self.dates or any(a <= day < b for a, b in self.dates))
            and (not self.calendars or any(listed(name) for name in self.calendars))
            and not any(listed(name) for name in self.except_)
        )

    def holds(self, at: datetime) -> bool:
        minute, today = at.hour * 60 + at.minute, at.date()
        for a, b in self.hours or [(0, 1440)]:
            if a < b and a <= minute < b and self.on(today):
                return True
            if a > b and ((minute >= a and self.on(today)) or (minute < b and self.on(today - timedelta(days=1)))):
                return True
        return False


MINUTES = st.sampled_from([0, 30, 60, 90, 120, 150, 180, 240, 480, 1200, 1320, 1380, 1410]) | st.integers(0, 1439)
HOURS = st.tuples(MINUTES, MINUTES | st.just(1440)).filter(lambda span: span[0] != span[1])
LISTED = st.lists(st.sampled_from(sorted(CALENDARS)), max_size=2)


@st.composite
def instants(draw: st.DrawFn) -> tuple[str, int]:
    """A zone, and an instant within a day and a half of one of its moves, or anywhere."""
    name, move_ms = draw(st.sampled_from(moves()))
    near = st.integers(-36 * HOUR_MS, 36 * HOUR_MS).map(lambda away_ms: move_ms + away_ms)
    return name, draw(near | near | st.integers(0, ms("2100-01-01")))


@st.composite
def bands(draw: st.DrawFn, today: date) -> OracleBand:
    begins, lasts = st.integers(-2, 2), st.integers(1, 3)
    dates = st.tuples(begins, lasts).map(lambda span: (today + timedelta(span[0]), today + timedelta(sum(span))))
    wanted = OracleBand(
        draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=2)),
        draw(st.lists(HOURS, max_size=3)),
        draw(st.lists(dates, max_size=2)),
        draw(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=1)),
        draw(LISTED),
        draw(LISTED),
    )
    return wanted if any(wanted) else wanted._replace(hours=[(120, 150)])


def schedule(name: str, *wanted: Band) -> Schedule:
    return Schedule(zone(name), compile_bands({str(place): band for place, band in enumerate(wanted)}, COMPILED))


@given(instants(), st.data())
def test_a_stretch_is_what_the_wall_shows(where: tuple[str, int], data: st.DataObject) -> None:
    name, at_ms = where
    wanted = data.draw(st.lists(bands(wall(name, at_ms).date()), min_size=1, max_size=4))
    stretch = schedule(name, *(one.written() for one in wanted)).at(at_ms)
    assert stretch.from_ms <= at_ms < stretch.until_ms <= stretch.from_ms + 24 * HOUR_MS
    minutes = range(stretch.from_ms, stretch.until_ms, 60_000)  # bands begin with a minute, so a change shows in these
    for inside_ms in {*minutes, at_ms, stretch.until_ms - 1}:
        now = wall(name, inside_ms)
        assert sum(1 << bit for bit, one in enumerate(wanted) if one.holds(now)) == stretch.holds, now


@pytest.mark.parametrize(("name", "move_ms"), moves())
def test_every_second_around_a_move(name: str, move_ms: int) -> None:
    wanted = [OracleBand(hours=[span]) for span in [(0, 30), (120, 151), (1320, 31), (1439, 1440)]]
    wanted += [OracleBand(calendars=[calendar]) for calendar in CALENDARS]
    of = schedule(name, *(one.written() for one in wanted))
    last = -1
    assert wall(name, move_ms) - wall(name, move_ms - 1_000) != timedelta(seconds=1)
    for at_ms in range(move_ms - 90_000, move_ms + 90_000, 1_000):
        now, stretch = wall(name, at_ms), of.at(at_ms)
        assert stretch.holds == sum(1 << bit for bit, one in enumerate(wanted) if one.holds(now)), now
        assert last in (-1, stretch.from_ms) or stretch.from_ms == at_ms
        last = stretch.from_ms


@pytest.mark.parametrize(("name", "move_ms"), moves())
def test_stretches_follow_each_other(name: str, move_ms: int) -> None:
    of = schedule(name, Band(hours=("08:00-20:00", "23:30-00:30", "02:15-02:45")), Band(days="sat-mon"))
    at_ms, end_ms, found = move_ms - 96 * HOUR_MS, move_ms + 96 * HOUR_MS, list[Stretch]()
    while at_ms < end_ms:
        found.append(of.at(at_ms))
        at_ms = found[-1].until_ms
    assert all(before.until_ms == after.from_ms for before, after in pairwise(found))
    for stretch in found:  # from wherever it is asked, it is the same
        middle_ms = (stretch.from_ms + stretch.until_ms) // 2
        assert of.at(middle_ms) == of.at(stretch.from_ms) == of.at(stretch.until_ms - 1) == stretch
    assert len(found) <= 9 * 8 + 2  # and not cut up more than a day has edges


LASTS = """
    zone                 begins on    its hours     how long it holds
    Europe/Berlin        2026-06-01   00:00-24:00   24:00
    Europe/Berlin        2026-03-29   00:00-24:00   23:00
    Europe/Berlin        2026-03-29   02:00-02:30   00:00
    Europe/Berlin        2026-03-28   22:00-06:00   07:00
    Europe/Berlin        2026-10-25   00:00-24:00   25:00
    Europe/Berlin        2026-10-25   02:00-02:30   01:00
    Europe/Berlin        2026-10-24   22:00-06:00   09:00
    Europe/Berlin        2026-10-25   22:00-06:00   08:00
    Australia/Lord_Howe  2026-04-05   00:00-24:00   24:30
    Australia/Lord_Howe  2026-10-04   00:00-24:00   23:30
    America/Havana       2026-03-08   00:00-24:00   23:00
    America/Havana       2025-11-02   00:00-01:00   02:00
    UTC                  2026-06-01   23:30-00:30   01:00
    Asia/Beirut          2026-10-24   00:00-24:00   25:00
    Africa/Cairo         2026-04-24   00:00-24:00   23:00
    Pacific/Apia         2011-12-29   00:00-24:00   24:00
    Pacific/Apia         2011-12-30   00:00-24:00   00:00
    Pacific/Apia         2011-12-29   22:00-06:00   02:00   # the morning after is the 31st:
    Pacific/Apia         2011-12-30   22:00-06:00   06:00   # ... its night began on a 30th that no wall showed
"""


@pytest.mark.parametrize("line", LASTS.strip().splitlines()[1:])
def test_how_long_a_band_lasts(line: str) -> None:
    name, day, hours, lasts = line.partition("#")[0].split()
    of, at_ms, total_ms = schedule(name, Band(dates=day, hours=hours)), ms(day) - 72 * HOUR_MS, 0
    while at_ms < ms(day) + 96 * HOUR_MS:  # days before and after: it holds on no other
        stretch = of.at(at_ms)
        total_ms += stretch.holds * (stretch.until_ms - stretch.from_ms)
        at_ms = stretch.until_ms
    assert total_ms == int(lasts[:2]) * HOUR_MS + int(lasts[3:]) * 60_000


def test_a_night_belongs_to_the_day_it_begins_on() -> None:
    friday, may = Band(days="fri", hours="22:00-06:00"), Band(months="may", hours="22:00-06:00")
    of = schedule("Europe/Berlin", friday, may, Band(calendars="every", hours="22:00-06:00"))
    holds = {
        "2026-11-27T21:59": 0b000,  # a Friday
        "2026-11-27T22:00": 0b001,
        "2026-11-28T05:59": 0b001,
        "2026-11-28T06:00": 0b000,
        "2026-11-28T22:00": 0b000,
        "2026-05-01T05:00": 0b000,  # begun on 30 April
        "2026-06-01T05:00": 0b010,  # begun on 31 May
        "2027-01-01T05:00": 0b100,  # a Friday, but begun on Thursday 31 December
    }
    assert {at: of.at(ms(at, "Europe/Berlin")).holds for at in holds} == holds
    assert schedule("Europe/Berlin").at(1_800_000_000_000) == Stretch(0, 0, 0)  # no bands: for good


@pytest.fixture(params=["Asia/Tokyo", "America/New_York", "UTC"])
def machine_zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as machine:
        machine.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("machine_zone")
def test_the_machine_may_stand_anywhere() -> None:
    at_ms = ms("2026-10-26T08:33+01:00") + 123
    peak = Band(days="mon-fri", hours="07:00-20:00")
    assert schedule("Europe/Berlin", peak).at(at_ms) == (ms("2026-10-26T06:00Z"), ms("2026-10-26T19:00Z"), 1)
    assert CounterPeriod.read("day").at(zone("Europe/Berlin"), at_ms)[0] == "2026-10-26"


def test_the_machines_zones_are_not_used(tmp_path: Path) -> None:
    wrong = (files("tzdata") / "zoneinfo" / "Asia" / "Tokyo").read_bytes()
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(wrong)
    zone.cache_clear()
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    try:
        assert zone("Europe/Berlin").utcoffset(datetime(2026, 1, 1, tzinfo=UTC)) == timedelta(hours=1)
    finally:
        zoneinfo.reset_tzpath()
    assert zone("Europe/Berlin") is zone("Europe/Berlin")
    assert str(zone("UTC")) == "UTC"


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "europe/berlin", "Mars/Base", "leapseconds", "a\0b"])
def test_no_such_zone(name: str) -> None:
    with refuses(f'expected a time zone such as "Europe/Berlin" or "UTC", not {name!r}'):
        zone(name)


def test_no_zone_moves_its_clock_twice_within_two_days() -> None:
    """What calendar.py relies on, asked day by day, of zones that move most."""
    names = {name for name, _ in moves()} | {"Africa/Casablanca", "Asia/Gaza", "America/Recife", "Antarctica/Troll"}
    for name in names:
        days = range(0, ms("2100-01-01"), 24 * HOUR_MS)
        moved = [day for day in days if wall(name, day + 24 * HOUR_MS) - wall(name, day) != timedelta(days=1)]
        assert all(after - before > 72 * HOUR_MS for before, after in pairwise(moved)), name


# --- what is written


def test_a_band_as_it_stands_in_a_document() -> None:
    band = msgspec.convert({"days": ["mon-fri"], "hours": "08:00-20:00", "except": ["every"]}, Band)
    assert band == Band(days=("mon-fri",), hours="08:00-20:00", except_=("every",))
    with pytest.raises(msgspec.ValidationError, match="unknown field `hour`"):
        msgspec.convert({"hour": "08:00-20:00"}, Band)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({}, "peak: expected at least one of days, hours, dates, months, calendars, except"),
        (
            {"hours": "8-20"},
            'peak: hours: expected hours such as "08:00-20:00" or "22:30:15-06:00", not \'8-20\'',
        ),
        ({"hours": ("08:00-20:00", "")}, "06:00\", not ''"),
        ({"hours": "08:00:60-09:00"}, "not '08:00:60-09:00'"),
        ({"hours": "08:00-24:00:01"}, "not '08:00-24:00:01'"),
        ({"hours": "08:00-09:00-10:00"}, "not '08:00-09:00-10:00'"),
        ({"hours": "24:00-06:00"}, "peak: hours: expected hours such as"),
        ({"hours": "08:00-20:60"}, "peak: hours: expected hours such as"),
        ({"hours": "٠٨:٠٠-20:00"}, "peak: hours: expected hours such as"),
        ({"hours": "08:00-08:00"}, 'peak: hours: expected hours of some length ("00:00-24:00" is all day), not'),
        ({"days": "Monday"}, 'peak: days: expected days such as "sat" or "mon-fri" (mon, tue, wed, thu, fri, sat,'),
        ({"days": "mon-fri-sun"}, "not 'mon-fri-sun'"),
        ({"months": "april"}, 'peak: months: expected months such as "apr" or "nov-feb" (jan, feb, mar, apr'),
        ({"dates": "1.4.2026"}, 'peak: dates: expected dates such as "2026-12-31" or "2026-04-01/2026-05-01"'),
        ({"dates": ("2026-03-01", "2026-02-29")}, "not '2026-02-29'"),
        ({"dates": "2026-05-01/"}, "not '2026-05-01/'"),
        ({"dates": "2026-05-01/2026-05-01"}, "peak: dates: expected dates that end after they begin"),
        ({"calendars": "uk"}, "peak: calendars: expected a calendar (every, once), not 'uk'"),
        ({"except_": ("once", "uk")}, "peak: except: expected a calendar (every, once), not 'uk'"),
    ],
)
def test_a_band_that_is_refused(written: Mapping[str, str], why: str) -> None:
    with refuses(why):
        compile_bands({"night": Band(days="sat"), "peak": Band(**written)}, COMPILED)
    with refuses("x: except: expected a calendar (none is there), not 'de'"):
        compile_bands({"x": Band(except_="de")}, {})


def test_a_calendar() -> None:
    days = Calendar(["01-01", "02-29", "2026-04-03"])
    assert all(day in days for day in [date(2026, 1, 1), date(2099, 1, 1), date(2028, 2, 29), date(2026, 4, 3)])
    assert not any(day in days for day in [date(2027, 3, 1), date(2027, 4, 3), date(2026, 1, 2)])
    assert date(2026, 1, 1) in Calendar("01-01")


@pytest.mark.parametrize("written", ["25.12.", "02-30", "13-01", "2026-02-29", "20260403", "2026-W01-1", "", "12-25 "])
def test_a_calendar_that_is_refused(written: str) -> None:
    with refuses(f'expected a day such as "12-25" or "2026-12-25", not {written!r}'):
        Calendar(["01-01", written])


# --- periods

PERIODS = """
    period         zone                 at                    key         from               until
    day            Europe/Berlin        2026-11-24T12:00:00Z  2026-11-24  2026-11-23T23:00Z  2026-11-24T23:00Z
    day            Europe/Berlin        2026-10-24T22:00:00Z  2026-10-25  2026-10-24T22:00Z  2026-10-25T23:00Z
    day            Europe/Berlin        2026-03-28T22:59:59Z  2026-03-28  2026-03-27T23:00Z  2026-03-28T23:00Z
    day            America/Havana       2025-11-02T05:00:00Z  2025-11-02  2025-11-02T04:00Z  2025-11-03T05:00Z
    day            America/St_Johns     2006-10-29T03:00:00Z  2006-10-29  2006-10-29T02:30Z  2006-10-30T03:30Z
    day            Asia/Beirut          2026-10-24T21:30:00Z  2026-10-24  2026-10-23T21:00Z  2026-10-24T22:00Z
    day            Pacific/Apia         2011-12-30T09:59:59Z  2011-12-29  2011-12-29T10:00Z  2011-12-30T10:00Z
    day            Pacific/Apia         2011-12-30T10:00:00Z  2011-12-31  2011-12-30T10:00Z  2011-12-31T10:00Z
    week           UTC                  2027-01-03T00:00:00Z  2026-W53    2026-12-28T00:00Z  2027-01-04T00:00Z
    week           Europe/Berlin        2026-10-25T12:00:00Z  2026-W43    2026-10-18T22:00Z  2026-10-25T23:00Z
    month          Europe/Berlin        2026-10-31T23:00:00Z  2026-11     2026-10-31T23:00Z  2026-11-30T23:00Z
    month          UTC                  2028-02-29T12:00:00Z  2028-02     2028-02-01T00:00Z  2028-03-01T00:00Z
    month from 15  UTC                  2026-11-24T00:00:00Z  2026-11-15  2026-11-15T00:00Z  2026-12-15T00:00Z
    month from 15  UTC                  2027-01-14T23:59:59Z  2026-12-15  2026-12-15T00:00Z  2027-01-15T00:00Z
    month from 28  UTC                  2026-02-28T00:00:00Z  2026-02-28  2026-02-28T00:00Z  2026-03-28T00:00Z
    year           Asia/Tokyo           2026-12-31T15:00:00Z  2027        2026-12-31T15:00Z  2027-12-31T15:00Z
"""


@pytest.mark.parametrize("line", PERIODS.strip().splitlines()[1:])
def test_edges_of_periods(line: str) -> None:
    written, name, at, key, begins, ends = re.split(r"  +", line.partition("#")[0].strip())
    assert CounterPeriod.read(written).at(zone(name), ms(at)) == (key, ms(begins), ms(ends))


@given(instants(), st.sampled_from(["day", "week", "month", "month from 9", "month from 28", "year"]))
def test_periods_follow_each_other(where: tuple[str, int], written: str) -> None:
    (name, at_ms), period = where, CounterPeriod.read(written)
    key, from_ms, until_ms = found = period.at(zone(name), at_ms)
    assert from_ms <= at_ms < until_ms
    assert found == period.at(zone(name), from_ms) == period.at(zone(name), until_ms - 1)
    assert period.at(zone(name), until_ms)[1] == until_ms
    day = wall(name, from_ms).date()
    form = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "year": "%Y"}.get(written, "%Y-%m-%d")
    assert key == f"{day:{form}}"
    assert all(wall(name, from_ms - back_ms).date() < day for back_ms in [1, *range(1_000, 48 * HOUR_MS, 900_000)])


def test_periods_outside_the_calendar() -> None:
    read = [CounterPeriod.read(written) for written in ["ever", "48 h", " 90  min", "7 d once"]]
    assert [period.window_ms for period in read] == [0, 48 * HOUR_MS, 5_400_000, 168 * HOUR_MS]
    assert [period.once for period in read] == [False, False, False, True]
    assert [period.written for period in read] == ["ever", "48 h", "90 min", "7 d once"]
    assert {period.at(zone("Europe/Berlin"), 1_800_000_000_000) for period in read} == {("", 0, 0)}
    assert {*read, CounterPeriod.read("ever")} == {*read}


@pytest.mark.parametrize("written", ["fortnight", "", "48", "1 GB", "48 hours", "day once", "once", 7, None])
def test_a_period_that_is_refused(written: object) -> None:
    with refuses('expected day, week, month, "month from 15", year, ever, or a time from first use such as "48 h" or'):
        CounterPeriod.read(written)
    with refuses("expected a first day that every month has, 1 to 28, not 29"):
        CounterPeriod.read("month from 29")
    with refuses("expected at most 36500 d, not '36501 d'"):
        CounterPeriod.read("36501 d")
