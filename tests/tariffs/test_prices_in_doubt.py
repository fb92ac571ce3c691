"""Where the code and the specification do not agree, or a cut changes a price. Found by test_oracle.py, made small.

Each is expected to fail; strict, so that whoever mends it finds the mark and takes it away, and with it what
`random_tariffs.leave_out` leaves out.
"""

from __future__ import annotations

import pytest

from tariffs.document import TariffError
from tests.tariffs.customers import Customer, ms_of
from tests.tariffs.oracle_account import Account, Bucket, Piece
from tests.tariffs.till import Till

WRONG = pytest.mark.xfail(
    strict=True,
    raises=(AssertionError, TariffError),
    reason="the code differs from tariffs/README.md; see the docstring",
)
CAP = '[counters.m]\ncounts = "money"\nperiod = "month"\n'


def fresh(customer: Customer, *buckets: Bucket) -> Till:
    """A line of an account with these buckets and an empty main balance."""
    till = customer.till({})
    till.account = Account("EUR", [*buckets, Bucket("money", 0)])
    return till


@WRONG
def test_free_seconds_do_not_owe_the_minimum() -> None:
    """ "`minimum`: what money pays of the line costs at least this, due with its first block": with the first that
    money pays. The code takes a free row for one that money pays, and charges 0.10 for ten free seconds."""
    Customer(
        """
        [[rows]]
        first = "30 s"
        free = { unit = "seconds" }
        [[rows]]
        flat = { price = "0.05", per = "1 min" }
        minimum = { charge = "0.10" }
        """
    ).check(
        """
        start                  use     price
        2026-03-02T12:00:00    10 s    0
        2026-03-02T12:00:00    31 s    0.10
        """
    )


@WRONG
def test_free_seconds_do_not_owe_a_fee_that_is_waived() -> None:
    """ "`waived`: only with the first block that money pays". The code charges 0.10 for ten free seconds."""
    Customer(
        """
        [counters.m]
        counts = "seconds"
        period = "month"
        [[rows]]
        below = { m = "100 min" }
        free = { unit = "seconds" }
        [[rows]]
        flat = { price = "0.05", per = "1 min" }
        setup = { fee = "0.10", waived = true }
        """
    ).check(
        """
        start                  use     price
        2026-03-02T12:00:00    10 s    0
        """
    )


@WRONG
def test_after_the_cap_nothing_is_due() -> None:
    """ "For caps over a period the row after `below`": the row of the cap does not price any more, so neither its fee
    nor its minimum are due. The code charges both for each call after the cap: 0.15 for a call that is free."""
    Customer(
        CAP
        + """
        [[rows]]
        below = { m = "0.20" }
        flat = { price = "0.09", per = "1 min" }
        setup = { fee = "0.05" }
        minimum = { charge = "0.10" }
        [[rows]]
        free = { unit = "seconds" }
        """
    ).story(
        """
        start                  use      price
        2026-03-02T12:00:00    120 s    0.23
        2026-03-02T13:00:00    60 s     0
        """
    )


@WRONG
def test_the_fee_of_the_tier_that_prices() -> None:
    """ "Each one that matches prices until its limit is reached", "`setup`: due with the first unit of the line": that
    unit is priced by the second row once the tier is full. The code charges the fee of the first, for ever."""
    Customer(
        """
        [counters.m]
        counts = "seconds"
        period = "month"
        [[rows]]
        below = { m = "1 min" }
        flat = { price = "0.05", per = "1 min" }
        setup = { fee = "0.01" }
        [[rows]]
        flat = { price = "0.05", per = "1 min" }
        setup = { fee = "0.15" }
        """
    ).story(
        """
        start                  use     price
        2026-03-02T12:00:00    60 s    0.06
        2026-03-02T13:00:00    60 s    0.20
        """
    )


@WRONG
def test_a_cap_counts_a_fee_that_is_waived_at_once() -> None:
    """ "However it is cut, the same". The fee of 0.10 fills the cap of 0.05, so that the second minute costs 0.20: in
    two reports it does (0.31), in one it does not (0.12)."""
    document = (
        CAP
        + """
        [[rows]]
        below = { m = "0.05" }
        flat = { price = "0.01", per = "1 min" }
        setup = { fee = "0.10", waived = true }
        [[rows]]
        flat = { price = "0.20", per = "1 min" }
        """
    )
    start_ms = ms_of("2026-03-02T12:00:00")
    two, one = Customer(document), Customer(document)
    cut = two.till({}).use([Piece(start_ms, 60), Piece(start_ms + 60_000, 60)])
    assert one.till({}).use([Piece(start_ms, 120)]) == cut == 310_000


