"""What customers pay: tiers, bundles, caps and fees. See test_worked_examples.py."""

from __future__ import annotations

from tests.tariffs.customers import Customer

TIER = """
[counters.monthly]
counts = "octets"
period = "month"
[[rows]]
name = "included"
below = { monthly = "10 GB" }
flat = { price = "0.01", per = "1 GB", increment = "1 MB" }
[[rows]]
name = "further"
flat = { price = "1.024", per = "1 GB", increment = "1 MB" }
"""


def test_a_tier_after_ten_gigabytes_and_the_end_of_the_month() -> None:
    Customer(TIER, "data").in_turn(
        """
        start                  use     price
        2026-03-02T12:00:00    4 GB    0.04
        2026-03-10T12:00:00    5 GB    0.05
        2026-03-20T12:00:00    3 GB    2.058     # 1 GB at 0.01, 2 GB at 1.024
        2026-03-31T23:59:59    1 MB    0.001
        2026-04-01T00:00:00    1 GB    0.01      # a new month
        2026-04-01T00:00:00    9 GB    0.09
        2026-04-30T00:00:00    1 MB    0.001
        """
    )


def test_a_month_that_begins_on_the_15th() -> None:
    Customer(TIER.replace('"month"', '"month from 15"'), "data").in_turn(
        """
        start                  use     price
        2026-03-14T23:59:59    10 GB   0.10
        2026-03-14T23:59:59    1 GB    1.024
        2026-03-15T00:00:00    10 GB   0.10
        2026-04-01T00:00:00    1 GB    1.024    # the first of April is in the middle of it
        2026-04-15T00:00:00    1 GB    0.01
        """
    )


def test_minutes_of_a_month_in_a_call_over_its_end() -> None:
    Customer(
        """
        [counters.spoken]
        counts = "seconds"
        period = "month"
        [[rows]]
        below = { spoken = "2 min" }
        flat = { price = "0.01", per = "1 min" }
        [[rows]]
        flat = { price = "0.10", per = "1 min" }
        """
    ).check(
        """
        start                  use     price
        2026-03-31T12:00:00    240 s   0.22
        2026-03-31T23:57:00    240 s   0.13     # two cheap, one dear, and the first of April
        2026-03-31T23:57:00    420 s   0.34     # two of April are cheap
        """
    )


def test_a_bundle_then_money_and_a_block_they_share() -> None:
    Customer(
        """
        [[rows]]
        bundle = { per = "1 min" }
        [[rows]]
        flat = { price = "0.05", per = "1 min" }
        """,
        buckets=[("seconds", 90)],
    ).check(
        """
        start                  use     price   units
        2026-03-02T12:00:00    60 s    0       30
        2026-03-02T12:00:00    70 s    0.05    0       # the bundle pays 90 s, money one block for the rest
        2026-03-02T12:00:00    150 s   0.05    0
        2026-03-02T12:00:00    151 s   0.10    0
        """
    )


def test_each_block_paid_by_one() -> None:
    Customer(
        """
        [[rows]]
        bundle = { per = "1 min", split = false }
        [[rows]]
        flat = { price = "0.05", per = "1 min" }
        """,
        buckets=[("seconds", 90), ("seconds", 70)],
    ).check(
        """
        start                  use     price   units
        2026-03-02T12:00:00    60 s    0       100
        2026-03-02T12:00:00    120 s   0       40     # each has paid one
        2026-03-02T12:00:00    121 s   0.05    40     # neither has a whole one left
        """
    )


UNITS = """
[[rows]]
when = { service = "voice" }
bundle = { per = "1 min", of = "units", takes = 1, scope = "all-net" }
[[rows]]
when = { service = "sms" }
bundle = { per = "1 message", of = "units", takes = 2, scope = "all-net" }
[[rows]]
when = { service = "voice" }
flat = { price = "0.09", per = "1 min" }
[[rows]]
flat = { price = "0.07", per = "1 message" }
"""


def test_one_allowance_for_minutes() -> None:
    Customer(UNITS, buckets=[("units", 3)]).check(
        """
        start                  use     price   units
        2026-03-02T12:00:00    61 s    0       1
        2026-03-02T12:00:00    180 s   0       0
        2026-03-02T12:00:00    181 s   0.09    0
        """
    )


def test_and_for_messages() -> None:
    Customer(UNITS, "sms", buckets=[("units", 3)]).check(
        """
        start                  use    price   units
        2026-03-02T12:00:00    1      0       1
        2026-03-02T12:00:00    2      0.07    1        # a message takes two, and one is left
        2026-03-02T12:00:00    3      0.14    1
        """
    )


