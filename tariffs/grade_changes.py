"""When the clock may change how a service is delivered: the instants at which the grades of a tariff change. Pure.

An instant is one of a tariff and a clock, whoever has the tariff: whether the grade of one line changes there, rating
says.
"""

from __future__ import annotations

from typing import Final

from tariffs.build_ladder import sooner
from tariffs.catalog import Catalog
from tariffs.inputs import Inputs
from tariffs.tariff import Tariff
from tariffs.visited_zones import CLOCKS

STRETCHES_MAX: Final = 1_000
"""Looked at for the next change of rows, most of them days: further away it is found later."""


def grades_of(tariff: Tariff) -> frozenset[str]:
    """All grades that its rows say; "" of rows that say none."""
    return frozenset(
        next((name for element in row.elements if (name := element.service_grade())), "") for row in tariff.rows
    )


def has_grades(catalog: Catalog, name: str) -> bool:
    """Whether any version of the tariff says a grade."""
    return any(grades_of(version) - {""} for version in catalog.tariffs.get(name, ()))


def by_account_clock(catalog: Catalog, name: str) -> bool:
    """Whether the clock of any of its versions is that of the account, as that of the visited country is where that is
    not known. (Where it is, a grant ends at its changes; clients that are not granted anything name no country.)"""
    return any(
        clock in CLOCKS
        for version in catalog.tariffs.get(name, ())
        for clock in (version.parts.zone, *(tally.zone for tally in version.parts.tallies.values()))
    )


def next_grade_change(catalog: Catalog, name: str, zone: str, after_ms: int) -> int:
    """The first instant after this one at which a grade of the tariff may change, by the clock of that zone where the
    tariff has none of its own; 0 where none is known.

    Bands begin and end, periods of counters end (so that what was slow after so many gigabytes is fast again), another
    version begins. A counter's time from its first use is each account's own, and not known here.
    """
    at_ms = after_ms
    while True:
        tariff, another_ms = catalog.in_force(name, at_ms)
        said = frozenset({""}) if tariff is None else grades_of(tariff)
        if tariff is not None and len(said) > 1:
            change_ms = _within(tariff, zone, at_ms)
            if change_ms and not 0 < another_ms <= change_ms:
                return change_ms
        if not another_ms:
            return 0
        another, _ = catalog.in_force(name, another_ms)
        if another is None or len(said | grades_of(another)) > 1:
            return another_ms
        at_ms = another_ms


def _within(tariff: Tariff, zone: str, after_ms: int) -> int:
    """The first change within this version."""
    nowhere = Inputs("", time_zone=zone)
    schedule = tariff.schedule(nowhere)
    ends_ms = 0
    for tally in {row.tally for row in tariff.rows if row.tally is not None and row.tally.moves}:
        ends_ms = sooner(ends_ms, tally.period.at(tariff.counter_zone(tally, nowhere), after_ms)[2])
    stretch = schedule.at(after_ms)
    rows = _rows(tariff, stretch.holds)
    for _ in range(STRETCHES_MAX):
        until_ms = stretch.until_ms
        if not until_ms or 0 < ends_ms <= until_ms:
            return ends_ms
        stretch = schedule.at(until_ms)
        if _rows(tariff, stretch.holds) != rows:
            return until_ms
    return ends_ms


def _rows(tariff: Tariff, bands: int) -> tuple[int, ...]:
    """Places of those that may price while these bands hold."""
    return tuple(place for place, row in enumerate(tariff.rows) if not row.bands or row.bands & bands)
