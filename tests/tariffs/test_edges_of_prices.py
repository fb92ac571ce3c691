"""Where a price is easily made wrong: each of these was, until random tariffs met the oracle (test_oracle.py)."""

from __future__ import annotations

import pytest

from tariffs.document import TariffError
from tests.tariffs.charging_harness import ChargingHarness
from tests.tariffs.customers import Customer, ms_of
from tests.tariffs.oracle_account import OracleAccount, OracleBucket, OraclePiece

CAP = '[counters.m]\ncounts = "money"\nperiod = "month"\n'


def fresh(customer: Customer, *buckets: OracleBucket) -> ChargingHarness:
    """A line of an account with these buckets and an empty main balance."""
    harness = customer.harness({})
    harness.account = OracleAccount("EUR", [*buckets, OracleBucket("money", 0)])
    return harness


def test_free_seconds_do_not_owe_the_minimum() -> None:
    """ "`minimum`: what money pays of the line costs at least this, due with its first block": the first that
    money pays, and free seconds are not paid by it."""
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


def test_free_seconds_do_not_owe_a_fee_that_is_waived() -> None:
    """ "`waived`: only with the first block that money pays"."""
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


def test_after_the_cap_nothing_is_due() -> None:
    """ "For caps over a period the row after `below`": the row of the cap does not price any more, so neither its fee
    nor its minimum are due."""
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
    ).in_turn(
        """
        start                  use      price
        2026-03-02T12:00:00    120 s    0.20
        2026-03-02T13:00:00    60 s     0
        """
    )


def test_the_fee_of_the_tier_that_prices() -> None:
    """ "Each one that matches prices until its limit is reached", "`setup`: due with the first unit of the line": that
    unit is priced by the second row once the tier is full."""
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
    ).in_turn(
        """
        start                  use     price
        2026-03-02T12:00:00    60 s    0.06
        2026-03-02T13:00:00    60 s    0.20
        """
    )


def test_a_cap_counts_a_fee_that_is_waived_at_once() -> None:
    """ "However it is cut, the same". Half of the fee of 0.10 fills the cap, so that the second minute costs 0.20."""
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
    cut = two.harness({}).use([OraclePiece(start_ms, 60), OraclePiece(start_ms + 60_000, 60)])
    assert one.harness({}).use([OraclePiece(start_ms, 120)]) == cut == 250_000


def test_blocks_that_one_bucket_pays_are_of_one_size() -> None:
    """A first increment of 60 s that no bucket covers would leave its seconds to blocks of 1 s, which a bucket does."""
    with pytest.raises(TariffError, match="blocks of one size"):
        Customer('[[rows]]\nbundle = { per = "1 min", increment = "60/1", split = false }').harness({})


def test_after_the_last_limit_as_the_last_row_says() -> None:
    """ "Use that happens all the same costs what the last one costs": a call of a second costs a first increment."""
    Customer(
        """
        [counters.m]
        counts = "seconds"
        period = "month"
        [[rows]]
        below = { m = "1 min" }
        flat = { price = "0.06", per = "1 min", increment = "60/1" }
        """
    ).in_turn(
        """
        start                  use     price
        2026-03-02T12:00:00    60 s    0.06
        2026-03-02T13:00:00    1 s     0.06
        """
    )


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


def test_a_debt_is_not_split_either() -> None:
    """ "`split`: one block paid by several balances; `false`: each block is paid by one". What nobody covers is owed by
    the main balance, all of it."""
    harness = fresh(
        Customer('[[rows]]\nflat = { price = "0.05", per = "1 min", split = false }'), OracleBucket("money", 10_000)
    )
    harness.use([OraclePiece(0, 60)])
    assert harness.account.balances() == [10_000, -50_000]


def test_the_rate_of_the_day() -> None:
    """The rate is that "of the day on which the use began: a grant ends where another rate begins", so that it is 0.90
    for two minutes and 0.95 for the others."""
    customer = Customer(
        'currency = "USD"\n[[rows]]\nflat = { price = "0.10", per = "1 min" }',
        rates={("USD", "EUR"): "0.90"},
        later_rates={("USD", "EUR"): ("2026-03-03T00:00:00", "0.95")},
    )
    start_ms = ms_of("2026-03-02T23:58:00")
    cut = customer.harness({}).use([OraclePiece(start_ms, 120), OraclePiece(start_ms + 120_000, 120)])
    assert customer.harness({}).use([OraclePiece(start_ms, 240)]) == cut == 370_000


def test_a_cap_in_the_currency_of_the_tariff() -> None:
    """One dollar a month is 0.90 of the account's euros."""
    customer = Customer(
        f'currency = "USD"\n{CAP}[[rows]]\nbelow = {{ m = "1.00" }}\nflat = {{ price = "0.10", per = "1 min" }}\n'
        "[[rows]]\nfree = true",
        rates={("USD", "EUR"): "0.90"},
    )
    start_ms = ms_of("2026-03-02T12:00:00")
    assert customer.harness({}).use([OraclePiece(start_ms, 540), OraclePiece(start_ms + 540_000, 540)]) == 900_000


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


def test_an_amount_of_a_promotion_changes_prices_in_its_currency() -> None:
    """ "They change the prices of tariffs in that currency only, its percentages all." """
    promotion = """
        tariff = "p"
        currency = "USD"
        promotion = true
        [[discounts]]
        name = "x"
        amount = "0.05"
        [[discounts]]
        name = "y"
        percent = 10
        """
    prices = {"EUR": 90_000, "USD": 40_500}
    for currency, price in prices.items():
        tariff = f'currency = "{currency}"\n[[rows]]\nflat = {{ price = "0.10", per = "1 min" }}'
        assert (
            Customer([tariff, promotion], rates={("USD", "EUR"): "0.90"}).harness({}).use([OraclePiece(0, 60)]) == price
        )


@pytest.mark.parametrize("dues", ['setup = { fee = "0.05" }', 'minimum = { charge = "0.30" }'])
def test_no_grant_runs_into_a_band_with_dues_of_its_own(dues: str) -> None:
    """ "Volume grant over a boundary: hold the dearest band's price for the whole grant". A KB costs 0.06 by day and
    0.05 by night, where a set-up fee or a minimum is due as well: no price covers both, and a grant ends at eight."""
    customer = Customer(
        f"""
        [bands.night]
        hours = "20:00-06:00"
        [[rows]]
        when = {{ time = "night" }}
        flat = {{ price = "0.05", per = "1 KB" }}
        {dues}
        [[rows]]
        flat = {{ price = "0.06", per = "1 KB" }}
        """,
        "data",
    )
    day = customer.harness({}).rated(ms_of("2026-03-02T19:59:00"))
    assert (day.change_ms, day.dearest) == (ms_of("2026-03-02T20:00:00"), b"")


def test_a_call_that_is_over_counts_in_both_months() -> None:
    """ "`period`: day, week, month": seven minutes over the end of March cost 0.34 when they are granted, three of
    March and four of April, and recorded when they are over just so."""
    customer = Customer(
        """
        [counters.m]
        counts = "seconds"
        period = "month"
        [[rows]]
        below = { m = "2 min" }
        flat = { price = "0.01", per = "1 min" }
        [[rows]]
        flat = { price = "0.10", per = "1 min" }
        """
    )
    call = OraclePiece(ms_of("2026-03-31T23:57:00"), 420)
    assert customer.harness({}).use([call]) == 340_000
    assert Customer(customer.documents).harness({}).record(call) == 340_000