def test_a_monthly_cost_cap_then_free() -> None:
    Customer(
        """
        [counters.spent]
        counts = "money"
        period = "month"
        [[rows]]
        below = { spent = "0.20" }
        flat = { price = "0.09", per = "1 min" }
        [[rows]]
        free = { unit = "seconds" }
        """
    ).in_turn(
        """
        start                  use      price
        2026-03-02T12:00:00    120 s    0.18
        2026-03-02T13:00:00    600 s    0.02    # the block that reaches the cap costs what is left
        2026-03-31T23:59:00    60 s     0
        2026-04-01T00:00:00    60 s     0.09
        """
    )


def test_a_cap_that_is_reached_to_the_cent() -> None:
    Customer(
        """
        [counters.spent]
        counts = "money"
        period = "month"
        [[rows]]
        when = { called = "0900*" }
        flat = { price = "0.10", per = "1 min" }
        [[rows]]
        name = "free as long as less than 0.20 was spent"
        when = { called = "0800*" }
        below = { spent = "0.20" }
        free = { unit = "seconds" }
        [[rows]]
        below = { spent = "0.20" }
        flat = { price = "0.05", per = "1 min" }
        [[rows]]
        flat = { price = "0.01", per = "1 min" }
        """
    ).in_turn(
        """
        start                  use      price    called
        2026-03-02T12:00:00    60 s     0.10     0900123
        2026-03-02T13:00:00    60 s     0        0800123
        2026-03-02T14:00:00    300 s    0.13     030123     # two minutes to 0.20, three at 0.01
        2026-03-02T15:00:00    60 s     0.01     0800123
        2026-04-01T00:00:00    360 s    0.22     030123     # four, and two
        2026-04-01T01:00:00    60 s     0.01     0800123
        """
    )
    exactly = (
        '[counters.s]\ncounts = "money"\nperiod = "day"\n'
        + """
        [[rows]]
        below = { s = "0.20" }
        flat = { price = "0.10", per = "1 min" }
        [[rows]]
        free = { unit = "seconds" }
    """
    )
    Customer(exactly).check("start use price\n2026-03-02T12:00:00 120 s 0.20\n2026-03-02T12:00:00 600 s 0.20")


def test_a_cost_cap_in_each_call_then_free_or_the_end() -> None:
    capped = '[[rows]]\nflat = { price = "0.09", per = "1 min" }\nmaximum = { charge = "0.20", then = "%s" }'
    for then in ("free", "end"):
        Customer(capped % then).check(
            """
            start                  use      price
            2026-03-02T12:00:00    120 s    0.18
            2026-03-02T12:00:00    121 s    0.20    # what is left up to the maximum
            2026-03-02T12:00:00    7200 s   0.20    # use that happens all the same is not charged
            """
        )


SETUP = """
[[rows]]
bundle = { per = "1 min" }
[[rows]]
flat = { price = "0.05", per = "1 min" }
setup = { fee = "0.15"%s }
"""


def test_set_up_is_due_although_minutes_are_included() -> None:
    Customer(SETUP % "", buckets=[("seconds", 120)]).check(
        """
        start                  use      price   units
        2026-03-02T12:00:00    0 s      0       120    # nothing used, nothing owed
        2026-03-02T12:00:00    1 s      0.15    60
        2026-03-02T12:00:00    121 s    0.20    0
        """
    )


def test_set_up_is_waived_while_minutes_are_included() -> None:
    Customer(SETUP % ", waived = true", buckets=[("seconds", 120)]).check(
        """
        start                  use      price   units
        2026-03-02T12:00:00    120 s    0       0
        2026-03-02T12:00:00    121 s    0.20    0      # with the first block that money pays
        2026-03-02T12:00:00    300 s    0.30    0
        """
    )


def test_a_gigabyte_for_each_of_the_family() -> None:
    Customer(
        """
        [counters.mine]
        counts = "octets"
        period = "month"
        by = "subscriber"
        [[rows]]
        below = { mine = "1 GB" }
        free = { unit = "octets" }
        [[rows]]
        flat = { price = "0.01", per = "1 MB" }
        """,
        "data",
    ).in_turn(
        """
        start                  use        price    subscriber
        2026-03-02T12:00:00    1000 MB    0        ann
        2026-03-03T12:00:00    1000 MB    0        ben
        2026-03-04T12:00:00    30 MB      0.06     ann
        2026-03-05T12:00:00    24 MB      0        ben
        2026-03-05T12:00:00    1 MB       0.01     ben
        """
    )


def test_a_run_goes_on_over_the_limit_of_the_last_row() -> None:
    """What is used beyond a cap that nothing follows costs what the last row costs; the run is rounded once, on its
    sum, though the block that reached the cap cost only what was left."""
    Customer(
        """
        counters.spent = { counts = "money", period = "week" }
        rows = [{ below = { spent = "0.33" }, flat = { price = "0.29725", per = "1 min", increment = "60/1" } }]
        """
    ).check(
        """
        start                  use     price
        2026-03-02T12:00:00    66 s    0.326975
        2026-03-02T12:00:00    67 s    0.33
        2026-03-02T12:00:00    68 s    0.334954
        2026-03-02T12:00:00    69 s    0.339908
        """
    )
