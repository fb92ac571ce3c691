"""What customers pay: worked examples, each a tariff and a table. tests/tariffs/customers.py says how they are read.

This file is about time; test_worked_allowances.py about tiers, bundles, caps and fees; test_worked_offers.py about
destinations, contracts, offers, tax and currencies.
"""

from __future__ import annotations

from tests.tariffs.customers import Customer, ms_of
from tests.tariffs.oracle_account import OraclePiece

PEAK = """
[bands.peak]
days = "mon-fri"
hours = "08:00-20:00"
[[rows]]
name = "peak"
when = { time = "peak" }
flat = { price = "0.10", per = "1 min", increment = "60/60" }
[[rows]]
name = "off-peak"
flat = { price = "0.05", per = "1 min", increment = "60/60" }
"""


def test_peak_and_off_peak_by_the_minute_across_the_boundary() -> None:
    Customer(PEAK).check(
        """
        start                  use     price
        2026-03-02T19:00:00    60 s    0.10
        2026-03-02T19:59:00    60 s    0.10
        2026-03-02T19:59:00    61 s    0.15     # the second minute begins at 20:00
        2026-03-02T19:59:30    60 s    0.10     # a minute belongs to the band its first second is in
        2026-03-02T19:59:30    61 s    0.15
        2026-03-02T19:59:59    300 s   0.30     # one at 0.10, four at 0.05
        2026-03-02T20:00:00    60 s    0.05
        2026-03-02T07:58:30    180 s   0.20     # two begin before 08:00
        2026-03-07T12:00:00    60 s    0.05     # Saturday
        """
    )


def test_peak_and_off_peak_to_the_second() -> None:
    Customer(PEAK.replace("60/60", "60/1")).check(
        """
        start                  use     price
        2026-03-02T19:59:00    60 s    0.10
        2026-03-02T19:59:00    90 s    0.125    # a whole minute, then 30 s at 0.05 a minute
        2026-03-02T19:58:30    120 s   0.175    # 60 s and 30 s of peak, 30 s after it
        2026-03-02T19:59:59    120 s   0.15     # the first minute is paid where it began
        """
    )


def test_holidays_cost_what_sundays_do() -> None:
    Customer(
        """
        [calendars]
        de = ["12-25", "12-26", "2026-04-03", "2026-04-06"]
        [bands.working-day]
        days = "mon-fri"
        except = "de"
        [bands.feast]
        calendars = "de"
        [[rows]]
        when = { time = "working-day" }
        flat = { price = "0.10", per = "1 min" }
        [[rows]]
        when = { time = "feast" }
        flat = { price = "0.01", per = "1 min" }
        [[rows]]
        flat = { price = "0.05", per = "1 min" }
        """
    ).check(
        """
        start                  use     price
        2026-04-02T12:00:00    60 s    0.10     # Maundy Thursday
        2026-04-03T12:00:00    60 s    0.01     # Good Friday 2026
        2027-04-02T12:00:00    60 s    0.10     # a Friday, a holiday of another year
        2026-12-25T12:00:00    60 s    0.01     # every year, a Friday
        2027-12-25T12:00:00    60 s    0.01     # and a Saturday
        2026-04-04T12:00:00    60 s    0.05
        2026-04-02T23:59:00    120 s   0.11     # into Good Friday
        2026-04-06T23:59:00    120 s   0.11     # and out of Easter Monday
        """
    )


NIGHT = """
[bands.night]
hours = "02:00-03:00"
[[rows]]
when = { time = "night" }
flat = { price = "0.01", per = "1 min" }
[[rows]]
flat = { price = "0.10", per = "1 min" }
"""


def test_the_day_with_23_hours() -> None:
    # On 29 March 2026 the clock goes from 02:00 to 03:00: the cheap hour is never shown.
    Customer(NIGHT).check(
        """
        start                       use       price
        2026-03-28T01:59:00         120 s     0.11
        2026-03-29T01:59:00         120 s     0.20    # 01:59, then 03:00
        2026-03-29T01:30:00         3600 s    6.00    # until 03:30
        2026-03-28T01:30:00         3600 s    3.30
        """
    )


def test_bands_that_begin_or_end_in_the_hour_that_is_skipped() -> None:
    Customer(NIGHT.replace("02:00-03:00", "02:30-03:30")).check(
        """
        start                       use       price
        2026-03-29T01:59:00         120 s     0.11    # at 03:00 it is between 02:30 and 03:30
        2026-03-29T01:29:00         60 s      0.10
        2026-03-29T03:29:00         120 s     0.11
        """
    )
    Customer(NIGHT.replace("02:00-03:00", "01:30-02:30")).check(
        """
        start                       use       price
        2026-03-29T01:29:00         120 s     0.11
        2026-03-29T01:59:00         120 s     0.11    # and at 03:00 after 02:30
        """
    )


