"""What customers pay: destinations, contracts, offers, tax and currencies. See test_worked_examples.py."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariffs.notation import Percent, Share
from tariffs.terms import Change, Terms
from tests.tariffs.customers import Customer

WORLD = b"""prefix,zone,peak,off_peak,increment
49,Germany,0.05,0.02,60/60
4915,Germany mobile,0.10,0.10,60/1
49151,own network,0.01,0.01,1
1,USA,0.20,0.10,60/60
1876,Jamaica,0.90,0.90,60/60
88,satellite,6,6,60/60
"""
NUMBERS = """
tariff = "t"
numbers = { country = "49" }
tables = { world = "world.csv", %s }
bands.day = { hours = "08:00-20:00" }
"""
FILES = {"world.csv": WORLD}


def test_destinations_in_bands() -> None:
    Customer(
        NUMBERS % 'unused = { "7" = "x" }'
        + """
        [[rows]]
        when = { to = "world:satellite" }
        barred = true
        [[rows]]
        when = { to = "world", time = "day" }
        flat = { price = "to.peak", per = "1 min", increment = "to.increment" }
        [[rows]]
        when = { to = "world" }
        flat = { price = "to.off_peak", per = "1 min", increment = "to.increment" }
        [[rows]]
        flat = { price = "2", per = "1 min" }
        """,
        files=FILES,
    ).check(
        """
        start                  use     price    called
        2026-03-02T12:00:00    61 s    0.10     030123456          # Germany, dialled as at home
        2026-03-02T12:00:00    61 s    0.10     +4930123456
        2026-03-02T20:00:00    61 s    0.04     004930123456
        2026-03-02T19:59:30    61 s    0.07     030123456
        2026-03-02T12:00:00    90 s    0.10     016112345678       # no other prefix is longer
        2026-03-02T12:00:00    90 s    0.15     015212345678       # a mobile
        2026-03-02T12:00:00    90 s    0.015    015112345678       # own network, by the second
        2026-03-02T12:00:00    60 s    0.20     0012125550100
        2026-03-02T12:00:00    60 s    0.90     +18765550100       # Jamaica, not the USA
        2026-03-02T12:00:00    60 s    2        +33123456          # no entry
        """
    )


def test_on_net_emergency_and_short_codes() -> None:
    Customer(
        NUMBERS % 'home = { "49151" = "own", "=110" = "police" }'
        + """
        [[rows]]
        name = "emergency"
        when = { called = ["112", "110"] }
        free = { unit = "seconds", emergency = true }
        [[rows]]
        name = "voice mail"
        when = { called = "33*", role = 0 }
        flat = { price = "0.07", per = "1 min" }
        [[rows]]
        name = "on-net"
        when = { to = "home:own" }
        free = { unit = "seconds" }
        [[rows]]
        name = "Germany"
        when = { to = "world:Germany*" }
        flat = { price = "0.09", per = "1 min" }
        """,
        files=FILES,
    ).check(
        """
        start                  use      price    called
        2026-03-02T12:00:00    600 s    0        112
        2026-03-02T12:00:00    600 s    0        110
        2026-03-02T12:00:00    600 s    0        015112345678
        2026-03-02T12:00:00    600 s    0        +4915112345678
        2026-03-02T12:00:00    60 s     0.09     015212345678
        2026-03-02T12:00:00    60 s     0.09     03312345678     # Germany, although it begins with 033
        """
    )


def test_a_short_code_is_the_begin_of_no_number() -> None:
    Customer(
        NUMBERS % 'codes = { "=33333" = "voice mail" }'
        + """
        [[rows]]
        when = { to = "codes" }
        flat = { price = "0.07", per = "1 min" }
        [[rows]]
        when = { to = "world" }
        flat = { price = "to.peak", per = "1 min" }
        [[rows]]
        flat = { price = "0.99", per = "1 min" }
        """,
        files=FILES,
    ).check(
        """
        start                  use     price    called
        2026-03-02T12:00:00    60 s    0.07     33333
        2026-03-02T12:00:00    60 s    0.99     49151       # not Germany's
        2026-03-02T12:00:00    60 s    0.99     187644      # not Jamaica's
        2026-03-02T12:00:00    60 s    0.01     015133333
        """
    )


def test_from_where_to_where() -> None:
    Customer(
        NUMBERS % 'unused = { "7" = "x" }'
        + """
        [[rows]]
        when = { from = "world:Germany*", to = "world:USA" }
        flat = { price = "0.15", per = "1 min" }
        [[rows]]
        when = { from = "world:USA", to = "world:Germany*" }
        flat = { price = "from.off_peak", per = "1 min", increment = "from.increment" }
        [[rows]]
        when = { from = ["world:USA", "world:Jamaica"] }
        flat = { price = "0.70", per = "1 min" }
        [[rows]]
        flat = { price = "1", per = "1 min" }
        """,
        files=FILES,
    ).check(
        """
        start                  use     price    calling         called
        2026-03-02T12:00:00    60 s    0.15     +4915212345     +12125550100
        2026-03-02T12:00:00    60 s    0.10     +12125550100    +4930123
        2026-03-02T12:00:00    60 s    0.70     +12125550100    +18765550100
        2026-03-02T12:00:00    60 s    0.70     +18765550100    +4930123
        2026-03-02T12:00:00    60 s    1        +4930123        +18765550100
        2026-03-02T12:00:00    60 s    1        -               +4930123
        """
    )


CALL = '[[rows]]\nflat = { price = "0.10", per = "1 min" }\nsetup = { fee = "0.05" }\n'


def test_a_discount_of_the_contract() -> None:
    Customer(CALL + '[[discounts]]\nname = "contract"\npercent = "subscriber.discount"\n').check(
        """
        start                  use      price    subscriber.discount
        2026-03-02T12:00:00    60 s     0.15     -
        2026-03-02T12:00:00    60 s     0.13     20          # not of the set-up fee
        2026-03-02T12:00:00    120 s    0.2275   11.25
        2026-03-02T12:00:00    60 s     0.05     100
        """
    )


def test_discounts_one_after_the_other() -> None:
    Customer(
        CALL
        + """
        [[surcharges]]
        name = "abroad"
        when = { visited = "310*" }
        amount = "0.20"
        [[discounts]]
        name = "gold"
        when = { subscriber = { segment = "gold" } }
        percent = 50
        stack = false
        [[discounts]]
        name = "all"
        percent = 10
        [[discounts]]
        name = "set-up"
        percent = 100
        fees = true
        when = { subscriber = { friends = "*" } }
        """
    ).check(
        """
        start                  use      price   subscriber.segment   subscriber.friends   visited
        2026-03-02T12:00:00    60 s     0.14    -                    -                    26201
        2026-03-02T12:00:00    60 s     0.10    gold                 -                    26201      # no further one
        2026-03-02T12:00:00    60 s     0.32    -                    -                    310260     # 10 % of 0.30
        2026-03-02T12:00:00    60 s     0.20    gold                 -                    310260
        2026-03-02T12:00:00    60 s     0.09    -                    3                    26201
        """
    )


def test_half_price_in_april() -> None:
    april = """
    tariff = "april"
    promotion = true
    [[discounts]]
    name = "half price in April"
    percent = 50
    """
    Customer([CALL, april], windows={"april": ("2026-04-01T00:00:00", "2026-05-01T00:00:00")}).check(
        """
        start                  use      price
        2026-03-31T12:00:00    120 s    0.25
        2026-04-01T00:00:00    120 s    0.15
        2026-03-31T23:59:00    120 s    0.20    # the second minute begins in April
        2026-04-30T23:59:30    120 s    0.20    # and this one in May
        2026-05-01T00:00:00    120 s    0.25
        """
    )


def test_a_film_is_rented_for_48_hours() -> None:
    Customer(
        """
        [counters.rented]
        counts = "units"
        period = "48 h"
        by = "service_id"
        [[rows]]
        name = "rent"
        below = { rented = 1 }
        flat = { price = "3.99", per = "1 unit" }
        [[rows]]
        name = "again"
        free = { unit = "units" }
        """,
        "vod",
    ).in_turn(
        """
        start                  use    price    id
        2026-03-02T20:00:00    1      3.99     7001
        2026-03-02T23:00:00    1      0        7001
        2026-03-03T20:00:00    1      3.99     7002    # another film
        2026-03-04T19:59:59    1      0        7001
        2026-03-04T20:00:00    1      3.99     7001    # 48 hours are over, and begin anew
        2026-03-05T19:00:00    1      0        7002
        2026-03-06T19:59:59    1      0        7001
        """
    )


def test_pay_tv_by_channel_and_time() -> None:
    Customer(
        """
        [counters.watched]
        counts = "money"
        period = "day"
        by = "rating_group"
        [[rows]]
        name = "sports"
        when = { rating_group = 31 }
        below = { watched = "2.00" }
        flat = { price = "1.20", per = "1 h", increment = "60/60" }
        [[rows]]
        name = "rest of the day"
        when = { rating_group = 31 }
        free = { unit = "seconds" }
        [[rows]]
        name = "films"
        when = { rating_group = [32, 33] }
        flat = { price = "0.60", per = "1 h", increment = "60/60" }
        """,
        "tv",
    ).in_turn(
        """
        start                  use       price    group
        2026-03-02T18:00:00    3600 s    1.20     31
        2026-03-02T18:00:00    90 s      0.02     32
        2026-03-02T19:00:00    3600 s    0.80     31      # the cap of the day
        2026-03-02T20:00:00    3600 s    0        31
        2026-03-02T20:00:00    3600 s    0.60     33
        2026-03-02T23:59:00    120 s     0.02     31      # a minute for nothing, the next day pays again
        """
    )


TAXED = CALL + '[[discounts]]\nname = "d"\npercent = 50\n[[taxes]]\nname = "VAT"\npercent = 19\nincluded = %s\n'


@pytest.mark.parametrize(
    ("included", "table"),
    [
        (
            "true",
            """
            start                  use      price
            2026-03-02T12:00:00    60 s     0.10      # 0.05 and the fee: the tax is in them
            2026-03-02T12:00:00    120 s    0.15
            """,
        ),
        (
            "false",
            """
            start                  use      price
            2026-03-02T12:00:00    60 s     0.119     # the tax of what the discount leaves, and of the fee
            2026-03-02T12:00:00    120 s    0.1785
            """,
        ),
    ],
)
def test_tax_and_a_discount(included: str, table: str) -> None:
    Customer(TAXED % included).check(table)


def test_a_tariff_in_dollars() -> None:
    Customer('currency = "USD"\n' + TAXED % "false", rates={("USD", "EUR"): "0.92"}).check(
        """
        start                  use      price
        2026-03-02T12:00:00    60 s     0.10948    # (0.05 + 0.05) x 1.19 x 0.92
        2026-03-02T12:00:00    120 s    0.16422
        """
    )


def test_a_price_agreed_with_the_customer() -> None:
    Customer(
        """
        [[rows]]
        when = { subscriber = { minute_price = "*" } }
        flat = { price = "subscriber.minute_price", per = "1 min" }
        [[rows]]
        flat = { price = "0.09", per = "1 min" }
        """
    ).check(
        """
        start                  use      price    subscriber.minute_price
        2026-03-02T12:00:00    120 s    0.18     -
        2026-03-02T12:00:00    120 s    0.14     0.07
        2026-03-02T12:00:00    120 s    0        0
        """
    )


def test_a_limit_agreed_with_the_customer() -> None:
    Customer(
        """
        [counters.spent]
        counts = "money"
        period = "month"
        [counters.talked]
        counts = "seconds"
        period = "month"
        [[rows]]
        when = { subscriber = { minutes = "*" } }
        below = { talked = "subscriber.minutes" }
        free = { unit = "seconds" }
        [[rows]]
        when = { subscriber = { cap = "*" } }
        below = { spent = "subscriber.cap" }
        flat = { price = "0.09", per = "1 min" }
        [[rows]]
        when = { subscriber = { cap = "*" } }
        free = { unit = "seconds" }
        [[rows]]
        flat = { price = "0.09", per = "1 min" }
        """
    ).check(
        """
        start                  use       price    subscriber.cap    subscriber.minutes
        2026-03-02T12:00:00    600 s     0.90     -                 -
        2026-03-02T12:00:00    600 s     0.20     0.20              -
        2026-03-02T12:00:00    600 s     0.72     -                 2_min
        2026-03-02T12:00:00    1200 s    0.20     0.20              10_min
        """
    )


def test_all_but() -> None:
    Customer(
        NUMBERS % 'vip = { "49301" = "vip" }'
        + """
        [[rows]]
        when = { to = "world", subscriber = { segment = { not = ["gold", "s*"] } }, called = { not = "4930*" } }
        flat = { price = "to.peak", per = "1 min" }
        [[rows]]
        when = { from = { not = "vip" }, role = { not = ["none", 1] } }
        flat = { price = "2", per = "1 min" }
        [[rows]]
        when = { to = { not = "world:Germany*" } }
        flat = { price = "3", per = "1 min" }
        [[rows]]
        flat = { price = "4", per = "1 min" }
        """,
        files=FILES,
    ).check(
        """
        start                  use     price    called           subscriber.segment    calling
        2026-03-02T12:00:00    1 s     0.20     +12125550100     -                     -
        2026-03-02T12:00:00    1 s     0.20     +12125550100     bronze                -
        2026-03-02T12:00:00    1 s     3        +12125550100     gold                  -
        2026-03-02T12:00:00    1 s     3        +12125550100     silver                -
        2026-03-02T12:00:00    1 s     4        +49301234        -                     -
        2026-03-02T12:00:00    1 s     3        +33123456        -                     +49301999      # no entry
        """
    )


def test_discounts_of_the_list_price_and_of_what_is_left() -> None:
    for order in ("AB", "BA"):
        named = {"A": '{ name = "a", percent = 20, of = "list" }', "B": '{ name = "b", percent = 10, of = "list" }'}
        listed = ", ".join(named[one] for one in order)
        Customer(
            f"""
            bands.night = {{ hours = "22:00-06:00" }}
            surcharges = [{{ name = "up", percent = 50, when = {{ called = "1*" }} }}]
            discounts = [
                {listed},
                {{ name = "half", percent = 50, when = {{ time = "night" }} }},
                {{ name = "all", percent = 80, of = "list", when = {{ subscriber = {{ segment = "staff" }} }} }},
            ]
            rows = [{{ flat = {{ price = "0.10", per = "1 min" }} }}]
            """
        ).check(
            """
            start                  use     price    called    subscriber.segment
            2026-03-02T12:00:00    60 s    0.07     2         -
            2026-03-02T12:00:00    60 s    0.12     12        -       # 0.15, and 0.03 of the list price off
            2026-03-02T23:00:00    60 s    0.035    2         -       # then half of what is left
            2026-03-02T12:00:00    60 s    0        2         staff   # never below 0
            2026-03-02T12:00:00    60 s    0.04     12        staff
            """
        )


LIST_DISCOUNTS = st.lists(st.integers(0, 1_000_000), min_size=1, max_size=5)


@settings(max_examples=60)
@given(LIST_DISCOUNTS, st.randoms(use_true_random=False), st.integers(1, 10**9))
def test_the_order_of_discounts_of_the_list_price_says_nothing(parts: list[int], rng: Random, price: int) -> None:
    """ "in whichever order": the same price to the last fraction, and never below 0. Mixed with others it never passes
    below 0 either."""
    made = [Change("d", percent=Share(Percent(Fraction(part, 10_000))), of="list") for part in parts]
    again = rng.sample(made, len(made))
    debited, other = (Terms([(-1, one) for one in each]).apply(Fraction(price))[0] for each in (made, again))
    assert debited == other == max(price - price * Fraction(sum(parts), 1_000_000), Fraction(0))
    assert (
        Terms([(-1, one) for one in (*again, Change("r", percent=Share(Percent(50))))]).apply(Fraction(price))[0] >= 0
    )