@WRONG
def test_a_first_increment_that_no_single_bucket_covers() -> None:
    """ "Use is rounded up to `increment` (first/next)", "`split = false`: each block is paid by one". The first block
    is of 60 s and no bucket has so many, so money pays it. The code goes on to blocks of 1 s of the bundle."""
    Customer(
        """
        [[rows]]
        bundle = { per = "1 min", increment = "60/1", split = false }
        [[rows]]
        flat = { price = "0.05", per = "1 min", increment = "60/1" }
        """,
        buckets=[("seconds", 30)],
    ).check(
        """
        start                  use     price    units
        2026-03-02T12:00:00    10 s    0.05     30
        """
    )


@WRONG
def test_after_the_last_limit_as_the_last_row_says() -> None:
    """ "Use that happens all the same costs what the last one costs": a call of a second costs a first increment. The
    code charges one of the further ones, 0.001."""
    Customer(
        """
        [counters.m]
        counts = "seconds"
        period = "month"
        [[rows]]
        below = { m = "1 min" }
        flat = { price = "0.06", per = "1 min", increment = "60/1" }
        """
    ).story(
        """
        start                  use     price
        2026-03-02T12:00:00    60 s    0.06
        2026-03-02T13:00:00    1 s     0.06
        """
    )


@WRONG
def test_a_fee_that_is_waived_where_money_pays_nothing() -> None:
    """ "`waived`: only with the first block that money pays". There is no row that money pays."""
    Customer(
        """
        [[rows]]
        bundle = { per = "1 min" }
        setup = { fee = "0.10", waived = true }
        """,
        buckets=[("seconds", 60)],
    ).check(
        """
        start                  use     price
        2026-03-02T12:00:00    60 s    0
        2026-03-02T12:00:00    61 s    0
        """
    )


@WRONG
def test_a_debt_is_not_split_either() -> None:
    """ "`split`: one block paid by several balances; `false`: each block is paid by one". What nobody covers is owed by
    the main balance, all of it. The code takes a part from the bucket that does not cover it."""
    till = fresh(Customer('[[rows]]\nflat = { price = "0.05", per = "1 min", split = false }'), Bucket("money", 10_000))
    till.use([Piece(0, 60)])
    assert till.account.balances() == [10_000, -50_000]


@WRONG
def test_the_rate_of_the_day() -> None:
    """ "A price in another currency is multiplied by the rate stored for the day", and "however it is cut, the same":
    of a call over midnight the rate of its begin counts until something is reported, and another one after that."""
    customer = Customer(
        'currency = "USD"\n[[rows]]\nflat = { price = "0.10", per = "1 min" }',
        rates={("USD", "EUR"): "0.90"},
        later_rates={("USD", "EUR"): ("2026-03-03T00:00:00", "0.95")},
    )
    start_ms = ms_of("2026-03-02T23:58:00")
    cut = customer.till({}).use([Piece(start_ms, 120), Piece(start_ms + 120_000, 120)])
    assert customer.till({}).use([Piece(start_ms, 240)]) == cut == 370_000


@WRONG
def test_a_column_of_the_called_number_where_the_calling_one_is_asked_too() -> None:
    """ "Where a price stands, a column of the destination may stand": refused when it is loaded, "expected `to` among
    the conditions of the row", although it is."""
    Customer(
        """
        tables = { world = "world.csv" }
        [[rows]]
        when = { from = "world:Germany", to = "world:USA" }
        flat = { price = "to.price", per = "1 min" }
        """,
        files={"world.csv": b"prefix,zone,price\n49,Germany,0.05\n1,USA,0.20\n"},
    ).check(
        """
        start                  use     price    calling    called
        2026-03-02T12:00:00    60 s    0.20     4930123    12125550100
        """
    )


@WRONG
def test_an_amount_of_a_promotion_is_in_its_currency() -> None:
    """ "A price in another currency is multiplied by the rate": 0.05 USD are 0.045 EUR off. The code takes 0.05 EUR
    off. (Or such a promotion should be refused.)"""
    promotion = 'tariff = "p"\ncurrency = "USD"\npromotion = true\n[[discounts]]\nname = "x"\namount = "0.05"\n'
    customer = Customer(
        ['[[rows]]\nflat = { price = "0.10", per = "1 min" }', promotion], rates={("USD", "EUR"): "0.90"}
    )
    assert customer.till({}).use([Piece(0, 60)]) == 55_000