def test_the_day_with_25_hours() -> None:
    # On 25 October 2026 the clock goes from 03:00 back to 02:00: the cheap hour is shown twice.
    Customer(NIGHT).check(
        """
        start                       use       price
        2026-10-25T02:30:00+02:00   60 s      0.01
        2026-10-25T02:30:00+01:00   60 s      0.01
        2026-10-25T01:59:00         7320 s    1.40    # 0.10, two cheap hours, 0.10
        2026-10-25T02:59:30+02:00   3601 s    0.61    # one hour and a second: 61 minutes, all at night
        2026-10-24T01:59:00         7320 s    6.80    # the day before: 62 minutes at 0.10
        """
    )


def test_weekend_nights_belong_to_the_day_they_begin_on() -> None:
    Customer(
        """
        [bands.friday-night]
        days = "fri"
        hours = "22:00-06:00"
        [[rows]]
        when = { time = "friday-night" }
        flat = { price = "0.01", per = "1 min" }
        [[rows]]
        flat = { price = "0.10", per = "1 min" }
        """
    ).check(
        """
        start                  use     price
        2026-03-06T21:59:00    120 s   0.11
        2026-03-06T23:59:00    120 s   0.02     # past midnight
        2026-03-07T05:59:00    120 s   0.11     # Saturday morning is still Friday's night
        2026-03-06T05:59:00    60 s    0.10     # Friday morning is Thursday's
        2026-03-07T23:00:00    60 s    0.10
        """
    )


def test_a_dearer_first_minute() -> None:
    Customer(
        """
        [[rows]]
        first = "1 min"
        flat = { price = "0.30", per = "1 min" }
        [[rows]]
        flat = { price = "0.06", per = "1 min", increment = "1" }
        """
    ).check(
        """
        start                  use     price
        2026-03-02T12:00:00    1 s     0.30
        2026-03-02T12:00:00    60 s    0.30
        2026-03-02T12:00:00    61 s    0.301
        2026-03-02T12:00:00    120 s   0.36
        """
    )


def test_ten_minutes_free_in_each_call_then_by_the_minute() -> None:
    Customer(
        """
        [[rows]]
        first = "10 min"
        free = { unit = "seconds" }
        [[rows]]
        flat = { price = "0.09", per = "1 min" }
        """
    ).check(
        """
        start                  use     price
        2026-03-02T12:00:00    600 s   0
        2026-03-02T12:00:00    601 s   0.09
        2026-03-02T12:00:00    720 s   0.18
        """
    )


def test_time_is_charged_besides_volume() -> None:
    document = """
    [bands.night]
    hours = "22:00-06:00"
    [[rows]]
    when = { service = "data", time = "night" }
    flat = { price = "0.01", per = "1 MB" }
    beside = { price = "0.01", per = "1 min" }
    [[rows]]
    when = { service = "data" }
    flat = { price = "0.05", per = "1 MB" }
    beside = { price = "0.02", per = "1 min", increment = "60/30" }
    """
    Customer(document, "data").check(
        """
        start                  use      price
        2026-03-02T21:59:00    3 MB     0.15
        2026-03-02T22:00:00    3 MB     0.03
        """
    )
    Customer(document, "data", beside=True).check(
        """
        start                  use      price
        2026-03-02T12:00:00    61 s     0.03
        2026-03-02T21:59:00    61 s     0.03
        2026-03-02T21:58:00    121 s    0.05    # two minutes of day, the third begins at night
        """
    )


def test_the_night_is_fast_and_the_day_slow() -> None:
    customer = Customer(
        """
        [bands.night]
        hours = "22:00-06:00"
        [[rows]]
        when = { time = "night" }
        flat = { price = "0.01", per = "1 MB" }
        grade = "night"
        [[rows]]
        flat = { price = "0.05", per = "1 MB" }
        """,
        "data",
    )
    customer.check(
        """
        start                  use      price
        2026-03-02T12:00:00    10 MB    0.50
        2026-03-02T23:00:00    10 MB    0.10
        """
    )
    for start, grade in [("02T21:59:59", ""), ("02T22:00:00", "night"), ("03T05:59:59", "night"), ("03T06:00:00", "")]:
        harness, at_ms = customer.harness({}), ms_of("2026-03-" + start)
        harness.account.buckets[-1].amount = 1_000_000
        assert harness.grant(harness.rated(at_ms), OraclePiece(at_ms, 10)).grade == grade


def test_a_new_version_at_new_year_and_an_option_in_front() -> None:
    tariff = 'tariff = "basic"\n%s\n[[rows]]\nflat = { price = "%s", per = "1 min" }'
    option = """
    tariff = "weekend"
    [bands.weekend]
    days = ["sat", "sun"]
    [[rows]]
    when = { time = "weekend" }
    flat = { price = "0.01", per = "1 min" }
    """
    newer = tariff % ("valid_from = 2027-01-01T00:00:00+01:00", "0.12")
    Customer(
        [option, tariff % ("", "0.10"), newer], windows={"weekend": ("2026-12-01T00:00:00", "2027-01-10T00:00:00")}
    ).check(
        """
        start                  use      price
        2026-12-31T23:59:00    120 s    0.22
        2027-01-01T23:59:00    120 s    0.13     # Friday, then the weekend of the option
        2027-01-03T23:59:00    120 s    0.13
        2027-01-09T23:59:00    120 s    0.13     # the option ends on Saturday night
        2026-11-28T12:00:00    60 s     0.10     # a Saturday before it
        """
    )
