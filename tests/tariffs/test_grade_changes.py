"""When the clock may change the grade of a tariff."""

from __future__ import annotations

import pytest

from tariffs.catalog import Catalog
from tariffs.grade_changes import by_account_clock, has_grades, next_grade_change
from tariffs.load import load_tariff
from tests.tariffs.customers import BERLIN, ms_of

HEAD = 'tariff = "home"\ncurrency = "EUR"\n'
NIGHT = """
[bands.night]
hours = "22:00-06:00"
[bands.lunch]
hours = "12:00-13:00"
[[rows]]
when = { service = "data", time = "night" }
flat = { price = "0.01", per = "1 MB" }
grade = "night"
[[rows]]
when = { service = "data" }
flat = { price = "0.05", per = "1 MB" }
"""
PLAIN = """
[bands.night]
hours = "22:00-06:00"
[[rows]]
when = { service = "data", time = "night" }
flat = { price = "0.01", per = "1 MB" }
[[rows]]
when = { service = "data" }
flat = { price = "0.05", per = "1 MB" }
"""
SLOW = """
[counters.month]
counts = "octets"
period = "month"
[[rows]]
when = { service = "data" }
flat = { price = "0.05", per = "1 MB" }
below = { month = "10 GB" }
[[rows]]
when = { service = "data" }
flat = { price = "0.00", per = "1 MB" }
grade = "slow"
"""


def catalog(*documents: str) -> Catalog:
    return Catalog(load_tariff(HEAD + one, source="t.toml", version=number) for number, one in enumerate(documents, 1))


def from_new_year(document: str) -> str:
    return f"valid_from = 2027-01-01T00:00:00+01:00\n{document}"


@pytest.mark.parametrize(
    ("documents", "after", "then"),
    [
        ([NIGHT], "2026-03-02T12:30:00", "2026-03-02T22:00:00"),
        ([NIGHT], "2026-03-02T21:59:59", "2026-03-02T22:00:00"),
        ([NIGHT], "2026-03-02T22:00:00", "2026-03-03T06:00:00"),
        ([NIGHT], "2026-03-29T00:30:00", "2026-03-29T06:00:00"),
        ([NIGHT], "2026-10-25T02:30:00+02:00", "2026-10-25T06:00:00"),
        ([PLAIN], "2026-03-02T12:30:00", ""),
        ([SLOW], "2026-03-02T12:30:00", "2026-04-01T00:00:00"),
        ([PLAIN, from_new_year(NIGHT)], "2026-03-02T12:30:00", "2027-01-01T00:00:00"),
        ([PLAIN, from_new_year(PLAIN)], "2026-03-02T12:30:00", ""),
        ([NIGHT, from_new_year(PLAIN)], "2026-12-31T22:00:00", "2027-01-01T00:00:00"),
        ([NIGHT, from_new_year(PLAIN)], "2027-01-01T00:00:00", ""),
        ([from_new_year(NIGHT)], "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
    ],
    ids=[
        *(
            "lunch-changes-nothing",
            "a-second-before",
            "from-night-on",
            "short-night",
            "long-night",
            "no-grades",
            "month",
        ),
        *(
            "newer-has-grades",
            "newer-has-none-either",
            "night-into-another-version",
            "none-after-it",
            "not-yet-in-force",
        ),
    ],
)
def test_the_next_change(documents: list[str], after: str, then: str) -> None:
    found = next_grade_change(catalog(*documents), "home", BERLIN, ms_of(after))
    assert found == (ms_of(then) if then else 0)


def test_a_band_of_one_day_a_year() -> None:
    document = NIGHT.replace('hours = "22:00-06:00"', 'months = "dec"')
    assert next_grade_change(catalog(document), "home", BERLIN, ms_of("2026-01-05T00:00:00")) == ms_of(
        "2026-12-01T00:00:00"
    )


def test_whose_clock_counts() -> None:
    own = 'zone = "Europe/London"\n' + NIGHT
    assert by_account_clock(catalog(NIGHT), "home")
    assert not by_account_clock(catalog(own), "home")
    assert next_grade_change(catalog(own), "home", BERLIN, ms_of("2026-03-02T12:30:00")) == ms_of("2026-03-02T23:00:00")


def test_which_tariffs_say_grades() -> None:
    assert has_grades(catalog(NIGHT), "home")
    assert has_grades(catalog(PLAIN, from_new_year(NIGHT)), "home")
    assert not has_grades(catalog(PLAIN), "home")
    assert not has_grades(catalog(PLAIN), "other")
