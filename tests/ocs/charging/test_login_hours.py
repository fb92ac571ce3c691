"""Hours in which somebody may be logged in, on the clock of the account."""

from __future__ import annotations

import pytest

from ocs.charging.login_hours import LoginHours
from tests.tariffs.customers import BERLIN, ms_of

HOURS = LoginHours("mon-fri 08:00-20:00, sat 22:00-02:00")


@pytest.mark.parametrize(
    ("at", "left_s"),
    [
        ("2026-03-02T07:59:59", 0),
        ("2026-03-02T08:00:00", 12 * 3_600),
        ("2026-03-06T19:59:30", 30),
        ("2026-03-06T20:00:00", 0),
        ("2026-03-07T12:00:00", 0),
        ("2026-03-07T23:00:00", 3 * 3_600),
        ("2026-03-08T01:00:00", 3_600),
        ("2026-03-28T23:30:00", 2 * 3_600 + 1_800),
    ],
    ids=["before", "begin", "last-seconds", "end", "saturday-noon", "saturday-night", "past-midnight", "clock-moved"],
)
def test_they_end_when_the_clock_of_the_account_says_so(at: str, left_s: int) -> None:
    assert HOURS.left_s(BERLIN, ms_of(at)) == left_s


@pytest.mark.parametrize("written", ["", "00:00-24:00", "mon-sun"], ids=["none", "all-day", "every-day"])
def test_some_have_no_end(written: str) -> None:
    assert LoginHours(written).left_s("", ms_of("2026-03-02T12:00:00")) is None


@pytest.mark.parametrize("written", ["8-20", "noon", "mon 08:00-20:00 utc", "mon-", "08:00-08:00"])
def test_what_cannot_be_read_is_told(written: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        LoginHours(written)
