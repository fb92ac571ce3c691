"""Hours on the clock of an account, compared with the bands of tariffs, which know the zone."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from balances.model.hours import hours_at
from balances.structs.account import WeekHours
from tariffs.calendar import Band, Schedule, compile_bands, zone
from tariffs.week_hours import clock_of, read_week_hours, written_week_hours

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Africa/Casablanca", "Australia/Lord_Howe", "Asia/Kolkata")
WRITTEN = ("00:00-06:00", "mon-fri 22:00-06:00, sat", "sun-mon, wed 02:15:30-02:45", "02:00-03:00, 23:30-00:30")


def now_of(year: int) -> int:
    return int(datetime(year, 6, 1, tzinfo=UTC).timestamp()) * 1_000


def bands_of(written: str) -> list[Band]:
    parts = [part.split() for part in written.split(", ")]
    return [
        Band(hours=part[-1] if ":" in part[-1] else (), days=part[0] if ":" not in part[0] else ()) for part in parts
    ]


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("written", WRITTEN)
def test_they_are_as_a_band_of_a_tariff(name: str, written: str) -> None:
    """Around each move of the clock, and anywhere: in hours where a band holds, and it changes no earlier than that."""
    bands = compile_bands({str(at): band for at, band in enumerate(bands_of(written))}, {})
    schedule, clock = Schedule(zone(name), bands), clock_of(name, now_of(2026))
    hours = [WeekHours(*one) for one in read_week_hours(written)]
    rng = Random(f"{name} {written}")
    near = [at_s * 1_000 + rng.randrange(-(10**8), 10**8) for at_s in clock[1::2] for _ in range(15)]
    for at_ms in [*near, *(now_of(2026) + rng.randrange(3 * 10**11) for _ in range(300))]:
        is_open, change_ms = hours_at(hours, clock, at_ms)
        assert is_open == bool(schedule.at(at_ms).holds), at_ms
        assert change_ms > at_ms
        step_ms = at_ms
        while (step_ms := schedule.at(step_ms).until_ms) < change_ms:
            assert bool(schedule.at(step_ms).holds) == is_open, (at_ms, step_ms)


@pytest.mark.parametrize("written", [*WRITTEN, "sat-mon 10:00-24:00", ""])
def test_they_are_shown_as_they_could_be_written(written: str) -> None:
    hours = read_week_hours(written)
    assert read_week_hours(written_week_hours(hours)) == hours


@pytest.mark.parametrize("written", ["mon 25:00-26:00", "monday", "mon tue", "08:00-08:00", "a b c", ",", "mon," * 9])
def test_what_cannot_be_read(written: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_week_hours(written)
